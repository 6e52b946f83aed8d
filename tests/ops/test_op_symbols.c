/* SPDX-License-Identifier: Apache-2.0 */
/* What operators do ahead of data, where sizes are symbols and contents unknown. */
#include "op_call.h"

static void shape_should_pass_symbols_on(void **state)
{
    (void)state;
    struct op_call op;
    op_call_init(&op, "Shape", 15);
    int64_t n = op_call_symbol(&op, "N"), dims[3] = { 0 };
    op_call_input(&op, LDNQ_FLOAT, SHAPE(n, 3, 8), NULL);
    assert_ok(op_call_infer_shape(&op));
    assert_shape(&op.outputs[0].shape, SHAPE(3));
    op.outputs[0].data = dims;
    assert_ok(op.node.op->forward(&op.call, &err));
    assert_true(dims[0] == n && dims[1] == 3 && dims[2] == 8);
    op_call_finish(&op);
}

static void size_should_fail_where_a_dimension_is_a_symbol(void **state)
{
    (void)state;
    struct op_call op;
    int64_t size;
    op_call_init(&op, "Size", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(op_call_symbol(&op, "N"), 3), NULL);
    assert_ok(op_call_infer_shape(&op));
    op.outputs[0].data = &size;
    assert_fails(op.node.op->forward(&op.call, &err), LDNQ_MODEL, "not known");
    op_call_finish(&op);
}

static void movers_should_carry_symbols_in_their_data(void **state)
{
    (void)state;
    struct op_call op;
    op_call_init(&op, "Gather", 13);
    int64_t content[] = { op_call_symbol(&op, "N"), 3, 8 }, index[] = { -1, 0 };
    op_call_ints(&op, 3, content);
    op_call_ints(&op, 2, index);
    assert_true(op.node.op->flags & LDNQ_OP_MOVES_FIRST);
    assert_ok(op_call_run(&op));
    const int64_t *out = op.outputs[0].data;
    assert_true(out[0] == 8 && out[1] == content[0]);
    op_call_finish(&op);

    op_call_init(&op, "Concat", 13);
    op_call_attr(&op, "axis", 0);
    op_call_ints(&op, 3, content);
    op_call_ints(&op, 2, index);
    assert_true(op.node.op->flags & LDNQ_OP_MOVES_ALL);
    assert_ok(op_call_run(&op));
    out = op.outputs[0].data;
    assert_true(out[0] == content[0] && out[4] == 0);
    op_call_finish(&op);
}

static void reshape_should_find_the_symbol_behind_minus_one(void **state)
{
    (void)state;
    struct op_call op;
    const int64_t target[] = { -1, 1280 };
    op_call_init(&op, "Reshape", 13);
    int64_t n = op_call_symbol(&op, "N");
    op_call_input(&op, LDNQ_FLOAT, SHAPE(n, 1280, 1, 1), NULL);
    op_call_ints(&op, 2, target);
    assert_ok(op_call_infer_shape(&op));
    assert_shape(&op.outputs[0].shape, SHAPE(n, 1280));
    op_call_finish(&op);
}

static void reshape_should_cancel_a_symbol_that_both_shapes_have(void **state)
{
    (void)state;
    struct op_call op;
    op_call_init(&op, "Reshape", 13);
    int64_t n = op_call_symbol(&op, "N");
    const int64_t target[] = { n, 2, -1 };
    op_call_input(&op, LDNQ_FLOAT, SHAPE(n, 3, 4), NULL);
    op_call_ints(&op, 3, target);
    assert_ok(op_call_infer_shape(&op));
    assert_shape(&op.outputs[0].shape, SHAPE(n, 2, 6));
    op_call_finish(&op);
}

static void reshape_should_keep_its_rank_where_sizes_are_unknown(void **state)
{
    (void)state;
    struct op_call op;
    op_call_init(&op, "Reshape", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(2, 3), NULL);
    op_call_ints(&op, 4, NULL);
    assert_ok(op_call_infer_shape(&op));
    assert_int_equal(op.outputs[0].shape.rank, 4);
    for (int i = 0; i < 4; i++)
        assert_true(ldnq_is_symbol(op.outputs[0].shape.dim[i]));
    op_call_finish(&op);
}

static void slice_should_leave_a_symbol_that_it_does_not_cut(void **state)
{
    (void)state;
    struct op_call op;
    const int64_t starts[] = { 0, 1 }, ends[] = { INT64_MAX, 3 };
    op_call_init(&op, "Slice", 13);
    int64_t n = op_call_symbol(&op, "N");
    op_call_input(&op, LDNQ_FLOAT, SHAPE(n, 8), NULL);
    op_call_ints(&op, 2, starts);
    op_call_ints(&op, 2, ends);
    assert_ok(op_call_infer_shape(&op));
    assert_shape(&op.outputs[0].shape, SHAPE(n, 2));
    op_call_finish(&op);
}

