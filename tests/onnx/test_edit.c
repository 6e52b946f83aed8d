/* SPDX-License-Identifier: Apache-2.0 */
#include "make.h"

#include "base/alloc.h"

static struct make make;
static struct ldnq_model *model;

static int end(void **state)
{
    (void)state;
    ldnq_model_destroy(model);
    make_end(&make);
    model = NULL;
    return 0;
}

static const Onnx__GraphProto *load(void)
{
    model = make_load(&make);
    return model->proto->graph;
}

static bool has_initializer(const char *name)
{
    const Onnx__GraphProto *graph = model->proto->graph;
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (strcmp(graph->initializer[i]->name, name) == 0)
            return true;
    return false;
}

static bool has_node_for(const char *output)
{
    const Onnx__GraphProto *graph = model->proto->graph;
    for (size_t i = 0; i < graph->n_node; i++)
        if (graph->node[i]->n_output && strcmp(graph->node[i]->output[0], output) == 0)
            return true;
    return false;
}

static void unique_name_should_avoid_every_name_in_use(void **state)
{
    (void)state;
    make = make_small(13);
    Onnx__NodeProto *branch = make_node(&make, "If", "", "y", NULL, "z");
    make_node_in(&make, make_graph_attr(&make, branch, "then_branch")->g, "Relu", "fc_1", "t", NULL,
                 NULL, "inner");
    load();
    const char *name;
    assert_ok(ldnq_edit_unique_name(model, "new", "", &name, &err));
    assert_string_equal(name, "new");
    assert_ok(ldnq_edit_unique_name(model, "new", "", &name, &err));
    assert_string_equal(name, "new_1");
    assert_ok(ldnq_edit_unique_name(model, "ne", "w", &name, &err));
    assert_string_equal(name, "new_2");
    assert_ok(ldnq_edit_unique_name(model, "fc", "", &name, &err));
    assert_string_equal(name, "fc_2");
    assert_ok(ldnq_edit_unique_name(model, "inner", "", &name, &err));
    assert_string_equal(name, "inner_1");
    assert_ok(ldnq_edit_unique_name(model, "w", "", &name, &err));
    assert_string_equal(name, "w_1");
    assert_ok(ldnq_edit_unique_name(model, "", "", &name, &err));
    assert_true(*name);
}

static void add_initializer_should_pack_and_raise_ir_3(void **state)
{
    (void)state;
    make = make_small(8);
    make.proto->ir_version = 3;
    const Onnx__GraphProto *graph = load();
    int8_t values[] = { -1, 0, 1 };
    const struct ldnq_tensor tensor = { LDNQ_INT4, { .rank = 1, .dim = { 3 } }, values };
    for (int i = 0; i < 100; i++) {
        const char *name;
        assert_ok(ldnq_edit_unique_name(model, "q", "", &name, &err));
        assert_ok(ldnq_edit_add_initializer(model, name, &tensor, &err));
    }
    assert_int_equal(graph->n_initializer, 102);
    assert_string_equal(graph->initializer[101]->name, "q_99");
    assert_int_equal(graph->initializer[101]->raw_data.len, 2);
    assert_int_equal(ldnq_model_ir_version(model), 4);
}

static void insert_node_should_go_in_front(void **state)
{
    (void)state;
    make = make_small(13);
    const Onnx__GraphProto *graph = load();
    const void *bias = graph->node[1];
    const struct ldnq_edit_int_attr attr = { .name = "axis", .value = 1 };
    const char *inputs[] = { "q", "scale", "" };
    for (int i = 0; i < 100; i++)
        assert_ok(ldnq_edit_insert_node(model, bias, "DequantizeLinear", "dq", inputs, 3, "b_dq",
                                        &attr, 1, &err));
    assert_int_equal(graph->n_node, 103);
    assert_ptr_equal(graph->node[101], bias);
    const Onnx__NodeProto *node = graph->node[100];
    assert_string_equal(node->op_type, "DequantizeLinear");
    assert_string_equal(node->input[2], "");
    assert_string_equal(node->attribute[0]->name, "axis");
    assert_int_equal(node->attribute[0]->i, 1);
    assert_fails(ldnq_edit_insert_node(model, &attr, "Relu", "", inputs, 1, "r", NULL, 0, &err),
                 LDNQ_USAGE, "not in the model");
}

static void set_input_should_grow_the_list(void **state)
{
    (void)state;
    make = make_small(13);
    const Onnx__GraphProto *graph = load();
    assert_ok(ldnq_edit_set_input(model, graph->node[0], 1, "w_dq", &err));
    assert_ok(ldnq_edit_set_input(model, graph->node[0], 3, "extra", &err));
    assert_int_equal(graph->node[0]->n_input, 4);
    assert_string_equal(graph->node[0]->input[1], "w_dq");
    assert_string_equal(graph->node[0]->input[2], "");
    assert_ok(ldnq_edit_set_output(model, graph->node[0], 0, "t2", &err));
    assert_string_equal(graph->node[0]->output[0], "t2");
    void *bytes;
    size_t size;
    assert_ok(ldnq_model_pack(model, &bytes, &size, &err));
    ldnq_model_free_bytes(bytes);
}

