/* SPDX-License-Identifier: Apache-2.0 */
/* Which activations get a pair, for graphs whose right answer is known, and that inserting
 * the pairs changes the computation by their rounding alone. */
#include "graph_build.h"

#include <math.h>

#include "ops/op.h"
#include "target/placement.h"

static const char *explain_float_weight(void *ctx, const struct ldnq_node *node)
{
    const char *without = ctx;
    return !without || strcmp(node->label, without) != 0 ? NULL : "its weight is float";
}

static struct ldnq_placement *place(struct ldnq_graph *graph, const char *target,
                                    const char *without)
{
    struct ldnq_placement *placement;
    const struct ldnq_target *record = ldnq_target_find(target);
    struct ldnq_placement_options options = { .target = record,
                                              .activation = record->activation,
                                              .explain_float_weight = explain_float_weight,
                                              .ctx = (void *)(uintptr_t)without };
    assert_ok(ldnq_passes_run(graph, &err));
    assert_ok(ldnq_placement_make(graph, &options, graph->arena, &placement, &err));
    return placement;
}

static const struct ldnq_placed_activation *activation_of(const struct ldnq_placement *placement,
                                                          const struct ldnq_value *value)
{
    for (size_t i = 0; i < placement->count; i++)
        if (placement->activations[i].value == value)
            return &placement->activations[i];
    return NULL;
}

/* x -> Conv -> Relu -> Conv -> Add (with the first's Relu) -> MaxPool -> out */
struct block {
    struct ldnq_graph *graph;
    struct ldnq_value *x, *conv1, *relu, *conv2, *add, *pool;
};

static struct block build_block(void)
{
    static const int64_t kernel[] = { 2, 2 };
    struct block b = { .graph = build_graph() };
    struct ldnq_graph *graph = b.graph;
    b.x = build_input(graph, "x", SHAPE(1, 3, 8, 8));
    b.conv1 = NODE(graph, "Conv", "conv1", b.x, build_weight(graph, "w1", SHAPE(4, 3, 1, 1), 1),
                   build_weight(graph, "b1", SHAPE(4), 2));
    b.relu = NODE(graph, "Relu", "relu", b.conv1);
    b.conv2 = NODE(graph, "Conv", "conv2", b.relu, build_weight(graph, "w2", SHAPE(4, 4, 1, 1), 3));
    b.add = NODE(graph, "Add", "add", b.relu, b.conv2);
    b.pool = NODE(graph, "MaxPool", "pool", b.add);
    build_attr_ints(b.pool, "kernel_shape", 2, kernel);
    build_output(graph, b.pool);
    return b;
}

static void ort_should_place_pairs_on_inputs_and_outputs(void **state)
{
    (void)state;
    struct block b = build_block();
    struct ldnq_placement *placement = place(b.graph, "ort", NULL);
    assert_non_null(activation_of(placement, b.x));
    assert_null(activation_of(placement, b.conv1)); /* the Relu joins it */
    assert_non_null(activation_of(placement, b.relu));
    assert_true(activation_of(placement, b.relu)->low == 0.0f);
    assert_non_null(activation_of(placement, b.conv2));
    assert_non_null(activation_of(placement, b.add));
    assert_non_null(activation_of(placement, b.pool));
    assert_int_equal(activation_of(placement, b.pool)->group,
                     activation_of(placement, b.add)->group);
    assert_int_not_equal(activation_of(placement, b.conv2)->group,
                         activation_of(placement, b.add)->group);
    assert_int_equal(placement->count, 5);
    build_free(b.graph);
}

static void tensorrt_should_leave_the_convolution_s_operand_of_an_add_without_a_pair(void **state)
{
    (void)state;
    struct block b = build_block();
    struct ldnq_placement *placement = place(b.graph, "tensorrt", NULL);
    assert_non_null(activation_of(placement, b.x));
    assert_non_null(activation_of(placement, b.relu));
    assert_null(activation_of(placement, b.conv2));
    assert_null(activation_of(placement, b.pool)); /* copies have none */
    assert_int_equal(placement->count, 2);
    build_free(b.graph);
}

