/* SPDX-License-Identifier: Apache-2.0 */
#include "make.h"

static struct make make;
static struct ldnq_model *model;
static struct ldnq_arena *arena;
static struct ldnq_graph *graph;

static int end(void **state)
{
    (void)state;
    ldnq_arena_destroy(arena);
    ldnq_model_destroy(model);
    make_end(&make);
    arena = NULL;
    model = NULL;
    return 0;
}

static enum ldnq_status import(void)
{
    model = make_load(&make);
    assert_ok(ldnq_arena_create(&arena, &err));
    return ldnq_model_import(model, arena, &graph, &err);
}

static const struct ldnq_value *value(const char *name)
{
    const struct ldnq_value *found = ldnq_graph_find_value(graph, name);
    if (!found)
        fail_msg("no value '%s'", name);
    return found;
}

static void import_should_wire_the_graph(void **state)
{
    (void)state;
    make = make_small(13);
    assert_ok(import());
    assert_ok(ldnq_graph_verify(graph, &err));
    assert_string_equal(graph->file, "m.onnx");
    assert_int_equal(graph->node_count, 3);
    assert_int_equal(graph->input_count, 1);
    assert_ptr_equal(graph->inputs[0], value("x"));
    assert_ptr_equal(graph->outputs[0], value("y"));
    assert_true(value("y")->is_output && value("x")->is_input);
    const struct ldnq_node *fc = graph->nodes[0];
    assert_string_equal(fc->op_type, "MatMul");
    assert_int_equal(fc->opset, 13);
    assert_ptr_equal(fc->inputs[1], value("w"));
    assert_ptr_equal(value("t")->producer, fc);
    assert_ptr_equal(fc->origin, model->proto->graph->node[0]);
    assert_string_equal(graph->nodes[2]->label, "Relu#2");
    assert_true(value("w")->is_initializer && value("w")->constant);
    assert_int_equal(value("w")->shape.dim[1], 3);
}

static void import_should_read_input_shapes(void **state)
{
    (void)state;
    make = make_begin(13);
    make_input(&make, "a", DIMS(-1, 4, -2, -7));
    make_input(&make, "b", DIMS(-1));
    make_input(&make, "c", LDNQ_RANK_UNKNOWN, NULL);
    make_input(&make, "d", 0, NULL);
    make_output(&make, "a");
    assert_ok(import());
    const struct ldnq_shape *a = &value("a")->shape;
    assert_int_equal(a->dim[1], 4);
    assert_string_equal(ldnq_graph_symbol_name(graph, a->dim[0]), "N");
    assert_true(ldnq_is_symbol(a->dim[2]) && ldnq_is_symbol(a->dim[3]) && a->dim[2] != a->dim[3]);
    assert_null(ldnq_graph_symbol_name(graph, a->dim[2]));
    assert_true(value("b")->shape.dim[0] == a->dim[0]);
    assert_int_equal(value("c")->shape.rank, LDNQ_RANK_UNKNOWN);
    assert_int_equal(value("d")->shape.rank, 0);
    assert_int_equal(value("a")->dtype, LDNQ_FLOAT);
}

static void import_should_not_ask_for_initializers_as_inputs(void **state)
{
    (void)state;
    make = make_small(8);
    make.proto->ir_version = 3;
    make_input(&make, "w", DIMS(4, 3));
    make_input(&make, "b", DIMS(3));
    assert_ok(import());
    assert_int_equal(graph->input_count, 1);
    assert_true(!value("w")->is_input && value("w")->constant);
}

static void import_should_turn_constant_nodes_into_constants(void **state)
{
    (void)state;
    make = make_begin(13);
    Onnx__NodeProto *tensor = make_node(&make, "Constant", "", NULL, NULL, "t");
    Onnx__AttributeProto *attr = ldnq_build_attr(make.arena, tensor, "value", &err);
    attr->has_type = 1;
    attr->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
    attr->t = make_weight(&make, "", DIMS(2));
    make.graph->n_initializer = 0;
    Onnx__NodeProto *number = make_node(&make, "Constant", "", NULL, NULL, "i");
    assert_ok(ldnq_build_int_attr(make.arena, number, "value_int", 7, &err));
    Onnx__NodeProto *list = make_node(&make, "Constant", "", NULL, NULL, "l");
    assert_ok(
        ldnq_build_ints_attr(make.arena, list, "value_ints", (int64_t[]){ 1, 2, 3 }, 3, &err));
    Onnx__NodeProto *text = make_node(&make, "Constant", "", NULL, NULL, "s");
    assert_ok(ldnq_build_string_attr(make.arena, text, "value_string", "hi", &err));
    make_output(&make, "t");
    assert_ok(import());
    assert_int_equal(graph->node_count, 1);
    assert_string_equal(graph->nodes[0]->outputs[0]->name, "s");
    assert_int_equal(value("s")->dtype, LDNQ_STRING);
    assert_true(!value("t")->is_initializer && !value("t")->producer);
    assert_true(((const float *)value("t")->constant->data)[1] == 1);
    assert_int_equal(*(const int64_t *)value("i")->constant->data, 7);
    assert_int_equal(value("i")->shape.rank, 0);
    assert_int_equal(((const int64_t *)value("l")->constant->data)[2], 3);
    assert_int_equal(value("l")->shape.dim[0], 3);
}

