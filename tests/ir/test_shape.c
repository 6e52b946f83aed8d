/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/ir.h"

#include "base/alloc.h"

static struct ldnq_error err;

#define SHAPE(rank_, ...)                                                                          \
    (struct ldnq_shape)                                                                            \
    {                                                                                              \
        .rank = rank_, .dim = { __VA_ARGS__ }                                                      \
    }

static int set_up(void **state)
{
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_graph_create(arena, "g", "m.onnx", &graph, &err));
    *state = graph;
    return 0;
}

static int tear_down(void **state)
{
    struct ldnq_graph *graph = *state;
    ldnq_alloc_fail_after(-1);
    ldnq_arena_destroy(graph->arena);
    return 0;
}

/* ---- counting ---------------------------------------------------------------- */

static void count_should_be_the_product_of_the_dimensions(void **state)
{
    (void)state;
    size_t count = 7;
    assert_true(ldnq_shape_count(&SHAPE(0, 0), &count));
    assert_int_equal(count, 1);
    assert_true(ldnq_shape_count(&SHAPE(3, 2, 3, 5), &count));
    assert_int_equal(count, 30);
    assert_true(ldnq_shape_count(&SHAPE(3, 2, 0, 5), &count));
    assert_int_equal(count, 0);
    assert_true(ldnq_shape_count_range(&SHAPE(4, 2, 3, 5, 7), 1, 3, &count));
    assert_int_equal(count, 15);
    assert_true(ldnq_shape_count_range(&SHAPE(4, 2, 3, 5, 7), 2, 2, &count));
    assert_int_equal(count, 1);
}

static void count_should_refuse_what_cannot_be_counted(void **state)
{
    (void)state;
    size_t count;
    assert_false(ldnq_shape_count(&SHAPE(LDNQ_RANK_UNKNOWN, 0), &count));
    assert_false(ldnq_shape_count(&SHAPE(2, 3, -1), &count));
    assert_false(ldnq_shape_count(&SHAPE(2, LDNQ_SYMBOL_BASE, 4), &count));
    assert_false(ldnq_shape_count(&SHAPE(2, INT64_MAX, 3), &count));
    assert_false(ldnq_shape_count(&SHAPE(3, 1LL << 32, 1LL << 31, 2), &count));
    assert_true(ldnq_shape_count(&SHAPE(2, 1LL << 32, 1LL << 31), &count));
    struct ldnq_tensor tensor = { .dtype = LDNQ_FLOAT, .shape = SHAPE(2, 1LL << 32, 1LL << 31) };
    assert_false(ldnq_tensor_bytes(&tensor, &count));
    tensor.dtype = LDNQ_INT8;
    assert_true(ldnq_tensor_bytes(&tensor, &count));
}

static void equal_and_known_should_look_at_rank_and_dimensions(void **state)
{
    (void)state;
    assert_true(ldnq_shapes_are_equal(&SHAPE(2, 3, 4), &SHAPE(2, 3, 4)));
    assert_true(ldnq_shapes_are_equal(&SHAPE(0, 1), &SHAPE(0, 2)));
    assert_false(ldnq_shapes_are_equal(&SHAPE(2, 3, 4), &SHAPE(2, 3, 5)));
    assert_false(ldnq_shapes_are_equal(&SHAPE(2, 3, 1), &SHAPE(1, 3)));
    assert_true(ldnq_shape_is_known(&SHAPE(0, 0)));
    assert_true(ldnq_shape_is_known(&SHAPE(2, 0, 4)));
    assert_false(ldnq_shape_is_known(&SHAPE(2, 3, LDNQ_SYMBOL_BASE + 5)));
    assert_false(ldnq_shape_is_known(&SHAPE(LDNQ_RANK_UNKNOWN, 0)));
}

/* ---- symbols ----------------------------------------------------------------- */

