/* SPDX-License-Identifier: Apache-2.0 */
/* QuantizeLinear and DequantizeLinear fused by the executor, against the two operators. The
 * executor runs these one after the other where the caller retains the codes. */
#include "exec/grad_use.h"

#include <float.h>

#include "exec/batch_tiling.h"

struct code_type {
    enum ldnq_dtype dtype;
    int low, high;
};

static const struct code_type code_types[] = {
    { LDNQ_UINT8, 0, 255 },    { LDNQ_INT8, -128, 127 },      { LDNQ_UINT4, 0, 15 },
    { LDNQ_UINT16, 0, 65535 }, { LDNQ_INT16, -32768, 32767 }, { LDNQ_INT4, -8, 7 },
};

#define TYPES (sizeof code_types / sizeof *code_types)

/* ---- graphs -------------------------------------------------------------------------- */

static struct ldnq_value *build_scale(struct ldnq_graph *graph, float scale)
{
    struct ldnq_value *value = build_weight(graph, "scale", (struct ldnq_shape){ .rank = 0 }, 1);
    *(float *)value->constant->data = scale;
    return value;
}

static struct ldnq_value *build_zero(struct ldnq_graph *graph, enum ldnq_dtype dtype, int zero)
{
    struct ldnq_tensor *tensor;
    struct ldnq_value *value;
    struct ldnq_shape scalar = { .rank = 0 };
    assert_ok(ldnq_tensor_create(graph->arena, dtype, &scalar, &tensor, &err));
    if (ldnq_dtype_size(dtype) == 2)
        *(uint16_t *)tensor->data = (uint16_t)zero;
    else
        *(uint8_t *)tensor->data = (uint8_t)zero;
    assert_ok(ldnq_graph_add_constant(graph, "zero", tensor, &value, &err));
    return value;
}

struct pair {
    struct ldnq_value *scale, *zero, *codes, *y;
};

static struct pair build_pair(struct ldnq_graph *graph, struct ldnq_value *x, float scale,
                              enum ldnq_dtype dtype, int zero)
{
    struct pair pair = { .scale = build_scale(graph, scale),
                         .zero = build_zero(graph, dtype, zero) };
    pair.codes = NODE(graph, "QuantizeLinear", "q", x, pair.scale, pair.zero);
    pair.y = NODE(graph, "DequantizeLinear", "dq", pair.codes, pair.scale, pair.zero);
    return pair;
}

/* ---- running ------------------------------------------------------------------------- */

static bool is_fused(const struct ldnq_exec *exec, const struct ldnq_value *y)
{
    return exec->plan.skipped[y->producer->index];
}

static struct ldnq_tensor *copy_of(struct ldnq_graph *graph, const struct ldnq_tensor *tensor)
{
    struct ldnq_tensor *copy;
    size_t bytes = 0;
    assert_non_null(tensor);
    assert_true(ldnq_tensor_bytes(tensor, &bytes));
    assert_ok(ldnq_tensor_create(graph->arena, tensor->dtype, &tensor->shape, &copy, &err));
    memcpy(copy->data, tensor->data, bytes);
    return copy;
}

/* The first output with the pair fused, or with `codes` (not NULL) retained. */
static struct ldnq_tensor *run_pair(struct ldnq_graph *graph, const struct ldnq_value *y,
                                    const struct ldnq_value *codes, struct ldnq_tensor *input,
                                    struct ldnq_pool *pool)
{
    struct ldnq_exec *exec;
    assert_ok(ldnq_exec_create(graph, pool, &exec, &err));
    assert_true(is_fused(exec, y));
    if (codes)
        ldnq_exec_keep_until_reset(exec, codes);
    assert_true(is_fused(exec, y) == !codes);
    assert_ok(ldnq_exec_run(exec, &input, &err));
    if (codes)
        assert_int_equal(ldnq_exec_find_value(exec, codes)->dtype, codes->dtype);
    struct ldnq_tensor *out = copy_of(graph, ldnq_exec_find_value(exec, graph->outputs[0]));
    ldnq_exec_destroy(exec);
    return out;
}

/* ---- bits ---------------------------------------------------------------------------- */

#define ELEMENTS 70000

/* Half steps of the scale around 0 and around both ends, then special values. */
static void fill_steps(struct ldnq_tensor *x, float scale, int low, int high)
{
    static const float special[] = { INFINITY, -INFINITY, NAN,      -0.0f,  FLT_MAX,
                                     -FLT_MAX, FLT_MIN,   -FLT_MIN, 1e-45f, 4194304.0f };
    float *data = x->data;
    for (int i = 0; i < ELEMENTS; i++) {
        int around = i % 3 == 0 ? 0 : i % 3 == 1 ? low : high;
        data[i] = ((float)around + (float)(i / 3 % 2000 - 1000) * 0.25f) * scale;
    }
    for (size_t i = 0; i < 5 * sizeof special / sizeof *special; i++)
        data[i * 7] = special[i % (sizeof special / sizeof *special)];
}

