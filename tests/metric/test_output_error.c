/* SPDX-License-Identifier: Apache-2.0 */
/* The error of the network's outputs that a run reports. */
#include "pipeline/network.h"

#include <math.h>

#include "metric/output_error.h"

static void output_error_should_be_that_of_the_quantized_graph(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    struct ldnq_graph *whole = build_prepared();
    struct ldnq_tensor *input = build_tensor(whole->arena, SHAPE(SAMPLES, 4, 6, 6), 77);
    for (int lambda = 0; lambda < 2; lambda++) {
        struct ldnq_quantize_options options = options_of("ternary", "best");
        options.lambda = lambda;
        struct ldnq_graph *graph = quantized(&options, &result);
        assert_int_equal(result->accuracy.role, LDNQ_SAMPLES_OF_FIT);
        assert_int_equal(result->accuracy.samples, SAMPLES);
        const double want = difference(build_run(graph, input), build_run(whole, input));
        assert_true(want > 1e-4 && fabs(result->accuracy.noise_to_signal - want) < 1e-5 * want);
        build_free(graph);
    }
    build_free(whole);
}

/* Fitted to some samples, measured on others: the figure is that of the others, and worse. */
static void held_out_samples_should_be_what_is_measured(void **state)
{
    (void)state;
    struct ldnq_quantization *fitted, *result;
    struct ldnq_quantize_options options = options_of("ternary", "best");
    struct ldnq_graph *whole = build_prepared();
    struct ldnq_tensor *input = build_tensor(whole->arena, SHAPE(SAMPLES, 4, 6, 6), 4711);
    const struct ldnq_memory_array array = { .input = "", .tensor = *input };
    const struct ldnq_samples_memory memory = { .arrays = &array, .array_count = 1 };
    struct ldnq_samples_options sampling = { .max_samples = 0 };
    ldnq_preprocess_defaults(&sampling.preprocess);
    struct ldnq_graph *first = quantized(&options, &fitted);
    const double seen = fitted->accuracy.noise_to_signal;
    build_free(first);
    assert_ok(ldnq_samples_open_memory(&memory, whole, &sampling, &options.held_out, &err));
    struct ldnq_graph *graph = quantized(&options, &result);
    const double want = difference(build_run(graph, input), build_run(whole, input));
    assert_int_equal(result->accuracy.role, LDNQ_SAMPLES_HELD_OUT_OF_FIT);
    assert_true(fabs(result->accuracy.noise_to_signal - want) < 1e-5 * want && want > 1.2 * seen);
    ldnq_samples_destroy(options.held_out);
    build_free(graph);
    build_free(whole);
}

/* One of two outputs is right: half of the other's error. */
static void outputs_should_be_averaged(void **state)
{
    (void)state;
    const double errors[] = { 3, 0, 5 }, powers[] = { 6, 2, 0 };
    assert_true(ldnq_output_error_compute_mean(errors, powers, 2) == 0.25);
    assert_true(ldnq_output_error_compute_mean(errors, powers, 3) == 0.5 / 3);
    assert_true(ldnq_output_error_compute_mean(errors, powers, 0) == 0);
}

static void without_a_float_output_there_should_be_no_error(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_without_float_output();
    struct ldnq_quantization *result;
    const struct ldnq_quantize_options options = options_of("int8", "rtn");
    assert_ok(quantize(graph, &options, &result));
    assert_true(isnan(result->accuracy.noise_to_signal));
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_error_should_be_that_of_the_quantized_graph),
        cmocka_unit_test(held_out_samples_should_be_what_is_measured),
        cmocka_unit_test(outputs_should_be_averaged),
        cmocka_unit_test(without_a_float_output_there_should_be_no_error),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
