/* SPDX-License-Identifier: Apache-2.0 */
#include "graphs.h"

#include "base/alloc.h"

/* x -> relu1 -> h -> relu2 -> y, whole and in order; each test breaks one thing. */
static int set_up(void **state)
{
    struct ldnq_graph *graph = make_graph(4);
    struct ldnq_value *x = make_input(graph, "x"), *h = make_value(graph, "h");
    struct ldnq_value *y = make_value(graph, "y");
    make_node(graph, "Relu", "relu1", x, h);
    make_node(graph, "Relu", "relu2", h, y);
    y->is_output = true;
    graph->outputs[graph->output_count++] = y;
    assert_ok(ldnq_graph_sort(graph, &err));
    *state = graph;
    return 0;
}

static int tear_down(void **state)
{
    ldnq_alloc_fail_after(-1);
    free_graph(*state);
    return 0;
}

static void a_whole_graph_should_pass(void **state)
{
    assert_ok(ldnq_graph_verify(*state, &err));
}

static void left_out_inputs_and_outputs_should_pass(void **state)
{
    struct ldnq_graph *graph = *state;
    graph->nodes[1]->input_count = graph->nodes[1]->output_count = 2;
    assert_ok(ldnq_graph_verify(graph, &err));
}

static void a_constant_should_pass_as_an_input(void **state)
{
    struct ldnq_graph *graph = *state;
    struct ldnq_tensor tensor = { .dtype = LDNQ_FLOAT };
    struct ldnq_value *constant;
    assert_ok(ldnq_graph_add_constant(graph, "c", &tensor, &constant, &err));
    graph->nodes[0]->inputs[0] = constant;
    assert_ok(ldnq_graph_verify(graph, &err));
}

static void a_read_before_the_write_should_be_found(void **state)
{
    struct ldnq_graph *graph = *state;
    struct ldnq_node *first = graph->nodes[0];
    graph->nodes[0] = graph->nodes[1];
    graph->nodes[1] = first;
    assert_fails(ldnq_graph_verify(graph, &err), LDNQ_MODEL,
                 "m.onnx: node 'relu2' (Relu, opset 13): reads 'h', which no earlier node");
}

static void a_captured_value_that_nothing_makes_should_be_found(void **state)
{
    struct ldnq_graph *graph = *state;
    graph->nodes[0]->captures[0] = graph->values[1];
    graph->nodes[0]->capture_count = 1;
    assert_fails(ldnq_graph_verify(graph, &err), LDNQ_MODEL,
                 "node 'relu1' (Relu, opset 13): reads");
}

static void two_producers_of_a_value_should_be_found(void **state)
{
    struct ldnq_graph *graph = *state;
    graph->nodes[1]->outputs[0] = graph->values[1];
    assert_fails(ldnq_graph_verify(graph, &err), LDNQ_MODEL, "'h', which has a producer already");
}

static void a_node_that_makes_an_input_should_be_found(void **state)
{
    struct ldnq_graph *graph = *state;
    graph->nodes[1]->outputs[0] = graph->values[0];
    assert_fails(ldnq_graph_verify(graph, &err), LDNQ_MODEL, "'x', which has a producer already");
}

static void a_value_that_names_another_producer_should_be_found(void **state)
{
    struct ldnq_graph *graph = *state;
    graph->values[2]->producer = graph->nodes[0];
    assert_fails(ldnq_graph_verify(graph, &err), LDNQ_MODEL, "'y', which names another producer");
}

static void a_wrong_index_should_be_found(void **state)
{
    struct ldnq_graph *graph = *state;
    graph->values[1]->index = 2;
    assert_fails(ldnq_graph_verify(graph, &err), LDNQ_MODEL, "'h' has index 2 at position 1");
}

static void an_output_that_nothing_makes_should_be_found(void **state)
{
    struct ldnq_graph *graph = *state;
    graph->node_count = 1;
    assert_fails(ldnq_graph_verify(graph, &err), LDNQ_MODEL, "output 'y' is produced by no node");
}

static void a_value_of_another_graph_should_be_found(void **state)
{
    struct ldnq_graph *graph = *state;
    struct ldnq_value stranger = { .name = "stranger", .index = 1000000 };
    graph->nodes[1]->inputs[0] = &stranger;
    assert_fails(ldnq_graph_verify(graph, &err), LDNQ_MODEL, "reads 'stranger'");
    graph->nodes[1]->inputs[0] = graph->values[1];
    stranger.index = 1;
    graph->nodes[1]->outputs[0] = &stranger;
    assert_fails(ldnq_graph_verify(graph, &err), LDNQ_MODEL, "produces 'stranger'");
    graph->nodes[1]->outputs[0] = graph->values[2];
    graph->outputs[0] = &stranger;
    assert_fails(ldnq_graph_verify(graph, &err), LDNQ_MODEL, "output 'stranger'");
}

static void a_failing_allocator_should_give_nomem(void **state)
{
    ldnq_alloc_fail_after(0);
    assert_fails(ldnq_graph_verify(*state, &err), LDNQ_NOMEM, "out of memory");
}

#define WITH_GRAPH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_GRAPH(a_whole_graph_should_pass),
        WITH_GRAPH(left_out_inputs_and_outputs_should_pass),
        WITH_GRAPH(a_constant_should_pass_as_an_input),
        WITH_GRAPH(a_read_before_the_write_should_be_found),
        WITH_GRAPH(a_captured_value_that_nothing_makes_should_be_found),
        WITH_GRAPH(two_producers_of_a_value_should_be_found),
        WITH_GRAPH(a_node_that_makes_an_input_should_be_found),
        WITH_GRAPH(a_value_that_names_another_producer_should_be_found),
        WITH_GRAPH(a_wrong_index_should_be_found),
        WITH_GRAPH(an_output_that_nothing_makes_should_be_found),
        WITH_GRAPH(a_value_of_another_graph_should_be_found),
        WITH_GRAPH(a_failing_allocator_should_give_nomem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
