/* SPDX-License-Identifier: Apache-2.0 */
/* Each rule of lint has a graph that breaks it and one that keeps it. */
#include "graph_build.h"

#include "target/lint.h"

/* What a layer between two pairs has; zero is a file that every rule of ort accepts. */
struct layer_case {
    const char *op, *clamp;             /* op: Conv; clamp: none */
    enum ldnq_dtype weight, activation; /* int8 and uint8 */
    float input_scale, output_scale;    /* 0.5 */
    float bias_scale;                   /* of input scale times weight scale: 1 */
    int output_zero;
    bool float_bias, float_weight, float_input, float_output;
    bool per_channel, transposed, has_no_weight_zero;
    int opset;
};

static const struct layer_case kept = { .op = "Conv" };
static const struct ldnq_shape scalar = { .rank = 0 };

static struct ldnq_value *build_codes(struct ldnq_graph *graph, const char *name,
                                      enum ldnq_dtype dtype, struct ldnq_shape shape, int value)
{
    struct ldnq_tensor *tensor;
    struct ldnq_value *out;
    assert_ok(ldnq_tensor_create(graph->arena, dtype, &shape, &tensor, &err));
    for (size_t i = 0; i < ldnq_tensor_count(tensor); i++)
        switch (ldnq_dtype_size(dtype)) {
        case 1:
            ((int8_t *)tensor->data)[i] = (int8_t)value;
            break;
        case 2:
            ((int16_t *)tensor->data)[i] = (int16_t)value;
            break;
        default:
            ((int32_t *)tensor->data)[i] = value;
        }
    assert_ok(ldnq_graph_add_constant(graph, name, tensor, &out, &err));
    return out;
}

static struct ldnq_value *build_scales(struct ldnq_graph *graph, const char *name,
                                       struct ldnq_shape shape, float scale)
{
    struct ldnq_value *value = build_weight(graph, name, shape, 1);
    for (size_t i = 0; i < ldnq_tensor_count(value->constant); i++)
        ((float *)value->constant->data)[i] = scale;
    return value;
}

static const char *name_of(struct ldnq_graph *graph, const char *base, const char *part)
{
    char text[64];
    snprintf(text, sizeof text, "%s_%s", base, part);
    return ldnq_arena_strdup(graph->arena, text, &err);
}

static struct ldnq_value *build_pair(struct ldnq_graph *graph, const char *name,
                                     struct ldnq_value *value, enum ldnq_dtype dtype, float scale,
                                     int zero)
{
    struct ldnq_value *s = build_scales(graph, name_of(graph, name, "s"), scalar, scale);
    struct ldnq_value *z = build_codes(graph, name_of(graph, name, "z"), dtype, scalar, zero);
    struct ldnq_value *q = NODE(graph, "QuantizeLinear", name_of(graph, name, "q"), value, s, z);
    return NODE(graph, "DequantizeLinear", name_of(graph, name, "dq"), q, s, z);
}

static struct ldnq_value *build_layer_weight(struct ldnq_graph *graph, const struct layer_case *c)
{
    static const int64_t swap[] = { 1, 0 };
    const bool is_conv = strcmp(c->op, "Conv") == 0;
    const struct ldnq_shape shape = is_conv ? SHAPE(16, 16, 1, 1) : SHAPE(16, 16);
    const struct ldnq_shape scales = c->per_channel ? SHAPE(16) : scalar;
    const int64_t axis = is_conv || c->transposed ? 0 : 1;
    const enum ldnq_dtype dtype = c->weight ? c->weight : LDNQ_INT8;
    if (c->float_weight)
        return build_weight(graph, "w", shape, 1);
    struct ldnq_value *codes = build_codes(graph, "wc", dtype, shape, 1);
    struct ldnq_value *scale = build_scales(graph, "ws", scales, 0.5f);
    struct ldnq_value *zero = build_codes(graph, "wz", dtype, scales, 0);
    struct ldnq_value *weight = c->has_no_weight_zero
                                    ? NODE(graph, "DequantizeLinear", "wdq", codes, scale)
                                    : NODE(graph, "DequantizeLinear", "wdq", codes, scale, zero);
    if (c->per_channel)
        build_attr(weight, "axis", axis);
    if (c->transposed) {
        weight = NODE(graph, "Transpose", "wt", weight);
        build_attr_ints(weight, "perm", 2, swap);
    }
    return weight;
}

