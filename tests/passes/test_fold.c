/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes ahead of data, and constants out of nodes. */
#include "graph_build.h"

#include "passes/fold.h"

static void fold_should_compute_nodes_with_constant_inputs(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *a = build_weight(graph, "a", SHAPE(4), 1);
    struct ldnq_value *sum = NODE(graph, "Add", "add", a, a);
    build_output(graph, sum);
    assert_ok(ldnq_passes_run(graph, &err));
    assert_int_equal(graph->node_count, 0);
    assert_non_null(sum->constant);
    for (int i = 0; i < 4; i++)
        assert_true(((float *)sum->constant->data)[i] == 2 * ((float *)a->constant->data)[i]);
    assert_string_equal(sum->folded_from->op_type, "Add");
    build_free(graph);
}

/* Reshape(x, Concat(Gather(Shape(x), 0), -1)), as exporters flatten. */
static void fold_should_carry_a_symbolic_batch_through_shape_arithmetic(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    int64_t n = build_symbol(graph, "N");
    struct ldnq_value *x = build_input(graph, "x", SHAPE(n, 3, 8, 8));
    struct ldnq_value *shape = NODE(graph, "Shape", "shape", x);
    struct ldnq_value *zero = build_ints(graph, "zero", 1, (int64_t[]){ 0 });
    struct ldnq_value *batch = NODE(graph, "Gather", "gather", shape, zero);
    struct ldnq_value *rest = build_ints(graph, "rest", 1, (int64_t[]){ -1 });
    struct ldnq_value *target = NODE(graph, "Concat", "concat", batch, rest);
    build_attr(target, "axis", 0);
    struct ldnq_value *flat = NODE(graph, "Reshape", "reshape", x, target);
    build_output(graph, flat);
    assert_ok(ldnq_passes_run(graph, &err));
    assert_true(ldnq_shapes_are_equal(&flat->shape, &SHAPE(n, 192)));
    assert_null(target->constant);
    assert_true(target->partial[0] == n && target->partial[1] == -1);
    /* It still runs, for any batch. */
    struct ldnq_tensor *out = build_run(graph, build_tensor(graph->arena, SHAPE(5, 3, 8, 8), 2));
    assert_true(ldnq_shapes_are_equal(&out->shape, &SHAPE(5, 192)));
    build_free(graph);
}

/* Reshape(x, Concat(9, batch * heads, -1)), as attention is exported. */
static void fold_should_keep_the_sizes_beside_one_that_it_can_not_compute(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(9, build_symbol(graph, "N"), 16));
    struct ldnq_value *shape = NODE(graph, "Shape", "shape", x);
    struct ldnq_value *one = build_ints(graph, "one", 1, (int64_t[]){ 1 });
    struct ldnq_value *heads = build_ints(graph, "heads", 1, (int64_t[]){ 4 });
    struct ldnq_value *nine = build_ints(graph, "nine", 1, (int64_t[]){ 9 });
    struct ldnq_value *rest = build_ints(graph, "rest", 1, (int64_t[]){ -1 });
    struct ldnq_value *batch = NODE(graph, "Gather", "gather", shape, one);
    struct ldnq_value *rows = NODE(graph, "Mul", "mul", batch, heads);
    struct ldnq_value *target = NODE(graph, "Concat", "concat", nine, rows, rest);
    build_attr(target, "axis", 0);
    struct ldnq_value *cut = NODE(graph, "Reshape", "reshape", x, target);
    struct ldnq_value *as_wide = NODE(graph, "ConstantOfShape", "zeros", rows);
    build_output(graph, cut);
    build_output(graph, as_wide);
    assert_ok(ldnq_passes_run(graph, &err));
    assert_int_equal(cut->shape.rank, 3);
    assert_int_equal(cut->shape.dim[0], 9);
    assert_true(ldnq_is_symbol(cut->shape.dim[1]));
    /* One number wherever it goes. */
    assert_int_equal(as_wide->shape.dim[0], cut->shape.dim[1]);
    struct ldnq_tensor *out = build_run(graph, build_tensor(graph->arena, SHAPE(9, 5, 16), 2));
    assert_true(ldnq_shapes_are_equal(&out->shape, &SHAPE(9, 20, 4)));
    build_free(graph);
}

