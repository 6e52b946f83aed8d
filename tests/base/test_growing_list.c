/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
#include "base/growing_list.h"

static struct ldnq_error err;

static void fill_and_check(struct ldnq_arena *arena)
{
    size_t *list = NULL, count = 0, capacity = 0;
    for (size_t i = 0; i < 1000; i++) {
        assert_ok(ldnq_list_reserve(arena, &list, count, &capacity, sizeof *list, &err));
        assert_true(capacity > count);
        list[count++] = i;
    }
    assert_true(capacity < 2048);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(list[i], i);
    if (!arena)
        ldnq_free(list);
}

static void list_should_keep_its_elements_as_it_grows(void **state)
{
    (void)state;
    struct ldnq_arena *arena;
    assert_ok(ldnq_arena_create(&arena, &err));
    fill_and_check(arena);
    ldnq_arena_destroy(arena);
    fill_and_check(NULL);
}

/* The capacity of a list that was made elsewhere is not known. */
static void list_should_copy_an_array_without_capacity(void **state)
{
    (void)state;
    int array[20] = { [19] = 7 }, *list = array;
    struct ldnq_arena *arena;
    size_t capacity = 0;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_list_reserve(arena, &list, 20, &capacity, sizeof *list, &err));
    assert_true(list != array && capacity > 20 && list[19] == 7);
    ldnq_arena_destroy(arena);
}

static void list_should_refuse_sizes_that_overflow(void **state)
{
    (void)state;
    int *list = NULL;
    size_t capacity = 0;
    assert_fails(ldnq_list_reserve(NULL, &list, SIZE_MAX, &capacity, 4, &err), LDNQ_NOMEM,
                 "too long");
    assert_fails(ldnq_list_reserve(NULL, &list, SIZE_MAX / 4, &capacity, 4, &err), LDNQ_NOMEM,
                 "too long");
    assert_null(list);
    assert_int_equal(capacity, 0);
}

static void list_should_stay_as_it_is_when_memory_is_out(void **state)
{
    (void)state;
    int *list = NULL;
    size_t capacity = 0;
    assert_ok(ldnq_list_reserve(NULL, &list, 0, &capacity, sizeof *list, &err));
    int *const before = list;
    const size_t full = capacity;
    ldnq_alloc_fail_after(0);
    const enum ldnq_status status =
        ldnq_list_reserve(NULL, &list, full, &capacity, sizeof *list, &err);
    ldnq_alloc_fail_after(-1);
    assert_int_equal(status, LDNQ_NOMEM);
    assert_ptr_equal(list, before);
    assert_int_equal(capacity, full);
    ldnq_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_should_keep_its_elements_as_it_grows),
        cmocka_unit_test(list_should_copy_an_array_without_capacity),
        cmocka_unit_test(list_should_refuse_sizes_that_overflow),
        cmocka_unit_test(list_should_stay_as_it_is_when_memory_is_out),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
