/* SPDX-License-Identifier: Apache-2.0 */
/* The form of a quantized table becomes a Gather of a dequantized table: the same numbers. */
#include "graph_build.h"

#include "compare/compute_view.h"
#include "compare/table_form.h"

#define ROWS 6
#define COLS 8

/* What differs between the forms that the emitter writes. */
struct form_kind {
    bool is_packed, has_blocks;
};

static const struct form_kind kinds[] = {
    { false, false }, { true, false }, { false, true }, { true, true }
};
#define KINDS (sizeof kinds / sizeof *kinds)

static struct ldnq_value *build_scalar(struct ldnq_graph *graph, const char *name, float number)
{
    struct ldnq_value *value = build_weight(graph, name, (struct ldnq_shape){ .rank = 0 }, 1);
    *(float *)value->constant->data = number;
    return value;
}

/* Random bytes: every code that 4 bits have. */
static struct ldnq_value *build_codes(struct ldnq_graph *graph, const struct form_kind *kind)
{
    const int64_t bytes = kind->is_packed ? COLS / 2 : COLS;
    const struct ldnq_shape shape =
        kind->has_blocks ? SHAPE(ROWS, 2, bytes / 2) : SHAPE(ROWS, bytes);
    struct ldnq_tensor *tensor;
    struct ldnq_value *value;
    struct ldnq_rng rng = { 3 };
    assert_ok(ldnq_tensor_create(graph->arena, kind->is_packed ? LDNQ_UINT8 : LDNQ_INT8, &shape,
                                 &tensor, &err));
    for (size_t i = 0; i < ldnq_tensor_count(tensor); i++)
        ((uint8_t *)tensor->data)[i] = (uint8_t)(256 * ldnq_rng_uniform(&rng));
    assert_ok(ldnq_graph_add_constant(graph, "codes", tensor, &value, &err));
    value->is_initializer = true;
    return value;
}

static struct ldnq_value *build_unpacking(struct ldnq_graph *graph, struct ldnq_value *bytes)
{
    struct ldnq_value *sixteen = build_scalar(graph, "sixteen", 16);
    struct ldnq_value *high = NODE(graph, "Mul", "m", bytes, build_scalar(graph, "r", 1.0f / 16));
    high = NODE(graph, "Floor", "high", high);
    struct ldnq_value *low =
        NODE(graph, "Sub", "low", bytes, NODE(graph, "Mul", "back", high, sixteen));
    struct ldnq_value *both = NODE(graph, "Concat", "both", low, high);
    build_attr(both, "axis", -1);
    return NODE(graph, "Sub", "signed", both, build_scalar(graph, "offset", 8));
}

/* Two ids per sample. */
static struct ldnq_graph *build_form(const struct form_kind *kind, struct ldnq_value **cast)
{
    static const int64_t joined[] = { 0, 0, COLS };
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *ids = build_input(graph, "ids", SHAPE(3, 2));
    ids->dtype = LDNQ_INT64;
    struct ldnq_value *scales =
        build_weight(graph, "scales", kind->has_blocks ? SHAPE(ROWS, 2, 1) : SHAPE(ROWS, 1), 7);
    struct ldnq_value *rows = NODE(graph, "Gather", "rows", build_codes(graph, kind), ids);
    struct ldnq_value *row_scales = NODE(graph, "Gather", "row scales", scales, ids);
    *cast = NODE(graph, "Cast", "cast", rows);
    build_attr(*cast, "to", LDNQ_FLOAT);
    struct ldnq_value *codes = kind->is_packed ? build_unpacking(graph, *cast) : *cast;
    struct ldnq_value *last = NODE(graph, "Mul", "embed", codes, row_scales);
    if (kind->has_blocks)
        last = NODE(graph, "Reshape", "embed", last, build_ints(graph, "shape", 3, joined));
    graph->outputs[graph->output_count++] = last;
    last->is_output = true;
    return graph;
}

static void run_form(struct ldnq_graph *graph, float *result)
{
    static int64_t numbers[] = { 0, 5, -1, 2, 3, 3 };
    struct ldnq_tensor ids = { .dtype = LDNQ_INT64, .shape = SHAPE(3, 2), .data = numbers };
    struct ldnq_exec *exec;
    assert_ok(ldnq_passes_run(graph, &err));
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    ldnq_exec_keep_until_reset(exec, graph->outputs[0]);
    assert_ok(ldnq_exec_run(exec, (struct ldnq_tensor *const[]){ &ids }, &err));
    const struct ldnq_tensor *output = ldnq_exec_find_value(exec, graph->outputs[0]);
    assert_int_equal(ldnq_tensor_count(output), 6 * COLS);
    memcpy(result, output->data, 6 * COLS * sizeof *result);
    ldnq_exec_destroy(exec);
}

static void rewriting_should_keep_every_bit(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        float before[6 * COLS], after[6 * COLS];
        struct ldnq_value *cast;
        struct ldnq_graph *graph = build_form(&kinds[k], &cast);
        run_form(graph, before);
        build_free(graph);
        graph = build_form(&kinds[k], &cast);
        assert_ok(ldnq_table_forms_rewrite(graph, &err));
        assert_int_equal(graph->node_count, 2);
        assert_string_equal(graph->nodes[0]->op_type, "DequantizeLinear");
        assert_string_equal(graph->nodes[0]->inputs[0]->name, "codes");
        assert_int_equal(graph->nodes[0]->inputs[0]->constant->dtype,
                         kinds[k].is_packed ? LDNQ_INT4 : LDNQ_INT8);
        assert_string_equal(graph->nodes[1]->op_type, "Gather");
        assert_string_equal(graph->nodes[1]->label, "embed");
        run_form(graph, after);
        assert_memory_equal(before, after, sizeof before);
        build_free(graph);
    }
}

static void a_form_with_another_reader_should_stay(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct ldnq_value *cast;
        struct ldnq_graph *graph = build_form(&kinds[k], &cast);
        graph->outputs[graph->output_count++] = cast;
        const size_t nodes = graph->node_count;
        assert_ok(ldnq_table_forms_rewrite(graph, &err));
        assert_int_equal(graph->node_count, nodes);
        build_free(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewriting_should_keep_every_bit),
        cmocka_unit_test(a_form_with_another_reader_should_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
