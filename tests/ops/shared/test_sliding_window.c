/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "ops/shared/sliding_window.h"

static struct ldnq_error err;

/* ---- sizes: computed by hand from the formulas of ONNX's Conv and MaxPool -------- */

enum { FLOOR = 0, CEIL = 1 };

static const struct row {
    int64_t size, kernel, stride, dilation, begin, end;
    enum ldnq_auto_pad auto_pad;
    int ceil_mode;
    int64_t out, pad; /* out -1: the window does not fit */
} table[] = {
    { 5, 3, 1, 1, 0, 0, LDNQ_PAD_NOTSET, FLOOR, 3, 0 },
    { 5, 3, 1, 1, 1, 1, LDNQ_PAD_NOTSET, FLOOR, 5, 1 },
    { 5, 3, 2, 1, 0, 0, LDNQ_PAD_NOTSET, FLOOR, 2, 0 },
    { 6, 3, 2, 1, 0, 0, LDNQ_PAD_NOTSET, FLOOR, 2, 0 },
    { 6, 3, 2, 1, 0, 1, LDNQ_PAD_NOTSET, FLOOR, 3, 0 },
    { 6, 3, 2, 1, 2, 0, LDNQ_PAD_NOTSET, FLOOR, 3, 2 },
    { 7, 3, 1, 2, 0, 0, LDNQ_PAD_NOTSET, FLOOR, 3, 0 },
    { 7, 3, 2, 3, 1, 2, LDNQ_PAD_NOTSET, FLOOR, 2, 1 },
    { 3, 3, 5, 1, 0, 0, LDNQ_PAD_NOTSET, FLOOR, 1, 0 },
    { 1, 3, 1, 1, 3, 3, LDNQ_PAD_NOTSET, FLOOR, 5, 3 },
    { 224, 7, 2, 1, 3, 3, LDNQ_PAD_NOTSET, FLOOR, 112, 3 },
    { 2, 3, 1, 1, 0, 0, LDNQ_PAD_NOTSET, FLOOR, -1, 0 },
    { 4, 3, 1, 2, 0, 0, LDNQ_PAD_NOTSET, FLOOR, -1, 0 },
    { 0, 1, 1, 1, 0, 0, LDNQ_PAD_NOTSET, FLOOR, -1, 0 },
    { 0, 2, 1, 1, 1, 1, LDNQ_PAD_NOTSET, FLOOR, 1, 1 },

    { 5, 3, 2, 1, 0, 0, LDNQ_PAD_NOTSET, CEIL, 2, 0 },
    { 6, 3, 2, 1, 0, 0, LDNQ_PAD_NOTSET, CEIL, 3, 0 },
    { 32, 3, 2, 1, 0, 0, LDNQ_PAD_NOTSET, FLOOR, 15, 0 },
    { 32, 3, 2, 1, 0, 0, LDNQ_PAD_NOTSET, CEIL, 16, 0 },
    { 4, 3, 2, 1, 0, 0, LDNQ_PAD_NOTSET, CEIL, 2, 0 },
    { 4, 2, 2, 1, 1, 1, LDNQ_PAD_NOTSET, CEIL, 3, 1 },
    /* The last window would start behind the input and its leading pad. */
    { 2, 1, 2, 1, 0, 0, LDNQ_PAD_NOTSET, CEIL, 1, 0 },
    { 2, 1, 3, 1, 0, 0, LDNQ_PAD_NOTSET, CEIL, 1, 0 },
    { 4, 2, 3, 1, 1, 1, LDNQ_PAD_NOTSET, CEIL, 2, 1 },
    { 3, 2, 3, 1, 1, 1, LDNQ_PAD_NOTSET, CEIL, 2, 1 },
    { 2, 3, 2, 1, 0, 0, LDNQ_PAD_NOTSET, CEIL, -1, 0 },

    { 5, 3, 2, 1, 0, 0, LDNQ_PAD_SAME_UPPER, FLOOR, 3, 1 },
    { 5, 3, 2, 1, 0, 0, LDNQ_PAD_SAME_LOWER, FLOOR, 3, 1 },
    { 5, 2, 1, 1, 0, 0, LDNQ_PAD_SAME_UPPER, FLOOR, 5, 0 },
    { 5, 2, 1, 1, 0, 0, LDNQ_PAD_SAME_LOWER, FLOOR, 5, 1 },
    { 6, 3, 2, 1, 0, 0, LDNQ_PAD_SAME_UPPER, FLOOR, 3, 0 },
    { 6, 3, 2, 1, 0, 0, LDNQ_PAD_SAME_LOWER, FLOOR, 3, 1 },
    { 8, 3, 3, 2, 0, 0, LDNQ_PAD_SAME_UPPER, FLOOR, 3, 1 },
    { 8, 3, 3, 2, 0, 0, LDNQ_PAD_SAME_LOWER, FLOOR, 3, 2 },
    { 5, 1, 2, 1, 0, 0, LDNQ_PAD_SAME_UPPER, FLOOR, 3, 0 },
    { 6, 1, 4, 1, 0, 0, LDNQ_PAD_SAME_LOWER, FLOOR, 2, 0 },
    { 6, 3, 2, 1, 0, 0, LDNQ_PAD_SAME_UPPER, CEIL, 3, 0 },
    { 0, 3, 1, 1, 0, 0, LDNQ_PAD_SAME_UPPER, FLOOR, 0, 1 },

    { 5, 3, 2, 1, 0, 0, LDNQ_PAD_VALID, FLOOR, 2, 0 },
    { 6, 3, 2, 1, 0, 0, LDNQ_PAD_VALID, FLOOR, 2, 0 },
    { 2, 3, 1, 1, 0, 0, LDNQ_PAD_VALID, FLOOR, -1, 0 },
    /* As ONNX's shape inference has it; its text has the floor here. */
    { 6, 3, 2, 1, 0, 0, LDNQ_PAD_VALID, CEIL, 3, 0 },
};

