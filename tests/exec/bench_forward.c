/* SPDX-License-Identifier: Apache-2.0 */
/* bench_forward.c: times forward passes for tools/bench; not a test.
 *
 * usage: bench_forward MODEL INPUT.npy OUTPUT.npy THREADS
 * Writes the first output. Then each line on stdin is a number of runs, one right after
 * the other; the seconds that each of them took are printed, so that the caller can
 * alternate with another program. With one thread it is processor time, which other
 * programs disturb less.
 */
#include "calib/calib.h"
#include "exec/exec.h"
#include "linalg/blas.h"
#include "onnx/onnx.h"
#include "passes/passes.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(size_t threads)
{
    struct timespec time;
    clock_gettime(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static enum ldnq_status bench(char **argv, struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_model *model;
    struct ldnq_graph *graph;
    struct ldnq_pool *pool;
    struct ldnq_exec *exec;
    struct ldnq_tensor *input;
    char line[16];
    const size_t threads = strtoul(argv[4], NULL, 10);
    LDNQ_TRY(ldnq_model_load(argv[1], &model, err));
    LDNQ_TRY(ldnq_model_import(model, arena, &graph, err));
    LDNQ_TRY(ldnq_passes_run(graph, err));
    LDNQ_TRY(ldnq_npy_read(argv[2], arena, &input, err));
    LDNQ_TRY(ldnq_pool_create(threads, &pool, err));
    LDNQ_TRY(ldnq_exec_create(graph, pool, &exec, err));
    LDNQ_TRY(ldnq_exec_run(exec, &input, err));
    LDNQ_TRY(ldnq_npy_write(argv[3], ldnq_exec_find_value(exec, graph->outputs[0]), err));
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        for (unsigned long runs = strtoul(line, NULL, 10); runs > 0; runs--) {
            double start = now(threads);
            LDNQ_TRY(ldnq_exec_run(exec, &input, err));
            printf("%.9f ", now(threads) - start);
        }
        printf("\n");
        fflush(stdout);
    }
    ldnq_exec_destroy(exec);
    ldnq_pool_destroy(pool);
    ldnq_model_destroy(model);
    return LDNQ_OK;
}

int main(int argc, char **argv)
{
    struct ldnq_error err;
    struct ldnq_arena *arena;
    if (argc != 5) {
        fprintf(stderr, "usage: bench_forward MODEL INPUT.npy OUTPUT.npy THREADS\n");
        return LDNQ_USAGE;
    }
    ldnq_blas_acquire();
    enum ldnq_status status = ldnq_arena_create(&arena, &err);
    if (status == LDNQ_OK)
        status = bench(argv, arena, &err);
    if (status != LDNQ_OK)
        fprintf(stderr, "bench_forward: %s\n", err.message);
    ldnq_arena_destroy(arena);
    ldnq_blas_release();
    return (int)status;
}