static void layer_without_codes_should_stay_float_with_a_reason(void **state)
{
    (void)state;
    struct block b = build_block();
    struct ldnq_placement *placement = place(b.graph, "ort", "conv2");
    assert_int_equal(placement->runs[2], LDNQ_NODE_FLOAT);
    assert_int_equal(placement->float_count, 1);
    assert_ptr_equal(placement->float_nodes[0].node, b.conv2->producer);
    assert_string_equal(placement->float_nodes[0].reason, "its weight is float");
    assert_int_equal(placement->runs[0], LDNQ_NODE_INTEGER);
    build_free(b.graph);
}

static void weights_target_should_place_nothing(void **state)
{
    (void)state;
    struct block b = build_block();
    struct ldnq_placement *placement = place(b.graph, "weights", NULL);
    assert_int_equal(placement->count, 0);
    assert_ok(ldnq_placement_insert(placement, b.graph, &err));
    assert_int_equal(b.graph->node_count, 5);
    build_free(b.graph);
}

static void openvino_should_give_all_inputs_of_a_concat_one_scale(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(1, 3, 4, 4));
    struct ldnq_value *one =
        NODE(graph, "Conv", "one", x, build_weight(graph, "w1", SHAPE(4, 3, 1, 1), 1));
    struct ldnq_value *two =
        NODE(graph, "Conv", "two", x, build_weight(graph, "w2", SHAPE(4, 3, 1, 1), 2));
    struct ldnq_value *both = NODE(graph, "Concat", "both", one, two);
    build_attr(both, "axis", 1);
    build_output(
        graph, NODE(graph, "Conv", "last", both, build_weight(graph, "w3", SHAPE(2, 8, 1, 1), 3)));
    struct ldnq_placement *placement = place(graph, "openvino", NULL);
    const size_t group = activation_of(placement, one)->group;
    assert_int_equal(activation_of(placement, two)->group, group);
    assert_int_equal(activation_of(placement, both)->group, group);
    assert_int_not_equal(activation_of(placement, x)->group, group);
    build_free(graph);
}

/* Two convolutions, the second with a Sigmoid, whose range LiteRT fixes, and their Concat. */
struct detector {
    struct ldnq_graph *graph;
    struct ldnq_value *boxes, *scores, *both;
};

static struct detector build_detector(void)
{
    struct detector d = { .graph = build_graph() };
    struct ldnq_value *x = build_input(d.graph, "x", SHAPE(1, 3, 4, 4));
    d.boxes = NODE(d.graph, "Conv", "boxes", x, build_weight(d.graph, "w1", SHAPE(4, 3, 1, 1), 1));
    struct ldnq_value *exact =
        NODE(d.graph, "Conv", "exact", x, build_weight(d.graph, "w2", SHAPE(4, 3, 1, 1), 2));
    d.scores = NODE(d.graph, "Sigmoid", "scores", exact);
    d.both = NODE(d.graph, "Concat", "both", d.boxes, d.scores);
    build_attr(d.both, "axis", 1);
    build_output(d.graph, d.both);
    return d;
}

static void value_of_a_fixed_range_should_get_a_second_pair_beside_others(void **state)
{
    (void)state;
    struct detector d = build_detector();
    struct ldnq_placement *placement = place(d.graph, "tflite", NULL);
    const struct ldnq_placed_activation *first = activation_of(placement, d.scores);
    const struct ldnq_node *concat = d.both->producer;
    assert_true(first->fixed && !first->reader);
    assert_ptr_equal(first[1].value, d.scores);
    assert_ptr_equal(first[1].reader, concat);
    assert_int_equal(first[1].group, activation_of(placement, d.boxes)->group);
    assert_int_equal(first[1].group, activation_of(placement, d.both)->group);
    assert_int_not_equal(first[1].group, first->group);
    assert_ok(ldnq_placement_insert(placement, d.graph, &err));
    assert_ptr_equal(concat->inputs[1], first[1].dequantized);
    assert_ptr_equal(first[1].quantize->inputs[0], first->dequantized);
    build_free(d.graph);
}