static struct ldnq_graph *build_case(const struct layer_case *c)
{
    struct ldnq_graph *graph = build_graph();
    const bool is_conv = strcmp(c->op, "Conv") == 0;
    const enum ldnq_dtype dtype = c->activation ? c->activation : LDNQ_UINT8;
    const float in = c->input_scale ? c->input_scale : 0.5f;
    const float out = c->output_scale ? c->output_scale : 0.5f;
    const float ratio = c->bias_scale ? c->bias_scale : 1;
    struct ldnq_value *x = build_input(graph, "x", is_conv ? SHAPE(1, 16, 5, 5) : SHAPE(3, 16));
    if (!c->float_input)
        x = build_pair(graph, "x", x, dtype, in, 0);
    struct ldnq_value *weight = build_layer_weight(graph, c), *y;
    if (strcmp(c->op, "MatMul") == 0) {
        y = NODE(graph, c->op, "layer", x, weight);
    } else {
        const struct ldnq_shape scales = c->per_channel ? SHAPE(16) : scalar;
        struct ldnq_value *bias = build_weight(graph, "b", SHAPE(16), 2);
        if (!c->float_bias) {
            bias = NODE(graph, "DequantizeLinear", "bdq",
                        build_codes(graph, "bc", LDNQ_INT32, SHAPE(16), 3),
                        build_scales(graph, "bs", scales, in * 0.5f * ratio),
                        build_codes(graph, "bz", LDNQ_INT32, scales, 0));
            if (c->per_channel)
                build_attr(bias, "axis", 0);
        }
        y = NODE(graph, c->op, "layer", x, weight, bias);
    }
    if (c->clamp)
        y = NODE(graph, c->clamp, "clamp", y);
    if (!c->float_output)
        y = build_pair(graph, "y", y, dtype, out, c->output_zero);
    build_output(graph, y);
    return graph;
}

static const struct ldnq_lint *lint_graph(struct ldnq_graph *graph, const char *target, int opset)
{
    struct ldnq_lint *lint;
    for (size_t i = 0; i < graph->node_count; i++)
        graph->nodes[i]->opset = opset ? opset : 21;
    assert_ok(ldnq_pass_bind_and_fold(graph, &err));
    assert_ok(ldnq_lint_run(graph, ldnq_target_find(target), opset ? opset : 21, graph->arena,
                            &lint, &err));
    return lint;
}

static const struct ldnq_finding *find_rule(const struct ldnq_lint *lint, const char *rule)
{
    for (size_t i = 0; i < lint->count; i++)
        if (strcmp(lint->findings[i].rule, rule) == 0)
            return &lint->findings[i];
    return NULL;
}

/* The case breaks this rule and no other above a note. */
static void assert_breaks(struct layer_case c, const char *target, const char *rule,
                          enum ldnq_severity severity, bool computes_on_integers)
{
    c.op = c.op ? c.op : "Conv";
    struct ldnq_graph *graph = build_case(&c);
    const struct ldnq_lint *lint = lint_graph(graph, target, c.opset);
    const struct ldnq_finding *finding = find_rule(lint, rule);
    if (!finding)
        fail_msg("%s: no finding '%s'", target, rule);
    assert_int_equal(finding->severity, severity);
    assert_true(*finding->message && *finding->advice && *finding->cost);
    for (size_t i = 0; i < lint->count; i++)
        if (lint->findings[i].severity > LDNQ_NOTE)
            assert_string_equal(lint->findings[i].rule, rule);
    assert_int_equal(lint->integer_nodes, computes_on_integers);
    assert_int_equal(lint->float_nodes, !computes_on_integers);
    build_free(graph);
}

static void assert_keeps(struct layer_case c, const char *target)
{
    c.op = c.op ? c.op : "Conv";
    struct ldnq_graph *graph = build_case(&c);
    const struct ldnq_lint *lint = lint_graph(graph, target, c.opset);
    if (lint->count)
        fail_msg("%s: %s: %s", target, lint->findings[0].rule, lint->findings[0].message);
    assert_int_equal(lint->integer_nodes, 1);
    assert_int_equal(lint->float_nodes, 0);
    build_free(graph);
}

#define CASE(...) ((struct layer_case){ __VA_ARGS__ })

/* ---- layers --------------------------------------------------------------------------------- */

static void files_of_either_tool_should_keep_the_rules_of_ort(void **state)
{
    (void)state;
    assert_keeps(kept, "ort");
    assert_keeps(CASE(.per_channel = true), "ort");
    assert_keeps(CASE(.weight = LDNQ_UINT8), "ort");
    assert_keeps(CASE(.activation = LDNQ_INT8), "ort");
    assert_keeps(CASE(.op = "Gemm", .per_channel = true), "ort");
    assert_keeps(CASE(.op = "Gemm", .transposed = true, .per_channel = true), "ort");
    assert_keeps(CASE(.op = "MatMul"), "ort");
    assert_keeps(CASE(.op = "MatMul", .float_output = true), "ort");
    assert_keeps(CASE(.op = "MatMul", .transposed = true, .per_channel = true), "ort");
}

