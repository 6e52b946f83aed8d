/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

static struct ldnq_error err;

static int set_up(void **state)
{
    struct ldnq_arena *arena;
    assert_ok(ldnq_arena_create(&arena, &err));
    *state = arena;
    return 0;
}

static int tear_down(void **state)
{
    ldnq_alloc_fail_after(-1);
    ldnq_arena_destroy(*state);
    return 0;
}

/* Sizes on both sides of every limit: alignment, the large ones, whole blocks. */
static size_t any_size(struct ldnq_rng *rng)
{
    static const size_t limits[] = { 1, 64, 4096, 16384, 40000 };
    size_t limit = limits[ldnq_rng_below(rng, sizeof limits / sizeof *limits)];
    return ldnq_rng_below(rng, limit) + ldnq_rng_below(rng, 3);
}

static void arena_should_align_every_allocation_to_64_bytes(void **state)
{
    struct ldnq_rng rng = { 1 };
    for (int i = 0; i < 2000; i++) {
        char *memory = ldnq_arena_alloc(*state, any_size(&rng), 1, &err);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 64, 0);
    }
}

static void arena_should_hand_out_zeroed_memory(void **state)
{
    struct ldnq_rng rng = { 2 };
    for (int i = 0; i < 500; i++) {
        size_t size = any_size(&rng);
        unsigned char *memory = ldnq_arena_alloc(*state, size, 1, &err);
        for (size_t at = 0; at < size; at++)
            assert_int_equal(memory[at], 0);
        memset(memory, 0xa5, size);
    }
}

static void allocations_should_never_overlap(void **state)
{
    enum { COUNT = 1500 };
    struct ldnq_rng rng = { 3 };
    unsigned char *memory[COUNT];
    size_t size[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        size[i] = any_size(&rng);
        memory[i] = ldnq_arena_alloc(*state, size[i], 1, &err);
        memset(memory[i], (int)(i % 251), size[i]);
    }
    for (size_t i = 0; i < COUNT; i++)
        for (size_t at = 0; at < size[i]; at++)
            assert_int_equal(memory[i][at], i % 251);
}

static void an_allocation_of_nothing_should_be_a_valid_pointer(void **state)
{
    char *none = ldnq_arena_alloc(*state, 0, 8, &err), *also = ldnq_arena_alloc(*state, 8, 0, &err);
    assert_non_null(none);
    assert_non_null(also);
    assert_ptr_not_equal(none, also);
}

