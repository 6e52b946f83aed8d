/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operators, and the arithmetic that they share. */
#include "op_call.h"

#include <math.h>

#include "ops/shared/erff.h"
#include "ops/shared/expf.h"
#include "ops/shared/float_sums.h"

static const struct ldnq_op *const table[] = {
#define LDNQ_OP(name) &ldnq_op_##name,
#include "ops/list.h"
#undef LDNQ_OP
};
#define RECORDS (sizeof table / sizeof *table)

static void records_of_one_type_should_not_overlap(void **state)
{
    (void)state;
    for (size_t i = 0; i < RECORDS; i++)
        for (size_t k = i + 1; k < RECORDS; k++)
            if (strcmp(table[i]->type, table[k]->type) == 0)
                assert_true(table[i]->until < table[k]->since || table[k]->until < table[i]->since);
}

static void records_should_hold_what_the_executor_needs(void **state)
{
    (void)state;
    for (size_t i = 0; i < RECORDS; i++) {
        const struct ldnq_op *op = table[i];
        assert_non_null(op->infer);
        assert_true(op->since <= op->until && op->until <= LDNQ_OPSET_LATEST);
        assert_true(op->inputs_max < 0 || op->inputs_min <= op->inputs_max);
        assert_int_equal(op->forward == NULL,
                         (op->flags & (LDNQ_OP_VIEW | LDNQ_OP_CONTROL_FLOW)) != 0);
    }
}

/* A record that says nothing of gradients stops them without a word: so all that may
 * are named here. */
static void gradients_should_stop_only_where_outputs_go_in_steps(void **state)
{
    (void)state;
    static const char *const steps =
        " And ArgMax ArgMin BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow "
        "Ceil ConstantOfShape Equal EyeLike Floor Greater GreaterOrEqual HammingWindow "
        "HannWindow Hardmax IsInf IsNaN Less LessOrEqual NonMaxSuppression NonZero Not Or "
        "Range Round Shape Sign Size Xor ";
    for (size_t i = 0; i < RECORDS; i++) {
        char name[64];
        snprintf(name, sizeof name, " %s ", table[i]->type);
        bool stops = table[i]->differentiable == 0 && !(table[i]->flags & LDNQ_OP_VIEW);
        if (stops != (strstr(steps, name) != NULL))
            fail_msg("gradients %s at%s", stops ? "stop" : "don't stop", name);
    }
}

static void erff_should_be_within_two_units_of_the_last_place(void **state)
{
    (void)state;
    for (double x = -5.0; x <= 5.0; x += 1.7e-5) {
        float v = (float)x, got = ldnq_erff(v);
        double wanted = erf((double)v);
        float unit = nextafterf((float)fabs(wanted), 2.0f) - (float)fabs(wanted);
        assert_true(fabs((double)got - wanted) <= 2.0 * (double)unit);
        assert_true(ldnq_erff(-v) == -got);
    }
    for (float v = 1e-3f; v > 0.0f; v *= 0.37f)
        assert_true(fabs((double)ldnq_erff(v) - erf((double)v)) <= 2e-7 * erf((double)v) + 3e-45);
    assert_true(ldnq_erff(INFINITY) == 1.0f && ldnq_erff(-INFINITY) == -1.0f);
    assert_true(ldnq_erff(3e38f) == 1.0f && isnan(ldnq_erff(NAN)));
    assert_true(ldnq_erff(0.0f) == 0.0f && signbit(ldnq_erff(-0.0f)));
}

static void expf_should_be_within_a_unit_of_the_last_place(void **state)
{
    (void)state;
    for (uint64_t step = 0; step < UINT64_C(1) << 32; step += 9973) {
        uint32_t bits = (uint32_t)step;
        float x;
        memcpy(&x, &bits, sizeof x);
        double expected = exp((double)x);
        float got = ldnq_expf(x);
        if (isnan(x))
            assert_true(isnan(got));
        else if (expected > 0x1.fffffep127)
            assert_true(got > 0x1.fffff0p127f);
        else
            assert_true(fabs((double)got - expected) <= 1.2e-7 * expected + 0x1p-149);
    }
    assert_true(ldnq_expf(INFINITY) == INFINITY && ldnq_expf(-INFINITY) == 0.0f);
    assert_true(ldnq_expf(0.0f) == 1.0f);
}

static void sums_should_be_those_of_doubles(void **state)
{
    (void)state;
    float x[100];
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < 100; i++)
        x[i] = 1.0f / (float)(i + 1);
    for (size_t count = 0; count <= 100; count++) {
        assert_true(fabs(ldnq_sum_floats(x, count) - sum) < 1e-13);
        assert_true(fabs(ldnq_sum_squared_deviations(x, count, 0.5) - squares) < 1e-13);
        if (count < 100) {
            sum += (double)x[count];
            squares += ((double)x[count] - 0.5) * ((double)x[count] - 0.5);
        }
    }
}

/* A node of one large input, its output into `out`. */
static void run_with(const char *type, size_t threads, const float *x, float *out, size_t count)
{
    struct op_call op;
    struct ldnq_pool *pool;
    op_call_init(&op, type, 13);
    op_call_input(&op, LDNQ_FLOAT, SHAPE(1, 50, 30, (int64_t)count / 1500), x);
    assert_ok(ldnq_pool_create(threads, &pool, &err));
    assert_ok(op_call_run(&op));
    op.call.pool = pool;
    assert_ok(op.node.op->forward(&op.call, &err));
    memcpy(out, op.outputs[0].data, ldnq_tensor_count(&op.outputs[0]) * sizeof *out);
    ldnq_pool_destroy(pool);
    op_call_finish(&op);
}

static void results_should_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    static const char *const types[] = { "Softmax",   "ReduceMean",        "ReduceSumSquare",
                                         "Transpose", "GlobalAveragePool", "Sigmoid",
                                         "LogSoftmax" };
    enum { COUNT = 150000 };
    static float x[COUNT], one[COUNT], three[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        x[i] = sinf((float)i) * 3.0f;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        run_with(types[i], 1, x, one, COUNT);
        run_with(types[i], 3, x, three, COUNT);
        assert_memory_equal(one, three, sizeof one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_one_type_should_not_overlap),
        cmocka_unit_test(records_should_hold_what_the_executor_needs),
        cmocka_unit_test(gradients_should_stop_only_where_outputs_go_in_steps),
        cmocka_unit_test(erff_should_be_within_two_units_of_the_last_place),
        cmocka_unit_test(expf_should_be_within_a_unit_of_the_last_place),
        cmocka_unit_test(sums_should_be_those_of_doubles),
        cmocka_unit_test(results_should_not_depend_on_the_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