static void bias_should_have_the_scale_of_the_products(void **state)
{
    (void)state;
    assert_breaks(CASE(.bias_scale = 2), "ort", "bias-scale", LDNQ_SLOWER, false);
    assert_breaks(CASE(.bias_scale = 2, .per_channel = true), "ort", "bias-scale", LDNQ_SLOWER,
                  false);
}

static void bias_should_have_the_form_of_the_target(void **state)
{
    (void)state;
    const enum ldnq_dtype int8 = LDNQ_INT8;
    assert_breaks(CASE(.float_bias = true), "ort", "bias-int32", LDNQ_NOTE, true);
    assert_breaks(CASE(.float_bias = true), "qnn", "bias-int32", LDNQ_SLOWER, false);
    assert_keeps(kept, "qnn");
    assert_breaks(CASE(.activation = int8), "tensorrt", "bias-float", LDNQ_BROKEN, true);
    assert_keeps(CASE(.activation = int8, .float_bias = true), "tensorrt");
    assert_keeps(CASE(.float_bias = true), "openvino");
}

static void weight_should_have_codes_that_the_target_computes_on(void **state)
{
    (void)state;
    assert_breaks(CASE(.weight = LDNQ_INT4), "ort", "weight-bits", LDNQ_SLOWER, false);
    assert_keeps(CASE(.weight = LDNQ_INT4), "qnn");
    assert_breaks(CASE(.float_weight = true), "ort", "weight-float", LDNQ_SLOWER, false);
    assert_breaks(CASE(.op = "Gemm", .has_no_weight_zero = true), "ort", "weight-zero-point",
                  LDNQ_SLOWER, false);
    assert_keeps(CASE(.has_no_weight_zero = true), "ort");
    assert_keeps(CASE(.op = "MatMul", .has_no_weight_zero = true), "ort");
}

static void weight_should_have_one_scale_where_the_target_has_one(void **state)
{
    (void)state;
    const struct layer_case int8 = { .activation = LDNQ_INT8 };
    struct layer_case channels = int8;
    channels.per_channel = true;
    assert_keeps(int8, "pow2");
    assert_breaks(channels, "pow2", "weight-per-tensor", LDNQ_BROKEN, true);
    assert_breaks(CASE(.op = "MatMul", .per_channel = true), "qnn", "weight-per-tensor", LDNQ_NOTE,
                  true);
    assert_keeps(CASE(.per_channel = true), "qnn");
}

static void weights_alone_should_be_slower_but_in_a_product(void **state)
{
    (void)state;
    struct layer_case alone = { .float_input = true, .float_output = true, .float_bias = true };
    assert_breaks(alone, "ort", "weights-only", LDNQ_SLOWER, false);
    alone.op = "MatMul";
    assert_breaks(alone, "ort", "rounded-input", LDNQ_NOTE, true);
    alone.transposed = true;
    assert_breaks(alone, "ort", "rounded-input", LDNQ_NOTE, true);
    assert_breaks(alone, "tensorrt", "weights-only", LDNQ_SLOWER, false);
}

static void weights_in_blocks_after_a_transpose_should_be_slower(void **state)
{
    (void)state;
    for (int transposed = 0; transposed < 2; transposed++) {
        static const int64_t swap[] = { 1, 0 };
        struct ldnq_graph *graph = build_graph();
        struct ldnq_value *x = build_input(graph, "x", SHAPE(3, 32));
        struct ldnq_value *codes =
            build_codes(graph, "wc", LDNQ_INT4, transposed ? SHAPE(4, 32) : SHAPE(32, 4), 1);
        struct ldnq_value *scales =
            build_scales(graph, "ws", transposed ? SHAPE(4, 2) : SHAPE(2, 4), 0.5f);
        struct ldnq_value *weight = NODE(graph, "DequantizeLinear", "wdq", codes, scales);
        build_attr(weight, "axis", transposed);
        build_attr(weight, "block_size", 16);
        if (transposed) {
            weight = NODE(graph, "Transpose", "wt", weight);
            build_attr_ints(weight, "perm", 2, swap);
        }
        build_output(graph, NODE(graph, "MatMul", "layer", x, weight));
        const struct ldnq_lint *lint = lint_graph(graph, "ort", 21);
        assert_int_equal(lint->count, 1);
        assert_int_equal(lint->findings[0].severity, transposed ? LDNQ_SLOWER : LDNQ_NOTE);
        build_free(graph);
    }
}

