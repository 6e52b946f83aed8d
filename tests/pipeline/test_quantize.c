/* SPDX-License-Identifier: Apache-2.0 */
/* A whole quantization: which layers it fits, from which statistics, and the graph afterwards. */
#include "pipeline/network.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/file.h"

/* ---- tests ------------------------------------------------------------------------------ */

static void quantize_should_leave_every_layer_with_its_codes(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("int4", "admm-paper");
    struct ldnq_graph *graph = quantized(&options, &result);
    assert_int_equal(result->network.count, 4);
    for (size_t i = 0; i < result->network.count; i++) {
        const struct ldnq_quantized_layer *layer = &result->network.layers[i];
        size_t rows = ldnq_layer_rows(&layer->layer);
        const float *now = layer->layer.node->inputs[layer->layer.weight_input]->constant->data;
        for (size_t row = 0; row < rows; row++)
            for (size_t k = 0; k < layer->layer.geometry.cols; k++) {
                const int8_t code = layer->codes[row * layer->layer.geometry.cols + k];
                const size_t at = ldnq_find_weight_offset(&layer->layer.geometry, row, k);
                assert_in_range(code + 8, 0, 15);
                assert_true(now[at] == layer->scales[row] * (float)code);
            }
        assert_true(layer->error <= result->diagnostics[i].error_start && layer->error >= 0);
    }
    assert_int_equal(result->diagnostics[0].positions, SAMPLES * 36);
    assert_int_equal(result->diagnostics[2].positions, SAMPLES);
    build_free(graph);
}

static void
quantize_should_keep_the_output_at_8_bits_and_better_than_rounding_at_fewer(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    struct ldnq_graph *whole = build_prepared();
    struct ldnq_tensor *input = build_tensor(whole->arena, SHAPE(SAMPLES, 4, 6, 6), 77);
    struct ldnq_tensor *want = build_run(whole, input);
    struct ldnq_quantize_options options = options_of("int8", "admm-paper");
    struct ldnq_graph *fine = quantized(&options, &result);
    assert_true(difference(build_run(fine, input), want) < 1e-3);
    options = options_of("ternary", "admm-paper");
    struct ldnq_graph *fitted = quantized(&options, &result);
    options = options_of("ternary", "rtn");
    struct ldnq_graph *rounded = quantized(&options, &result);
    assert_true(difference(build_run(fitted, input), want) <
                difference(build_run(rounded, input), want) / 2);
    build_free(whole);
    build_free(fine);
    build_free(fitted);
    build_free(rounded);
}

static void quantize_should_not_depend_on_threads_or_memory(void **state)
{
    (void)state;
    struct ldnq_quantization *first, *again;
    struct ldnq_quantize_options options = options_of("ternary", "admm-paper");
    struct ldnq_graph *graph = quantized(&options, &first);
    for (size_t threads = 1; threads <= 3; threads++) {
        struct ldnq_pool *pool;
        assert_ok(ldnq_pool_create(threads, &pool, &err));
        options.pool = pool;
        options.max_bytes = threads == 1 ? 1 : 0;
        struct ldnq_graph *other = quantized(&options, &again);
        assert_same_result(first, again);
        build_free(other);
        ldnq_pool_destroy(pool);
    }
    build_free(graph);
}

static void skip_and_only_should_choose_layers(void **state)
{
    (void)state;
    static const char *const convolutions[] = { "grouped", "pl*" };
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("int4", "rtn");
    options.skip = convolutions;
    options.skip_count = 2;
    struct ldnq_graph *graph = quantized(&options, &result);
    assert_int_equal(result->network.count, 2);
    assert_string_equal(result->network.layers[0].layer.node->label, "fc");
    build_free(graph);

    options = options_of("int4", "rtn");
    options.only = convolutions;
    options.only_count = 2;
    graph = quantized(&options, &result);
    assert_int_equal(result->network.count, 2);
    assert_string_equal(result->network.layers[1].layer.node->label, "plain");
    /* What was left out still has the weight of the file. */
    struct ldnq_node *fc = ldnq_graph_find_node(graph, "fc");
    assert_ptr_equal(fc->inputs[1], ldnq_graph_find_value(graph, "w3"));
    build_free(graph);
}