static void import_should_read_attributes(void **state)
{
    (void)state;
    make = make_small(13);
    Onnx__NodeProto *node = make.graph->node[0];
    assert_ok(ldnq_build_int_attr(make.arena, node, "group", 3, &err));
    assert_ok(ldnq_build_ints_attr(make.arena, node, "pads", (int64_t[]){ 1, 2 }, 2, &err));
    assert_ok(ldnq_build_string_attr(make.arena, node, "auto_pad", "VALID", &err));
    Onnx__AttributeProto *blob = ldnq_build_attr(make.arena, node, "blob", &err);
    blob->has_s = 1; /* no type, as in old files; and a NUL, so no text */
    blob->s.data = (uint8_t *)make_text(&make, "x");
    blob->s.len = 2;
    assert_ok(import());
    const struct ldnq_node *fc = graph->nodes[0];
    assert_int_equal(ldnq_node_find_attr(fc, "group")->i, 3);
    assert_int_equal(ldnq_node_find_attr(fc, "pads")->ints[1], 2);
    assert_int_equal(ldnq_node_find_attr(fc, "pads")->count, 2);
    assert_string_equal(ldnq_node_find_attr(fc, "auto_pad")->s, "VALID");
    assert_int_equal(ldnq_node_find_attr(fc, "blob")->kind, LDNQ_ATTR_OTHER);
    assert_null(ldnq_node_find_attr(fc, "none"));
}

static void import_should_find_what_subgraphs_capture(void **state)
{
    (void)state;
    make = make_small(13);
    make_input(&make, "c", 0, NULL);
    Onnx__NodeProto *outer = make_node(&make, "If", "if", "c", NULL, "z");
    Onnx__GraphProto *then = make_graph_attr(&make, outer, "then_branch")->g;
    make_node_in(&make, then, "Add", "", "t", "b", NULL, "local");
    Onnx__NodeProto *inner = make_node_in(&make, then, "If", "", "c", NULL, NULL, "deep");
    Onnx__GraphProto *branch = make_graph_attr(&make, inner, "then_branch")->g;
    make_node_in(&make, branch, "Add", "", "local", "u", "t", "deepest");
    make_append(&make, &branch->output, &branch->n_output, make_info(&make, "x", -1, NULL));
    assert_ok(import());
    const struct ldnq_node *node = ldnq_graph_find_node(graph, "if");
    assert_int_equal(node->capture_count, 5);
    static const char *const names[] = { "t", "b", "c", "u", "x" };
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(node->captures[i]->name, names[i]);
}

static void import_should_take_ai_onnx_for_the_empty_domain(void **state)
{
    (void)state;
    make = make_small(13);
    make.proto->opset_import[0]->domain = make_text(&make, "ai.onnx");
    make.graph->node[0]->domain = make_text(&make, "ai.onnx");
    make.graph->node[1]->domain = make_text(&make, "com.foreign");
    make_import(&make, "com.foreign", 2);
    assert_ok(import());
    assert_string_equal(graph->nodes[0]->domain, "");
    assert_int_equal(graph->nodes[0]->opset, 13);
    assert_string_equal(graph->nodes[1]->domain, "com.foreign");
    assert_int_equal(graph->nodes[1]->opset, 2);
}

static void import_should_sort_and_leave_out_optional_inputs(void **state)
{
    (void)state;
    make = make_begin(13);
    make_input(&make, "x", DIMS(1));
    make_node(&make, "Relu", "second", "t", NULL, "y");
    make_node_in(&make, make.graph, "Clip", "first", "x", "", "x", "t");
    make_output(&make, "y");
    assert_ok(import());
    assert_string_equal(graph->nodes[0]->name, "first");
    assert_int_equal(graph->nodes[0]->index, 1);
    assert_null(graph->nodes[0]->inputs[1]);
}