static void fold_should_make_constants_where_the_batch_drops_out(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 3, 8, 6));
    struct ldnq_value *shape = NODE(graph, "Shape", "shape", x);
    struct ldnq_value *from = build_ints(graph, "from", 1, (int64_t[]){ 2 });
    struct ldnq_value *to = build_ints(graph, "to", 1, (int64_t[]){ INT64_MAX });
    struct ldnq_value *size = NODE(graph, "Slice", "slice", shape, from, to);
    build_output(graph, size);
    build_output(graph, x);
    assert_ok(ldnq_passes_run(graph, &err));
    assert_non_null(size->constant);
    assert_int_equal(((int64_t *)size->constant->data)[0], 8);
    assert_int_equal(((int64_t *)size->constant->data)[1], 6);
    assert_int_equal(graph->node_count, 0);
    build_free(graph);
}

/* A pad list that is computed from constants alone, through moves that undo each
 * other: the chain that TorchScript writes before every Pad. */
static void fold_should_make_pads_plain(void **state)
{
    (void)state;
    static const int64_t perm[] = { 1, 0 };
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 1, 4, 4));
    struct ldnq_value *four = build_ints(graph, "four", 1, (int64_t[]){ 4 });
    struct ldnq_value *zeros = NODE(graph, "ConstantOfShape", "zeros", four);
    struct ldnq_value *zeros_int = NODE(graph, "Cast", "ints", zeros);
    build_attr(zeros_int, "to", LDNQ_INT64);
    struct ldnq_value *given = build_ints(graph, "given", 4, (int64_t[]){ 0, 1, 2, 3 });
    struct ldnq_value *all = NODE(graph, "Concat", "all", given, zeros_int);
    build_attr(all, "axis", 0);
    struct ldnq_value *pairs_shape = build_ints(graph, "ps", 2, (int64_t[]){ -1, 2 });
    struct ldnq_value *pairs = NODE(graph, "Reshape", "pairs", all, pairs_shape);
    struct ldnq_value *last = build_ints(graph, "last", 1, (int64_t[]){ -1 });
    struct ldnq_value *least = build_ints(graph, "least", 1, (int64_t[]){ INT64_MIN + 1 });
    struct ldnq_value *axis = build_ints(graph, "axis", 1, (int64_t[]){ 0 });
    struct ldnq_value *turned = NODE(graph, "Slice", "turn", pairs, last, least, axis, last);
    struct ldnq_value *columns = NODE(graph, "Transpose", "columns", turned);
    build_attr_ints(columns, "perm", 2, perm);
    struct ldnq_value *pads = NODE(graph, "Reshape", "pads", columns, last);
    struct ldnq_value *padded = NODE(graph, "Pad", "pad", x, pads);
    build_output(graph, padded);
    assert_ok(ldnq_passes_run(graph, &err));
    assert_int_equal(graph->node_count, 1);
    const int64_t want[] = { 0, 0, 2, 0, 0, 0, 3, 1 };
    assert_memory_equal(pads->constant->data, want, sizeof want);
    assert_int_equal(padded->shape.dim[2], 9);
    assert_int_equal(padded->shape.dim[3], 5);
    build_free(graph);
}

static void fold_should_leave_to_run_time_what_symbols_can_not_answer(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 3));
    struct ldnq_value *size = NODE(graph, "Size", "size", x);
    build_output(graph, size);
    assert_ok(ldnq_passes_run(graph, &err));
    assert_null(size->constant);
    struct ldnq_tensor *out = build_run(graph, build_tensor(graph->arena, SHAPE(5, 3), 2));
    assert_int_equal(*(int64_t *)out->data, 15);
    build_free(graph);
}

static void fold_should_name_the_node_whose_inputs_do_not_fit(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(2, 3));
    build_output(graph, NODE(graph, "Gemm", "fc", x, build_weight(graph, "w", SHAPE(4, 5), 1)));
    assert_fails(ldnq_passes_run(graph, &err), LDNQ_MODEL, "m.onnx: node 'fc' (Gemm, opset 13)");
    build_free(graph);
}

