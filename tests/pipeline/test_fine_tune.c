/* SPDX-License-Identifier: Apache-2.0 */
/* Fine-tuning of the whole network, measured on the held-out samples. */
#include "pipeline/network.h"

#include <math.h>
#include <string.h>

#include "pipeline/fine_tune_samples.h"

static struct ldnq_quantize_options tuned(const char *codebook, size_t steps, bool codes)
{
    struct ldnq_quantize_options options = options_of(codebook, "rtn");
    options.fine_tune = (struct ldnq_fine_tune_options){ .steps = steps, .update_codes = codes };
    return options;
}

/* ---- samples ---------------------------------------------------------------------------- */

/* A sample's first value tells which one it is. */
static void note(const struct ldnq_tensor *batch, const float *all, size_t size, size_t *seen)
{
    const float *data = batch->data;
    for (size_t i = 0; i < (size_t)batch->shape.dim[0]; i++)
        for (size_t sample = 0; sample < SAMPLES; sample++)
            if (memcmp(data + i * size, all + sample * size, size * sizeof *all) == 0)
                seen[sample]++;
}

static void samples_should_be_learned_from_in_turn_and_others_held_out(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_network();
    struct ldnq_samples *samples = open_samples(graph);
    struct ldnq_fine_tune_samples data;
    struct ldnq_tensor **inputs;
    struct ldnq_tensor *all = build_tensor(graph->arena, SHAPE(SAMPLES, 4, 6, 6), 77);
    size_t learned[SAMPLES] = { 0 }, held[SAMPLES] = { 0 };
    assert_ok(
        ldnq_fine_tune_samples_init(&data, samples, graph, 4, false, 1, NULL, graph->arena, &err));
    assert_int_equal(data.training_count + data.held_out_count, SAMPLES);
    /* Three times through, in batches that do not divide the number. */
    for (size_t left = 3 * data.training_count; left > 0;) {
        size_t count = left < 4 ? left : 4;
        assert_ok(ldnq_fine_tune_samples_draw(&data, count, graph->arena, &inputs, &err));
        note(inputs[0], all->data, 144, learned);
        left -= count;
    }
    assert_ok(ldnq_fine_tune_samples_read_held_out(&data, 0, data.held_out_count, graph->arena,
                                                   &inputs, &err));
    note(inputs[0], all->data, 144, held);
    for (size_t i = 0; i < SAMPLES; i++) {
        assert_int_equal(held[i] + learned[i] / 3, 1);
        assert_int_equal(learned[i] % 3, 0);
    }
    ldnq_samples_destroy(samples);
    build_free(graph);
}

/* ---- the whole --------------------------------------------------------------------------- */

static void tuning_should_bring_the_output_nearer_on_held_out_samples(void **state)
{
    (void)state;
    for (int codes = 0; codes < 2; codes++) {
        struct ldnq_quantization *result;
        struct ldnq_quantize_options options = tuned("int2", 60, codes);
        struct ldnq_graph *graph = quantized(&options, &result);
        assert_int_equal(result->fine_tune.held_out, SAMPLES / 5);
        assert_int_equal(result->fine_tune.steps, 60);
        assert_true(result->fine_tune.error < 0.8 * result->fine_tune.error_start);
        build_free(graph);
    }
}

/* The error that is reported, from the graph as it is left and the file's. */
static void the_graph_should_be_left_with_what_was_best(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = tuned("ternary", 25, true);
    struct ldnq_graph *graph = quantized(&options, &result), *whole = build_prepared();
    struct ldnq_samples *samples = open_samples(graph);
    struct ldnq_fine_tune_samples data;
    struct ldnq_tensor **inputs;
    assert_ok(ldnq_fine_tune_samples_init(&data, samples, graph, SAMPLES, false, 0, NULL,
                                          graph->arena, &err));
    assert_ok(ldnq_fine_tune_samples_read_held_out(&data, 0, data.held_out_count, graph->arena,
                                                   &inputs, &err));
    double error = difference(build_run(graph, inputs[0]), build_run(whole, inputs[0]));
    assert_true(fabs(error - result->fine_tune.error) < 1e-5 * error);
    for (size_t i = 0; i < result->network.count; i++) {
        const struct ldnq_quantized_layer *layer = &result->network.layers[i];
        size_t count = ldnq_tensor_count(layer->layer.weight);
        for (size_t k = 0; k < count; k++)
            assert_in_range(layer->codes[k] + 1, 0, 2);
        if (layer->bias)
            assert_ptr_equal(layer->bias,
                             layer->layer.node->inputs[layer->layer.bias_input]->constant);
    }
    ldnq_samples_destroy(samples);
    build_free(graph);
    build_free(whole);
}