static void only_numbers_of_their_range_should_be_symbols(void **state)
{
    (void)state;
    static const int64_t others[] = {
        0, 1, -1, INT64_MIN, INT64_MAX, LDNQ_SYMBOL_BASE - 1, LDNQ_SYMBOL_BASE + LDNQ_SYMBOL_COUNT
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(ldnq_is_symbol(others[i]));
    assert_true(ldnq_is_symbol(LDNQ_SYMBOL_BASE));
    assert_true(ldnq_is_symbol(LDNQ_SYMBOL_BASE + LDNQ_SYMBOL_COUNT - 1));
}

static void the_same_name_should_give_the_same_symbol(void **state)
{
    int64_t n, again, none, other;
    assert_ok(ldnq_graph_find_or_add_symbol(*state, "N", &n, &err));
    assert_ok(ldnq_graph_find_or_add_symbol(*state, NULL, &none, &err));
    assert_ok(ldnq_graph_find_or_add_symbol(*state, "N", &again, &err));
    assert_ok(ldnq_graph_find_or_add_symbol(*state, NULL, &other, &err));
    assert_true(n == again && none != n && other != none);
    assert_true(ldnq_is_symbol(n) && ldnq_is_symbol(none) && ldnq_is_symbol(other));
    assert_string_equal(ldnq_graph_symbol_name(*state, n), "N");
    assert_null(ldnq_graph_symbol_name(*state, none));
    assert_null(ldnq_graph_symbol_name(*state, LDNQ_SYMBOL_BASE + 100));
    assert_null(ldnq_graph_symbol_name(*state, 5));
    assert_null(ldnq_graph_symbol_name(*state, INT64_MIN));
}

static void symbols_should_keep_their_names_when_there_are_many(void **state)
{
    int64_t symbol;
    char name[16];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "s%d", i);
        assert_ok(ldnq_graph_find_or_add_symbol(*state, name, &symbol, &err));
    }
    assert_ok(ldnq_graph_find_or_add_symbol(*state, "s17", &symbol, &err));
    assert_true(symbol == LDNQ_SYMBOL_BASE + 17);
    assert_string_equal(ldnq_graph_symbol_name(*state, LDNQ_SYMBOL_BASE + 299), "s299");
}

/* ---- printing ---------------------------------------------------------------- */

static void print_should_name_symbols_of_the_graph(void **state)
{
    char text[LDNQ_SHAPE_TEXT];
    int64_t n, none;
    assert_ok(ldnq_graph_find_or_add_symbol(*state, "N", &n, &err));
    assert_ok(ldnq_graph_find_or_add_symbol(*state, NULL, &none, &err));
    struct ldnq_shape shape = SHAPE(4, n, 3, none, -2);
    assert_string_equal(ldnq_shape_print(&shape, *state, text, sizeof text), "(N,3,?,-2)");
    assert_string_equal(ldnq_shape_print(&shape, NULL, text, sizeof text), "(?,3,?,-2)");
    assert_string_equal(ldnq_shape_print(&SHAPE(0, 0), NULL, text, sizeof text), "()");
    assert_string_equal(ldnq_shape_print(&SHAPE(1, 7), NULL, text, sizeof text), "(7)");
    assert_string_equal(ldnq_shape_print(&SHAPE(LDNQ_RANK_UNKNOWN, 0), NULL, text, sizeof text),
                        "(unknown rank)");
}

static void print_should_cut_at_the_buffers_size(void **state)
{
    static char name[3000];
    memset(name, 'b', sizeof name - 1);
    int64_t symbol;
    assert_ok(ldnq_graph_find_or_add_symbol(*state, name, &symbol, &err));
    const struct ldnq_shape shapes[] = {
        SHAPE(3, 1, 32, 7), SHAPE(8, INT64_MIN, INT64_MIN, INT64_MAX, 4, 5, 6, 7, INT64_MIN),
        SHAPE(2, symbol, 4), SHAPE(LDNQ_RANK_UNKNOWN, 0)
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char whole[4000], text[260];
        ldnq_shape_print(&shapes[i], *state, whole, sizeof whole);
        assert_int_equal(whole[strlen(whole) - 1], ')');
        for (size_t size = 1; size <= 200; size++) {
            memset(text, 'g', sizeof text);
            assert_ptr_equal(ldnq_shape_print(&shapes[i], *state, text, size), text);
            size_t length = strlen(whole) < size ? strlen(whole) : size - 1;
            assert_int_equal(strlen(text), length);
            assert_memory_equal(text, whole, length);
            for (size_t at = size; at < sizeof text; at++)
                assert_int_equal(text[at], 'g');
        }
    }
    char untouched = 'g';
    ldnq_shape_print(&shapes[0], *state, &untouched, 0);
    assert_int_equal(untouched, 'g');
}

