/* SPDX-License-Identifier: Apache-2.0 */
/* Accuracy of a network against another on labelled samples, and goals. */
#include "graph_build.h"

#include <math.h>

#include "linalg/blas.h"
#include "metric/accuracy.h"

#define SAMPLES 4
#define CLASSES 3

static const float scores[SAMPLES][CLASSES] = {
    { 3, 1, 0 }, { 0, 2, 1 }, { 1, 0, 4 }, { 5, 4, 0 }
};
static const int64_t labels[SAMPLES] = { 0, 1, 2, 0 };
static struct ldnq_memory_array arrays[2];
static struct ldnq_samples_memory memory;

static int set_up(void **state)
{
    (void)state;
    ldnq_blas_acquire();
    arrays[0] = (struct ldnq_memory_array){
        .input = "",
        .tensor = { .dtype = LDNQ_FLOAT,
                    .shape = SHAPE(SAMPLES, CLASSES),
                    .data = (void *)(uintptr_t)scores },
    };
    arrays[1] = (struct ldnq_memory_array){
        .input = "labels",
        .tensor = { .dtype = LDNQ_INT64,
                    .shape = SHAPE(SAMPLES),
                    .data = (void *)(uintptr_t)labels },
    };
    memory = (struct ldnq_samples_memory){ .arrays = arrays, .array_count = 2 };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ldnq_blas_release();
    return 0;
}

/* Adds `shift` to the scores. */
static struct ldnq_graph *build_shift(const float *shift)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), CLASSES));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(CLASSES), 1);
    memcpy(w->constant->data, shift, CLASSES * sizeof *shift);
    build_output(graph, NODE(graph, "Add", "y", x, w));
    assert_ok(ldnq_passes_run(graph, &err));
    return graph;
}

static struct ldnq_accuracy measure(const float *shift, bool with_labels)
{
    static const float none[CLASSES] = { 0 };
    struct ldnq_graph *reference = build_shift(none), *quantized = build_shift(shift);
    struct ldnq_samples *samples;
    struct ldnq_samples_options options = { .need_labels = with_labels };
    struct ldnq_accuracy accuracy;
    ldnq_preprocess_defaults(&options.preprocess);
    assert_ok(ldnq_samples_open_memory(&memory, reference, &options, &samples, &err));
    double power;
    const struct ldnq_accuracy_options measuring = {
        .quantized = quantized,
        .reference = reference,
        .measured = { samples, LDNQ_SAMPLES_HELD_OUT_OF_FIT, true },
        .powers = &power
    };
    assert_ok(ldnq_accuracy_measure(&measuring, &accuracy, &err));
    assert_true(fabs(power - 73.0 / SAMPLES) < 1e-5);
    ldnq_samples_destroy(samples);
    build_free(reference);
    build_free(quantized);
    return accuracy;
}

/* The shift moves the fourth sample to class 1: one of four. */
static void figures_should_be_those_of_plain_sums(void **state)
{
    (void)state;
    static const float shift[CLASSES] = { 0, 1.5f, 0 };
    const struct ldnq_accuracy accuracy = measure(shift, true);
    assert_int_equal(accuracy.samples, SAMPLES);
    assert_true(accuracy.reference_top1 == 100 && accuracy.top1 == 75 && accuracy.drop == 25);
    assert_true(accuracy.agreement == 75);
    const struct ldnq_interval interval = ldnq_compute_share_interval(3, 4);
    assert_true(accuracy.agreement_interval.low == 100 * interval.low &&
                accuracy.agreement_interval.high == 100 * interval.high);
    /* The squares of all scores sum up to 73, those of the shifts to 4 * 2.25. */
    assert_true(fabs(accuracy.sqnr - 10 * log10(73 / 9.0)) < 1e-5);
    assert_true(fabs(accuracy.noise_to_signal - 9 / 73.0) < 1e-6);
}

static void words_should_say_what_the_samples_are(void **state)
{
    (void)state;
    static const struct {
        enum ldnq_sample_role role;
        size_t samples;
        const char *start;
    } cases[] = {
        { LDNQ_SAMPLES_HELD_OUT_OF_FIT, 20, "20 held-out samples" },
        { LDNQ_SAMPLES_HELD_OUT_OF_FIT, 1, "1 held-out sample" },
        { LDNQ_SAMPLES_OF_THEIR_OWN, 600, "600 samples" },
        { LDNQ_SAMPLES_OF_FIT, 4, "the 4 samples that were fitted: too few to hold any out" },
        { LDNQ_SAMPLES_OF_FIT, 1, "the 1 sample that was fitted: too few to hold any out" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[LDNQ_SAMPLES_TEXT];
        ldnq_describe_samples(cases[i].role, cases[i].samples, text, sizeof text);
        assert_memory_equal(text, cases[i].start, strlen(cases[i].start));
        assert_true(strlen(text) + 1 < sizeof text);
        assert_int_equal(strlen(text) > strlen(cases[i].start),
                         cases[i].role == LDNQ_SAMPLES_OF_FIT);
    }
}

static void without_labels_there_should_be_no_drop(void **state)
{
    (void)state;
    static const float shift[CLASSES] = { 0, 1.5f, 0 };
    const struct ldnq_accuracy_goal goal = { .max_drop = 50,
                                             .min_agreement = NAN,
                                             .min_sqnr = NAN };
    const struct ldnq_accuracy accuracy = measure(shift, false);
    assert_true(isnan(accuracy.drop) && isnan(accuracy.top1) && accuracy.agreement == 75);
    assert_false(ldnq_accuracy_meets(&accuracy, &goal));
}

static void goal_should_be_met_by_its_limits_and_nothing_beyond(void **state)
{
    (void)state;
    const struct ldnq_accuracy accuracy = { .drop = 2, .agreement = 90, .sqnr = 20 };
    struct ldnq_accuracy_goal goal = { .max_drop = 2, .min_agreement = 90, .min_sqnr = 20 };
    assert_true(ldnq_accuracy_meets(&accuracy, &goal));
    goal.max_drop = 1.9;
    assert_false(ldnq_accuracy_meets(&accuracy, &goal));
    goal = (struct ldnq_accuracy_goal){ .max_drop = NAN, .min_agreement = 90.1, .min_sqnr = NAN };
    assert_false(ldnq_accuracy_meets(&accuracy, &goal));
    goal = (struct ldnq_accuracy_goal){ .max_drop = NAN, .min_agreement = NAN, .min_sqnr = 20.1 };
    assert_false(ldnq_accuracy_meets(&accuracy, &goal));
    assert_string_equal(ldnq_accuracy_find_part(&accuracy, &goal).name, "SQNR in dB");
    assert_true(ldnq_accuracy_find_part(&accuracy, &goal).value == 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_should_be_those_of_plain_sums),
        cmocka_unit_test(words_should_say_what_the_samples_are),
        cmocka_unit_test(without_labels_there_should_be_no_drop),
        cmocka_unit_test(goal_should_be_met_by_its_limits_and_nothing_beyond),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
