/* Binding, BatchNormalization, dead code. */
#include "graph_build.h"

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
    n.out = NODE(graph, "BatchNormalization", "norm", n.conv,
                 build_weight(graph, "scale", SHAPE(6), 3), build_weight(graph, "shift", SHAPE(6), 4),
                 build_weight(graph, "mean", SHAPE(6), 5), variance);
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

static void dead_should_take_out_what_nothing_reads(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(2, 3));
    struct ldnq_value *used = NODE(graph, "Relu", "used", x);
    struct ldnq_value *unused = NODE(graph, "Relu", "unused", x);
    NODE(graph, "Exp", "behind", unused);
    struct ldnq_value *captured = NODE(graph, "Neg", "captured", x);
    struct ldnq_value *out = NODE(graph, "Abs", "out", used);
    out->producer->captures = &captured;
    out->producer->capture_count = 1;
    build_output(graph, out);
    assert_ok(ldnq_pass_dead(graph, &err));
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
    assert_true(ldnq_shape_equal(&x->shape, &SHAPE(4, 3, 9, 7)));
    assert_true(ldnq_shape_equal(&y->shape, &SHAPE(4)));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batchnorm_should_not_change_what_the_network_computes),
        cmocka_unit_test(batchnorm_should_stay_where_the_convolution_is_read_elsewhere),
        cmocka_unit_test(batchnorm_should_stay_where_its_numbers_come_with_the_data),
        cmocka_unit_test(dead_should_take_out_what_nothing_reads),
        cmocka_unit_test(bind_should_give_open_dimensions_their_size),
        cmocka_unit_test(bind_should_name_the_dimensions_there_are),
        cmocka_unit_test(run_should_name_all_nodes_that_can_not_be_executed),
    };
    return cmocka_run_group_tests_name("passes", tests, NULL, NULL);
}
