/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes of a graph are layers, as which matrices, and why some can't be quantized. */
#include "layer/layer_kinds.h"
#include "with_blas.h"

static void layers_should_have_the_geometry_of_their_operators(void **state)
{
    (void)state;
    for (size_t i = 0; i < LAYER_KINDS; i++) {
        const struct layer_kind *kind = &layer_kinds[i];
        struct ldnq_graph *graph = build_layer_graph(kind);
        const struct ldnq_layer layer = list_only_layer(graph);
        assert_null(layer.refusal);
        assert_int_equal(layer.geometry.groups, kind->groups);
        assert_int_equal(layer.geometry.rows, kind->rows);
        assert_int_equal(layer.geometry.cols, kind->cols);
        assert_int_equal(layer.geometry.kernel, kind->kernel);
        assert_int_equal(layer.geometry.channel_axis, kind->channel_axis);
        assert_int_equal(ldnq_layer_rows(&layer), kind->groups * kind->rows);
        assert_int_equal(ldnq_layer_elements(&layer), ldnq_tensor_count(layer.weight));
        assert_string_equal(layer.weight_name, "w");
        assert_string_equal(layer.bias_name, kind->has_bias ? "b" : "");
        build_free(graph);
    }
}

static void weights_should_be_read_in_matrix_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < LAYER_KINDS; i++) {
        const struct layer_kind *kind = &layer_kinds[i];
        struct ldnq_graph *graph = build_layer_graph(kind);
        const struct ldnq_layer layer = list_only_layer(graph);
        const float *stored = layer.weight->data;
        float weight[128];
        assert_true(ldnq_layer_elements(&layer) <= 128);
        ldnq_layer_read_weight(&layer, weight);
        for (size_t row = 0; row < kind->groups * kind->rows; row++)
            for (size_t col = 0; col < kind->cols; col++)
                assert_true(weight[row * kind->cols + col] ==
                            stored[find_weight_element(kind, row, col)]);
        build_free(graph);
    }
}

static void biases_should_be_read_as_the_layer_adds_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < LAYER_KINDS; i++) {
        struct ldnq_graph *graph = build_layer_graph(&layer_kinds[i]);
        struct ldnq_layer layer = list_only_layer(graph);
        const float *stored = layer.bias ? layer.bias->data : NULL;
        float bias[16];
        assert_int_equal(layer.bias != NULL, layer_kinds[i].has_bias);
        layer.geometry.bias_factor *= 0.5f; /* as with Gemm's beta */
        ldnq_layer_read_bias(&layer, bias);
        for (size_t row = 0; row < ldnq_layer_rows(&layer); row++)
            assert_true(bias[row] == (stored ? 0.5f * stored[row] : 0.0f));
        build_free(graph);
    }
}

/* ---- multiplications ---------------------------------------------------------------------- */