/* One step at int8 can only spoil what is next to perfect. The solver is one whose fit no
 * held-out samples choose: with fine-tuning they stay out of it. */
static void what_does_not_help_should_not_be_kept(void **state)
{
    (void)state;
    struct ldnq_quantization *result, *before;
    struct ldnq_quantize_options options = options_of("int8", "admm-paper");
    struct ldnq_graph *graph = quantized(&options, &before);
    options.fine_tune = (struct ldnq_fine_tune_options){ .steps = 1, .update_codes = true };
    struct ldnq_graph *again = quantized(&options, &result);
    assert_true(result->fine_tune.error <= result->fine_tune.error_start);
    if (result->fine_tune.error == result->fine_tune.error_start)
        assert_same_result(before, result);
    build_free(graph);
    build_free(again);
}

static void tuning_should_not_depend_on_threads_or_memory(void **state)
{
    (void)state;
    struct ldnq_quantization *first, *again;
    struct ldnq_quantize_options options = tuned("int2", 10, true);
    struct ldnq_graph *graph = quantized(&options, &first);
    for (size_t threads = 1; threads <= 3; threads++) {
        struct ldnq_pool *pool;
        assert_ok(ldnq_pool_create(threads, &pool, &err));
        options.pool = pool;
        options.max_bytes = threads == 1 ? 1 : 0;
        struct ldnq_graph *other = quantized(&options, &again);
        assert_same_result(first, again);
        assert_true(first->fine_tune.error == again->fine_tune.error);
        build_free(other);
        ldnq_pool_destroy(pool);
    }
    build_free(graph);
}

static void a_time_limit_should_end_fine_tuning_and_keep_the_best(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = tuned("int2", 1000000, true);
    options.max_seconds = 100;
    ticks = 0;
    ldnq_clock_replace(ticking_clock);
    struct ldnq_graph *graph = quantized(&options, &result);
    ldnq_clock_replace(NULL);
    /* Each step reads the clock twice, and some readings went to the layers. */
    assert_in_range(result->fine_tune.steps, 20, 50);
    assert_true(result->fine_tune.error < 0.8 * result->fine_tune.error_start);
    build_free(graph);
}

static void a_seed_should_change_the_order(void **state)
{
    (void)state;
    struct ldnq_quantization *first, *again;
    struct ldnq_quantize_options options = tuned("int2", 10, false);
    options.fine_tune.batch = 4;
    struct ldnq_graph *graph = quantized(&options, &first);
    options.seed = 5;
    struct ldnq_graph *other = quantized(&options, &again);
    assert_true(first->fine_tune.error != again->fine_tune.error);
    build_free(graph);
    build_free(other);
}

static void a_layer_that_shares_codes_should_share_what_is_learned(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 6, 6));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(4, 4, 1, 1), 1);
    struct ldnq_value *a = NODE(graph, "Conv", "a", x, w, build_weight(graph, "ba", SHAPE(4), 2));
    build_output(graph, NODE(graph, "Conv", "b", NODE(graph, "Relu", "r", a), w,
                             build_weight(graph, "bb", SHAPE(4), 3)));
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = tuned("int2", 30, true);
    assert_ok(quantize(graph, &options, &result));
    assert_true(result->fine_tune.error < result->fine_tune.error_start);
    const struct ldnq_quantized_layer *one = &result->network.layers[0],
                                      *other = &result->network.layers[1];
    assert_memory_equal(one->codes, other->codes, 16);
    assert_memory_equal(one->scales, other->scales, 4 * sizeof(float));
    assert_same_bits(one->layer.node->inputs[1]->constant, other->layer.node->inputs[1]->constant);
    assert_true(memcmp(one->bias->data, other->bias->data, 4 * sizeof(float)) != 0);
    build_free(graph);
}