static void patterns_without_a_layer_should_be_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = { "nowhere*" }, *const all[] = { "*" };
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("int4", "rtn");
    struct ldnq_graph *graph = build_prepared();
    options.skip = wrong;
    options.skip_count = 1;
    assert_fails(quantize(graph, &options, &result), LDNQ_USAGE,
                 "skip 'nowhere*' matches no layer");
    options.only = wrong;
    options.only_count = 1;
    options.skip_count = 0;
    assert_fails(quantize(graph, &options, &result), LDNQ_USAGE,
                 "only 'nowhere*' matches no layer");
    options.only_count = 0;
    options.skip = all;
    options.skip_count = 1;
    assert_fails(quantize(graph, &options, &result), LDNQ_USAGE, "no layer to quantize");
    build_free(graph);
}

static void a_weight_read_twice_in_the_same_way_should_keep_one_set_of_codes(void **state)
{
    (void)state;
    struct ldnq_value *w;
    struct ldnq_graph *graph = build_sharing(&w);
    build_output(graph, NODE(graph, "Abs", "other", w));
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("ternary", "admm-paper");
    struct ldnq_tensor *before = build_tensor(graph->arena, SHAPE(4, 4, 1, 1), 1);
    assert_ok(quantize(graph, &options, &result));
    assert_ptr_equal(result->network.layers[1].shared, &result->network.layers[0]);
    assert_memory_equal(result->network.layers[0].codes, result->network.layers[1].codes, 16);
    assert_same_bits(w->constant, before);
    build_free(graph);
}

/* The means over samples and positions of (N, C, H, W), by channel. */
static void channel_means(const struct ldnq_tensor *tensor, double *means)
{
    size_t channels = (size_t)tensor->shape.dim[1];
    size_t plane = (size_t)(tensor->shape.dim[2] * tensor->shape.dim[3]);
    for (size_t c = 0; c < channels; c++)
        means[c] = 0;
    for (size_t i = 0, count = ldnq_tensor_count(tensor); i < count; i++)
        means[i / plane % channels] +=
            (double)((float *)tensor->data)[i] * (double)channels / (double)count;
}

/* Two convolutions that read one weight; output 0 is the second one's. */
static struct ldnq_graph *build_shared(void)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 6, 6));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(4, 4, 1, 1), 1);
    struct ldnq_value *a = NODE(graph, "Conv", "a", x, w, build_weight(graph, "ba", SHAPE(4), 2));
    build_output(graph, NODE(graph, "Conv", "b", NODE(graph, "Relu", "r", a), w,
                             build_weight(graph, "bb", SHAPE(4), 3)));
    assert_ok(ldnq_passes_run(graph, &err));
    return graph;
}

/* Where the bias is best, codes change no channel's mean output. */
static void a_layer_that_shares_codes_should_have_its_own_best_bias(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_shared();
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("ternary", "admm-paper");
    assert_ok(quantize(graph, &options, &result));
    assert_non_null(result->network.layers[1].shared);
    assert_true(result->network.layers[1].error < result->diagnostics[1].error_start);
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(SAMPLES, 4, 6, 6), 77);
    double got[4], want[4];
    channel_means(build_run(graph, input), got);
    struct ldnq_node *node = result->network.layers[1].layer.node;
    node->inputs[1]->constant = result->network.layers[1].layer.weight;
    node->inputs[2]->constant = result->network.layers[1].layer.bias;
    channel_means(build_run(graph, input), want);
    for (size_t c = 0; c < 4; c++)
        assert_true(fabs(got[c] - want[c]) < 1e-5);
    build_free(graph);
}

static void rounding_should_keep_the_bias_of_the_file_also_where_codes_are_shared(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_shared();
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("ternary", "rtn");
    assert_ok(quantize(graph, &options, &result));
    for (size_t i = 0; i < 2; i++)
        assert_same_bits(result->network.layers[i].bias, result->network.layers[i].layer.bias);
    build_free(graph);
}

/* ---- samples that don't fit, and memory -------------------------------------------------- */