static void layer_without_codes_should_be_noted(void **state)
{
    (void)state;
    assert_breaks(
        CASE(.float_input = true, .float_output = true, .float_bias = true, .float_weight = true),
        "ort", "no-pairs", LDNQ_NOTE, false);
}

/* ---- outputs -------------------------------------------------------------------------------- */

static void output_should_have_a_pair_where_the_kernel_writes_codes(void **state)
{
    (void)state;
    assert_breaks(CASE(.float_output = true), "ort", "output-pair", LDNQ_SLOWER, false);
    assert_keeps(CASE(.op = "Gemm", .float_output = true), "ort");
    assert_keeps(CASE(.float_output = true, .float_bias = true), "openvino");
}

static void relu_should_be_implied_by_the_range_of_the_codes(void **state)
{
    (void)state;
    assert_breaks(CASE(.clamp = "Relu", .output_zero = 10), "ort", "relu-range", LDNQ_SLOWER,
                  false);
    assert_keeps(CASE(.clamp = "Relu"), "ort");
    assert_keeps(CASE(.clamp = "Relu", .activation = LDNQ_INT8, .output_zero = -128), "ort");
    assert_keeps(CASE(.clamp = "Relu"), "qnn"); /* the Relu itself is not counted */
}

/* ---- pairs ---------------------------------------------------------------------------------- */

static void activations_should_have_a_type_of_the_target(void **state)
{
    (void)state;
    assert_breaks(CASE(.activation = LDNQ_UINT16), "ort", "activation-type", LDNQ_SLOWER, false);
    assert_breaks(CASE(.float_bias = true), "tensorrt", "activation-type", LDNQ_BROKEN, false);
    assert_keeps(CASE(.activation = LDNQ_UINT16), "qnn");
}

/* ONNX Runtime rewrites int8 codes to uint8, but not those with several readers. */
static void int8_codes_of_ort_should_have_one_reader(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ldnq_graph *graph = build_graph();
        struct ldnq_value *x = build_input(graph, "x", SHAPE(1, 4));
        x = build_pair(graph, "x", x, i ? LDNQ_INT8 : LDNQ_UINT8, 0.5f, 0);
        struct ldnq_value *y = NODE(graph, "Add", "twice", x, x);
        build_output(graph, build_pair(graph, "y", y, LDNQ_UINT8, 0.5f, 0));
        const struct ldnq_lint *lint = lint_graph(graph, "ort", 21);
        assert_int_equal(find_rule(lint, "shared-int8") != NULL, i);
        assert_int_equal(lint->integer_nodes, !i);
        build_free(graph);
    }
}

static void activations_should_be_symmetric_where_the_target_is(void **state)
{
    (void)state;
    const struct layer_case moved = { .activation = LDNQ_INT8,
                                      .float_bias = true,
                                      .output_zero = 3 };
    assert_breaks(moved, "tensorrt", "symmetric", LDNQ_BROKEN, true);
    assert_keeps(moved, "openvino");
}

static void scales_should_be_powers_of_two_where_the_target_shifts(void **state)
{
    (void)state;
    assert_breaks(CASE(.activation = LDNQ_INT8, .output_scale = 0.3f), "pow2", "power-of-two",
                  LDNQ_BROKEN, true);
    assert_keeps(CASE(.activation = LDNQ_INT8), "pow2");
}

static void opset_should_have_what_the_file_needs(void **state)
{
    (void)state;
    assert_keeps(CASE(.opset = 12), "ort"); /* one scale per tensor */
    assert_breaks(CASE(.opset = 12), "qnn", "opset", LDNQ_BROKEN, true);
    assert_keeps(CASE(.opset = 13, .per_channel = true), "qnn");
}

/* ---- operators without weights -------------------------------------------------------------- */

/* Add or Concat of two inputs with these scales (0: no pair). */
static struct ldnq_graph *build_two_inputs(const char *op, float first, float second)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *a = build_input(graph, "a", SHAPE(1, 4));
    struct ldnq_value *b = build_input(graph, "b", SHAPE(1, 4));
    if (first > 0)
        a = build_pair(graph, "a", a, LDNQ_INT8, first, 0);
    if (second > 0)
        b = build_pair(graph, "b", b, LDNQ_INT8, second, 0);
    struct ldnq_value *y = NODE(graph, op, "both", a, b);
    if (strcmp(op, "Concat") == 0)
        build_attr(y, "axis", 1);
    build_output(graph, build_pair(graph, "y", y, LDNQ_INT8, 0.5f, 0));
    return graph;
}

