/* SPDX-License-Identifier: Apache-2.0 */
/* What the page and the JSON say of a quantization in words. */
#include "test.h"

#include <math.h>
#include <string.h>

#include "report/layer_cost.h"
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

/* Two of three layers of int4 that make .4 and .2 of the noise, and activations .3. */
static void steps_of_several_layers_should_add_what_they_take_away(void **state)
{
    (void)state;
    struct ldnq_quantized_tensor codes = {
        .type = "int4", .count = 100, .code_min = -8, .code_max = 7
    };
    struct ldnq_diff_layer layers[] = {
        { .weight = &codes, .weights = 100, .output_estimate = .4 },
        { .weight = &codes, .weights = 300, .output_estimate = .1 },
        { .weight = &codes, .weights = 200, .output_estimate = .2 },
    };
    struct ldnq_diff_estimate estimate = { .error = 1 };
    const struct ldnq_diff diff = { .layers = layers, .layer_count = 3, .estimate = &estimate };
    size_t worst[3];
    assert_int_equal(ldnq_layers_find_worst(&diff, worst, 2), 2);
    const struct ldnq_layer_step all = ldnq_layers_step_up(&diff, worst, 2);
    assert_within(all.bytes, 150, 1e-9);
    /* Four bits more take away 255 parts in 256 of a layer's noise. */
    assert_within(all.output_gain, -10 * log10(1 - .6 * 255 / 256), 1e-3);
    assert_within(ldnq_diff_noise_besides_layers(&diff), .3, 1e-9);
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
        cmocka_unit_test(steps_of_several_layers_should_add_what_they_take_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