/* NaN has the lowest code. */
static void assert_rounded(const struct ldnq_tensor *y, const struct ldnq_tensor *x, float scale,
                           const struct code_type *type, int zero)
{
    const float *got = y->data, *from = x->data;
    for (size_t i = 0; i < ELEMENTS; i++) {
        float code = isnan(from[i]) ? -INFINITY : rintf(from[i] / scale) + (float)zero;
        code = fminf(fmaxf(code, (float)type->low), (float)type->high);
        float want = (code - (float)zero) * scale;
        if (!(got[i] == want))
            fail_msg("%g with scale %g is %g, expected %g", (double)from[i], (double)scale,
                     (double)got[i], (double)want);
    }
}

/* `in_place`: the pair reads a value that nothing else reads, and not an input. */
static void check_bits(const struct code_type *type, int zero, float scale, bool in_place)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(ELEMENTS));
    struct ldnq_value *from = in_place ? NODE(graph, "Neg", "neg", x) : x;
    struct pair pair = build_pair(graph, from, scale, type->dtype, zero);
    build_output(graph, pair.y);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(ELEMENTS), 3);
    fill_steps(input, isfinite(scale) && scale != 0 ? scale : 1.0f, type->low - zero,
               type->high - zero);
    struct ldnq_tensor *before = copy_of(graph, input);
    struct ldnq_tensor *fused = run_pair(graph, pair.y, NULL, input, NULL);
    assert_same_bits(fused, run_pair(graph, pair.y, pair.codes, input, NULL));
    assert_same_bits(input, before);
    if (!in_place && isfinite(scale) && scale != 0)
        assert_rounded(fused, input, scale, type, zero);
    build_free(graph);
}

static void fused_pair_should_have_the_bits_of_the_two_operators(void **state)
{
    (void)state;
    static const float scales[] = { 0.25f, 0.1f, 3e-3f, -0.5f, 1e-40f, 0.0f, INFINITY, NAN };
    for (size_t t = 0; t < TYPES; t++) {
        const struct code_type *type = &code_types[t];
        const int zeros[] = { type->low, (type->low + type->high + 1) / 2, type->high };
        for (size_t z = 0; z < 3; z++)
            for (size_t s = 0; s < sizeof scales / sizeof *scales; s++)
                for (int in_place = 0; in_place < 2; in_place++)
                    check_bits(type, zeros[z], scales[s], in_place);
    }
}

static void fused_pair_should_have_the_same_bits_on_any_number_of_threads(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(ELEMENTS));
    struct pair pair = build_pair(graph, NODE(graph, "Neg", "neg", x), 0.01f, LDNQ_UINT8, 77);
    build_output(graph, pair.y);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(ELEMENTS), 3);
    struct ldnq_tensor *one = run_pair(graph, pair.y, NULL, input, NULL);
    for (size_t threads = 2; threads <= 3; threads++) {
        struct ldnq_pool *pool;
        assert_ok(ldnq_pool_create(threads, &pool, &err));
        assert_same_bits(run_pair(graph, pair.y, NULL, input, pool), one);
        ldnq_pool_destroy(pool);
    }
    build_free(graph);
}

/* ---- memory -------------------------------------------------------------------------- */

static void fused_pair_should_run_in_place(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *at = NODE(graph, "Neg", "neg", build_input(graph, "x", SHAPE(1000)));
    for (int i = 0; i < 5; i++)
        at = build_pair(graph, at, 0.01f, LDNQ_INT8, i).y;
    build_output(graph, at);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_exec *exec;
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(1000), 3);
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    assert_ok(ldnq_exec_run(exec, &input, &err));
    assert_true(ldnq_exec_peak_bytes(exec) <= 4000 + 64);
    ldnq_exec_destroy(exec);
    build_free(graph);
}

static void fused_pair_should_not_overwrite_what_is_read_again(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(1000));
    struct ldnq_value *negative = NODE(graph, "Neg", "neg", x);
    struct pair pair = build_pair(graph, negative, 0.01f, LDNQ_INT8, 3);
    build_output(graph, NODE(graph, "Sub", "out", pair.y, negative));
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(1000), 3);
    assert_same_bits(run_pair(graph, pair.y, NULL, input, NULL),
                     run_pair(graph, pair.y, pair.codes, input, NULL));

    /* A value that the caller retains is as good as read again. */
    struct ldnq_exec *exec;
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    ldnq_exec_keep_until_reset(exec, negative);
    assert_ok(ldnq_exec_run(exec, &input, &err));
    assert_true(is_fused(exec, pair.y));
    const float *seen = ldnq_exec_find_value(exec, negative)->data;
    for (int i = 0; i < 1000; i++)
        assert_true(seen[i] == -((float *)input->data)[i]);
    ldnq_exec_destroy(exec);
    build_free(graph);
}