/* Places the graph for qnn, where `value` needs 16 bits. */
static struct ldnq_placement *place_with_wide_value(struct ldnq_graph *graph,
                                                    const struct ldnq_value *value)
{
    struct ldnq_placement *placement;
    assert_ok(ldnq_passes_run(graph, &err));
    const char **wide = ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *wide, &err);
    const struct ldnq_placement_options options = { .target = &ldnq_target_qnn,
                                                    .activation = LDNQ_UINT8,
                                                    .explain_float_weight = explain_float_weight,
                                                    .wide = wide };
    assert_non_null(wide);
    wide[value->index] = "it is ruined";
    assert_ok(ldnq_placement_make(graph, &options, graph->arena, &placement, &err));
    return placement;
}

/* x -> Conv -> Relu -> Conv -> Add -> MaxPool, with 16 bits for the second convolution's output. */
static void kernels_around_a_wide_value_should_have_its_type(void **state)
{
    (void)state;
    struct block b = build_block();
    struct ldnq_placement *placement = place_with_wide_value(b.graph, b.conv2);
    const struct ldnq_placed_activation *wide = activation_of(placement, b.conv2),
                                        *relu = activation_of(placement, b.relu),
                                        *add = activation_of(placement, b.add);
    const struct ldnq_node *conv = b.conv2->producer, *sum = b.add->producer,
                           *pool = b.pool->producer;
    assert_int_equal(activation_of(placement, b.x)->dtype, LDNQ_UINT8);
    assert_int_equal(wide->dtype, LDNQ_UINT16);
    assert_string_equal(wide->wide_reason, "it is ruined");
    assert_false(wide[1].value == b.conv2); /* all that read it have its type */
    /* The Relu's codes of 8 bits are converted for the convolution and the Add. */
    assert_int_equal(relu->dtype, LDNQ_UINT8);
    assert_true(relu[1].value == b.relu && relu[1].converts);
    assert_int_equal(relu[1].dtype, LDNQ_UINT16);
    /* The Add writes 16 bits, which are converted for the pool. */
    assert_int_equal(add->dtype, LDNQ_UINT16);
    assert_null(add->wide_reason);
    assert_true(add[1].value == b.add && add[1].converts);
    assert_int_equal(add[1].dtype, LDNQ_UINT8);
    assert_int_equal(add[1].group, activation_of(placement, b.pool)->group);
    assert_int_not_equal(add->group, add[1].group);

    assert_ok(ldnq_placement_insert(placement, b.graph, &err));
    assert_ptr_equal(conv->inputs[0], relu[1].dequantized);
    assert_ptr_equal(sum->inputs[0], relu[1].dequantized);
    assert_ptr_equal(sum->inputs[1], wide->dequantized);
    assert_ptr_equal(pool->inputs[0], add[1].dequantized);
    assert_ptr_equal(relu[1].quantize->inputs[0], relu->dequantized);
    build_free(b.graph);
}

/* What moves codes has one scale, and so one type, on both sides. */
static void type_should_follow_the_scale_through_operators_that_move_codes(void **state)
{
    (void)state;
    struct block b = build_block();
    struct ldnq_placement *placement = place_with_wide_value(b.graph, b.pool);
    assert_int_equal(activation_of(placement, b.pool)->dtype, LDNQ_UINT16);
    assert_int_equal(activation_of(placement, b.add)->dtype, LDNQ_UINT16);
    assert_int_equal(activation_of(placement, b.add)->group,
                     activation_of(placement, b.pool)->group);
    assert_int_equal(activation_of(placement, b.conv2)->dtype, LDNQ_UINT8);
    assert_true(activation_of(placement, b.conv2)[1].converts);
    build_free(b.graph);
}