static void samples_that_do_not_fit_a_layer_should_be_named_with_it(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x =
        build_input(graph, "x", SHAPE(build_symbol(graph, "N"), build_symbol(graph, "C"), 6, 6));
    build_output(graph,
                 NODE(graph, "Conv", "narrow", x, build_weight(graph, "w", SHAPE(2, 3, 1, 1), 1)));
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("ternary", "rtn");
    assert_fails(quantize(graph, &options, &result), LDNQ_DATA,
                 "m.onnx: node 'narrow' (Conv, opset 13): ");
    assert_non_null(strstr(err.message, "x.npy[0]"));
    build_free(graph);
}

static void a_layer_without_input_should_be_named(void **state)
{
    (void)state;
    static const int64_t zero[] = { 0 };
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 6, 6));
    struct ldnq_value *ints = build_ints(graph, "zero", 1, zero);
    struct ldnq_value *none = NODE(graph, "Slice", "none", x, ints, ints, ints);
    build_output(graph, NODE(graph, "Conv", "starved", none,
                             build_weight(graph, "w", SHAPE(2, 4, 1, 1), 1)));
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("ternary", "rtn");
    assert_fails(quantize(graph, &options, &result), LDNQ_DATA,
                 "node 'starved' (Conv, opset 13): the calibration samples give it no input");
    build_free(graph);
}

static void layers_should_be_solved_by_gptq_once_half_of_the_time_is_over(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("int4", "cd");
    options.max_seconds = 24;
    ticks = 0;
    ldnq_clock_replace(ticking_clock);
    struct ldnq_graph *graph = quantized(&options, &result);
    ldnq_clock_replace(NULL);
    bool is_late = false;
    for (size_t i = 0; i < result->network.count; i++) {
        const struct ldnq_layer_diagnostics *layer = &result->diagnostics[i];
        assert_true(layer->late || !is_late);
        assert_string_equal(layer->solver->name, layer->late ? "gptq" : "cd");
        is_late = layer->late;
    }
    assert_false(result->diagnostics[0].late);
    assert_true(is_late);
    build_free(graph);
}

/* They can be read again, so that no memory and no file is needed for them. */
static void the_samples_themselves_should_not_be_stored(void **state)
{
    (void)state;
    static const char *const front[] = { "grouped" };
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("int4", "cd");
    options.only = front;
    options.only_count = 1;
    options.max_bytes = 1;
    setenv("TMPDIR", "/nonexistent/folder", 1);
    struct ldnq_graph *graph = quantized(&options, &result);
    unsetenv("TMPDIR");
    assert_int_equal(result->network.layers[0].layer.node_index, 0);
    build_free(graph);
}

static void a_full_disk_should_be_reported_with_its_folder(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("int4", "cd");
    struct rlimit limit, small;
    struct ldnq_graph *graph = build_prepared();
    options.max_bytes = 1;
    setenv("TMPDIR", folder, 1);
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    small = limit;
    small.rlim_cur = 100;
    setrlimit(RLIMIT_FSIZE, &small);
    enum ldnq_status status = quantize(graph, &options, &result);
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, before);
    unsetenv("TMPDIR");
    assert_int_equal(status, LDNQ_IO);
    assert_memory_equal(err.message, folder, strlen(folder));
    assert_non_null(strstr(err.message, "can't be written: File too large"));
    build_free(graph);
}

/* ---- progress ---- */

struct seen_progress {
    size_t calls, first, done, total;
    bool has_gone_back;
};

static int store_progress(void *ctx, const struct ldnq_progress *at)
{
    struct seen_progress *seen = ctx;
    if (strcmp(at->stage, "quantize") != 0)
        return 0;
    seen->has_gone_back |= at->done < seen->done || (seen->calls > 0 && at->total != seen->total);
    if (seen->calls++ == 0)
        seen->first = at->done;
    seen->done = at->done;
    seen->total = at->total;
    return 0;
}

