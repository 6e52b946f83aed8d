/* SPDX-License-Identifier: Apache-2.0 */
/* What operators refuse, with a message and without a crash. */
#include "op_call.h"

#include <math.h>

#include "ops/sampling/resize_axis.h"

static const float zeros[64];

static void gather_should_refuse_an_index_out_of_range(void **state)
{
    (void)state;
    struct op_call op;
    const int64_t index[] = { 0, 5 }, negative[] = { -6 };
    op_call_init(&op, "Gather", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(5, 2), zeros);
    op_call_ints(&op, 2, index);
    assert_fails(op_call_run(&op), LDNQ_MODEL, "index 5 is out of range for an axis of 5");
    op.inputs[1] = (struct ldnq_tensor){ LDNQ_INT64, SHAPE(1), (void *)(uintptr_t)negative };
    assert_fails(op_call_run(&op), LDNQ_MODEL, "index -6");
    op_call_finish(&op);
}

static void gatherelements_should_refuse_an_index_out_of_range(void **state)
{
    (void)state;
    struct op_call op;
    const int64_t index[] = { 0, 2 };
    op_call_init(&op, "GatherElements", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(2, 2), zeros);
    op_call_input(&op, LDNQ_INT64, SHAPE(1, 2), index);
    assert_fails(op_call_run(&op), LDNQ_MODEL, "index 2");
    op_call_finish(&op);
}

static void a_symbol_as_an_index_should_be_refused(void **state)
{
    (void)state;
    struct op_call op;
    op_call_init(&op, "Gather", 13);
    int64_t index[] = { op_call_symbol(&op, "N") };
    op_call_input(&op, LDNQ_FLOAT, SHAPE(5), zeros);
    op_call_ints(&op, 1, index);
    assert_fails(op_call_run(&op), LDNQ_MODEL, "out of range");
    op_call_finish(&op);
}

static void slice_should_refuse_a_step_of_zero(void **state)
{
    (void)state;
    struct op_call op;
    const int64_t zero[] = { 0 }, one[] = { 1 };
    op_call_init(&op, "Slice", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(5), zeros);
    op_call_ints(&op, 1, zero);
    op_call_ints(&op, 1, one);
    op_call_ints(&op, 1, zero);
    op_call_input(&op, LDNQ_INT64, SHAPE(1), zero);
    assert_fails(op_call_run(&op), LDNQ_MODEL, "step is 0");
    op_call_finish(&op);
}

static void slice_should_survive_the_extremes_of_int64(void **state)
{
    (void)state;
    static const int64_t extremes[] = { INT64_MIN, INT64_MIN + 1, -1, 1, INT64_MAX };
    for (size_t i = 0; i < 125; i++) {
        struct op_call op;
        op_call_init(&op, "Slice", 13);
        op_call_input(&op, LDNQ_FLOAT, SHAPE(5), zeros);
        op_call_ints(&op, 1, &extremes[i % 5]);
        op_call_ints(&op, 1, &extremes[i / 5 % 5]);
        const int64_t axis = 0;
        op_call_ints(&op, 1, &axis);
        op_call_ints(&op, 1, &extremes[i / 25]);
        assert_ok(op_call_run(&op));
        op_call_finish(&op);
    }
}

static void integer_division_by_zero_should_be_an_error(void **state)
{
    (void)state;
    static const char *const types[] = { "Div", "Mod" };
    const int64_t a[] = { 1, 2 }, b[] = { 1, 0 };
    for (size_t i = 0; i < 2; i++) {
        struct op_call op;
        op_call_init(&op, types[i], 13);
        op_call_ints(&op, 2, a);
        op_call_ints(&op, 2, b);
        assert_fails(op_call_run(&op), LDNQ_NUMERIC, "zero");
        op_call_finish(&op);
    }
}

static void the_least_integer_over_minus_one_should_wrap_around(void **state)
{
    (void)state;
    struct op_call op;
    const int64_t a[] = { INT64_MIN }, b[] = { -1 };
    op_call_init(&op, "Div", 13);
    op_call_ints(&op, 1, a);
    op_call_ints(&op, 1, b);
    assert_ok(op_call_run(&op));
    assert_true(*(const int64_t *)op.outputs[0].data == INT64_MIN);
    op_call_finish(&op);
}