static void import_should_refuse_opsets_outside_of_its_range(void **state)
{
    (void)state;
    make = make_small(6);
    assert_fails(import(), LDNQ_UNSUPPORTED, "m.onnx: is written in opset 6; opsets 7 to 27");
    end(state);
    make = make_small(28);
    assert_fails(import(), LDNQ_UNSUPPORTED, "Export it for opset 27");
    end(state);
    make = make_small(7);
    assert_ok(import());
    end(state);
    make = make_small(25);
    make_import(&make, "ai.onnx", 13);
    assert_fails(import(), LDNQ_MODEL, "two versions");
    end(state);
    make = make_small(13);
    make.proto->opset_import[0]->domain = make_text(&make, "com.foreign");
    assert_fails(import(), LDNQ_UNSUPPORTED, "only foreign ones");
}

static void import_should_name_inputs_that_nothing_makes(void **state)
{
    (void)state;
    make = make_small(13);
    make.graph->node[1]->input[1] = make_text(&make, "foo");
    assert_fails(import(), LDNQ_MODEL,
                 "m.onnx: node 'bias' (Add, opset 13): input 1 'foo' is made by no node, input or "
                 "initializer");
    end(state);
    make = make_small(13);
    make.graph->output[0]->name = make_text(&make, "bar");
    assert_fails(import(), LDNQ_MODEL, "graph output 'bar' is made by no node");
    end(state);
    make = make_small(13);
    Onnx__NodeProto *branch = make_node(&make, "If", "", "y", NULL, "z");
    make_node_in(&make, make_graph_attr(&make, branch, "then_branch")->g, "Relu", "", "gone", NULL,
                 NULL, "inner");
    assert_fails(import(), LDNQ_MODEL, "node 'If#3' (If, opset 13): its subgraph reads 'gone'");
}

static void import_should_refuse_names_that_are_made_twice(void **state)
{
    (void)state;
    make = make_small(13);
    make_weight(&make, "w", DIMS(1));
    assert_fails(import(), LDNQ_MODEL,
                 "value 'w' is made twice, by an initializer and by an initializer");
    end(state);
    make = make_small(13);
    make_input(&make, "x", DIMS(1));
    assert_fails(import(), LDNQ_MODEL, "value 'x' is made twice, by a graph input");
    end(state);
    make = make_small(13);
    make_node(&make, "Relu", "again", "x", NULL, "t");
    assert_fails(import(), LDNQ_MODEL, "node 'again' (Relu, opset 13): its output 't' is made");
}

static void import_should_refuse_cycles_and_graphs_without_outputs(void **state)
{
    (void)state;
    make = make_small(13);
    make.graph->node[0]->input[0] = make_text(&make, "y");
    assert_fails(import(), LDNQ_MODEL, "cycle");
    end(state);
    make = make_small(13);
    make.graph->n_output = 0;
    assert_fails(import(), LDNQ_MODEL, "m.onnx: the graph has no outputs");
}

static void import_should_name_tensors_of_the_wrong_size(void **state)
{
    (void)state;
    make = make_small(13);
    make.graph->initializer[0]->dims[0] = 5;
    assert_fails(import(), LDNQ_MODEL,
                 "m.onnx: tensor 'w': holds 48 bytes where its shape (5,3) of float32 needs 60");
    end(state);
    make = make_small(13);
    Onnx__NodeProto *node = make_node(&make, "Constant", "k", NULL, NULL, "c");
    Onnx__AttributeProto *attr = ldnq_build_attr(make.arena, node, "value", &err);
    attr->t = make_tensor(&make, "", LDNQ_FLOAT, DIMS(2));
    assert_fails(import(), LDNQ_MODEL,
                 "m.onnx: node 'k' (Constant, opset 13): attribute 'value': tensor '': holds 0");
}

static void import_should_refuse_nodes_without_a_type(void **state)
{
    (void)state;
    make = make_small(13);
    make.graph->node[1]->op_type = NULL;
    assert_fails(import(), LDNQ_MODEL, "node 'bias' (, opset 13): has no operator type");
}

#define TEST(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(import_should_wire_the_graph),
        TEST(import_should_read_input_shapes),
        TEST(import_should_not_ask_for_initializers_as_inputs),
        TEST(import_should_turn_constant_nodes_into_constants),
        TEST(import_should_read_attributes),
        TEST(import_should_find_what_subgraphs_capture),
        TEST(import_should_take_ai_onnx_for_the_empty_domain),
        TEST(import_should_sort_and_leave_out_optional_inputs),
        TEST(import_should_refuse_opsets_outside_of_its_range),
        TEST(import_should_name_inputs_that_nothing_makes),
        TEST(import_should_refuse_names_that_are_made_twice),
        TEST(import_should_refuse_cycles_and_graphs_without_outputs),
        TEST(import_should_name_tensors_of_the_wrong_size),
        TEST(import_should_refuse_nodes_without_a_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