/* A constant has codes of its own for each type. */
static void constant_should_have_codes_of_both_types(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(1, 3, 4, 4));
    struct ldnq_value *conv =
        NODE(graph, "Conv", "conv", x, build_weight(graph, "w1", SHAPE(4, 3, 1, 1), 1));
    struct ldnq_value *shift = build_weight(graph, "shift", SHAPE(4, 1, 1), 5);
    struct ldnq_value *loud = NODE(graph, "Mul", "loud", conv, shift);
    build_output(graph, loud);
    build_output(graph, NODE(graph, "Add", "quiet", conv, shift));
    struct ldnq_placement *placement = place_with_wide_value(graph, loud);
    const struct ldnq_placed_activation *first = activation_of(placement, shift);
    assert_true(first->is_constant && first[1].is_constant && first[1].converts);
    assert_int_equal(first->dtype, LDNQ_UINT8);
    assert_int_equal(first[1].dtype, LDNQ_UINT16);
    const struct ldnq_node *wide = loud->producer;
    assert_ok(ldnq_placement_insert(placement, graph, &err));
    assert_ptr_equal(wide->inputs[1], first[1].dequantized);
    build_free(graph);
}

static void every_kernel_of_a_target_should_have_its_wide_type(void **state)
{
    (void)state;
    for (const struct ldnq_target *const *target = ldnq_targets(); *target; target++)
        for (const struct ldnq_operator_rule *rule = (*target)->rules;
             (*target)->wide_activation != LDNQ_UNDEFINED && rule->op_type; rule++)
            assert_true(rule->activations == 0 ||
                        (rule->activations & LDNQ_DTYPE_BIT((*target)->wide_activation)));
}

static void other_targets_should_need_no_second_pair(void **state)
{
    (void)state;
    static const char *const targets[] = { "ort", "openvino", "tensorrt", "qnn", "pow2" };
    for (size_t t = 0; t < sizeof targets / sizeof *targets; t++) {
        struct detector d = build_detector();
        struct ldnq_placement *placement = place(d.graph, targets[t], NULL);
        for (size_t i = 0; i < placement->count; i++)
            assert_null(placement->activations[i].reader);
        build_free(d.graph);
    }
}

static void set_scale_of(struct ldnq_placement *placement, const struct ldnq_value *value,
                         double high)
{
    const size_t group = activation_of(placement, value)->group;
    const struct ldnq_scale scale =
        ldnq_target_scale(placement->target, LDNQ_UINT8, 0.0, high, false);
    for (size_t i = 0; i < placement->count; i++)
        if (placement->activations[i].group == group)
            ldnq_activation_set_scale(&placement->activations[i], scale);
}

static float scale_at(const struct ldnq_placement *placement, const struct ldnq_value *value)
{
    return *(const float *)activation_of(placement, value)->scale->constant->data;
}

/* The largest range of all is that of every one; 12 % are too far. */
static void scales_that_differ_little_should_become_one_where_the_target_gains(void **state)
{
    (void)state;
    for (int near = 0; near < 2; near++) {
        struct detector d = build_detector();
        struct ldnq_placement *placement = place(d.graph, "qnn", NULL);
        assert_ok(ldnq_placement_insert(placement, d.graph, &err));
        const struct ldnq_value *both = placement->activations[placement->count - 1].value;
        set_scale_of(placement, d.boxes, 1.0);
        set_scale_of(placement, d.scores, near ? 1.08 : 1.12);
        set_scale_of(placement, both, 1.04);
        ldnq_placement_unify_near_scales(placement);
        assert_true((scale_at(placement, d.boxes) == scale_at(placement, d.scores)) == near);
        assert_true((scale_at(placement, d.boxes) == scale_at(placement, both)) == near);
        build_free(d.graph);
    }
}

static void gemm_should_write_a_float_output(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(2, 8));
    struct ldnq_value *y = NODE(graph, "Gemm", "fc", x, build_weight(graph, "w", SHAPE(8, 3), 1));
    build_output(graph, y);
    struct ldnq_placement *placement = place(graph, "ort", NULL);
    assert_int_equal(placement->count, 1);
    assert_ptr_equal(placement->activations[0].value, x);
    /* QNN wants a pair on every tensor. */
    assert_int_equal(place(graph, "qnn", NULL)->count, 2);
    build_free(graph);
}

