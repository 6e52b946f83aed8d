/* What the page and the JSON say of a quantization in words. */
#include "test.h"

#include <math.h>
#include <string.h>

#include "report/verdict.h"

static struct ldnq_diff_output classifier(double agreement, double low, double sqnr)
{
    return (struct ldnq_diff_output){ .name = "scores",
                                      .error = { sqnr, 1 },
                                      .agreement = agreement,
                                      .agreement_low = low,
                                      .agreement_high = 1 };
}

static struct ldnq_diff_output regression(double sqnr)
{
    return classifier(NAN, NAN, sqnr);
}

static enum ldnq_verdict_level judge(struct ldnq_diff_output output)
{
    const struct ldnq_diff diff = { .samples = 100, .outputs = &output, .output_count = 1 };
    return ldnq_diff_judge(&diff).level;
}

static void agreement_should_decide_where_there_are_classes(void **state)
{
    (void)state;
    assert_int_equal(judge(classifier(.99, .96, 15)), LDNQ_VERDICT_GOOD);
    assert_int_equal(judge(classifier(.95, .94, 40)), LDNQ_VERDICT_DOUBTFUL);
    assert_int_equal(judge(classifier(.85, .80, 40)), LDNQ_VERDICT_BAD);
}

static void few_samples_should_not_be_enough_unless_the_error_is_small(void **state)
{
    (void)state;
    assert_int_equal(judge(classifier(1, .84, 15)), LDNQ_VERDICT_DOUBTFUL);
    assert_int_equal(judge(classifier(1, .84, 30)), LDNQ_VERDICT_GOOD);
}

static void sqnr_should_decide_without_classes(void **state)
{
    (void)state;
    assert_int_equal(judge(regression(INFINITY)), LDNQ_VERDICT_GOOD);
    assert_int_equal(judge(regression(20)), LDNQ_VERDICT_GOOD);
    assert_int_equal(judge(regression(19)), LDNQ_VERDICT_DOUBTFUL);
    assert_int_equal(judge(regression(3)), LDNQ_VERDICT_BAD);
    assert_int_equal(judge(regression(NAN)), LDNQ_VERDICT_UNMEASURED);
}

static void the_worst_output_should_decide(void **state)
{
    (void)state;
    struct ldnq_diff_output outputs[] = { regression(40), classifier(.5, .4, 30), regression(12) };
    const struct ldnq_diff diff = {
        .samples = 9, .measured_on = "9 samples", .outputs = outputs, .output_count = 3
    };
    const struct ldnq_verdict verdict = ldnq_diff_judge(&diff);
    assert_int_equal(verdict.level, LDNQ_VERDICT_BAD);
    assert_ptr_equal(verdict.output, &outputs[1]);
    assert_non_null(strstr(verdict.reason, "50.0 % of 9 samples"));
}

static void limits_should_count_for_more_than_the_bands(void **state)
{
    (void)state;
    struct ldnq_diff_output output = regression(15);
    struct ldnq_diff_gate gates[] = {
        { .figure = "SQNR", .output = "scores", .passes = true },
        { .figure = "file size", .is_upper = true, .passes = true },
    };
    struct ldnq_diff diff = {
        .samples = 9, .outputs = &output, .output_count = 1, .gates = gates, .gate_count = 2
    };
    assert_int_equal(ldnq_diff_judge(&diff).level, LDNQ_VERDICT_GOOD);
    gates[1].passes = false;
    assert_int_equal(ldnq_diff_judge(&diff).level, LDNQ_VERDICT_BAD);
    /* A limit of the size alone says nothing about the outputs. */
    gates[1].passes = true;
    diff.gates = gates + 1;
    diff.gate_count = 1;
    assert_int_equal(ldnq_diff_judge(&diff).level, LDNQ_VERDICT_DOUBTFUL);
}

static void fitted_samples_should_not_make_it_ready(void **state)
{
    (void)state;
    struct ldnq_diff_output output = regression(40);
    const struct ldnq_diff diff = {
        .samples = 3, .is_measured_on_fitted = true, .outputs = &output, .output_count = 1
    };
    assert_int_equal(ldnq_diff_judge(&diff).level, LDNQ_VERDICT_DOUBTFUL);
}

static void nothing_should_be_said_without_samples(void **state)
{
    (void)state;
    const struct ldnq_diff diff = { .samples = 0 };
    assert_int_equal(ldnq_diff_judge(&diff).level, LDNQ_VERDICT_UNMEASURED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agreement_should_decide_where_there_are_classes),
        cmocka_unit_test(few_samples_should_not_be_enough_unless_the_error_is_small),
        cmocka_unit_test(sqnr_should_decide_without_classes),
        cmocka_unit_test(the_worst_output_should_decide),
        cmocka_unit_test(limits_should_count_for_more_than_the_bands),
        cmocka_unit_test(fitted_samples_should_not_make_it_ready),
        cmocka_unit_test(nothing_should_be_said_without_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