static void only_reader_should_count_outputs_and_subgraphs(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int reader; /* -1: none, or more than one */
    } table[] = { { "t", 1 }, { "u", -1 }, { "y", -1 }, { "v", -1 }, { "nowhere", -1 } };
    make = make_small(13);
    Onnx__NodeProto *branch = make_node(&make, "If", "", "y", NULL, "z");
    make_node_in(&make, make_graph_attr(&make, branch, "then_branch")->g, "Relu", "", "u", NULL,
                 NULL, "inner");
    make_node(&make, "Neg", "", "x", NULL, "v");
    make_output(&make, "v");
    const Onnx__GraphProto *graph = load();
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const void *reader;
        assert_ok(ldnq_edit_find_only_reader(model, table[i].value, &reader, &err));
        assert_ptr_equal(reader, table[i].reader < 0 ? NULL : graph->node[table[i].reader]);
    }
    assert_true(ldnq_edit_is_read_by(model, "u", "Relu"));
    assert_false(ldnq_edit_is_read_by(model, "u", "Add"));
    assert_true(ldnq_edit_is_operator(model, graph->node[0], "MatMul"));
    assert_false(ldnq_edit_is_operator(model, graph->node[0], "Gemm"));
    assert_false(ldnq_edit_is_operator(model, &make, "Gemm"));
    assert_string_equal(ldnq_edit_find_output(model, graph->node[0], 0), "t");
    assert_null(ldnq_edit_find_output(model, graph->node[0], 1));
}

static void set_int_should_replace_an_attribute(void **state)
{
    (void)state;
    make = make_small(13);
    const Onnx__GraphProto *graph = load();
    for (int64_t value = 1; value >= 0; value--)
        assert_ok(ldnq_edit_set_int(model, graph->node[0], "transB", value, &err));
    assert_int_equal(graph->node[0]->n_attribute, 1);
    assert_int_equal(graph->node[0]->attribute[0]->i, 0);
}

static void prune_should_drop_what_became_unread(void **state)
{
    (void)state;
    make = make_small(8);
    make.proto->ir_version = 3;
    make_input(&make, "w", DIMS(4, 3));
    make_append(&make, &make.graph->value_info, &make.graph->n_value_info,
                make_info(&make, "w", DIMS(4, 3)));
    make_append(&make, &make.graph->value_info, &make.graph->n_value_info,
                make_info(&make, "t", DIMS(-1, 3)));
    make_weight(&make, "w2", DIMS(4, 3));
    make_node(&make, "Transpose", "", "w2", NULL, "w3");
    make_node(&make, "Transpose", "", "w3", NULL, "w4");
    make_node(&make, "MatMul", "tail", "y", "w4", "y2");
    make_output(&make, "y2");
    const Onnx__GraphProto *graph = load();
    assert_ok(ldnq_edit_set_input(model, graph->node[0], 1, "wq", &err));
    assert_ok(ldnq_edit_set_input(model, graph->node[5], 1, "wq", &err));
    assert_ok(ldnq_edit_prune(model, &err));
    assert_false(has_initializer("w") || has_initializer("w2"));
    assert_true(has_initializer("b"));
    assert_false(has_node_for("w3") || has_node_for("w4"));
    assert_int_equal(graph->n_node, 4);
    assert_int_equal(graph->n_input, 1);
    assert_int_equal(graph->n_value_info, 1);
    assert_string_equal(graph->value_info[0]->name, "t");
}

static void prune_should_keep_what_was_dead_before(void **state)
{
    (void)state;
    make = make_small(13);
    make_weight(&make, "idle", DIMS(1));
    make_weight(&make, "idle2", DIMS(1));
    make_node(&make, "Relu", "", "idle2", NULL, "unused");
    make_node(&make, "Relu", "", "x", NULL, "");
    const Onnx__GraphProto *graph = load();
    assert_ok(ldnq_edit_prune(model, &err));
    assert_int_equal(graph->n_node, 5);
    assert_int_equal(graph->n_initializer, 4);
}

static void prune_should_see_what_subgraphs_read(void **state)
{
    (void)state;
    make = make_small(13);
    make_weight(&make, "shared", DIMS(3));
    Onnx__NodeProto *branch = make_node(&make, "If", "", "y", NULL, "z");
    Onnx__GraphProto *then = make_graph_attr(&make, branch, "then_branch")->g;
    make_node_in(&make, then, "Add", "", "t", "shared", NULL, "inner");
    make_output(&make, "z");
    const Onnx__GraphProto *graph = load();
    assert_ok(ldnq_edit_set_input(model, graph->node[1], 0, "x", &err));
    assert_ok(ldnq_edit_prune(model, &err));
    assert_true(has_initializer("shared") && has_node_for("t") && has_initializer("w"));
    ldnq_edit_remove_node(model, graph->node[3]);
    assert_ok(ldnq_edit_prune(model, &err));
    assert_false(has_initializer("shared") || has_node_for("t") || has_initializer("w"));
}

