/* SPDX-License-Identifier: Apache-2.0 */
/* node_case.c: runs test cases in ONNX's layout and says how each one went.
 *
 *   node_case [--relative N] DIR...
 *
 * DIR holds model.onnx and test_data_set_N/{input,output}_I.pb. Each case is run
 * twice: as it is, and after the passes. A line a case on stdout:
 *
 *   pass NAME
 *   skip NAME: operator A B     (not in the table)
 *   skip NAME: REASON           (a type, an attribute value: status UNSUPPORTED)
 *   fail NAME: REASON
 *
 * Floats may differ by 1e-6 + N times the expected value (N is 1e-5 unless given),
 * halves by 1e-2 of it, codes and indices not at all. The exit code is 0 unless a case failed.
 */
#include "exec/exec.h"
#include "linalg/blas.h"
#include "onnx/onnx.h"
#include "passes/passes.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/pool.h"
#include "base/text.h"
#include "ir/half.h"
#include "ops/op.h"

struct test_case {
    const char *dir;
    struct ldnq_arena *arena;
    struct ldnq_model *model;
    struct ldnq_graph *graph;
    struct ldnq_exec *exec;
    struct ldnq_pool *pool;
};

/* ---- tensors from files ----------------------------------------------------------- */

static enum ldnq_status read_tensor(struct test_case *test, int set, const char *kind, size_t i,
                                    struct ldnq_tensor **out, struct ldnq_error *err)
{
    void *bytes;
    size_t size;
    const char *name;
    char *path = ldnq_arena_printf(test->arena, err, "%s/test_data_set_%d/%s_%zu.pb", test->dir,
                                   set, kind, i);
    if (!path)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_file_read(path, test->arena, &bytes, &size, err));
    return ldnq_tensorproto_decode(bytes, size, test->arena, out, &name, err);
}

/* ---- comparison --------------------------------------------------------------------- */

static double value_at(const struct ldnq_tensor *tensor, size_t i)
{
    switch (tensor->dtype) {
    case LDNQ_FLOAT:
        return (double)((const float *)tensor->data)[i];
    case LDNQ_DOUBLE:
        return ((const double *)tensor->data)[i];
    case LDNQ_FLOAT16:
        return ldnq_half_to_double(((const uint16_t *)tensor->data)[i]);
    default:
        return ldnq_bfloat_to_double(((const uint16_t *)tensor->data)[i]);
    }
}

static bool is_real(enum ldnq_dtype dtype)
{
    return dtype == LDNQ_FLOAT || dtype == LDNQ_DOUBLE || dtype == LDNQ_FLOAT16 ||
           dtype == LDNQ_BFLOAT16;
}

static double relative_tolerance = 1e-5;

static bool near_enough(double got, double expected, enum ldnq_dtype dtype)
{
    double relative = ldnq_dtype_size(dtype) == 2 ? 1e-2 : relative_tolerance;
    if (isnan(expected) || isnan(got))
        return isnan(expected) && isnan(got);
    if (isinf(expected) || isinf(got))
        return expected == got;
    return fabs(got - expected) <= 1e-6 + relative * fabs(expected);
}

static enum ldnq_status compare(const struct ldnq_tensor *got, const struct ldnq_tensor *expected,
                                const char *name, struct ldnq_error *err)
{
    char a[LDNQ_SHAPE_TEXT], b[LDNQ_SHAPE_TEXT];
    size_t size = ldnq_dtype_size(expected->dtype);
    if (got->dtype != expected->dtype)
        return ldnq_fail(err, LDNQ_DATA, "'%s' is %s, expected %s", name,
                         ldnq_dtype_name(got->dtype), ldnq_dtype_name(expected->dtype));
    if (!ldnq_shapes_are_equal(&got->shape, &expected->shape))
        return ldnq_fail(err, LDNQ_DATA, "'%s' is %s, expected %s", name,
                         ldnq_shape_print(&got->shape, NULL, a, sizeof a),
                         ldnq_shape_print(&expected->shape, NULL, b, sizeof b));
    for (size_t i = 0; i < ldnq_tensor_count(expected); i++) {
        if (!is_real(expected->dtype)) {
            if (memcmp((const char *)got->data + i * size, (const char *)expected->data + i * size,
                       size) != 0)
                return ldnq_fail(err, LDNQ_DATA, "'%s'[%zu] differs", name, i);
        } else if (!near_enough(value_at(got, i), value_at(expected, i), expected->dtype)) {
            return ldnq_fail(err, LDNQ_DATA, "'%s'[%zu] is %.9g, expected %.9g", name, i,
                             value_at(got, i), value_at(expected, i));
        }
    }
    return LDNQ_OK;
}

/* ---- one case --------------------------------------------------------------------------- */

