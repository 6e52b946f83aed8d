/* SPDX-License-Identifier: Apache-2.0 */
/* Binding, BatchNormalization, dead code. */
#include "graph_build.h"

#include <math.h>

/* x -> Conv -> BatchNormalization -> out; the convolution has groups and a bias. */
struct normed {
    struct ldnq_graph *graph;
    struct ldnq_value *weight, *conv, *out;
};

static struct normed build_normed(void)
{
    struct normed n = { .graph = build_graph() };
    struct ldnq_graph *graph = n.graph;
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 5, 5));
    n.weight = build_weight(graph, "w", SHAPE(6, 2, 3, 3), 1);
    n.conv = NODE(graph, "Conv", "conv", x, n.weight, build_weight(graph, "b", SHAPE(6), 2));
    build_attr(n.conv, "group", 2);
    struct ldnq_value *variance = build_weight(graph, "var", SHAPE(6), 6);
    for (int i = 0; i < 6; i++)
        ((float *)variance->constant->data)[i] += 1.5f;
    n.out =
        NODE(graph, "BatchNormalization", "norm", n.conv, build_weight(graph, "scale", SHAPE(6), 3),
             build_weight(graph, "shift", SHAPE(6), 4), build_weight(graph, "mean", SHAPE(6), 5),
             variance);
    return n;
}

static struct ldnq_tensor *sample(struct ldnq_graph *graph)
{
    return build_tensor(graph->arena, SHAPE(2, 4, 5, 5), 9);
}

static void batchnorm_should_not_change_what_the_network_computes(void **state)
{
    (void)state;
    struct normed n = build_normed();
    build_output(n.graph, n.out);
    assert_ok(ldnq_ops_bind(n.graph, &err));
    struct ldnq_tensor *before = build_run(n.graph, sample(n.graph));
    float *weight = n.weight->constant->data, first = weight[0];
    assert_ok(ldnq_passes_run(n.graph, &err));
    assert_int_equal(n.graph->node_count, 1);
    assert_int_equal(n.graph->nodes[0]->merged_count, 1);
    assert_string_equal(n.graph->nodes[0]->merged[0]->label, "norm");
    assert_ptr_equal(n.graph->nodes[0]->outputs[0], n.out);
    assert_close(build_run(n.graph, sample(n.graph)), before, 1e-5);
    /* Others may read the same initializer. */
    assert_true(weight[0] == first);
    build_free(n.graph);
}

static void batchnorm_should_stay_where_the_convolution_is_read_elsewhere(void **state)
{
    (void)state;
    struct normed n = build_normed();
    build_output(n.graph, NODE(n.graph, "Add", "add", n.out, n.conv));
    assert_ok(ldnq_passes_run(n.graph, &err));
    assert_int_equal(n.graph->node_count, 3);
    build_free(n.graph);

    n = build_normed();
    build_output(n.graph, n.out);
    build_output(n.graph, n.conv);
    assert_ok(ldnq_passes_run(n.graph, &err));
    assert_int_equal(n.graph->node_count, 2);
    build_free(n.graph);
}

static void batchnorm_should_stay_where_its_numbers_come_with_the_data(void **state)
{
    (void)state;
    struct normed n = build_normed();
    struct ldnq_value *scale = build_input(n.graph, "s", SHAPE(6));
    n.out->producer->inputs[1] = scale;
    build_output(n.graph, n.out);
    assert_ok(ldnq_passes_run(n.graph, &err));
    assert_int_equal(n.graph->node_count, 2);
    build_free(n.graph);
}

/* x -> Pad -> Conv; the convolution has pads of its own. */
static struct ldnq_graph *build_padded(const int64_t pads[8], struct ldnq_value **pad)
{
    static const int64_t own[] = { 1, 0, 0, 2 };
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 2, 5, 4));
    *pad = NODE(graph, "Pad", "pad", x, build_ints(graph, "pads", 8, pads));
    struct ldnq_value *out =
        NODE(graph, "Conv", "conv", *pad, build_weight(graph, "w", SHAPE(3, 2, 3, 3), 1));
    build_attr_ints(out, "pads", 4, own);
    build_output(graph, out);
    return graph;
}

static const int64_t spatial[] = { 0, 0, 2, 1, 0, 0, 0, 3 };