static void prune_should_keep_scales_of_annotated_tensors(void **state)
{
    (void)state;
    make = make_small(13);
    make_weight(&make, "w_scale", 0, NULL);
    Onnx__TensorAnnotation *annotation = make_message(&make, &onnx__tensor_annotation__descriptor);
    annotation->tensor_name = make_text(&make, "w");
    make_append(&make, &annotation->quant_parameter_tensor_names,
                &annotation->n_quant_parameter_tensor_names,
                make_pair(&make, "SCALE_TENSOR", "w_scale"));
    make_append(&make, &make.graph->quantization_annotation, &make.graph->n_quantization_annotation,
                annotation);
    const Onnx__GraphProto *graph = load();
    assert_ok(ldnq_edit_prune(model, &err));
    assert_true(has_initializer("w_scale"));
    assert_ok(ldnq_edit_set_input(model, graph->node[0], 1, "wq", &err));
    assert_ok(ldnq_edit_prune(model, &err));
    assert_false(has_initializer("w") || has_initializer("w_scale"));
    assert_int_equal(graph->n_quantization_annotation, 0);
}

static void prune_should_keep_a_value_that_another_node_makes_now(void **state)
{
    (void)state;
    make = make_small(13);
    make_append(&make, &make.graph->value_info, &make.graph->n_value_info,
                make_info(&make, "t", DIMS(-1, 3)));
    const Onnx__GraphProto *graph = load();
    const char *inputs[] = { "t_raw" };
    const void *bias = graph->node[1];
    assert_ok(ldnq_edit_set_output(model, graph->node[0], 0, "t_raw", &err));
    assert_ok(ldnq_edit_insert_node(model, bias, "Relu", "", inputs, 1, "t", NULL, 0, &err));
    assert_ok(ldnq_edit_prune(model, &err));
    assert_int_equal(graph->n_value_info, 1);
    assert_int_equal(graph->n_node, 4);
}

/* All the edits of an emitter, on a model that was loaded with memory. */
static enum ldnq_status edit_everything(void)
{
    static float values[20000]; /* more than a block of the arena has left */
    const struct ldnq_shape shape = { .rank = 1, .dim = { 20000 } };
    const struct ldnq_tensor scale = { .dtype = LDNQ_FLOAT, .shape = shape, .data = values };
    const char *name, *inputs[] = { "w", "scale" };
    const struct ldnq_edit_int_attr axis = { .name = "axis", .value = 0 };
    const Onnx__NodeProto *node = model->proto->graph->node[0];
    LDNQ_TRY(ldnq_edit_unique_name(model, "w", "", &name, &err));
    LDNQ_TRY(ldnq_edit_add_initializer(model, "scale", &scale, &err));
    LDNQ_TRY(ldnq_edit_insert_node(model, node, "DequantizeLinear", name, inputs, 2, name, &axis, 1,
                                   &err));
    LDNQ_TRY(ldnq_edit_set_input(model, node, 1, name, &err));
    LDNQ_TRY(ldnq_edit_rename_duplicates(model, &err));
    LDNQ_TRY(ldnq_model_set_metadata(model, "key", "value", &err));
    return ldnq_edit_prune(model, &err);
}

static void edits_should_report_failing_allocations(void **state)
{
    (void)state;
    enum ldnq_status status = LDNQ_NOMEM;
    long allowed = 0;
    for (; status == LDNQ_NOMEM && allowed < 100; allowed++) {
        if (allowed > 0)
            end(NULL);
        make = make_small(13);
        load();
        ldnq_alloc_fail_after(allowed);
        status = edit_everything();
        ldnq_alloc_fail_after(-1);
    }
    assert_int_equal(status, LDNQ_OK);
    assert_true(allowed > 1);
}

#define TEST(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unique_name_should_avoid_every_name_in_use),
        TEST(add_initializer_should_pack_and_raise_ir_3),
        TEST(insert_node_should_go_in_front),
        TEST(set_input_should_grow_the_list),
        TEST(only_reader_should_count_outputs_and_subgraphs),
        TEST(set_int_should_replace_an_attribute),
        TEST(prune_should_drop_what_became_unread),
        TEST(prune_should_keep_what_was_dead_before),
        TEST(prune_should_see_what_subgraphs_read),
        TEST(prune_should_keep_scales_of_annotated_tensors),
        TEST(prune_should_keep_a_value_that_another_node_makes_now),
        TEST(edits_should_report_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
