/* SPDX-License-Identifier: Apache-2.0 */
/* grad_case.c: computes gradients of the cases that tests/python/gradients.py writes.
 *
 *   grad_case [--threads N] [--max-bytes N] [--passes] DIR...
 *
 * DIR holds model.onnx, input_I.pb for each graph input, seed_I.pb for those of the
 * graph's outputs that the loss counts, and requested.txt with the names of the values
 * whose gradients are asked for. The loss is the sum over the seeds of
 * <seed, output>. Gradients go to DIR/gradient_I.npy in the order of requested.txt. The
 * operators are bound, and nothing else, unless --passes asks for all passes. A line
 * a case on stdout:
 *
 *   ok NAME peak=BYTES loss=VALUE
 *   STATUS NAME: REASON         (unsupported, usage, model ...)
 *
 * The exit code is 1 when a case could not be read.
 */
#include "calib/calib.h"
#include "exec/grad.h"
#include "linalg/blas.h"
#include "onnx/onnx.h"
#include "passes/passes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "ops/op.h"

struct grad_case {
    const char *dir;
    struct ldnq_arena *arena;
    struct ldnq_model *model;
    struct ldnq_graph *graph;
    struct ldnq_grad *grad;
    struct ldnq_grad_options options;
    struct ldnq_tensor **seeds; /* by target */
    double loss;
};

static size_t threads = 2, max_bytes;
static bool passes;

static enum ldnq_status read_tensor(struct grad_case *test, const char *kind, size_t i,
                                    struct ldnq_tensor **out, struct ldnq_error *err)
{
    void *bytes;
    size_t size;
    const char *name;
    char *path = ldnq_arena_printf(test->arena, err, "%s/%s_%zu.pb", test->dir, kind, i);
    if (!path)
        return LDNQ_NOMEM;
    if (strcmp(kind, "seed") == 0 && access(path, F_OK) != 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_file_read(path, test->arena, &bytes, &size, err));
    return ldnq_tensorproto_decode(bytes, size, test->arena, out, &name, err);
}

static enum ldnq_status read_wanted(struct grad_case *test, struct ldnq_error *err)
{
    void *bytes;
    size_t size, count = 0;
    char *path = ldnq_arena_printf(test->arena, err, "%s/requested.txt", test->dir), *rest = NULL;
    const struct ldnq_value **requested =
        ldnq_arena_alloc(test->arena, test->graph->value_count, sizeof *requested, err);
    if (!path || !requested)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_file_read(path, test->arena, &bytes, &size, err));
    char *text = ldnq_arena_printf(test->arena, err, "%.*s", (int)size, (const char *)bytes);
    if (!text)
        return LDNQ_NOMEM;
    for (char *name = strtok_r(text, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest)) {
        requested[count] = ldnq_graph_find_value(test->graph, name);
        if (!requested[count++])
            return ldnq_fail(err, LDNQ_USAGE, "there is no value '%s'", name);
    }
    test->options.requested = requested;
    test->options.requested_count = count;
    return LDNQ_OK;
}

static enum ldnq_status read_seeds(struct grad_case *test, struct ldnq_error *err)
{
    size_t count = test->graph->output_count, found = 0;
    const struct ldnq_value **targets = ldnq_arena_alloc(test->arena, count, sizeof *targets, err);
    test->seeds = ldnq_arena_alloc(test->arena, count, sizeof *test->seeds, err);
    if (!targets || !test->seeds)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        LDNQ_TRY(read_tensor(test, "seed", i, &test->seeds[found], err));
        if (test->seeds[found])
            targets[found++] = test->graph->outputs[i];
    }
    test->options.targets = targets;
    test->options.target_count = found;
    return LDNQ_OK;
}