static void a_size_that_overflows_should_be_nomem(void **state)
{
    static const size_t sizes[][2] = { { SIZE_MAX, 2 },      { SIZE_MAX / 2, 3 },
                                       { SIZE_MAX, 1 },      { 1, SIZE_MAX - 63 },
                                       { SIZE_MAX / 2, 1 },  { (size_t)1 << 32, (size_t)1 << 32 },
                                       { SIZE_MAX - 127, 1 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        err.status = LDNQ_OK;
        assert_null(ldnq_arena_alloc(*state, sizes[i][0], sizes[i][1], &err));
        assert_int_equal(err.status, LDNQ_NOMEM);
        assert_non_null(strstr(err.message, "too large"));
    }
    assert_null(ldnq_arena_alloc(*state, SIZE_MAX, 2, NULL));
    assert_non_null(ldnq_arena_alloc(*state, 1, 1, &err));
}

static void a_large_allocation_should_not_waste_the_block_in_use(void **state)
{
    char *before = ldnq_arena_alloc(*state, 64, 1, &err);
    assert_non_null(ldnq_arena_alloc(*state, 100000, 1, &err));
    char *behind = ldnq_arena_alloc(*state, 64, 1, &err);
    assert_ptr_equal(behind, before + 64);
}

static void bytes_should_grow_with_what_is_held(void **state)
{
    assert_int_equal(ldnq_arena_bytes(*state), 0);
    ldnq_arena_alloc(*state, 1, 1, &err);
    size_t small = ldnq_arena_bytes(*state);
    assert_in_range(small, 64, 65536);
    ldnq_arena_alloc(*state, 1000000, 1, &err);
    assert_in_range(ldnq_arena_bytes(*state), small + 1000000, small + 1001000);
}

static void strdup_and_printf_should_copy_texts_of_any_length(void **state)
{
    char *text = malloc(100001);
    for (size_t length = 0; length <= 100000; length = 3 * length + 1) {
        memset(text, 'x', length);
        text[length] = '\0';
        char *copy = ldnq_arena_strdup(*state, text, &err);
        assert_string_equal(copy, text);
        assert_ptr_not_equal(copy, text);
        char *printed = ldnq_arena_printf(*state, &err, "%s-%d", text, 7);
        assert_int_equal(strlen(printed), length + 2);
        assert_memory_equal(printed, text, length);
        assert_string_equal(printed + length, "-7");
    }
    free(text);
}

/* Also one that its block has memory for: a test can reach every allocation. */
static void the_limit_should_count_each_allocation(void **state)
{
    (void)state;
    struct ldnq_arena *arena;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_non_null(ldnq_arena_alloc(arena, 1, 1, &err));
    ldnq_alloc_fail_after(2);
    assert_non_null(ldnq_arena_alloc(arena, 1, 1, &err));
    assert_non_null(ldnq_arena_alloc(arena, 1, 1, &err));
    assert_null(ldnq_arena_alloc(arena, 1, 1, &err));
    assert_int_equal(ldnq_alloc_count(), 3);
    ldnq_alloc_fail_after(-1);
    ldnq_arena_destroy(arena);
}

static void a_failing_allocator_should_give_null_and_nomem(void **state)
{
    (void)state;
    for (long allowed = 0; allowed < 6; allowed += allowed ? 2 : 1) {
        struct ldnq_arena *arena = NULL;
        ldnq_alloc_fail_after(allowed);
        if (allowed == 0) {
            assert_fails(ldnq_arena_create(&arena, &err), LDNQ_NOMEM, "out of memory");
            assert_null(arena);
            continue;
        }
        assert_ok(ldnq_arena_create(&arena, &err));
        for (long i = 1; i < allowed; i += 2) /* one is counted here, one by its block */
            assert_non_null(ldnq_arena_alloc(arena, 8192, 1, &err));
        err.status = LDNQ_OK;
        assert_null(ldnq_arena_alloc(arena, 8192, 1, &err));
        assert_int_equal(err.status, LDNQ_NOMEM);
        assert_null(ldnq_arena_strdup(arena, "text", &err));
        assert_null(ldnq_arena_printf(arena, &err, "%d", 1));
        assert_null(ldnq_arena_alloc(arena, 1, 1, NULL));
        ldnq_alloc_fail_after(-1);
        assert_non_null(ldnq_arena_alloc(arena, 1, 1, &err));
        ldnq_arena_destroy(arena);
    }
}

static void destroy_should_accept_null(void **state)
{
    (void)state;
    ldnq_arena_destroy(NULL);
}

#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ARENA(arena_should_align_every_allocation_to_64_bytes),
        WITH_ARENA(arena_should_hand_out_zeroed_memory),
        WITH_ARENA(allocations_should_never_overlap),
        WITH_ARENA(an_allocation_of_nothing_should_be_a_valid_pointer),
        WITH_ARENA(a_size_that_overflows_should_be_nomem),
        WITH_ARENA(a_large_allocation_should_not_waste_the_block_in_use),
        WITH_ARENA(bytes_should_grow_with_what_is_held),
        WITH_ARENA(strdup_and_printf_should_copy_texts_of_any_length),
        WITH_ARENA(the_limit_should_count_each_allocation),
        WITH_ARENA(a_failing_allocator_should_give_null_and_nomem),
        cmocka_unit_test(destroy_should_accept_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