static void fused_pair_should_follow_changes_of_its_constants(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct pair pair = build_pair(graph, build_input(graph, "x", SHAPE(100)), 1.0f, LDNQ_UINT8, 0);
    build_output(graph, pair.y);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_exec *exec;
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(100), 3);
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    assert_ok(ldnq_exec_run(exec, &input, &err));
    *(float *)pair.scale->constant->data = 0.02f;
    *(uint8_t *)pair.zero->constant->data = 100;
    assert_ok(ldnq_exec_run(exec, &input, &err));
    assert_same_bits(ldnq_exec_find_value(exec, pair.y),
                     run_pair(graph, pair.y, pair.codes, input, NULL));
    ldnq_exec_destroy(exec);
    build_free(graph);
}

/* ---- which pairs are fused ------------------------------------------------------------- */

/* Finishes the graph, whose output 0 is y's, and checks that y has a node of its own. */
static void assert_not_fused(struct ldnq_graph *graph, const struct ldnq_value *y)
{
    struct ldnq_exec *exec;
    assert_ok(ldnq_passes_run(graph, &err));
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    assert_false(is_fused(exec, y));
    ldnq_exec_destroy(exec);
    build_free(graph);
}

static void pair_should_not_be_fused_where_its_codes_are_read_elsewhere(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(8));
    struct pair pair = build_pair(graph, x, 0.1f, LDNQ_INT8, 0);
    build_output(graph, pair.y);
    build_output(graph, NODE(graph, "DequantizeLinear", "second", pair.codes, pair.scale));
    assert_not_fused(graph, pair.y);

    graph = build_graph();
    pair = build_pair(graph, build_input(graph, "x", SHAPE(8)), 0.1f, LDNQ_INT8, 0);
    build_output(graph, pair.y);
    build_output(graph, pair.codes);
    assert_not_fused(graph, pair.y);
}

static void pair_should_not_be_fused_unless_its_constants_are_scalars_that_agree(void **state)
{
    (void)state;
    /* A scale per channel. */
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(2, 8));
    struct ldnq_value *scales = build_weight(graph, "scales", SHAPE(8), 1);
    struct ldnq_value *codes = NODE(graph, "QuantizeLinear", "q", x, scales);
    struct ldnq_value *y = NODE(graph, "DequantizeLinear", "dq", codes, scales);
    build_output(graph, y);
    assert_not_fused(graph, y);

    /* A scale that is computed. */
    graph = build_graph();
    x = build_input(graph, "x", SHAPE(8));
    struct ldnq_value *scale = NODE(graph, "Neg", "neg", build_input(graph, "s", SHAPE(1)));
    y = NODE(graph, "DequantizeLinear", "dq", NODE(graph, "QuantizeLinear", "q", x, scale), scale);
    build_output(graph, y);
    assert_not_fused(graph, y);

    /* A zero point on one side only. */
    graph = build_graph();
    x = build_input(graph, "x", SHAPE(8));
    scale = build_scale(graph, 0.1f);
    codes = NODE(graph, "QuantizeLinear", "q", x, scale, build_zero(graph, LDNQ_UINT8, 9));
    y = NODE(graph, "DequantizeLinear", "dq", codes, scale);
    build_output(graph, y);
    assert_not_fused(graph, y);
}

static void pair_should_be_fused_where_its_operators_have_constants_of_their_own(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(1000));
    struct ldnq_value *codes = NODE(graph, "QuantizeLinear", "q", x, build_scale(graph, 0.01f),
                                    build_zero(graph, LDNQ_UINT8, 9));
    struct ldnq_value *y = NODE(graph, "DequantizeLinear", "dq", codes, build_scale(graph, 0.03f),
                                build_zero(graph, LDNQ_UINT8, 200));
    build_output(graph, y);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(1000), 3);
    assert_same_bits(run_pair(graph, y, NULL, input, NULL), run_pair(graph, y, codes, input, NULL));
    build_free(graph);
}

/* ---- batch tiling ---------------------------------------------------------------------- */

#define SAMPLES 300 /* of 4 KB */