static void types_that_are_not_supported_should_be_named(void **state)
{
    (void)state;
    struct op_call op;
    op_call_init(&op, "Relu", 13);
    op_call_input(&op, LDNQ_DOUBLE, SHAPE(2), NULL);
    assert_fails(op_call_infer_shape(&op), LDNQ_UNSUPPORTED, "float64");
    op_call_finish(&op);
    op_call_init(&op, "Add", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(2), NULL);
    op_call_input(&op, LDNQ_INT64, SHAPE(2), NULL);
    assert_fails(op_call_infer_shape(&op), LDNQ_MODEL, "float32 and int64");
    op_call_finish(&op);
}

static void shapes_that_do_not_fit_should_be_named(void **state)
{
    (void)state;
    struct op_call op;
    const int64_t target[] = { 4, 2 };
    op_call_init(&op, "Add", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(2, 3), NULL);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(4), NULL);
    assert_fails(op_call_infer_shape(&op), LDNQ_MODEL, "3 and 4");
    op_call_finish(&op);
    op_call_init(&op, "Reshape", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(2, 3), NULL);
    op_call_ints(&op, 2, target);
    assert_fails(op_call_infer_shape(&op), LDNQ_MODEL, "6 elements can't be reshaped to 8");
    op_call_finish(&op);
}

static void a_pad_that_cuts_too_much_should_be_an_error(void **state)
{
    (void)state;
    struct op_call op;
    const int64_t pads[] = { -2, -2 };
    op_call_init(&op, "Pad", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(3), zeros);
    op_call_ints(&op, 2, pads);
    assert_fails(op_call_infer_shape(&op), LDNQ_MODEL, "negative size");
    op_call_finish(&op);
}

static void a_range_that_does_not_end_should_be_an_error(void **state)
{
    (void)state;
    struct op_call op;
    const int64_t start = 0, limit = 5, delta = 0;
    op_call_init(&op, "Range", 13);
    op_call_input(&op, LDNQ_INT64, SCALAR, &start);
    op_call_input(&op, LDNQ_INT64, SCALAR, &limit);
    op_call_input(&op, LDNQ_INT64, SCALAR, &delta);
    assert_fails(op_call_infer_shape(&op), LDNQ_MODEL, "does not end");
    op_call_finish(&op);
}

static void sizes_that_overflow_should_be_an_error(void **state)
{
    (void)state;
    struct op_call op;
    const int64_t repeats[] = { (int64_t)1 << 40, (int64_t)1 << 40 };
    op_call_init(&op, "Tile", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE((int64_t)1 << 30, 1), NULL);
    op_call_ints(&op, 2, repeats);
    assert_fails(op_call_infer_shape(&op), LDNQ_MODEL, "too large");
    op_call_finish(&op);
}

static void conv_should_refuse_a_bias_that_does_not_fit_ahead_of_its_input(void **state)
{
    (void)state;
    struct op_call op;
    op_call_init(&op, "Conv", 13);
    op_call_input(&op, LDNQ_FLOAT, UNKNOWN, NULL);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(8, 1, 1, 1), zeros);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(1), zeros);
    assert_fails(op_call_infer_shape(&op), LDNQ_MODEL, "one number per output channel");
    op.inputs[2].shape = SHAPE(8);
    assert_ok(op_call_infer_shape(&op));
    op.inputs[2].shape = SHAPE(op_call_symbol(&op, "M"));
    assert_ok(op_call_infer_shape(&op));
    op_call_finish(&op);
}

/* Ahead of data a number out of the symbols' range is a symbol; with data it is
 * one that nobody can mean. */