static void inserted_pairs_should_only_round(void **state)
{
    (void)state;
    struct block b = build_block();
    struct ldnq_placement *placement = place(b.graph, "ort", NULL);
    struct ldnq_tensor *x = build_tensor(b.graph->arena, SHAPE(1, 3, 8, 8), 7);
    struct ldnq_tensor *before = build_run(b.graph, x);
    assert_ok(ldnq_placement_insert(placement, b.graph, &err));
    assert_int_equal(b.graph->node_count, 5 + 2 * 5);
    for (size_t i = 0; i < placement->count; i++) {
        struct ldnq_scale scale =
            ldnq_target_scale(placement->target, LDNQ_UINT8, -4.0, 4.0, false);
        ldnq_activation_set_scale(&placement->activations[i], scale);
    }
    struct ldnq_tensor *after = build_run(b.graph, x);
    const float *from = before->data, *to = after->data;
    double largest = 0;
    for (size_t i = 0; i < ldnq_tensor_count(before); i++)
        largest = fmax(largest, fabs((double)(from[i] - to[i])));
    assert_true(largest > 0 && largest < 0.2);
    build_free(b.graph);
}

static void graph_output_should_keep_its_name(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(1, 3, 4, 4));
    struct ldnq_value *y =
        NODE(graph, "Conv", "conv", x, build_weight(graph, "w", SHAPE(4, 3, 1, 1), 1));
    build_output(graph, y);
    const char *name = y->name;
    struct ldnq_placement *placement = place(graph, "ort", NULL);
    assert_ok(ldnq_placement_insert(placement, graph, &err));
    assert_string_equal(graph->outputs[0]->name, name);
    assert_string_equal(graph->outputs[0]->producer->op_type, "DequantizeLinear");
    build_free(graph);
}

/* x -> Conv -> Sigmoid -> Mul by a constant -> out; the end of a detector. */
static void end_of_a_network_should_stay_float_where_nothing_reads_its_codes(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(1, 3, 4, 4));
    struct ldnq_value *conv =
        NODE(graph, "Conv", "conv", x, build_weight(graph, "w", SHAPE(4, 3, 1, 1), 1));
    struct ldnq_value *sigmoid = NODE(graph, "Sigmoid", "sigmoid", conv);
    struct ldnq_value *scaled =
        NODE(graph, "Mul", "scaled", sigmoid, build_weight(graph, "stride", SHAPE(1), 2));
    build_output(graph, scaled);
    struct ldnq_placement *placement = place(graph, "ort", NULL);
    assert_non_null(activation_of(placement, conv));
    assert_true(activation_of(placement, conv)->is_only_codes);
    assert_null(activation_of(placement, sigmoid));
    assert_null(activation_of(placement, scaled));
    assert_int_equal(placement->float_count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_non_null(placement->float_nodes[i].reason);
    /* QNN wants a pair on every tensor. */
    assert_non_null(activation_of(place(graph, "qnn", NULL), sigmoid));
    build_free(graph);
}

/* A pool leaves fewer values to dequantize. */
static void pool_at_the_end_should_read_codes(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(1, 3, 4, 4));
    struct ldnq_value *conv =
        NODE(graph, "Conv", "conv", x, build_weight(graph, "w", SHAPE(4, 3, 1, 1), 1));
    struct ldnq_value *add = NODE(graph, "Add", "add", conv, conv);
    struct ldnq_value *pool = NODE(graph, "GlobalAveragePool", "pool", add);
    build_output(graph, pool);
    struct ldnq_placement *placement = place(graph, "ort", NULL);
    assert_int_equal(placement->float_count, 0);
    assert_non_null(activation_of(placement, pool));
    build_free(graph);
}

