/* SPDX-License-Identifier: Apache-2.0 */
/* The estimate of the outputs' error, on networks whose Jacobian is known. */
#include "pipeline/network.h"

#include <math.h>

static struct ldnq_quantize_options estimating(const char *codebook, size_t draws)
{
    struct ldnq_quantize_options options = options_of(codebook, "rtn");
    options.estimate_draws = draws;
    return options;
}

/* y = flat(x) V W with one output: a product of two weights, of second order in their changes. */
static struct ldnq_graph *build_product(struct ldnq_value **v, struct ldnq_value **w)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 6, 6));
    struct ldnq_value *flat = NODE(graph, "Flatten", "flat", x);
    *v = build_weight(graph, "v", SHAPE(144, 5), 1);
    *w = build_weight(graph, "w", SHAPE(5, 1), 2);
    build_output(graph, NODE(graph, "MatMul", "head", NODE(graph, "MatMul", "body", flat, *v), *w));
    assert_ok(ldnq_passes_run(graph, &err));
    return graph;
}

/* With one output u has one element, its square is exact, and each sample has one draw. */
static void estimate_should_be_the_error_of_a_product_of_two_weights(void **state)
{
    (void)state;
    struct ldnq_value *v, *w;
    struct ldnq_quantization *result;
    struct ldnq_graph *graph = build_product(&v, &w);
    const struct ldnq_quantize_options options = estimating("int2", SAMPLES);
    assert_ok(quantize(graph, &options, &result));
    assert_true(result->accuracy.noise_to_signal > 1e-3);
    assert_true(fabs(result->output_estimate.error / result->accuracy.noise_to_signal - 1) < 1e-4);
    assert_int_equal(result->output_estimate.draws, SAMPLES);
    assert_true(result->output_estimate.activations == 0);
    build_free(graph);
}

/* A square weight whose first input is never anything but 0: the scale is that row's, so that the
 * codes of all others become 0. */
static struct ldnq_value *build_vanishing_weight(struct ldnq_graph *graph, unsigned seed)
{
    struct ldnq_value *w = build_weight(graph, "", SHAPE(5, 5), seed);
    float *data = (float *)(uintptr_t)w->constant->data;
    for (size_t i = 0; i < 5; i++)
        data[5 * i] = 0;
    for (size_t i = 0; i < 5; i++)
        data[i] = 100;
    return w;
}

/* A product whose five last weights vanish with (1 - t)^5 on the way: two nodes find .93 of the
 * error, five all of it. */
static void estimate_should_follow_a_jacobian_that_changes_on_the_way(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 6, 6));
    struct ldnq_value *v = build_weight(graph, "v", SHAPE(144, 5), 1);
    for (size_t i = 0; i < 144; i++)
        ((float *)(uintptr_t)v->constant->data)[5 * i] = 0;
    struct ldnq_value *y = NODE(graph, "MatMul", "first", NODE(graph, "Flatten", "flat", x), v);
    for (unsigned i = 0; i < 5; i++)
        y = NODE(graph, "MatMul", "", y, build_vanishing_weight(graph, 2 + i));
    build_output(graph, NODE(graph, "MatMul", "last", y, build_weight(graph, "w", SHAPE(5, 1), 7)));
    assert_ok(ldnq_passes_run(graph, &err));
    const struct ldnq_quantize_options options = estimating("int4", SAMPLES);
    assert_ok(quantize(graph, &options, &result));
    assert_true(fabs(result->accuracy.noise_to_signal - 1) < 1e-3);
    assert_true(fabs(result->output_estimate.error - 1) < 1e-2);
    build_free(graph);
}

/* x (V + dV - V) (W + dW / 2): the part of the first layer. */
static void part_of_a_layer_should_be_its_change_through_the_mean_of_the_others(void **state)
{
    (void)state;
    struct ldnq_value *v, *w;
    struct ldnq_quantization *result;
    struct ldnq_graph *graph = build_product(&v, &w);
    const struct ldnq_tensor *exact_v = v->constant, *exact_w = w->constant;
    const struct ldnq_quantize_options options = estimating("int3", SAMPLES);
    assert_ok(quantize(graph, &options, &result));
    const struct ldnq_quantized_layer *body = &result->network.layers[0];
    const struct ldnq_quantized_layer *head = &result->network.layers[1];
    const float *x = build_tensor(graph->arena, SHAPE(SAMPLES, 4, 6, 6), 77)->data;
    double error = 0, power = 0;
    for (size_t n = 0; n < SAMPLES; n++) {
        double change = 0, y = 0;
        for (size_t i = 0; i < 144; i++)
            for (size_t h = 0; h < 5; h++) {
                const double a = ((const float *)exact_v->data)[i * 5 + h];
                const double b = ((const float *)body->weight->data)[i * 5 + h];
                const double c = ((const float *)exact_w->data)[h];
                const double d = ((const float *)head->weight->data)[h];
                change += (double)x[n * 144 + i] * (b - a) * (c + d) / 2;
                y += (double)x[n * 144 + i] * a * c;
            }
        error += change * change;
        power += y * y;
    }
    assert_true(fabs(result->output_estimate.layers[0] / (error / power) - 1) < 1e-4);
    build_free(graph);
}