/* ---- tensors ----------------------------------------------------------------- */

static void a_new_tensor_should_be_zeroed(void **state)
{
    struct ldnq_graph *graph = *state;
    struct ldnq_tensor *tensor;
    assert_ok(ldnq_tensor_create(graph->arena, LDNQ_INT64, &SHAPE(2, 50, 20), &tensor, &err));
    assert_int_equal(tensor->dtype, LDNQ_INT64);
    assert_true(ldnq_shapes_are_equal(&tensor->shape, &SHAPE(2, 50, 20)));
    assert_int_equal(ldnq_tensor_count(tensor), 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_true(((int64_t *)tensor->data)[i] == 0);
    assert_ok(ldnq_tensor_create(graph->arena, LDNQ_FLOAT, &SHAPE(2, 0, 4), &tensor, &err));
    assert_non_null(tensor->data);
    assert_int_equal(ldnq_tensor_count(tensor), 0);
    assert_ok(ldnq_tensor_create(graph->arena, LDNQ_FLOAT, &SHAPE(0, 0), &tensor, &err));
    assert_int_equal(ldnq_tensor_count(tensor), 1);
}

static void a_tensor_that_cannot_be_had_should_be_nomem(void **state)
{
    struct ldnq_graph *graph = *state;
    struct ldnq_tensor *tensor;
    assert_fails(
        ldnq_tensor_create(graph->arena, LDNQ_FLOAT, &SHAPE(2, 1LL << 62, 4), &tensor, &err),
        LDNQ_NOMEM, "(4611686018427387904,4) is too large");
    assert_fails(
        ldnq_tensor_create(graph->arena, LDNQ_FLOAT, &SHAPE(1, LDNQ_SYMBOL_BASE), &tensor, &err),
        LDNQ_NOMEM, "(?)");
    ldnq_alloc_fail_after(0);
    assert_fails(ldnq_tensor_create(graph->arena, LDNQ_FLOAT, &SHAPE(2, 100, 100), &tensor, &err),
                 LDNQ_NOMEM, "out of memory");
}

static void is_finite_should_find_the_first_element_that_is_not(void **state)
{
    (void)state;
    float data[6] = { 0.0f, -1.0f, 3.4e38f, -3.4e38f, 1e-45f, 2.0f };
    struct ldnq_tensor tensor = { LDNQ_FLOAT, SHAPE(2, 2, 3), data };
    size_t index = 99;
    assert_true(ldnq_tensor_is_finite(&tensor, &index));
    assert_int_equal(index, 99);
    data[5] = INFINITY;
    assert_false(ldnq_tensor_is_finite(&tensor, &index));
    assert_int_equal(index, 5);
    data[2] = NAN;
    assert_false(ldnq_tensor_is_finite(&tensor, &index));
    assert_int_equal(index, 2);
    assert_false(ldnq_tensor_is_finite(&tensor, NULL));
}

#define WITH_GRAPH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(count_should_be_the_product_of_the_dimensions),
        cmocka_unit_test(count_should_refuse_what_cannot_be_counted),
        cmocka_unit_test(equal_and_known_should_look_at_rank_and_dimensions),
        cmocka_unit_test(only_numbers_of_their_range_should_be_symbols),
        WITH_GRAPH(the_same_name_should_give_the_same_symbol),
        WITH_GRAPH(symbols_should_keep_their_names_when_there_are_many),
        WITH_GRAPH(print_should_name_symbols_of_the_graph),
        WITH_GRAPH(print_should_cut_at_the_buffers_size),
        WITH_GRAPH(a_new_tensor_should_be_zeroed),
        WITH_GRAPH(a_tensor_that_cannot_be_had_should_be_nomem),
        cmocka_unit_test(is_finite_should_find_the_first_element_that_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