static void pad_should_be_merged_into_the_convolution_after_it(void **state)
{
    (void)state;
    struct ldnq_value *pad;
    struct ldnq_graph *graph = build_padded(spatial, &pad);
    assert_ok(ldnq_ops_bind(graph, &err));
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(2, 2, 5, 4), 9);
    struct ldnq_tensor *before = build_run(graph, input);
    assert_ok(ldnq_passes_run(graph, &err));
    assert_int_equal(graph->node_count, 1);
    assert_close(build_run(graph, input), before, 1e-6);
    build_free(graph);
}

static void pad_should_stay_where_a_convolution_can_not_do_it(void **state)
{
    (void)state;
    static const int64_t cuts[] = { 0, 0, -1, 1, 0, 0, 0, 3 };
    struct ldnq_value *pad;
    struct ldnq_graph *graph = build_padded(cuts, &pad);
    assert_ok(ldnq_passes_run(graph, &err));
    assert_int_equal(graph->node_count, 2);
    build_free(graph);

    graph = build_padded(spatial, &pad);
    struct ldnq_value *one = build_weight(graph, "one", SHAPE(1), 3);
    pad->producer->inputs[pad->producer->input_count++] = one;
    assert_ok(ldnq_passes_run(graph, &err));
    assert_int_equal(graph->node_count, 2);
    build_free(graph);

    graph = build_padded(spatial, &pad);
    struct ldnq_attr *attrs = (struct ldnq_attr *)(uintptr_t)pad->producer->attrs;
    attrs[pad->producer->attr_count++] =
        (struct ldnq_attr){ .name = "mode", .kind = LDNQ_ATTR_STRING, .s = "edge" };
    assert_ok(ldnq_passes_run(graph, &err));
    assert_int_equal(graph->node_count, 2);
    build_free(graph);
}

static void pad_should_stay_for_others_who_read_it(void **state)
{
    (void)state;
    struct ldnq_value *pad;
    struct ldnq_graph *graph = build_padded(spatial, &pad);
    build_output(graph, pad);
    assert_ok(ldnq_passes_run(graph, &err));
    assert_int_equal(graph->node_count, 2);
    assert_string_equal(ldnq_graph_find_node(graph, "conv")->inputs[0]->name, "x");
    build_free(graph);
}

static void dead_should_take_out_what_nothing_reads(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(2, 3));
    struct ldnq_value *used = NODE(graph, "Relu", "used", x);
    struct ldnq_value *unused = NODE(graph, "Relu", "unused", x);
    NODE(graph, "Exp", "after", unused);
    struct ldnq_value *captured = NODE(graph, "Neg", "captured", x);
    struct ldnq_value *out = NODE(graph, "Abs", "out", used);
    out->producer->captures = &captured;
    out->producer->capture_count = 1;
    build_output(graph, out);
    assert_ok(ldnq_pass_remove_dead_nodes(graph, &err));
    assert_int_equal(graph->node_count, 3);
    assert_null(ldnq_graph_find_node(graph, "unused"));
    assert_non_null(ldnq_graph_find_node(graph, "captured"));
    assert_ok(ldnq_graph_verify(graph, &err));
    build_free(graph);
}

static void bind_should_give_open_dimensions_their_size(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    int64_t n = build_symbol(graph, "N"), unnamed = build_symbol(graph, NULL);
    struct ldnq_value *x = build_input(graph, "x", SHAPE(n, 3, unnamed, 7));
    struct ldnq_value *y = build_input(graph, "y", SHAPE(n));
    assert_ok(ldnq_pass_bind_dim(graph, "N", 4, &err));
    assert_ok(ldnq_pass_bind_dim(graph, "x:2", 9, &err));
    assert_true(ldnq_shapes_are_equal(&x->shape, &SHAPE(4, 3, 9, 7)));
    assert_true(ldnq_shapes_are_equal(&y->shape, &SHAPE(4)));
    build_free(graph);
}

static void bind_should_name_the_dimensions_there_are(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    build_input(graph, "x", SHAPE(build_symbol(graph, "batch"), 3));
    assert_fails(ldnq_pass_bind_dim(graph, "N", 4, &err), LDNQ_USAGE, "'batch'");
    assert_fails(ldnq_pass_bind_dim(graph, "batch", 0, &err), LDNQ_USAGE, "can't be 0");
    assert_fails(ldnq_pass_bind_dim(graph, "x:1", 4, &err), LDNQ_USAGE, "'x:1'");
    assert_fails(ldnq_pass_bind_dim(graph, "x:7", 4, &err), LDNQ_USAGE, "'x:7'");
    build_free(graph);
}

