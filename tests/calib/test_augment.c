/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures mirrored and shifted. */
#include "graph_build.h"

#include <stdlib.h>

#include "calib/augment.h"

#define COUNT 64
#define SIDE 16
#define PIXELS (SIDE * SIDE)

/* Pixel (y, x) of channel c is 1000 c + 20 y + x, so that each says where it is from. */
static struct ldnq_tensor *make(struct ldnq_arena *arena, bool planar)
{
    struct ldnq_tensor *batch;
    struct ldnq_shape shape = planar ? SHAPE(COUNT, 3, SIDE, SIDE) : SHAPE(COUNT, SIDE, SIDE, 3);
    assert_ok(ldnq_tensor_create(arena, LDNQ_FLOAT, &shape, &batch, &err));
    float *data = batch->data;
    for (size_t n = 0; n < COUNT; n++)
        for (size_t c = 0; c < 3; c++)
            for (size_t i = 0; i < PIXELS; i++)
                data[planar ? (n * 3 + c) * PIXELS + i : (n * PIXELS + i) * 3 + c] =
                    (float)(1000 * c + i / SIDE * 20 + i % SIDE);
    return batch;
}

static int clamp(int at)
{
    return at < 0 ? 0 : at >= SIDE ? SIDE - 1 : at;
}

/* Whether plane (y, x) is the original mirrored or not, and shifted by (down, right). */
static bool is_change(const float *plane, size_t step, float base, bool mirror, int down, int right)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            int column = clamp(x - right);
            int from = clamp(y - down) * 20 + (mirror ? SIDE - 1 - column : column);
            if (plane[(size_t)(y * SIDE + x) * step] != base + (float)from)
                return false;
        }
    return true;
}

/* The change that was made to the picture's first channel; the others must have it too. */
static int change_of(const float *picture, size_t step, size_t next)
{
    for (int change = 0; change < 2 * 5 * 5; change++) {
        int down = change / 2 / 5 - 2, right = change / 2 % 5 - 2;
        if (!is_change(picture, step, 0, change % 2, down, right))
            continue;
        for (size_t c = 1; c < 3; c++)
            assert_true(
                is_change(picture + c * next, step, 1000.0f * (float)c, change % 2, down, right));
        return change;
    }
    fail_msg("neither mirrored nor shifted by up to an eighth");
    return -1;
}

static void pictures_should_be_mirrored_and_shifted_as_a_whole(void **state)
{
    (void)state;
    struct ldnq_arena *arena;
    assert_ok(ldnq_arena_create(&arena, &err));
    for (int planar = 0; planar < 2; planar++) {
        struct ldnq_tensor *batch = make(arena, planar);
        float *out = calloc(COUNT * 3 * PIXELS, sizeof *out);
        bool seen[50] = { false };
        int mirrored = 0, kinds = 0;
        assert_true(ldnq_augment_fits(batch));
        ldnq_augment_batch(batch, out, 3, 0, NULL);
        for (size_t n = 0; n < COUNT; n++) {
            int change = change_of(out + n * 3 * PIXELS, planar ? 1 : 3, planar ? PIXELS : 1);
            mirrored += change % 2;
            kinds += !seen[change];
            seen[change] = true;
        }
        assert_in_range(mirrored, COUNT / 4, COUNT * 3 / 4);
        assert_in_range(kinds, 20, 50);
        free(out);
    }
    ldnq_arena_destroy(arena);
}

static void a_picture_should_depend_on_seed_and_number_alone(void **state)
{
    (void)state;
    struct ldnq_arena *arena;
    struct ldnq_pool *pool;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_pool_create(3, &pool, &err));
    struct ldnq_tensor *batch = make(arena, true);
    const size_t bytes = COUNT * 3 * PIXELS * sizeof(float), one = 3 * PIXELS;
    float *all = malloc(bytes), *other = malloc(bytes);
    ldnq_augment_batch(batch, all, 3, 100, NULL);
    ldnq_augment_batch(batch, other, 3, 100, pool);
    assert_memory_equal(all, other, bytes);
    ldnq_augment_batch(batch, other, 4, 100, NULL);
    assert_memory_not_equal(all, other, bytes);
    batch->shape.dim[0] = 1;
    ldnq_augment_batch(batch, other, 3, 107, NULL);
    assert_memory_equal(all + 7 * one, other, one * sizeof(float));
    free(all);
    free(other);
    ldnq_pool_destroy(pool);
    ldnq_arena_destroy(arena);
}

static void what_is_no_picture_should_be_told(void **state)
{
    (void)state;
    static const struct ldnq_shape none[] = {
        { .rank = 3, .dim = { 3, 32, 32 } },   { .rank = 4, .dim = { 1, 16, 32, 32 } },
        { .rank = 4, .dim = { 1, 3, 4, 32 } }, { .rank = 5, .dim = { 1, 3, 8, 8, 8 } },
        { .rank = 4, .dim = { 1, 3, 32, 4 } }, { .rank = 2, .dim = { 1, 3 } },
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        struct ldnq_tensor tensor = { .dtype = LDNQ_FLOAT, .shape = none[i] };
        assert_false(ldnq_augment_fits(&tensor));
    }
    struct ldnq_tensor integers = { .dtype = LDNQ_INT32, .shape = SHAPE(1, 3, 32, 32) };
    assert_false(ldnq_augment_fits(&integers));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_should_be_mirrored_and_shifted_as_a_whole),
        cmocka_unit_test(a_picture_should_depend_on_seed_and_number_alone),
        cmocka_unit_test(what_is_no_picture_should_be_told),
    };
    return cmocka_run_group_tests_name("augment", tests, NULL, NULL);
}