static void progress_should_grow_to_the_work_that_was_planned(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct seen_progress seen = { 0 };
        const struct ldnq_sink sink = { .ctx = &seen, .progress = store_progress };
        struct ldnq_quantize_options options = options_of("int8", i == 2 ? "nearest" : "gptq");
        struct ldnq_quantization *result;
        options.lambda = i == 1 ? LDNQ_LAMBDA_AUTO : 0;
        options.sink = &sink;
        build_free(quantized(&options, &result));
        assert_true(seen.calls >= 4);
        assert_int_equal(seen.first, 0); /* before any work */
        assert_false(seen.has_gone_back);
        assert_int_equal(seen.done, seen.total);
    }
}

/* ---- layers ------------------------------------------------------------------------------ */

static void nan_in_a_weight_should_be_named(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_network();
    struct ldnq_value *weight = ldnq_graph_find_value(graph, "w2");
    ((float *)weight->constant->data)[7] = NAN;
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("ternary", "rtn");
    assert_fails(
        quantize(graph, &options, &result), LDNQ_NUMERIC,
        "m.onnx: node 'plain' (Conv, opset 13): element 7 of its weight is NaN; skip 'plain'");
    ((float *)weight->constant->data)[7] = INFINITY;
    assert_fails(quantize(graph, &options, &result), LDNQ_NUMERIC,
                 "element 7 of its weight is infinity");
    build_free(graph);
}

static void layers_should_say_why_they_can_not_be_quantized(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4));
    struct ldnq_value *w = build_input(graph, "w", SHAPE(4, 4));
    struct ldnq_value *y = NODE(graph, "MatMul", "live", x, w);
    build_output(graph, NODE(graph, "MatMul", "vector", y, build_weight(graph, "v", SHAPE(4), 1)));
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_layer *layers;
    size_t count;
    assert_ok(ldnq_layers_list(graph, graph->arena, &layers, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(layers[0].refusal, "its weight is computed at run time");
    assert_non_null(strstr(layers[1].refusal, "no matrix"));
    build_free(graph);
}

/* Seven readers of each value in a row of sixteen: 7^16 ways back to the front. */
static void a_weight_from_many_folded_nodes_should_be_listed_at_once(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(4, 4), 1);
    static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h",
                                         "i", "j", "k", "l", "m", "n", "o", "p" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        w = NODE(graph, "Mean", names[i], w, w, w, w, w, w, w);
    build_output(graph, NODE(graph, "MatMul", "head", x, w));
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_layer *layers;
    size_t count;
    assert_ok(ldnq_layers_list(graph, graph->arena, &layers, &count, &err));
    assert_int_equal(count, 1);
    assert_null(layers[0].refusal);
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_should_leave_every_layer_with_its_codes),
        cmocka_unit_test(
            quantize_should_keep_the_output_at_8_bits_and_better_than_rounding_at_fewer),
        cmocka_unit_test(quantize_should_not_depend_on_threads_or_memory),
        cmocka_unit_test(skip_and_only_should_choose_layers),
        cmocka_unit_test(patterns_without_a_layer_should_be_refused),
        cmocka_unit_test(a_weight_read_twice_in_the_same_way_should_keep_one_set_of_codes),
        cmocka_unit_test(a_layer_that_shares_codes_should_have_its_own_best_bias),
        cmocka_unit_test(rounding_should_keep_the_bias_of_the_file_also_where_codes_are_shared),
        cmocka_unit_test(samples_that_do_not_fit_a_layer_should_be_named_with_it),
        cmocka_unit_test(a_layer_without_input_should_be_named),
        cmocka_unit_test(layers_should_be_solved_by_gptq_once_half_of_the_time_is_over),
        cmocka_unit_test(the_samples_themselves_should_not_be_stored),
        cmocka_unit_test(a_full_disk_should_be_reported_with_its_folder),
        cmocka_unit_test(progress_should_grow_to_the_work_that_was_planned),
        cmocka_unit_test(nan_in_a_weight_should_be_named),
        cmocka_unit_test(layers_should_say_why_they_can_not_be_quantized),
        cmocka_unit_test(a_weight_from_many_folded_nodes_should_be_listed_at_once),
    };
    return cmocka_run_group_tests_name("quantize", tests, set_up_group, tear_down_group);
}
