/* SPDX-License-Identifier: Apache-2.0 */
/* bench_backward.c: times gradients for tools/bench; not a test.
 *
 * usage: bench_backward MODEL INPUT.npy THREADS MAX_BYTES
 * Asks for the gradients of the input and of all float weights. Runs once for each
 * line on stdin and prints the seconds of a forward pass, those of a whole gradient,
 * and the bytes that the latter takes.
 */
#include "calib/calib.h"
#include "exec/exec.h"
#include "exec/grad.h"
#include "linalg/blas.h"
#include "onnx/onnx.h"
#include "passes/passes.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct bench {
    struct ldnq_model *model;
    struct ldnq_graph *graph;
    struct ldnq_pool *pool;
    struct ldnq_exec *exec;
    struct ldnq_grad *grad;
    struct ldnq_tensor *input;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* The sum of all outputs. */
static enum ldnq_status add_up(void *ctx, const struct ldnq_tensor *const *values,
                               struct ldnq_tensor *gradients, double *loss, struct ldnq_error *err)
{
    (void)ctx;
    (void)err;
    *loss = 0;
    for (size_t i = 0; i < ldnq_tensor_count(values[0]); i++) {
        *loss += (double)((const float *)values[0]->data)[i];
        ((float *)gradients[0].data)[i] = 1.0f;
    }
    return LDNQ_OK;
}

static enum ldnq_status prepare(struct bench *bench, char **argv, struct ldnq_arena *arena,
                                struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_model_load(argv[1], &bench->model, err));
    LDNQ_TRY(ldnq_model_import(bench->model, arena, &bench->graph, err));
    LDNQ_TRY(ldnq_passes_run(bench->graph, err));
    LDNQ_TRY(ldnq_npy_read(argv[2], arena, &bench->input, err));
    LDNQ_TRY(ldnq_pool_create(strtoul(argv[3], NULL, 10), &bench->pool, err));
    LDNQ_TRY(ldnq_exec_create(bench->graph, bench->pool, &bench->exec, err));
    const struct ldnq_graph *graph = bench->graph;
    const struct ldnq_value **requested =
        ldnq_arena_alloc(arena, graph->value_count, sizeof *requested, err);
    if (!requested)
        return LDNQ_NOMEM;
    struct ldnq_grad_options options = { .targets =
                                             (const struct ldnq_value *const *)graph->outputs,
                                         .target_count = 1,
                                         .requested = requested,
                                         .max_bytes = strtoul(argv[4], NULL, 10) };
    requested[options.requested_count++] = graph->inputs[0];
    for (size_t i = 0; i < graph->value_count; i++)
        if (graph->values[i]->constant && graph->values[i]->dtype == LDNQ_FLOAT)
            requested[options.requested_count++] = graph->values[i];
    return ldnq_grad_create(graph, bench->pool, &options, &bench->grad, err);
}

static enum ldnq_status run(struct bench *bench, struct ldnq_error *err)
{
    struct ldnq_grad_feed feed = { bench->graph->inputs[0], bench->input };
    char line[16];
    double loss;
    while (fgets(line, sizeof line, stdin)) {
        double start = now();
        LDNQ_TRY(ldnq_exec_run(bench->exec, &bench->input, err));
        double middle = now();
        LDNQ_TRY(ldnq_grad_run(bench->grad, &feed, 1, add_up, NULL, &loss, err));
        printf("%.9f %.9f %zu\n", middle - start, now() - middle,
               ldnq_grad_peak_bytes(bench->grad));
        fflush(stdout);
    }
    return LDNQ_OK;
}

int main(int argc, char **argv)
{
    struct ldnq_error err;
    struct ldnq_arena *arena;
    struct bench bench = { 0 };
    if (argc != 5) {
        fprintf(stderr, "usage: bench_backward MODEL INPUT.npy THREADS MAX_BYTES\n");
        return LDNQ_USAGE;
    }
    ldnq_blas_acquire();
    enum ldnq_status status = ldnq_arena_create(&arena, &err);
    if (status == LDNQ_OK)
        status = prepare(&bench, argv, arena, &err);
    if (status == LDNQ_OK)
        status = run(&bench, &err);
    if (status != LDNQ_OK)
        fprintf(stderr, "%s\n", err.message);
    ldnq_grad_destroy(bench.grad);
    ldnq_exec_destroy(bench.exec);
    ldnq_pool_destroy(bench.pool);
    ldnq_model_destroy(bench.model);
    ldnq_arena_destroy(arena);
    ldnq_blas_release();
    return (int)status;
}