static void run_should_name_all_nodes_that_can_not_be_executed(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(2, 3));
    struct ldnq_value *a = NODE(graph, "Decode", "first", x);
    struct ldnq_value *b = NODE(graph, "Relu", "known", a);
    build_output(graph, NODE(graph, "Encode", "second", b));
    assert_fails(ldnq_passes_run(graph, &err), LDNQ_UNSUPPORTED, "'first'");
    assert_non_null(strstr(err.message, "'second'"));
    assert_null(strstr(err.message, "'known'"));
    assert_null(strchr(err.message, '\n'));
    build_free(graph);
}

static void batchnorm_should_stay_where_the_merged_numbers_are_not_finite(void **state)
{
    (void)state;
    struct normed n = build_normed();
    ((float *)n.out->producer->inputs[4]->constant->data)[3] = -1.0f; /* the root of the variance */
    build_output(n.graph, n.out);
    assert_ok(ldnq_passes_run(n.graph, &err));
    assert_int_equal(n.graph->node_count, 2);
    assert_ptr_equal(n.graph->nodes[0]->inputs[1], n.weight);
    build_free(n.graph);
}

static void batchnorm_should_stay_after_a_gemm_whose_beta_is_tiny(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(2, 3));
    struct ldnq_value *gemm =
        NODE(graph, "Gemm", "fc", x, build_weight(graph, "w", SHAPE(3, 4), 1));
    struct ldnq_node *node = gemm->producer;
    struct ldnq_attr *attrs = (struct ldnq_attr *)(uintptr_t)node->attrs;
    attrs[node->attr_count++] =
        (struct ldnq_attr){ .name = "beta", .kind = LDNQ_ATTR_FLOAT, .f = 1e-40f };
    struct ldnq_value *variance = build_weight(graph, "var", SHAPE(4), 2);
    for (int i = 0; i < 4; i++)
        ((float *)variance->constant->data)[i] += 1.5f;
    build_output(graph, NODE(graph, "BatchNormalization", "norm", gemm,
                             build_weight(graph, "scale", SHAPE(4), 3),
                             build_weight(graph, "shift", SHAPE(4), 4),
                             build_weight(graph, "mean", SHAPE(4), 5), variance));
    assert_ok(ldnq_passes_run(graph, &err));
    assert_int_equal(graph->node_count, 2);
    struct ldnq_tensor *out = build_run(graph, build_tensor(graph->arena, SHAPE(2, 3), 9));
    for (int i = 0; i < 8; i++)
        assert_true(isfinite(((float *)out->data)[i]));
    build_free(graph);
}

/* Behind a foreign node nothing is inferred, and so nothing has been checked. */
static void batchnorm_should_stay_where_the_bias_does_not_fit(void **state)
{
    (void)state;
    struct normed n = build_normed();
    struct ldnq_node *conv = n.conv->producer;
    n.graph->node_count = 0;
    conv->inputs[0] = NODE(n.graph, "Foreign", "foreign", conv->inputs[0]);
    conv->inputs[2] = build_weight(n.graph, "short", SHAPE(1), 2);
    n.graph->nodes[n.graph->node_count++] = conv;
    n.graph->nodes[n.graph->node_count++] = n.out->producer;
    build_output(n.graph, n.out);
    assert_fails(ldnq_ops_bind(n.graph, &err), LDNQ_UNSUPPORTED, "'foreign'");
    assert_ok(ldnq_pass_fold_constants(n.graph, &err));
    assert_ok(ldnq_pass_merge_batchnorms(n.graph, &err));
    assert_int_equal(n.graph->node_count, 3);
    build_free(n.graph);
}

static void batchnorm_should_remember_where_the_weight_came_from(void **state)
{
    (void)state;
    struct normed n = build_normed();
    struct ldnq_node *conv = n.conv->producer;
    n.graph->node_count = 0;
    struct ldnq_value *twice = NODE(n.graph, "Add", "twice", n.weight, n.weight);
    conv->inputs[1] = twice;
    n.graph->nodes[n.graph->node_count++] = conv;
    n.graph->nodes[n.graph->node_count++] = n.out->producer;
    build_output(n.graph, n.out);
    assert_ok(ldnq_ops_bind(n.graph, &err));
    assert_ok(ldnq_pass_fold_constants(n.graph, &err));
    twice->from_codes = true;
    assert_ok(ldnq_pass_merge_batchnorms(n.graph, &err));
    assert_int_equal(n.graph->node_count, 1);
    assert_ptr_not_equal(conv->inputs[1], twice);
    assert_ptr_equal(conv->inputs[1]->folded_from, twice->folded_from);
    assert_non_null(twice->folded_from);
    assert_true(conv->inputs[1]->from_codes && !conv->inputs[2]->from_codes);
    build_free(n.graph);
}