static void float_value_should_be_read_as_it_is_by_nodes_in_float(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(1, 3, 4, 4));
    struct ldnq_value *erf = NODE(graph, "Erf", "erf", x);
    struct ldnq_value *conv =
        NODE(graph, "Conv", "conv", erf, build_weight(graph, "w", SHAPE(3, 3, 1, 1), 1));
    build_output(graph, NODE(graph, "Sub", "sub", conv, erf));
    struct ldnq_placement *placement = place(graph, "ort", NULL);
    assert_false(activation_of(placement, erf)->is_only_codes);
    assert_ok(ldnq_placement_insert(placement, graph, &err));
    const struct ldnq_node *sub = graph->nodes[graph->node_count - 1];
    assert_ptr_equal(sub->inputs[1], erf);
    assert_string_equal(sub->inputs[0]->producer->op_type, "DequantizeLinear");
    build_free(graph);
}

static void pad_should_move_codes_and_fill_with_the_code_of_zero(void **state)
{
    (void)state;
    static const int64_t pads[] = { 0, 1, 1, 1, 0, 1, 1, 1 };
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(1, 3, 4, 4));
    struct ldnq_value *conv =
        NODE(graph, "Conv", "conv", x, build_weight(graph, "w", SHAPE(3, 3, 1, 1), 1));
    struct ldnq_value *padded = NODE(graph, "Pad", "pad", conv, build_ints(graph, "pads", 8, pads));
    build_output(graph, NODE(graph, "GlobalMaxPool", "pool", padded));
    struct ldnq_placement *placement = place(graph, "ort", NULL);
    assert_int_equal(activation_of(placement, padded)->group,
                     activation_of(placement, conv)->group);
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(1, 3, 4, 4), 7);
    struct ldnq_tensor *before = build_run(graph, input);
    assert_ok(ldnq_placement_insert(placement, graph, &err));
    assert_null(activation_of(placement, padded)->quantize);
    assert_int_equal(padded->dtype, LDNQ_UINT8);
    for (size_t i = 0; i < placement->count; i++)
        ldnq_activation_set_scale(
            &placement->activations[i],
            ldnq_target_scale(placement->target, LDNQ_UINT8, -4.0, 4.0, false));
    struct ldnq_tensor *after = build_run(graph, input);
    const float *from = before->data, *to = after->data;
    for (size_t i = 0; i < ldnq_tensor_count(before); i++)
        assert_true(fabs((double)(from[i] - to[i])) < 0.1);
    /* Without pairs it computes in float again. */
    struct ldnq_graph *clone;
    assert_ok(ldnq_graph_clone(graph, graph->arena, &clone, &err));
    assert_ok(ldnq_placement_bypass_pairs(placement, graph, clone, &err));
    struct ldnq_tensor *exact = build_run(clone, input);
    assert_memory_equal(exact->data, before->data, ldnq_tensor_count(before) * sizeof(float));
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ort_should_place_pairs_on_inputs_and_outputs),
        cmocka_unit_test(tensorrt_should_leave_the_convolution_s_operand_of_an_add_without_a_pair),
        cmocka_unit_test(layer_without_codes_should_stay_float_with_a_reason),
        cmocka_unit_test(weights_target_should_place_nothing),
        cmocka_unit_test(openvino_should_give_all_inputs_of_a_concat_one_scale),
        cmocka_unit_test(value_of_a_fixed_range_should_get_a_second_pair_beside_others),
        cmocka_unit_test(kernels_around_a_wide_value_should_have_its_type),
        cmocka_unit_test(type_should_follow_the_scale_through_operators_that_move_codes),
        cmocka_unit_test(constant_should_have_codes_of_both_types),
        cmocka_unit_test(every_kernel_of_a_target_should_have_its_wide_type),
        cmocka_unit_test(other_targets_should_need_no_second_pair),
        cmocka_unit_test(scales_that_differ_little_should_become_one_where_the_target_gains),
        cmocka_unit_test(gemm_should_write_a_float_output),
        cmocka_unit_test(inserted_pairs_should_only_round),
        cmocka_unit_test(graph_output_should_keep_its_name),
        cmocka_unit_test(end_of_a_network_should_stay_float_where_nothing_reads_its_codes),
        cmocka_unit_test(pool_at_the_end_should_read_codes),
        cmocka_unit_test(float_value_should_be_read_as_it_is_by_nodes_in_float),
        cmocka_unit_test(pad_should_move_codes_and_fill_with_the_code_of_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
