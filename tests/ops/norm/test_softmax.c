/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax of short rows, whose exponentials are computed for many rows at once, against rows
 * computed one by one. */
#include "ops/op_call.h"

#include <math.h>

#include "base/rng.h"
#include "ops/norm/softmax.h"

#define ROWS 150
#define LONGEST 20

static void softmax_should_give_a_row_the_same_bits_among_others_and_alone(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 3 };
    float x[ROWS * LONGEST], row[LONGEST];
    for (size_t i = 0; i < ROWS * LONGEST; i++)
        x[i] = (float)(40 * ldnq_rng_uniform(&rng) - 20);
    x[5] = -INFINITY;
    for (size_t size = 1; size <= LONGEST; size++) {
        struct op_call op;
        op_call_init(&op, "Softmax", 13);
        op_call_attr(&op, "axis", -1);
        op_call_input(&op, LDNQ_FLOAT, SHAPE(ROWS, (int64_t)size), x);
        assert_ok(op_call_run(&op));
        const float *y = op.outputs[0].data;
        for (size_t i = 0; i < ROWS; i++) {
            ldnq_compute_softmax_row(x + i * size, row, size);
            assert_memory_equal(y + i * size, row, size * sizeof *row);
        }
        op_call_finish(&op);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_should_give_a_row_the_same_bits_among_others_and_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