static void bind_should_list_only_what_is_open(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    build_symbol(graph, "elsewhere"); /* of an output, say */
    int64_t n = build_symbol(graph, "N"), unnamed = build_symbol(graph, NULL);
    build_input(graph, "x", SHAPE(n, 3, unnamed));
    build_input(graph, "y", SHAPE(n));
    assert_fails(ldnq_pass_bind_dim(graph, "M", 4, &err), LDNQ_USAGE, "there are 'N', 'x:2'");
    assert_null(strstr(err.message, "elsewhere"));
    assert_ok(ldnq_pass_bind_dim(graph, "N", 4, &err));
    assert_fails(ldnq_pass_bind_dim(graph, "N", 4, &err), LDNQ_USAGE, "there are 'x:2'");
    assert_ok(ldnq_pass_bind_dim(graph, "x:2", 4, &err));
    assert_fails(ldnq_pass_bind_dim(graph, "N", 4, &err), LDNQ_USAGE, "there is none");
    build_free(graph);
}

/* The inputs of "after" don't even fit. */
static void run_should_not_look_at_what_nothing_reads(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(2, 3));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(4, 5), 1);
    struct ldnq_value *unread = NODE(graph, "Add", "unread", w, w);
    NODE(graph, "Gemm", "after", x, unread);
    build_output(graph, NODE(graph, "Relu", "relu", x));
    assert_ok(ldnq_passes_run(graph, &err));
    assert_null(unread->constant);
    assert_int_equal(graph->node_count, 1);
    build_free(graph);
}

static struct ldnq_graph *build_variadic(const char *type, bool first, bool last)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(2));
    struct ldnq_value *out = NODE(graph, type, "many", x, x, x);
    build_attr(out, "axis", 0);
    if (!first)
        out->producer->inputs[0] = NULL;
    if (!last)
        out->producer->inputs[2] = NULL;
    build_output(graph, out);
    return graph;
}

static void run_should_refuse_gaps_among_any_number_of_inputs(void **state)
{
    (void)state;
    static const char *const types[] = { "Concat", "Sum", "Max", "Min", "Mean" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct ldnq_graph *graph = build_variadic(types[i], false, true);
        assert_fails(ldnq_passes_run(graph, &err), LDNQ_MODEL, "lacks its input 0");
        build_free(graph);
        graph = build_variadic(types[i], true, false);
        assert_ok(ldnq_passes_run(graph, &err));
        build_run(graph, build_tensor(graph->arena, SHAPE(2), 1));
        build_free(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batchnorm_should_not_change_what_the_network_computes),
        cmocka_unit_test(batchnorm_should_stay_where_the_convolution_is_read_elsewhere),
        cmocka_unit_test(batchnorm_should_stay_where_its_numbers_come_with_the_data),
        cmocka_unit_test(batchnorm_should_stay_where_the_merged_numbers_are_not_finite),
        cmocka_unit_test(batchnorm_should_stay_after_a_gemm_whose_beta_is_tiny),
        cmocka_unit_test(batchnorm_should_stay_where_the_bias_does_not_fit),
        cmocka_unit_test(batchnorm_should_remember_where_the_weight_came_from),
        cmocka_unit_test(pad_should_be_merged_into_the_convolution_after_it),
        cmocka_unit_test(pad_should_stay_where_a_convolution_can_not_do_it),
        cmocka_unit_test(pad_should_stay_for_others_who_read_it),
        cmocka_unit_test(dead_should_take_out_what_nothing_reads),
        cmocka_unit_test(bind_should_give_open_dimensions_their_size),
        cmocka_unit_test(bind_should_name_the_dimensions_there_are),
        cmocka_unit_test(bind_should_list_only_what_is_open),
        cmocka_unit_test(run_should_not_look_at_what_nothing_reads),
        cmocka_unit_test(run_should_refuse_gaps_among_any_number_of_inputs),
        cmocka_unit_test(run_should_name_all_nodes_that_can_not_be_executed),
    };
    return cmocka_run_group_tests_name("passes", tests, NULL, NULL);
}
