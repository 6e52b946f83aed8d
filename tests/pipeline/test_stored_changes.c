/* SPDX-License-Identifier: Apache-2.0 */
/* Changes that layers with the same input have in common. */
#include "test.h"
#include "with_blas.h"

#include <string.h>

#include "base/rng.h"
#include "pipeline/input_error.h"
#include "pipeline/stored_changes.h"

#define COLS ((size_t)12)
#define POSITIONS ((size_t)40)

static struct ldnq_error err;

struct input_sums {
    struct ldnq_statistics statistics;
    struct ldnq_input_error error;
};

/* Sums over random positions, in arrays of their own. */
static struct input_sums make_sums(struct ldnq_arena *arena)
{
    struct input_sums sums = { .statistics = { .positions = POSITIONS } };
    struct ldnq_rng rng = { 5 };
    sums.statistics.geometry = (struct ldnq_layer_geometry){ .groups = 1, .cols = COLS };
    sums.statistics.gram = ldnq_arena_alloc(arena, COLS * COLS, sizeof(double), &err);
    sums.statistics.mean = ldnq_arena_alloc(arena, COLS, sizeof(double), &err);
    assert_ok(ldnq_input_error_init(&sums.error, COLS, NULL, arena, &err));
    for (size_t p = 0; p < POSITIONS; p++) {
        double y[COLS], e[COLS];
        for (size_t i = 0; i < COLS; i++) {
            y[i] = ldnq_rng_uniform(&rng);
            e[i] = 0.1 * ldnq_rng_uniform(&rng);
        }
        for (size_t i = 0; i < COLS; i++) {
            sums.statistics.mean[i] += y[i];
            sums.error.sum[i] += e[i];
            for (size_t j = 0; j < COLS; j++) {
                sums.statistics.gram[i * COLS + j] += j >= i ? y[i] * y[j] : 0;
                sums.error.cross[i * COLS + j] += e[i] * y[j];
            }
        }
    }
    return sums;
}

static void solve(const struct input_sums *sums, bool centred, double damping, double *z)
{
    double factor[COLS * COLS] = { 0 };
    assert_true(
        ldnq_input_error_solve(&sums->error, &sums->statistics, centred, damping, factor, z));
}

/* Solves with the store, which then has `count` changes, and without it. */
static void check_solution(struct input_sums *sums, struct ldnq_stored_changes *changes,
                           bool centred, double damping, size_t count)
{
    double with[COLS * COLS], without[COLS * COLS];
    sums->error.stored = changes;
    solve(sums, centred, damping, with);
    sums->error.stored = NULL;
    solve(sums, centred, damping, without);
    assert_memory_equal(with, without, sizeof with);
    assert_int_equal(changes->count, count);
}

static void equal_sums_should_have_one_change(void **state)
{
    (void)state;
    struct ldnq_stored_changes changes = { .arena = NULL };
    struct ldnq_arena *arena;
    assert_ok(ldnq_arena_create(&arena, &err));
    struct input_sums one = make_sums(arena), two = make_sums(arena);
    check_solution(&one, &changes, true, .01, 1);
    check_solution(&two, &changes, true, .01, 1);
    check_solution(&two, &changes, true, .1, 2);
    check_solution(&one, &changes, false, .1, 3);
    check_solution(&two, &changes, false, .1, 3);
    /* A stored change is read: whoever changes it sees that. */
    double z[COLS * COLS];
    changes.changes[0].z[0] = 77;
    one.error.stored = &changes;
    solve(&one, true, .01, z);
    assert_true(z[0] == 77);
    ldnq_stored_changes_clear(&changes);
    ldnq_arena_destroy(arena);
}

/* More of them than are stored. */
static void other_sums_should_have_their_own(void **state)
{
    (void)state;
    struct ldnq_stored_changes changes = { .arena = NULL };
    struct ldnq_arena *arena;
    assert_ok(ldnq_arena_create(&arena, &err));
    struct input_sums sums = make_sums(arena);
    double *const arrays[] = { sums.statistics.gram, sums.statistics.mean, sums.error.cross,
                               sums.error.sum };
    check_solution(&sums, &changes, true, .01, 1);
    for (size_t i = 0; i < 4; i++) {
        arrays[i][0] *= 1.01;
        check_solution(&sums, &changes, true, .01, i + 2);
    }
    sums.statistics.positions++;
    check_solution(&sums, &changes, true, .01, LDNQ_STORED_CHANGES);
    sums.statistics.positions++;
    check_solution(&sums, &changes, true, .01, LDNQ_STORED_CHANGES);
    ldnq_stored_changes_clear(&changes);
    ldnq_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_sums_should_have_one_change),
        cmocka_unit_test(other_sums_should_have_their_own),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