static void sizes_that_look_like_symbols_should_be_refused_with_data(void **state)
{
    (void)state;
    static const char *const types[] = { "Reshape", "Expand", "Tile", "ConstantOfShape" };
    for (size_t i = 0; i < 4; i++) {
        struct op_call op;
        op_call_init(&op, types[i], 13);
        const int64_t sizes[] = { op_call_symbol(&op, "N"), 1 };
        if (i < 3)
            op_call_input(&op, LDNQ_FLOAT, SHAPE(1, 1), zeros);
        op_call_ints(&op, 2, sizes);
        assert_ok(op_call_infer_shape(&op));
        assert_fails(op_call_run(&op), LDNQ_MODEL, "out of range");
        op_call_finish(&op);
    }
}

static void products_beyond_the_integers_of_blas_should_be_refused(void **state)
{
    (void)state;
    static const char *const types[] = { "Gemm", "MatMul", "Conv" };
    const int64_t large = (int64_t)1 << 31;
    const struct ldnq_shape left[] = { SHAPE(1, 1), SHAPE(2, 1, large), SHAPE(1, 1, 65536, 65536) };
    const struct ldnq_shape right[] = { SHAPE(1, large), SHAPE(large, 1), SHAPE(1, 1, 1, 1) };
    for (size_t i = 0; i < 3; i++) {
        struct op_call op;
        op_call_init(&op, types[i], 13);
        op_call_input(&op, LDNQ_FLOAT, left[i], NULL);
        op_call_input(&op, LDNQ_FLOAT, right[i], NULL);
        assert_fails(op_call_infer_shape(&op), LDNQ_UNSUPPORTED,
                     "a product of more than 2^31-1 rows or columns is not supported");
        op_call_finish(&op);
    }
}

/* An axis without outputs may have any scale, so also one with which taps can't be counted. */
static void resize_should_have_one_tap_where_there_are_no_outputs(void **state)
{
    (void)state;
    const struct ldnq_picture_resize linear = { .mode = LDNQ_LINEAR, .antialias = true };
    const float scales[] = { 0.0f, 1e-30f };
    for (size_t i = 0; i < 2; i++) {
        const struct ldnq_resize_axis axis = { .in = 4, .out = 0, .scale = scales[i], .end = 1.0f };
        assert_int_equal(ldnq_resize_count_taps(&linear, &axis), 1);
    }
}

/* 0 * infinity is NaN, which no comparison refuses by being larger. */
static void resize_should_refuse_an_infinite_scale_of_an_empty_axis(void **state)
{
    (void)state;
    struct op_call op;
    const float scales[] = { INFINITY };
    op_call_init(&op, "Resize", 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(0), zeros);
    op.node.input_count++; /* no region */
    op_call_input(&op, LDNQ_FLOAT, SHAPE(1), scales);
    assert_fails(op_call_run(&op), LDNQ_MODEL, "a scale of inf is not possible");
    op_call_finish(&op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather_should_refuse_an_index_out_of_range),
        cmocka_unit_test(gatherelements_should_refuse_an_index_out_of_range),
        cmocka_unit_test(a_symbol_as_an_index_should_be_refused),
        cmocka_unit_test(slice_should_refuse_a_step_of_zero),
        cmocka_unit_test(slice_should_survive_the_extremes_of_int64),
        cmocka_unit_test(integer_division_by_zero_should_be_an_error),
        cmocka_unit_test(the_least_integer_over_minus_one_should_wrap_around),
        cmocka_unit_test(types_that_are_not_supported_should_be_named),
        cmocka_unit_test(shapes_that_do_not_fit_should_be_named),
        cmocka_unit_test(a_pad_that_cuts_too_much_should_be_an_error),
        cmocka_unit_test(a_range_that_does_not_end_should_be_an_error),
        cmocka_unit_test(sizes_that_overflow_should_be_an_error),
        cmocka_unit_test(conv_should_refuse_a_bias_that_does_not_fit_ahead_of_its_input),
        cmocka_unit_test(sizes_that_look_like_symbols_should_be_refused_with_data),
        cmocka_unit_test(products_beyond_the_integers_of_blas_should_be_refused),
        cmocka_unit_test(resize_should_have_one_tap_where_there_are_no_outputs),
        cmocka_unit_test(resize_should_refuse_an_infinite_scale_of_an_empty_axis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