static enum ldnq_status weigh(void *ctx, const struct ldnq_tensor *const *values,
                              struct ldnq_tensor *gradients, double *loss, struct ldnq_error *err)
{
    const struct grad_case *test = ctx;
    *loss = 0;
    for (size_t k = 0; k < test->options.target_count; k++) {
        const float *seed = test->seeds[k]->data, *value = values[k]->data;
        size_t count = ldnq_tensor_count(values[k]);
        if (!ldnq_shapes_are_equal(&test->seeds[k]->shape, &values[k]->shape))
            return ldnq_fail(err, LDNQ_DATA, "seed %zu has another shape than its output", k);
        for (size_t i = 0; i < count; i++)
            *loss += (double)seed[i] * (double)value[i];
        memcpy(gradients[k].data, seed, count * sizeof(float));
    }
    return LDNQ_OK;
}

static enum ldnq_status run_graph(struct grad_case *test, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = test->graph;
    struct ldnq_grad_feed *feeds =
        ldnq_arena_alloc(test->arena, graph->input_count, sizeof *feeds, err);
    if (!feeds)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->input_count; i++) {
        struct ldnq_tensor *tensor;
        LDNQ_TRY(read_tensor(test, "input", i, &tensor, err));
        feeds[i] = (struct ldnq_grad_feed){ graph->inputs[i], tensor };
    }
    return ldnq_grad_run(test->grad, feeds, graph->input_count, weigh, test, &test->loss, err);
}

static enum ldnq_status write_gradients(struct grad_case *test, struct ldnq_error *err)
{
    for (size_t i = 0; i < test->options.requested_count; i++) {
        char *path = ldnq_arena_printf(test->arena, err, "%s/gradient_%zu.npy", test->dir, i);
        if (!path)
            return LDNQ_NOMEM;
        LDNQ_TRY(ldnq_npy_write(path, ldnq_grad_find_gradient(test->grad, i), err));
    }
    return LDNQ_OK;
}

static enum ldnq_status run_all(struct grad_case *test, struct ldnq_pool *pool,
                                struct ldnq_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/model.onnx", test->dir);
    LDNQ_TRY(ldnq_arena_create(&test->arena, err));
    LDNQ_TRY(ldnq_model_load(path, &test->model, err));
    LDNQ_TRY(ldnq_model_import(test->model, test->arena, &test->graph, err));
    LDNQ_TRY(passes ? ldnq_passes_run(test->graph, err) : ldnq_ops_bind(test->graph, err));
    LDNQ_TRY(read_wanted(test, err));
    LDNQ_TRY(read_seeds(test, err));
    test->options.max_bytes = max_bytes;
    LDNQ_TRY(ldnq_grad_create(test->graph, pool, &test->options, &test->grad, err));
    LDNQ_TRY(run_graph(test, err));
    return write_gradients(test, err);
}

static bool run_case(const char *dir, struct ldnq_pool *pool)
{
    struct ldnq_error err = { 0 };
    struct grad_case test = { .dir = dir };
    const char *slash = strrchr(dir, '/'), *name = slash ? slash + 1 : dir;
    enum ldnq_status status = run_all(&test, pool, &err);
    if (status == LDNQ_OK)
        printf("ok %s peak=%zu loss=%.9g\n", name, ldnq_grad_peak_bytes(test.grad), test.loss);
    else
        printf("%s %s: %s\n", ldnq_status_name(status), name, err.message);
    fflush(stdout);
    ldnq_grad_destroy(test.grad);
    ldnq_model_destroy(test.model);
    ldnq_arena_destroy(test.arena);
    return status != LDNQ_IO;
}

static int read_options(int argc, char **argv)
{
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--passes") == 0)
            passes = true;
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            threads = strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--max-bytes") == 0 && i + 1 < argc)
            max_bytes = strtoul(argv[++i], NULL, 10);
    }
    return i;
}

int main(int argc, char **argv)
{
    struct ldnq_error err = { 0 };
    struct ldnq_pool *pool;
    bool good = true;
    int first = read_options(argc, argv);
    if (ldnq_pool_create(threads, &pool, &err) != LDNQ_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    ldnq_blas_acquire();
    for (int i = first; i < argc; i++)
        good = run_case(argv[i], pool) && good;
    ldnq_blas_release();
    ldnq_pool_destroy(pool);
    return good ? 0 : 1;
}