static void fold_should_pass_over_nodes_that_it_does_not_know(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(2, 3));
    struct ldnq_value *foreign = NODE(graph, "Foreign", "foreign", x);
    struct ldnq_value *after = NODE(graph, "Relu", "relu", foreign);
    build_output(graph, after);
    assert_fails(ldnq_ops_bind(graph, &err), LDNQ_UNSUPPORTED, "'foreign'");
    assert_ok(ldnq_pass_fold_constants(graph, &err));
    assert_int_equal(after->dtype, LDNQ_UNDEFINED);
    assert_int_equal(graph->node_count, 2);
    build_free(graph);
}

static void fold_should_leave_to_run_time_what_goes_beyond_the_budget(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *a = build_weight(graph, "a", SHAPE(64), 1), *sums[3];
    for (int i = 0; i < 3; i++)
        build_output(graph, sums[i] = NODE(graph, "Add", "add", a, a));
    build_output(graph, NODE(graph, "Identity", "view", a)); /* takes nothing */
    assert_ok(ldnq_ops_bind(graph, &err));
    assert_ok(ldnq_fold_within_budget(graph, 2 * 64 * sizeof(float), &err));
    assert_true(sums[0]->constant && sums[1]->constant && !sums[2]->constant);
    assert_int_equal(graph->node_count, 1);
    assert_ptr_equal(sums[2]->producer, graph->nodes[0]);
    assert_true(ldnq_shapes_are_equal(&sums[2]->shape, &SHAPE(64)));
    build_free(graph);
}

static void fold_should_fold_nodes_with_outputs_left_out(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *a = build_weight(graph, "a", SHAPE(4), 1);
    struct ldnq_value *half = NODE(graph, "Split", "split", a);
    struct ldnq_value *drop = NODE(graph, "Dropout", "drop", half);
    build_omitted(graph, half, 1, 2);
    build_omitted(graph, drop, 0, 2);
    build_output(graph, drop);
    assert_ok(ldnq_passes_run(graph, &err));
    assert_int_equal(graph->node_count, 0);
    assert_memory_equal(drop->constant->data, (float *)a->constant->data + 2, 2 * sizeof(float));
    build_free(graph);
}

static struct ldnq_value *build_codes(struct ldnq_graph *graph)
{
    struct ldnq_value *value;
    struct ldnq_tensor *tensor;
    assert_ok(ldnq_tensor_create(graph->arena, LDNQ_INT8, &SHAPE(4), &tensor, &err));
    assert_ok(ldnq_graph_add_constant(graph, "codes", tensor, &value, &err));
    return value;
}

static void fold_should_mark_what_comes_from_codes(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *scale = build_weight(graph, "scale", ((struct ldnq_shape){ .rank = 0 }), 1);
    struct ldnq_value *codes = build_codes(graph), *plain = build_weight(graph, "w", SHAPE(4), 2);
    struct ldnq_value *w = NODE(graph, "DequantizeLinear", "dequantize", codes, scale);
    for (int i = 0; i < 10; i++) {
        w = NODE(graph, "Add", "add", w, w);
        plain = NODE(graph, "Add", "add_plain", plain, plain);
    }
    build_output(graph, w);
    build_output(graph, plain);
    assert_ok(ldnq_passes_run(graph, &err));
    assert_true(w->constant && w->from_codes);
    assert_true(plain->constant && !plain->from_codes);
    assert_false(codes->from_codes);
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fold_should_compute_nodes_with_constant_inputs),
        cmocka_unit_test(fold_should_carry_a_symbolic_batch_through_shape_arithmetic),
        cmocka_unit_test(fold_should_keep_the_sizes_beside_one_that_it_can_not_compute),
        cmocka_unit_test(fold_should_make_constants_where_the_batch_drops_out),
        cmocka_unit_test(fold_should_make_pads_plain),
        cmocka_unit_test(fold_should_leave_to_run_time_what_symbols_can_not_answer),
        cmocka_unit_test(fold_should_name_the_node_whose_inputs_do_not_fit),
        cmocka_unit_test(fold_should_pass_over_nodes_that_it_does_not_know),
        cmocka_unit_test(fold_should_leave_to_run_time_what_goes_beyond_the_budget),
        cmocka_unit_test(fold_should_fold_nodes_with_outputs_left_out),
        cmocka_unit_test(fold_should_mark_what_comes_from_codes),
    };
    return cmocka_run_group_tests_name("fold", tests, NULL, NULL);
}