/* ---- scales of activations ------------------------------------------------------------------ */

#define MOST_PAIRS 32

/* Quantizes weights and activations to 4 bits; returns the number of pairs, and their scales. */
static size_t tune_activations(const struct ldnq_target *target, size_t steps, float *scales,
                               int32_t *zeros)
{
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = tuned("int4", steps, false);
    options.least_code_bits = 8; /* as the target stores them */
    options.activations = (struct ldnq_activation_options){ .target = target,
                                                            .dtype = LDNQ_UINT4,
                                                            .rule = LDNQ_RANGE_AUTO };
    struct ldnq_graph *graph = quantized(&options, &result);
    const struct ldnq_placement *placement = result->network.placement;
    const size_t count = placement->count;
    assert_in_range(count, 1, MOST_PAIRS);
    for (size_t a = 0; a < count; a++) {
        scales[a] = *(const float *)placement->activations[a].scale->constant->data;
        zeros[a] = ldnq_activation_zero_point(&placement->activations[a]);
        for (size_t b = 0; b < a; b++)
            if (placement->activations[a].group == placement->activations[b].group)
                assert_true(scales[a] == scales[b]);
    }
    assert_true(steps == 0 || result->fine_tune.error < 0.8 * result->fine_tune.error_start);
    build_free(graph);
    return count;
}

static void scales_of_activations_should_be_tuned_and_zero_points_stay(void **state)
{
    (void)state;
    float before[MOST_PAIRS], after[MOST_PAIRS];
    int32_t zeros[MOST_PAIRS], zeros_after[MOST_PAIRS];
    const size_t count = tune_activations(&ldnq_target_openvino, 0, before, zeros);
    assert_int_equal(tune_activations(&ldnq_target_openvino, 60, after, zeros_after), count);
    assert_memory_equal(zeros, zeros_after, count * sizeof *zeros);
    for (size_t a = 0; a < count; a++)
        assert_true(after[a] != before[a] && after[a] > 0.5f * before[a] &&
                    after[a] < 2 * before[a]);
}

/* ---- what can't be tuned ------------------------------------------------------------------ */

static char warning[LDNQ_ERROR_SIZE];

static void take_warning(void *ctx, const char *message)
{
    (void)ctx;
    snprintf(warning, sizeof warning, "%s", message);
}

static void a_network_without_gradients_should_be_left_as_placed(void **state)
{
    (void)state;
    const struct ldnq_sink sink = { .warn = take_warning };
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 6, 6));
    struct ldnq_value *a =
        NODE(graph, "Conv", "a", x, build_weight(graph, "w", SHAPE(4, 4, 1, 1), 1));
    struct ldnq_value *count = NODE(graph, "NonZero", "places", a);
    build_output(graph, count);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = tuned("int2", 5, true);
    options.sink = &sink;
    warning[0] = '\0';
    assert_ok(quantize(graph, &options, &result));
    assert_non_null(strstr(warning, "not fine-tuned"));
    assert_non_null(strstr(warning, "'places_out'"));
    assert_int_equal(result->fine_tune.held_out, 0);
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_should_be_learned_from_in_turn_and_others_held_out),
        cmocka_unit_test(tuning_should_bring_the_output_nearer_on_held_out_samples),
        cmocka_unit_test(the_graph_should_be_left_with_what_was_best),
        cmocka_unit_test(what_does_not_help_should_not_be_kept),
        cmocka_unit_test(tuning_should_not_depend_on_threads_or_memory),
        cmocka_unit_test(a_time_limit_should_end_fine_tuning_and_keep_the_best),
        cmocka_unit_test(a_seed_should_change_the_order),
        cmocka_unit_test(a_layer_that_shares_codes_should_share_what_is_learned),
        cmocka_unit_test(scales_of_activations_should_be_tuned_and_zero_points_stay),
        cmocka_unit_test(a_network_without_gradients_should_be_left_as_placed),
    };
    return cmocka_run_group_tests_name("tune", tests, set_up_group, tear_down_group);
}
