/* SPDX-License-Identifier: Apache-2.0 */
/* The strided copy against plain loops, and float16 there and back. */
#include "ops/op_call.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "ir/half.h"
#include "ops/shared/strided.h"

#define MOST 4096

/* Recursion over the axes, element by element. */
static void plain_copy(const struct ldnq_strided *region, int axis, size_t size, const char *src,
                       char *dst)
{
    if (axis == region->rank) {
        memcpy(dst, src, size);
        return;
    }
    for (size_t i = 0; i < region->extent[axis]; i++)
        plain_copy(region, axis + 1, size,
                   src + (ptrdiff_t)i * region->from[axis] * (ptrdiff_t)size,
                   dst + (ptrdiff_t)i * region->to[axis] * (ptrdiff_t)size);
}

/* A random transposition, with some axes broadcast and some read backwards. The last axis need not
 * be contiguous in the target. */
static void draw(struct ldnq_rng *rng, struct ldnq_strided *region, ptrdiff_t *start)
{
    int rank = (int)ldnq_rng_below(rng, 5), order[4] = { 0, 1, 2, 3 };
    size_t extent[4], stride = 1;
    ptrdiff_t from[4], to[4];
    *region = (struct ldnq_strided){ 0 };
    *start = 0;
    for (int i = 0; i < rank; i++) {
        int other = (int)ldnq_rng_below(rng, (size_t)rank), swap = order[i];
        order[i] = order[other];
        order[other] = swap;
        extent[i] = ldnq_rng_below(rng, 8) + (ldnq_rng_below(rng, 10) > 0);
    }
    for (int i = rank - 1; i >= 0; i--) {
        bool repeats = ldnq_rng_below(rng, 6) == 0, backwards = ldnq_rng_below(rng, 4) == 0;
        int axis = order[i];
        from[axis] = repeats ? 0 : backwards ? -(ptrdiff_t)stride : (ptrdiff_t)stride;
        if (backwards && !repeats && extent[axis] > 0)
            *start += (ptrdiff_t)(stride * (extent[axis] - 1));
        stride *= extent[axis] > 0 ? extent[axis] : 1;
    }
    stride = 1;
    for (int i = rank - 1; i >= 0; i--) {
        to[i] = (ptrdiff_t)stride;
        stride *= extent[i];
    }
    const int first = rank > 0 ? (int)ldnq_rng_below(rng, (size_t)rank) : 0;
    for (int i = 0; i < rank; i++) {
        const int axis = (first + i) % rank;
        ldnq_strided_add_axis(region, extent[axis], from[axis], to[axis]);
    }
}

static void strided_copy_should_do_what_plain_loops_do(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 2, 4, 8, 16 };
    static char src[MOST * 16], fast[MOST * 16], plain[MOST * 16];
    struct ldnq_rng rng = { 7 };
    const struct ldnq_op_call call = { 0 };
    for (size_t i = 0; i < sizeof src; i++)
        src[i] = (char)ldnq_rng_below(&rng, 256);
    for (int round = 0; round < 3000; round++) {
        struct ldnq_strided region;
        ptrdiff_t start;
        size_t size = sizes[ldnq_rng_below(&rng, 5)];
        draw(&rng, &region, &start);
        memset(fast, 0, sizeof fast);
        memset(plain, 0, sizeof plain);
        ldnq_strided_copy(&call, &region, size, src + start * (ptrdiff_t)size, fast);
        plain_copy(&region, 0, size, src + start * (ptrdiff_t)size, plain);
        assert_memory_equal(fast, plain, sizeof fast);
    }
}

static void a_large_transposition_should_be_right_in_every_piece(void **state)
{
    (void)state;
    enum { ROWS = 333, COLUMNS = 517 };
    static uint32_t src[ROWS * COLUMNS], dst[ROWS * COLUMNS];
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(3, &pool, &err));
    const struct ldnq_op_call call = { .pool = pool };
    for (uint32_t i = 0; i < ROWS * COLUMNS; i++)
        src[i] = i;
    struct ldnq_strided region = { 0 };
    ldnq_strided_add_axis(&region, COLUMNS, 1, ROWS);
    ldnq_strided_add_axis(&region, ROWS, COLUMNS, 1);
    ldnq_strided_copy(&call, &region, sizeof *src, src, dst);
    for (uint32_t i = 0; i < ROWS * COLUMNS; i++)
        assert_int_equal(dst[i], i % ROWS * COLUMNS + i / ROWS);
    ldnq_pool_destroy(pool);
}

/* SpaceToDepth: rows of every second or third element. */
static void blocks_of_space_should_be_right_in_every_piece(void **state)
{
    (void)state;
    enum { ROWS = 40, COLUMNS = 77, MOST_BLOCK = 3 };
    static uint32_t src[ROWS * COLUMNS * MOST_BLOCK], dst[ROWS * COLUMNS * MOST_BLOCK];
    const struct ldnq_op_call call = { 0 };
    for (uint32_t i = 0; i < ROWS * COLUMNS * MOST_BLOCK; i++)
        src[i] = i;
    for (uint32_t block = 2; block <= MOST_BLOCK; block++) {
        struct ldnq_strided region = { 0 };
        ldnq_strided_add_axis(&region, ROWS, COLUMNS * block, COLUMNS);
        ldnq_strided_add_axis(&region, COLUMNS, block, 1);
        ldnq_strided_add_axis(&region, block, 1, ROWS * COLUMNS);
        ldnq_strided_copy(&call, &region, sizeof *src, src, dst);
        for (uint32_t i = 0; i < ROWS * COLUMNS * block; i++)
            assert_int_equal(dst[i], i % (ROWS * COLUMNS) * block + i / (ROWS * COLUMNS));
    }
}

static void every_half_should_survive_the_way_to_double_and_back(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        double half = ldnq_half_to_double((uint16_t)bits);
        double bfloat = ldnq_bfloat_to_double((uint16_t)bits);
        if (!isnan(half))
            assert_int_equal(ldnq_half_from_double(half), bits);
        if (!isnan(bfloat))
            assert_int_equal(ldnq_bfloat_from_double(bfloat), bits);
    }
}

static void halves_should_round_to_even_once(void **state)
{
    (void)state;
    assert_int_equal(ldnq_half_from_double(1.0 + 0x1p-11), 0x3c00);
    assert_int_equal(ldnq_half_from_double(1.0 + 0x1p-11 + 0x1p-40), 0x3c01);
    assert_int_equal(ldnq_half_from_double(1.0 + 3 * 0x1p-11), 0x3c02);
    assert_int_equal(ldnq_half_from_double(65519.99), 0x7bff);
    assert_int_equal(ldnq_half_from_double(65520.0), 0x7c00);
    assert_int_equal(ldnq_half_from_double(-0x1p-25), 0x8000);
    assert_int_equal(ldnq_half_from_double(0x1.8p-25), 0x0001);
    assert_int_equal(ldnq_half_from_double(1e300), 0x7c00);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strided_copy_should_do_what_plain_loops_do),
        cmocka_unit_test(a_large_transposition_should_be_right_in_every_piece),
        cmocka_unit_test(blocks_of_space_should_be_right_in_every_piece),
        cmocka_unit_test(every_half_should_survive_the_way_to_double_and_back),
        cmocka_unit_test(halves_should_round_to_even_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