static void macs_should_count_each_product_with_a_weight(void **state)
{
    (void)state;
    /* Conv: outputs times K. ConvTranspose: inputs times M KH KW. Otherwise rows times M K. */
    static const uint64_t expected[LAYER_KINDS] = {
        2 * 4 * 5 * 5 * 18, 2 * 4 * 5 * 3 * 6, 2 * 5 * 6 * 12, 3 * 4 * 4 * 4 * 12,
        2 * 3 * 4 * 5 * 24, 2 * 3 * 4 * 10,    2 * 3 * 5,      2 * 3 * 5,
        2 * 3 * 5,          2 * 3 * 5,         2 * 4 * 3 * 5,
    };
    for (size_t i = 0; i < LAYER_KINDS; i++) {
        struct ldnq_graph *graph = build_layer_graph(&layer_kinds[i]);
        const struct ldnq_layer layer = list_only_layer(graph);
        uint64_t macs = 0;
        assert_true(ldnq_layer_count_macs(&layer, &macs));
        assert_int_equal(macs, expected[i]);
        layer.node->inputs[0]->shape.dim[0] = build_symbol(graph, "N");
        layer.node->outputs[0]->shape.dim[0] = build_symbol(graph, "N");
        assert_false(ldnq_layer_count_macs(&layer, &macs));
        build_free(graph);
    }
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void check_refusal(struct ldnq_graph *graph, const char *reason)
{
    const struct ldnq_layer layer = list_only_layer(graph);
    assert_non_null(layer.refusal);
    if (!strstr(layer.refusal, reason))
        fail_msg("\"%s\" does not contain \"%s\"", layer.refusal, reason);
    build_free(graph);
}

static void weights_that_can_not_be_replaced_should_be_refused_with_a_reason(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_layer_graph(&layer_kinds[0]);
    graph->nodes[0]->inputs[1]->constant = NULL;
    check_refusal(graph, "computed at run time");

    graph = build_layer_graph(&layer_kinds[0]);
    graph->nodes[0]->inputs[1]->from_codes = true;
    check_refusal(graph, "quantized already");

    graph = build_layer_graph(&layer_kinds[0]);
    ((struct ldnq_tensor *)(uintptr_t)graph->nodes[0]->inputs[1]->constant)->dtype = LDNQ_DOUBLE;
    check_refusal(graph, "not a float type");

    graph = build_layer_graph(&layer_kinds[0]);
    graph->nodes[0]->within = "the body of Loop 'l'";
    check_refusal(graph, "part of the body of Loop 'l'");
}

/* ---- weights whose output channels are no axis ---------------------------------------------- */

static void a_transposed_convolution_of_groups_should_have_a_row_for_each_channel(void **state)
{
    (void)state;
    static const struct layer_kind grouped = {
        "ConvTranspose", { 2, 4, 5, 5 }, { 4, 3, 2, 2 }, 2, 3, 8, 4, 1, "group", 2, false
    };
    struct ldnq_graph *graph = build_layer_graph(&grouped);
    const struct ldnq_layer layer = list_only_layer(graph);
    const float *data = layer.weight->data;
    float weight[48];
    assert_null(layer.refusal);
    assert_int_equal(ldnq_layer_rows(&layer), 6);
    ldnq_layer_read_weight(&layer, weight);
    for (size_t row = 0; row < 6; row++)
        for (size_t col = 0; col < 8; col++)
            assert_within(weight[row * 8 + col],
                          data[((row / 3 * 2 + col / 4) * 3 + row % 3) * 4 + col % 4], 0);
    build_free(graph);
}

/* ---- several layers ----------------------------------------------------------------------------
 */

/* A body, which has no nodes of the main graph, but may read its weights. */
static void append_body(struct ldnq_value *of, struct ldnq_graph *body)
{
    struct ldnq_node *node = of->producer;
    struct ldnq_attr *attrs = (struct ldnq_attr *)(uintptr_t)node->attrs;
    attrs[node->attr_count++] =
        (struct ldnq_attr){ .name = "body", .kind = LDNQ_ATTR_GRAPH, .g = body };
}

static void layers_of_bodies_should_be_listed_with_the_node_that_runs_them(void **state)
{
    (void)state;
    struct ldnq_graph *body = build_layer_graph(&layer_kinds[6]);
    body->nodes[0]->within = "the body of Relu 'runs'";
    struct ldnq_graph *graph = build_layer_graph(&layer_kinds[9]);
    append_body(NODE(graph, "Relu", "runs", graph->outputs[0]), body);
    struct ldnq_layer *layers;
    size_t count;
    assert_ok(ldnq_layers_list(graph, graph->arena, &layers, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(layers[0].node->op_type, "MatMul");
    assert_int_equal(layers[0].node_index, 0);
    assert_null(layers[0].refusal);
    assert_string_equal(layers[1].node->op_type, "Gemm");
    assert_int_equal(layers[1].node_index, 1);
    assert_non_null(layers[1].refusal);
    build_free(graph);
    build_free(body);
}

static void a_shared_weight_should_have_one_owner_which_can_be_quantized_if_any_can(void **state)
{
    (void)state;
    const struct ldnq_tensor a = { .dtype = LDNQ_FLOAT }, b = { .dtype = LDNQ_FLOAT };
    const struct ldnq_layer layers[] = {
        { .weight = &a, .refusal = "in a body" },
        { .weight = &b, .refusal = "in a body" },
        { .weight = &b, .refusal = "LSTM" },
        { .weight = &a },
        { .weight = &a },
        { .weight = NULL },
        { .weight = NULL },
    };
    static const bool owns[] = { false, true, false, true, false, false, false };
    for (size_t i = 0; i < sizeof owns; i++)
        assert_int_equal(ldnq_layer_owns_weight(layers, sizeof owns, i), owns[i]);
}

/* ---- tables ------------------------------------------------------------------------------------
 */

/* A table of `rows` rows of 8 elements, and a product that reads `weight` (8, rows). */
static struct ldnq_graph *build_table_graph(int64_t rows, bool is_tied, struct ldnq_layer **layers)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *ids = build_input(graph, "ids", SHAPE(3));
    ids->dtype = LDNQ_INT64;
    struct ldnq_value *table = build_weight(graph, "table", SHAPE(rows, 8), 1);
    struct ldnq_value *weight = build_weight(graph, "weight", SHAPE(8, rows), 2);
    struct ldnq_value *found = NODE(graph, "Gather", "embed", table, ids);
    graph->outputs[graph->output_count++] = NODE(graph, "MatMul", "head", found, weight);
    for (int64_t row = 0; is_tied && row < rows; row++)
        for (int64_t col = 0; col < 8; col++)
            ((float *)weight->constant->data)[col * rows + row] =
                ((const float *)table->constant->data)[row * 8 + col];
    size_t count;
    assert_ok(ldnq_ops_bind(graph, &err));
    assert_ok(ldnq_layers_list(graph, graph->arena, layers, &count, &err));
    assert_int_equal(count, 2);
    return graph;
}

static void a_table_should_be_a_layer_by_rows_without_multiplications(void **state)
{
    (void)state;
    struct ldnq_layer *layers;
    uint64_t macs = 1;
    struct ldnq_graph *graph = build_table_graph(512, false, &layers);
    assert_null(layers[0].refusal);
    assert_true(ldnq_layer_is_table(&layers[0]));
    assert_false(ldnq_layer_is_table(&layers[1]));
    assert_int_equal(layers[0].geometry.rows, 512);
    assert_int_equal(layers[0].geometry.cols, 8);
    assert_true(ldnq_layer_count_macs(&layers[0], &macs));
    assert_int_equal(macs, 0);
    assert_false(ldnq_layers_have_same_elements(&layers[0], &layers[1]));
    build_free(graph);
}

static void a_small_table_should_be_refused_unless_a_layer_has_its_elements(void **state)
{
    (void)state;
    struct ldnq_layer *layers;
    struct ldnq_graph *graph = build_table_graph(511, false, &layers);
    assert_non_null(layers[0].refusal);
    assert_non_null(strstr(layers[0].refusal, "fewer than 4096 elements"));
    build_free(graph);
    graph = build_table_graph(511, true, &layers);
    assert_null(layers[0].refusal);
    assert_true(ldnq_layers_have_same_elements(&layers[0], &layers[1]));
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_should_have_the_geometry_of_their_operators),
        cmocka_unit_test(weights_should_be_read_in_matrix_order),
        cmocka_unit_test(biases_should_be_read_as_the_layer_adds_them),
        cmocka_unit_test(macs_should_count_each_product_with_a_weight),
        cmocka_unit_test(weights_that_can_not_be_replaced_should_be_refused_with_a_reason),
        cmocka_unit_test(a_transposed_convolution_of_groups_should_have_a_row_for_each_channel),
        cmocka_unit_test(layers_of_bodies_should_be_listed_with_the_node_that_runs_them),
        cmocka_unit_test(a_shared_weight_should_have_one_owner_which_can_be_quantized_if_any_can),
        cmocka_unit_test(a_table_should_be_a_layer_by_rows_without_multiplications),
        cmocka_unit_test(a_small_table_should_be_refused_unless_a_layer_has_its_elements),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