static void slice_should_open_only_the_axes_that_unknown_bounds_cut(void **state)
{
    (void)state;
    struct op_call op;
    const int64_t axes[] = { 1 };
    op_call_init(&op, "Slice", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(4, 8), NULL);
    op_call_ints(&op, 1, NULL);
    op_call_ints(&op, 1, NULL);
    op_call_ints(&op, 1, axes);
    assert_ok(op_call_infer_shape(&op));
    assert_int_equal(op.outputs[0].shape.dim[0], 4);
    assert_true(ldnq_is_symbol(op.outputs[0].shape.dim[1]));
    op_call_finish(&op);
}

static void pad_should_keep_the_symbol_of_an_axis_without_pads(void **state)
{
    (void)state;
    struct op_call op;
    const int64_t pads[] = { 0, 1, 0, 2 };
    op_call_init(&op, "Pad", 13);
    int64_t n = op_call_symbol(&op, "N");
    op_call_input(&op, LDNQ_FLOAT, SHAPE(n, 5), NULL);
    op_call_ints(&op, 4, pads);
    assert_ok(op_call_infer_shape(&op));
    assert_shape(&op.outputs[0].shape, SHAPE(n, 8));
    op_call_finish(&op);
}

static void an_unknown_rank_should_stay_unknown(void **state)
{
    (void)state;
    static const char *const types[] = { "Relu",       "Shape",   "Transpose",
                                         "ReduceMean", "Flatten", "GlobalAveragePool",
                                         "Softmax",    "ArgMax",  "Size" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct op_call op;
        op_call_init(&op, types[i], 18);
        op_call_input(&op, LDNQ_FLOAT, UNKNOWN, NULL);
        assert_ok(op_call_infer_shape(&op));
        op_call_finish(&op);
    }
}

static void constantofshape_should_take_symbols_as_sizes(void **state)
{
    (void)state;
    struct op_call op;
    op_call_init(&op, "ConstantOfShape", 13);
    int64_t content[] = { op_call_symbol(&op, "N"), 2 };
    op_call_ints(&op, 2, content);
    assert_ok(op_call_infer_shape(&op));
    assert_shape(&op.outputs[0].shape, SHAPE(content[0], 2));
    op_call_finish(&op);
}

static void resize_should_take_symbols_and_numbers_as_sizes(void **state)
{
    (void)state;
    struct op_call op;
    op_call_init(&op, "Resize", 19);
    int64_t n = op_call_symbol(&op, "N"), content[] = { n, 3, 16, 20 };
    op_call_input(&op, LDNQ_FLOAT, SHAPE(n, 3, 8, op_call_symbol(&op, "W")), NULL);
    op.node.input_count += 2; /* neither region nor scales */
    op_call_ints(&op, 4, content);
    assert_ok(op_call_infer_shape(&op));
    assert_shape(&op.outputs[0].shape, SHAPE(n, 3, 16, 20));
    op_call_finish(&op);
}

static void an_unknown_size_at_run_time_should_be_an_error(void **state)
{
    (void)state;
    struct op_call op;
    op_call_init(&op, "Reshape", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(2, 3), NULL);
    op_call_ints(&op, 4, NULL);
    assert_ok(op_call_infer_shape(&op));
    op.call.graph = NULL;
    assert_fails(ldnq_ops_infer_shape(&op.call, &err), LDNQ_MODEL, "not known");
    op_call_finish(&op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shape_should_pass_symbols_on),
        cmocka_unit_test(size_should_fail_where_a_dimension_is_a_symbol),
        cmocka_unit_test(movers_should_carry_symbols_in_their_data),
        cmocka_unit_test(reshape_should_find_the_symbol_behind_minus_one),
        cmocka_unit_test(reshape_should_cancel_a_symbol_that_both_shapes_have),
        cmocka_unit_test(reshape_should_keep_its_rank_where_sizes_are_unknown),
        cmocka_unit_test(slice_should_leave_a_symbol_that_it_does_not_cut),
        cmocka_unit_test(slice_should_open_only_the_axes_that_unknown_bounds_cut),
        cmocka_unit_test(pad_should_keep_the_symbol_of_an_axis_without_pads),
        cmocka_unit_test(an_unknown_rank_should_stay_unknown),
        cmocka_unit_test(constantofshape_should_take_symbols_as_sizes),
        cmocka_unit_test(resize_should_take_symbols_and_numbers_as_sizes),
        cmocka_unit_test(an_unknown_size_at_run_time_should_be_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