static enum ldnq_status run_set(struct test_case *test, int set, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = test->graph;
    struct ldnq_tensor **inputs =
        ldnq_arena_alloc(test->arena, graph->input_count, sizeof *inputs, err);
    if (!inputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->input_count; i++)
        LDNQ_TRY(read_tensor(test, set, "input", i, &inputs[i], err));
    LDNQ_TRY(ldnq_exec_run(test->exec, inputs, err));
    for (size_t i = 0; i < graph->output_count; i++) {
        const struct ldnq_tensor *got = ldnq_exec_find_value(test->exec, graph->outputs[i]);
        struct ldnq_tensor *expected;
        if (!got)
            return ldnq_fail(err, LDNQ_DATA, "'%s' was not computed", graph->outputs[i]->name);
        LDNQ_TRY(read_tensor(test, set, "output", i, &expected, err));
        LDNQ_TRY(compare(got, expected, graph->outputs[i]->name, err));
    }
    return LDNQ_OK;
}

static bool set_exists(const char *dir, int set)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/test_data_set_%d", dir, set);
    return access(path, F_OK) == 0;
}

/* Nodes whose operator is in the table at no opset, once each. */
static void list_missing(const struct ldnq_graph *graph, struct ldnq_text *missing)
{
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct ldnq_node *node = graph->nodes[i];
        if (!ldnq_ops_has_type(node->domain, node->op_type) &&
            !strstr(missing->data, node->op_type))
            ldnq_text_append_item(missing, " ", "%s", node->op_type);
    }
}

/* Sequences, optionals and maps are no tensors. */
static enum ldnq_status check_inputs(const struct ldnq_graph *graph, struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->input_count; i++)
        if (graph->inputs[i]->dtype == LDNQ_UNDEFINED)
            return ldnq_fail(err, LDNQ_UNSUPPORTED, "input '%s' is not a tensor",
                             graph->inputs[i]->name);
    return LDNQ_OK;
}

static enum ldnq_status run_graph(struct test_case *test, bool passes, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_model_import(test->model, test->arena, &test->graph, err));
    char list[2048];
    struct ldnq_text missing;
    ldnq_text_init(&missing, list, sizeof list);
    list_missing(test->graph, &missing);
    if (missing.items)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "operator %s", list);
    LDNQ_TRY(check_inputs(test->graph, err));
    LDNQ_TRY(passes ? ldnq_passes_run(test->graph, err) : ldnq_ops_bind(test->graph, err));
    LDNQ_TRY(ldnq_graph_verify(test->graph, err));
    LDNQ_TRY(ldnq_exec_create(test->graph, test->pool, &test->exec, err));
    for (int set = 0; set_exists(test->dir, set); set++)
        LDNQ_TRY(run_set(test, set, err));
    return LDNQ_OK;
}

static enum ldnq_status run_twice(struct test_case *test, struct ldnq_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/model.onnx", test->dir);
    LDNQ_TRY(ldnq_arena_create(&test->arena, err));
    LDNQ_TRY(ldnq_model_load(path, &test->model, err));
    LDNQ_TRY(run_graph(test, false, err));
    ldnq_exec_destroy(test->exec);
    test->exec = NULL;
    enum ldnq_status status = run_graph(test, true, err);
    return status == LDNQ_OK ? status : ldnq_fail_within(err, status, "after the passes");
}

static bool run_case(const char *dir, struct ldnq_pool *pool)
{
    struct ldnq_error err = { 0 };
    struct test_case test = { .dir = dir, .pool = pool };
    const char *slash = strrchr(dir, '/'), *name = slash ? slash + 1 : dir;
    enum ldnq_status status = run_twice(&test, &err);
    if (status == LDNQ_OK)
        printf("pass %s\n", name);
    else
        printf("%s %s: %s\n", status == LDNQ_UNSUPPORTED ? "skip" : "fail", name, err.message);
    fflush(stdout);
    ldnq_exec_destroy(test.exec);
    ldnq_model_destroy(test.model);
    ldnq_arena_destroy(test.arena);
    return status == LDNQ_OK || status == LDNQ_UNSUPPORTED;
}

int main(int argc, char **argv)
{
    struct ldnq_error err = { 0 };
    struct ldnq_pool *pool;
    bool good = true;
    if (ldnq_pool_create(2, &pool, &err) != LDNQ_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    ldnq_blas_acquire();
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "--relative") == 0) {
        relative_tolerance = strtod(argv[2], NULL);
        first = 3;
    }
    for (int i = first; i < argc; i++)
        good = run_case(argv[i], pool) && good;
    ldnq_blas_release();
    ldnq_pool_destroy(pool);
    return good ? 0 : 1;
}