static void tiling_should_include_pairs(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 16, 16));
    struct pair first = build_pair(graph, x, 0.01f, LDNQ_INT8, 5);
    struct ldnq_value *relu = NODE(graph, "Relu", "relu", first.y);
    struct pair second = build_pair(graph, relu, 0.005f, LDNQ_UINT8, 0);
    struct ldnq_value *out = NODE(graph, "Add", "add", second.y, relu);
    build_output(graph, out);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(SAMPLES, 4, 16, 16), 7);
    struct ldnq_tensor *fused = run_pair(graph, second.y, NULL, input, NULL);
    assert_same_bits(fused, run_pair(graph, second.y, second.codes, input, NULL));

    struct ldnq_exec *exec;
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    assert_int_equal(exec->tilings[0].last, graph->node_count);
    assert_ok(ldnq_exec_bind_inputs(exec, &input, &err));
    assert_ok(ldnq_exec_run_range(exec, 0, graph->node_count, &err)); /* without tiling */
    assert_same_bits(ldnq_exec_find_value(exec, out), fused);
    ldnq_exec_destroy(exec);
    build_free(graph);
}

static void tiling_should_not_include_pairs_with_a_scale_per_sample(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 16, 16));
    struct ldnq_value *scales = build_weight(graph, "scales", SHAPE(SAMPLES), 1);
    struct ldnq_value *codes = NODE(graph, "QuantizeLinear", "q", x, scales);
    struct ldnq_value *y = NODE(graph, "DequantizeLinear", "dq", codes, scales);
    build_attr(codes, "axis", 0);
    build_attr(y, "axis", 0);
    build_output(graph, NODE(graph, "Relu", "relu", y));
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_exec *exec;
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(SAMPLES, 4, 16, 16), 7);
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    assert_ok(ldnq_exec_run(exec, &input, &err));
    ldnq_exec_destroy(exec);
    build_free(graph);
}

/* ---- gradients ------------------------------------------------------------------------- */

/* With c = 1/1000, 2/1000 ... as the gradient of `out` = pair(-x) * w. */
static void gradients_should_not_depend_on_the_fusion(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(100));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(100), 5);
    struct ldnq_value *negative = NODE(graph, "Neg", "neg", x);
    struct pair pair = build_pair(graph, negative, 0.01f, LDNQ_INT8, 3);
    struct ldnq_value *product = NODE(graph, "Mul", "mul", pair.y, w);
    build_output(graph, product);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(100), 3);
    const struct ldnq_value *const of_w[] = { w }, *const of_x[] = { negative, pair.scale };

    /* The pair is upstream of all gradients: fused. */
    struct job job = job_of(graph, input);
    job.options = (struct ldnq_grad_options){ .requested = of_w, .requested_count = 1 };
    assert_ok(try_run(&job));
    struct ldnq_tensor *y = copy_of(graph, ldnq_grad_find_gradient(job.grad, 0));
    finish(&job);
    struct ldnq_exec *exec;
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    ldnq_exec_keep_until_reset(exec, pair.codes);
    ldnq_exec_keep_until_reset(exec, pair.y);
    assert_ok(ldnq_exec_run(exec, &input, &err));
    const float *dequantized = ldnq_exec_find_value(exec, pair.y)->data;
    for (int i = 0; i < 100; i++)
        assert_true(((float *)y->data)[i] == (float)(i + 1) / 1000.0f * dequantized[i]);
    ldnq_exec_destroy(exec);

    /* Gradients flow through the pair: its backward reads the codes. */
    job = job_of(graph, input);
    job.options = (struct ldnq_grad_options){ .requested = of_x, .requested_count = 2 };
    assert_ok(try_run(&job));
    const float *dx = ldnq_grad_find_gradient(job.grad, 0)->data;
    for (int i = 0; i < 100; i++) {
        double want = (i + 1) / 1000.0 * (double)((const float *)w->constant->data)[i];
        assert_true(fabs((double)dx[i] - want) <= 1e-6);
    }
    finish(&job);
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_pair_should_have_the_bits_of_the_two_operators),
        cmocka_unit_test(fused_pair_should_have_the_same_bits_on_any_number_of_threads),
        cmocka_unit_test(fused_pair_should_run_in_place),
        cmocka_unit_test(fused_pair_should_not_overwrite_what_is_read_again),
        cmocka_unit_test(fused_pair_should_follow_changes_of_its_constants),
        cmocka_unit_test(pair_should_not_be_fused_where_its_codes_are_read_elsewhere),
        cmocka_unit_test(pair_should_not_be_fused_unless_its_constants_are_scalars_that_agree),
        cmocka_unit_test(pair_should_be_fused_where_its_operators_have_constants_of_their_own),
        cmocka_unit_test(tiling_should_include_pairs),
        cmocka_unit_test(tiling_should_not_include_pairs_with_a_scale_per_sample),
        cmocka_unit_test(gradients_should_not_depend_on_the_fusion),
    };
    return cmocka_run_group_tests_name("quantize_pair", tests, NULL, NULL);
}