static void estimate_should_predict_the_error_of_a_network_of_all_layers(void **state)
{
    (void)state;
    static const char *const codebooks[] = { "int8", "int4", "int3" };
    for (size_t i = 0; i < 3; i++) {
        for (int quantizes = 0; quantizes < 2; quantizes++) {
            struct ldnq_quantization *result;
            struct ldnq_quantize_options options = estimating(codebooks[i], 256);
            options.least_code_bits = 8;
            if (quantizes)
                options.activations = (struct ldnq_activation_options){ .target = &ldnq_target_ort,
                                                                        .dtype = LDNQ_UINT8 };
            struct ldnq_graph *graph = quantized(&options, &result);
            const double ratio = result->output_estimate.error / result->accuracy.noise_to_signal;
            assert_true(ratio > 0.7 && ratio < 1.4);
            assert_true((result->output_estimate.activations > 0) == (quantizes == 1));
            assert_true(result->output_estimate.deviation < 0.2 * result->output_estimate.error);
            build_free(graph);
        }
    }
}

static void estimate_should_not_depend_on_the_threads(void **state)
{
    (void)state;
    struct ldnq_quantization *one, *three;
    struct ldnq_quantize_options options = estimating("int4", 32);
    struct ldnq_graph *a = quantized(&options, &one);
    assert_ok(ldnq_pool_create(3, &options.pool, &err));
    struct ldnq_graph *b = quantized(&options, &three);
    assert_true(one->output_estimate.error == three->output_estimate.error);
    for (size_t i = 0; i < one->network.count; i++)
        assert_true(one->output_estimate.layers[i] == three->output_estimate.layers[i]);
    ldnq_pool_destroy(options.pool);
    build_free(a);
    build_free(b);
}

/* A layer that approximates the float output changes itself to make up for others. */
static void compensation_should_cancel_in_the_sum(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("int3", "best");
    options.lambda = 1;
    options.estimate_draws = 256;
    struct ldnq_graph *graph = quantized(&options, &result);
    const double ratio = result->output_estimate.error / result->accuracy.noise_to_signal;
    assert_true(ratio > 0.5 && ratio < 2);
    build_free(graph);
}

static void without_draws_there_should_be_no_estimate(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    const struct ldnq_quantize_options options = estimating("int4", 0);
    struct ldnq_graph *graph = quantized(&options, &result);
    assert_true(isnan(result->output_estimate.error));
    assert_true(isnan(result->output_estimate.layers[0]));
    assert_int_equal(result->output_estimate.draws, 0);
    build_free(graph);
}

static void small_network_should_have_an_estimate_by_itself(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    const struct ldnq_quantize_options options = estimating("int4", LDNQ_ESTIMATE_AUTO);
    struct ldnq_graph *graph = quantized(&options, &result);
    assert_int_equal(result->output_estimate.draws, 256);
    build_free(graph);
}

static void without_a_float_output_there_should_be_no_estimate(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_without_float_output();
    struct ldnq_quantization *result;
    const struct ldnq_quantize_options options = estimating("int8", 32);
    assert_ok(quantize(graph, &options, &result));
    assert_true(isnan(result->output_estimate.error));
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimate_should_be_the_error_of_a_product_of_two_weights),
        cmocka_unit_test(estimate_should_follow_a_jacobian_that_changes_on_the_way),
        cmocka_unit_test(part_of_a_layer_should_be_its_change_through_the_mean_of_the_others),
        cmocka_unit_test(estimate_should_predict_the_error_of_a_network_of_all_layers),
        cmocka_unit_test(estimate_should_not_depend_on_the_threads),
        cmocka_unit_test(compensation_should_cancel_in_the_sum),
        cmocka_unit_test(without_draws_there_should_be_no_estimate),
        cmocka_unit_test(small_network_should_have_an_estimate_by_itself),
        cmocka_unit_test(without_a_float_output_there_should_be_no_estimate),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
