/* SPDX-License-Identifier: Apache-2.0 */
/* Adam against algorithm 1 of its paper, in double. */
#include "test.h"

#include <math.h>

#include "pipeline/adam.h"

#define COUNT 5

static struct ldnq_error err;

static void steps_should_be_those_of_the_algorithm(void **state)
{
    (void)state;
    struct ldnq_arena *arena;
    struct ldnq_adam adam;
    double value[COUNT] = { 0 }, m[COUNT] = { 0 }, v[COUNT] = { 0 };
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_adam_init(&adam, COUNT, arena, &err));
    for (int step = 1; step <= 50; step++) {
        for (int i = 0; i < COUNT; i++) {
            const double g = sin(step * 0.7 + i) * pow(10, i - 4);
            adam.gradient[i] += (float)g;
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            value[i] -= 0.01 * (m[i] / (1 - pow(0.9, step))) / sqrt(v[i] / (1 - pow(0.999, step)));
        }
        ldnq_adam_step(&adam, (size_t)step, 0.01);
        for (int i = 0; i < COUNT; i++) {
            assert_true(fabs((double)adam.value[i] - value[i]) < 1e-5);
            assert_true(adam.gradient[i] == 0.0f);
        }
    }
    ldnq_arena_destroy(arena);
}

static void a_parameter_without_gradient_should_stay(void **state)
{
    (void)state;
    struct ldnq_arena *arena;
    struct ldnq_adam adam;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_adam_init(&adam, 1, arena, &err));
    adam.value[0] = 3.0f;
    for (size_t step = 1; step < 5; step++)
        ldnq_adam_step(&adam, step, 1);
    assert_true(adam.value[0] == 3.0f);
    ldnq_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_should_be_those_of_the_algorithm),
        cmocka_unit_test(a_parameter_without_gradient_should_stay),
    };
    return cmocka_run_group_tests_name("adam", tests, NULL, NULL);
}