static void output_sizes_should_be_onnxs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct row *row = &table[i];
        struct ldnq_window window = { .axes = 3,
                                      .stride = { 1, row->stride, 1 },
                                      .dilation = { 1, row->dilation, 1 },
                                      .pad_begin = { 9, row->begin, 9 },
                                      .pad_end = { 9, row->end, 9 },
                                      .auto_pad = row->auto_pad,
                                      .ceil_mode = row->ceil_mode == CEIL };
        struct ldnq_op_call call = { 0 };
        int64_t out = -7, pad = -7;
        enum ldnq_status status =
            ldnq_window_infer_output(&call, &window, 1, row->size, row->kernel, &out, &pad, &err);
        if (row->out < 0) {
            assert_int_equal(status, LDNQ_MODEL);
            assert_non_null(strstr(err.message, "does not fit"));
        } else if (status != LDNQ_OK || out != row->out || pad != row->pad) {
            fail_msg("row %zu: %d elements, pad %d; expected %d and %d", i, (int)out, (int)pad,
                     (int)row->out, (int)row->pad);
        }
    }
}

static void a_size_that_is_not_known_should_give_a_symbol_ahead_of_data_only(void **state)
{
    (void)state;
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_graph_create(arena, "g", "m.onnx", &graph, &err));
    struct ldnq_window window = { .stride = { 1, 1, 1 }, .dilation = { 1, 1, 1 } };
    struct ldnq_op_call call = { .graph = graph };
    int64_t symbol, out;
    assert_ok(ldnq_graph_find_or_add_symbol(graph, "N", &symbol, &err));
    assert_ok(ldnq_window_infer_output(&call, &window, 0, symbol, 3, &out, NULL, &err));
    assert_true(ldnq_is_symbol(out) && out != symbol);
    call.graph = NULL;
    assert_fails(ldnq_window_infer_output(&call, &window, 0, symbol, 3, &out, NULL, &err),
                 LDNQ_MODEL, "can't be computed");
    ldnq_arena_destroy(arena);
}

static void impossible_sizes_should_be_refused(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = { { 5, 0 }, { 5, -3 }, { 5, 1LL << 40 }, { 1LL << 40, 3 } };
    struct ldnq_window window = { .stride = { 1, 1, 1 }, .dilation = { 1 << 30, 1, 1 } };
    struct ldnq_op_call call = { 0 };
    int64_t out;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_fails(
            ldnq_window_infer_output(&call, &window, 0, sizes[i][0], sizes[i][1], &out, NULL, &err),
            LDNQ_MODEL, "not possible");
    assert_fails(ldnq_window_infer_output(&call, &window, 0, 1 << 30, 1 << 30, &out, NULL, &err),
                 LDNQ_MODEL, "does not fit");
}

/* ---- attributes ---------------------------------------------------------------- */

static struct ldnq_attr ints(const char *name, size_t count, const int64_t *values)
{
    return (
        struct ldnq_attr){ .name = name, .kind = LDNQ_ATTR_INTS, .count = count, .ints = values };
}

static enum ldnq_status read_one(struct ldnq_attr attr, struct ldnq_window *window)
{
    struct ldnq_node node = { .attr_count = 1, .attrs = &attr };
    return ldnq_window_read_attrs(&node, window, &err);
}

