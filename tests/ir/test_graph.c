/* SPDX-License-Identifier: Apache-2.0 */
#include "graphs.h"

#include "base/alloc.h"

static void values_should_keep_their_places_when_there_are_many(void **state)
{
    (void)state;
    struct ldnq_graph *graph = make_graph(0);
    for (size_t i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "v%zu", i);
        struct ldnq_value *value = make_value(graph, name);
        assert_int_equal(value->index, i);
        assert_int_equal(value->shape.rank, LDNQ_RANK_UNKNOWN);
        assert_ptr_not_equal(value->name, name);
    }
    assert_int_equal(graph->value_count, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(graph->values[i]->index, i);
    assert_ptr_equal(ldnq_graph_find_value(graph, "v517"), graph->values[517]);
    assert_null(ldnq_graph_find_value(graph, "none"));
    free_graph(graph);
}

static void a_value_without_a_name_should_get_one_of_its_own(void **state)
{
    (void)state;
    struct ldnq_graph *graph = make_graph(0);
    struct ldnq_value *a = make_value(graph, ""), *b = make_value(graph, "");
    assert_true(*a->name && *b->name);
    assert_string_not_equal(a->name, b->name);
    free_graph(graph);
}

static void a_constant_should_have_its_tensors_type_and_shape(void **state)
{
    (void)state;
    struct ldnq_graph *graph = make_graph(0);
    struct ldnq_tensor tensor = { .dtype = LDNQ_INT64, .shape = { .rank = 2, .dim = { 3, 4 } } };
    struct ldnq_value *value;
    assert_ok(ldnq_graph_add_constant(graph, "c", &tensor, &value, &err));
    assert_ptr_equal(value->constant, &tensor);
    assert_int_equal(value->dtype, LDNQ_INT64);
    assert_true(ldnq_shapes_are_equal(&value->shape, &tensor.shape));
    free_graph(graph);
}

static void attributes_should_be_found_by_name(void **state)
{
    (void)state;
    const struct ldnq_attr attrs[] = { { .name = "axis", .i = 1 }, { .name = "axes", .i = 2 } };
    struct ldnq_node node = { .attr_count = 2, .attrs = attrs };
    assert_ptr_equal(ldnq_node_find_attr(&node, "axes"), &attrs[1]);
    assert_null(ldnq_node_find_attr(&node, "ax"));
}

static void a_nodes_failure_should_name_file_node_and_operator(void **state)
{
    (void)state;
    struct ldnq_graph *graph = make_graph(2);
    struct ldnq_node *node = make_node(graph, "Conv", "conv1", NULL, NULL);
    node->label = "conv1";
    assert_fails(ldnq_node_fail(graph, node, LDNQ_UNSUPPORTED, &err, "group=%d", 3),
                 LDNQ_UNSUPPORTED, "m.onnx: node 'conv1' (Conv, opset 13): group=3");
    node->domain = "com.example";
    node->opset = 1;
    assert_fails(ldnq_node_fail(graph, node, LDNQ_MODEL, &err, "no"), LDNQ_MODEL,
                 "m.onnx: node 'conv1' (com.example.Conv, opset 1): no");
    free_graph(graph);
}

static void a_clone_should_have_values_and_nodes_of_its_own(void **state)
{
    (void)state;
    struct ldnq_graph *graph = make_graph(2), *clone;
    struct ldnq_tensor first = { .dtype = LDNQ_FLOAT }, second = { .dtype = LDNQ_FLOAT };
    struct ldnq_value *in = make_input(graph, "in"), *weight, *out = make_value(graph, "out");
    assert_ok(ldnq_graph_add_constant(graph, "w", &first, &weight, &err));
    struct ldnq_node *node = make_node(graph, "Add", "add", in, out);
    node->inputs[1] = weight;
    node->input_count = 2;
    graph->outputs[graph->output_count++] = out;
    assert_ok(ldnq_graph_clone(graph, graph->arena, &clone, &err));
    struct ldnq_node *twin = clone->nodes[0];
    assert_ptr_not_equal(twin, node);
    assert_ptr_equal(twin->inputs[0], clone->values[in->index]);
    assert_ptr_equal(clone->outputs[0], twin->outputs[0]);
    assert_ptr_equal(twin->outputs[0]->producer, twin);
    assert_ptr_equal(out->producer, node);
    twin->inputs[1]->constant = &second;
    assert_ptr_equal(weight->constant, &first);
    int64_t symbol;
    assert_ok(ldnq_graph_find_or_add_symbol(graph, "N", &symbol, &err));
    assert_int_equal(clone->symbol_count, 0);
    size_t values = graph->value_count;
    make_value(clone, "more");
    assert_int_equal(graph->value_count, values);
    assert_ok(ldnq_graph_verify(clone, &err));
    free_graph(graph);
}

static void a_failing_allocator_should_give_nomem(void **state)
{
    (void)state;
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    struct ldnq_value *value;
    int64_t symbol;
    assert_ok(ldnq_arena_create(&arena, &err));
    ldnq_alloc_fail_after(0);
    assert_fails(ldnq_graph_create(arena, "g", "f", &graph, &err), LDNQ_NOMEM, "memory");
    ldnq_alloc_fail_after(-1);
    assert_ok(ldnq_graph_create(arena, "g", "f", &graph, &err));
    ldnq_alloc_fail_after(0);
    enum ldnq_status values = LDNQ_OK, symbols = LDNQ_OK;
    /* What is left of the arena's block is used up first. */
    for (int i = 0; i < 1000 && values == LDNQ_OK; i++)
        values = ldnq_graph_add_value(graph, "", &value, &err);
    for (int i = 0; i < 1000 && symbols == LDNQ_OK; i++)
        symbols = ldnq_graph_find_or_add_symbol(graph, NULL, &symbol, &err);
    ldnq_alloc_fail_after(-1);
    assert_int_equal(values, LDNQ_NOMEM);
    assert_int_equal(symbols, LDNQ_NOMEM);
    for (size_t i = 0; i < graph->value_count; i++)
        assert_int_equal(graph->values[i]->index, i);
    ldnq_arena_destroy(arena);
}

static void symbol_name_should_accept_any_number(void **state)
{
    (void)state;
    struct ldnq_graph *graph = make_graph(0);
    int64_t symbol;
    assert_ok(ldnq_graph_find_or_add_symbol(graph, "N", &symbol, &err));
    assert_string_equal(ldnq_graph_symbol_name(graph, symbol), "N");
    assert_null(ldnq_graph_symbol_name(graph, symbol + 1));
    assert_null(ldnq_graph_symbol_name(graph, (int64_t)1 << 62));
    assert_null(ldnq_graph_symbol_name(graph, INT64_MAX));
    assert_null(ldnq_graph_symbol_name(graph, INT64_MIN));
    free_graph(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_should_keep_their_places_when_there_are_many),
        cmocka_unit_test(a_value_without_a_name_should_get_one_of_its_own),
        cmocka_unit_test(a_constant_should_have_its_tensors_type_and_shape),
        cmocka_unit_test(attributes_should_be_found_by_name),
        cmocka_unit_test(a_nodes_failure_should_name_file_node_and_operator),
        cmocka_unit_test(a_clone_should_have_values_and_nodes_of_its_own),
        cmocka_unit_test(a_failing_allocator_should_give_nomem),
        cmocka_unit_test(symbol_name_should_accept_any_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