static void assert_two_inputs(const char *op, float second, const char *target, const char *rule)
{
    struct ldnq_graph *graph = build_two_inputs(op, 0.5f, second);
    const struct ldnq_lint *lint = lint_graph(graph, target, 21);
    assert_int_equal(lint->count, rule ? 1 : 0);
    if (rule)
        assert_string_equal(lint->findings[0].rule, rule);
    build_free(graph);
}

static void both_inputs_of_an_add_should_have_pairs(void **state)
{
    (void)state;
    assert_two_inputs("Add", 0.0f, "ort", "input-pair");
    assert_two_inputs("Add", 0.25f, "ort", NULL);
}

static void all_inputs_of_a_concat_should_have_one_scale_where_the_target_needs_it(void **state)
{
    (void)state;
    assert_two_inputs("Concat", 0.25f, "openvino", "one-scale");
    assert_two_inputs("Concat", 0.5f, "openvino", NULL);
    assert_two_inputs("Concat", 0.25f, "ort", NULL);
}

static void residual_of_tensorrt_should_have_no_pair_after_the_layer(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(1, 16, 5, 5));
    x = build_pair(graph, "x", x, LDNQ_INT8, 0.5f, 0);
    struct ldnq_value *layer = NODE(graph, "Conv", "layer", x, build_layer_weight(graph, &kept));
    build_output(graph, NODE(graph, "Add", "add", x, layer));
    const struct ldnq_lint *lint = lint_graph(graph, "tensorrt", 21);
    assert_int_equal(lint->count, 0);
    assert_int_equal(lint->integer_nodes, 2);
    build_free(graph);
}

static void operator_that_moves_codes_should_have_one_scale_on_both_sides(void **state)
{
    (void)state;
    static const char *const rules[] = { NULL, "same-scale", "move-pair" };
    static const int64_t swap[] = { 1, 0 };
    for (size_t i = 0; i < 3; i++) {
        struct ldnq_graph *graph = build_graph();
        struct ldnq_value *x = build_input(graph, "x", SHAPE(3, 4));
        struct ldnq_value *y =
            NODE(graph, "Transpose", "move", build_pair(graph, "x", x, LDNQ_UINT8, 0.5f, 0));
        build_attr_ints(y, "perm", 2, swap);
        if (i < 2)
            y = build_pair(graph, "y", y, LDNQ_UINT8, i ? 0.25f : 0.5f, 0);
        build_output(graph, y);
        const struct ldnq_lint *lint = lint_graph(graph, "ort", 21);
        assert_int_equal(lint->count, rules[i] ? 1 : 0);
        assert_int_equal(lint->integer_nodes, i == 0);
        if (rules[i])
            assert_string_equal(lint->findings[0].rule, rules[i]);
        build_free(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_either_tool_should_keep_the_rules_of_ort),
        cmocka_unit_test(bias_should_have_the_scale_of_the_products),
        cmocka_unit_test(bias_should_have_the_form_of_the_target),
        cmocka_unit_test(weight_should_have_codes_that_the_target_computes_on),
        cmocka_unit_test(weight_should_have_one_scale_where_the_target_has_one),
        cmocka_unit_test(weights_alone_should_be_slower_but_in_a_product),
        cmocka_unit_test(weights_in_blocks_after_a_transpose_should_be_slower),
        cmocka_unit_test(layer_without_codes_should_be_noted),
        cmocka_unit_test(output_should_have_a_pair_where_the_kernel_writes_codes),
        cmocka_unit_test(relu_should_be_implied_by_the_range_of_the_codes),
        cmocka_unit_test(activations_should_have_a_type_of_the_target),
        cmocka_unit_test(int8_codes_of_ort_should_have_one_reader),
        cmocka_unit_test(activations_should_be_symmetric_where_the_target_is),
        cmocka_unit_test(scales_should_be_powers_of_two_where_the_target_shifts),
        cmocka_unit_test(opset_should_have_what_the_file_needs),
        cmocka_unit_test(both_inputs_of_an_add_should_have_pairs),
        cmocka_unit_test(all_inputs_of_a_concat_should_have_one_scale_where_the_target_needs_it),
        cmocka_unit_test(residual_of_tensorrt_should_have_no_pair_after_the_layer),
        cmocka_unit_test(operator_that_moves_codes_should_have_one_scale_on_both_sides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