static void attributes_should_be_read(void **state)
{
    (void)state;
    static const int64_t kernel[] = { 3, 5 }, strides[] = { 2, 1 }, dilations[] = { 1, 4 };
    static const int64_t pads[] = { 1, 2, 3, 4 };
    const struct ldnq_attr attrs[] = {
        ints("kernel_shape", 2, kernel),
        ints("strides", 2, strides),
        ints("dilations", 2, dilations),
        ints("pads", 4, pads),
        { .name = "ceil_mode", .kind = LDNQ_ATTR_INT, .i = 1 },
        { .name = "auto_pad", .kind = LDNQ_ATTR_STRING, .s = "SAME_LOWER" },
    };
    struct ldnq_node node = { .attr_count = 6, .attrs = attrs };
    struct ldnq_window window;
    assert_ok(ldnq_window_read_attrs(&node, &window, &err));
    assert_int_equal(window.axes, 2);
    assert_true(window.kernel[0] == 3 && window.kernel[1] == 5);
    assert_true(window.stride[0] == 2 && window.stride[1] == 1);
    assert_true(window.dilation[0] == 1 && window.dilation[1] == 4);
    assert_true(window.pad_begin[0] == 1 && window.pad_begin[1] == 2);
    assert_true(window.pad_end[0] == 3 && window.pad_end[1] == 4);
    assert_true(window.ceil_mode);
    assert_int_equal(window.auto_pad, LDNQ_PAD_SAME_LOWER);
}

static void defaults_should_hold_without_attributes(void **state)
{
    (void)state;
    static const int64_t pads[] = { 1, 2 };
    struct ldnq_node node = { 0 };
    struct ldnq_window window;
    assert_ok(ldnq_window_read_attrs(&node, &window, &err));
    assert_int_equal(window.axes, 0);
    for (size_t i = 0; i < LDNQ_WINDOW_AXES; i++)
        assert_true(window.kernel[i] == 0 && window.stride[i] == 1 && window.dilation[i] == 1 &&
                    window.pad_begin[i] == 0 && window.pad_end[i] == 0);
    assert_int_equal(window.auto_pad, LDNQ_PAD_NOTSET);
    assert_false(window.ceil_mode);
    assert_ok(read_one(ints("pads", 2, pads), &window));
    assert_int_equal(window.axes, 1);
    assert_true(window.pad_begin[0] == 1 && window.pad_end[0] == 2);
}

static void impossible_attributes_should_be_refused_by_name(void **state)
{
    (void)state;
    static const int64_t zero[] = { 1, 0 }, negative[] = { 0, -1 }, huge[] = { 1, INT64_MAX };
    static const int64_t many[] = { 1, 1, 1, 1 }, odd[] = { 1, 1, 1 };
    struct ldnq_window window;
    assert_fails(read_one(ints("kernel_shape", 2, zero), &window), LDNQ_MODEL,
                 "kernel_shape contains 0, which is not in 1 .. 1073741824");
    assert_fails(read_one(ints("strides", 2, zero), &window), LDNQ_MODEL, "strides contains");
    assert_fails(read_one(ints("dilations", 2, huge), &window), LDNQ_MODEL, "dilations contains");
    assert_fails(read_one(ints("pads", 2, negative), &window), LDNQ_MODEL, "contains -1");
    assert_fails(read_one(ints("pads", 3, odd), &window), LDNQ_MODEL, "pads has 3 numbers");
    assert_fails(read_one(ints("strides", 4, many), &window), LDNQ_UNSUPPORTED, "4 axes");
    assert_fails(
        read_one((struct ldnq_attr){ .name = "auto_pad", .kind = LDNQ_ATTR_STRING, .s = "SAME" },
                 &window),
        LDNQ_MODEL, "auto_pad=SAME is not");
    const struct ldnq_attr two[] = { ints("kernel_shape", 2, many), ints("strides", 3, many) };
    struct ldnq_node node = { .attr_count = 2, .attrs = two };
    assert_fails(ldnq_window_read_attrs(&node, &window, &err), LDNQ_MODEL, "strides has 3 numbers");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_sizes_should_be_onnxs),
        cmocka_unit_test(a_size_that_is_not_known_should_give_a_symbol_ahead_of_data_only),
        cmocka_unit_test(impossible_sizes_should_be_refused),
        cmocka_unit_test(attributes_should_be_read),
        cmocka_unit_test(defaults_should_hold_without_attributes),
        cmocka_unit_test(impossible_attributes_should_be_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
