/* SPDX-License-Identifier: Apache-2.0 */
/* A fitted layer is never worse than rounding on samples that it has not seen, but for the chance
 * that few held-out samples leave: random layers, sample counts, spectra, codebooks. */
#include "pipeline/network.h"

#include <math.h>

#define LAYERS 540
#define FRESH 200

/* ---- random layers ------------------------------------------------------------------------ */

static const char *const codebooks[] = { "int8", "int4", "int2", "ternary" };
static const char *const solvers[] = { "gptq", "beam", "best" };
static const size_t sample_counts[] = { 5, 6, 8, 11, 16, 30, 64, 150, 400 };

enum spectrum { WHITE, SMOOTH, STEEP, OUTLIERS, SPECTRA };

struct random_layer {
    bool is_conv, has_bias, has_blocks, is_loud;
    size_t inputs, outputs, side, samples; /* inputs: of a Gemm, or channels of a Conv */
    enum spectrum spectrum;
    const char *codebook, *solver;
    double offset; /* mean of the input */
    uint64_t seed;
};

static size_t draw(struct ldnq_rng *rng, size_t first, size_t last)
{
    return first + ldnq_rng_below(rng, last - first + 1);
}

static struct random_layer draw_layer(size_t index)
{
    struct ldnq_rng rng = { 1000 + index };
    struct random_layer layer = { .seed = 7 * index + 1 };
    layer.is_conv = draw(&rng, 0, 3) == 0;
    layer.has_bias = draw(&rng, 0, 3) > 0;
    layer.is_loud = draw(&rng, 0, 3) == 0;
    layer.inputs = layer.is_conv ? draw(&rng, 1, 4) : draw(&rng, 4, 96);
    layer.outputs = draw(&rng, 4, 40);
    layer.side = draw(&rng, 3, 6);
    layer.spectrum = (enum spectrum)draw(&rng, 0, SPECTRA - 1);
    layer.codebook = codebooks[draw(&rng, 0, 3)];
    layer.solver = strcmp(layer.codebook, "int8") == 0 ? "nearest" : solvers[draw(&rng, 0, 2)];
    layer.samples = sample_counts[draw(&rng, 0, 8)];
    layer.has_blocks = !layer.is_conv && layer.inputs > 16 && draw(&rng, 0, 2) == 0;
    layer.offset = draw(&rng, 0, 1) ? 1 : 0;
    return layer;
}

static double draw_normal(struct ldnq_rng *rng)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += ldnq_rng_uniform(rng);
    return sum;
}

static struct ldnq_graph *build_random_layer(const struct random_layer *layer)
{
    static const int64_t pads[] = { 1, 1, 1, 1 };
    const int64_t c = (int64_t)layer->inputs, m = (int64_t)layer->outputs;
    const int64_t side = (int64_t)layer->side;
    struct ldnq_graph *graph = build_graph();
    const int64_t n = build_symbol(graph, "N");
    struct ldnq_value *x =
        build_input(graph, "x", layer->is_conv ? SHAPE(n, c, side, side) : SHAPE(n, c));
    struct ldnq_value *w =
        build_weight(graph, "w", layer->is_conv ? SHAPE(m, c, 3, 3) : SHAPE(c, m), layer->seed);
    struct ldnq_rng rng = { layer->seed };
    float *weight = w->constant->data;
    for (size_t i = 0; i < ldnq_tensor_count(w->constant); i++)
        weight[i] = (float)(0.1 * draw_normal(&rng));
    struct ldnq_value *b = layer->has_bias ? build_weight(graph, "b", SHAPE(m), 5) : NULL;
    struct ldnq_value *y = NODE(graph, layer->is_conv ? "Conv" : "Gemm", "layer", x, w, b);
    if (layer->is_conv)
        build_attr_ints(y, "pads", 4, pads);
    build_output(graph, y);
    assert_ok(ldnq_passes_run(graph, &err));
    return graph;
}

/* The columns' spectrum falls by a power of their number, after a random rotation of neighbours;
 * some channels are outliers, and some samples loud. */
static void fill_sample(const struct random_layer *layer, struct ldnq_rng *rng, float *x,
                        size_t count)
{
    const double loudness = layer->is_loud && draw(rng, 0, 7) == 0 ? 12 : 1;
    const double smooth = layer->spectrum == WHITE ? 0 : layer->spectrum == STEEP ? 0.98 : 0.8;
    double walk = draw_normal(rng);
    for (size_t i = 0; i < count; i++) {
        walk = smooth * walk + sqrt(1 - smooth * smooth) * draw_normal(rng);
        const size_t channel = layer->is_conv ? i / (layer->side * layer->side) : i;
        const double gain = layer->spectrum == OUTLIERS && channel % 13 == 3 ? 20 : 1;
        x[i] = (float)(loudness * (gain * walk + layer->offset));
    }
}

static struct ldnq_tensor *make_samples(const struct random_layer *layer, struct ldnq_arena *arena,
                                        size_t count, uint64_t seed)
{
    const int64_t n = (int64_t)count, c = (int64_t)layer->inputs, side = (int64_t)layer->side;
    struct ldnq_tensor *tensor =
        build_tensor(arena, layer->is_conv ? SHAPE(n, c, side, side) : SHAPE(n, c), 1);
    const size_t elements = ldnq_tensor_count(tensor) / count;
    struct ldnq_rng rng = { seed };
    for (size_t i = 0; i < count; i++)
        fill_sample(layer, &rng, (float *)tensor->data + i * elements, elements);
    return tensor;
}

/* ---- errors on fresh samples ---------------------------------------------------------------- */

static double measure_fresh_error(const struct random_layer *layer, const char *solver,
                                  double lambda, enum ldnq_layer_fit *fit)
{
    struct ldnq_graph *graph = build_random_layer(layer);
    struct ldnq_tensor *fresh = make_samples(layer, graph->arena, FRESH, layer->seed + 1000003);
    struct ldnq_memory_array array = { .input = "" };
    array.tensor = *make_samples(layer, graph->arena, layer->samples, layer->seed + 17);
    const struct ldnq_samples_memory memory = { .arrays = &array, .array_count = 1 };
    struct ldnq_samples_options samples_options = { 0 };
    struct ldnq_samples *samples;
    struct ldnq_quantization *result;
    ldnq_preprocess_defaults(&samples_options.preprocess);
    assert_ok(ldnq_samples_open_memory(&memory, graph, &samples_options, &samples, &err));
    struct ldnq_quantize_options options = options_of(layer->codebook, solver);
    options.lambda = lambda;
    options.skips_output_error = true;
    if (layer->has_blocks) {
        options.granularity = LDNQ_PER_BLOCK;
        options.block = 16;
    }
    const struct ldnq_tensor *want = build_run(graph, fresh);
    assert_ok(ldnq_quantize_graph(graph, samples, &options, graph->arena, &result, &err));
    const double error = difference(build_run(graph, fresh), want);
    *fit = result->diagnostics[0].choice.fit;
    ldnq_samples_destroy(samples);
    build_free(graph);
    return error;
}

/* What held-out samples leave to chance: the error of one sample is about as far from the mean as
 * the mean is large, so that the mean over N of them is off by a part 1/sqrt(N), and a choice by it
 * is wrong by twice that at most. */
static double noise_bound(const struct random_layer *layer)
{
    const double held_out = fmax(1, floor((double)layer->samples / 5));
    return 2 / sqrt(held_out);
}

/* With 5 samples or 6, one is held out: a few layers are worse by chance, the mean is far better.
 */
static void a_layer_should_never_be_worse_than_rounding(void **state)
{
    (void)state;
    double sum = 0;
    size_t fits[3] = { 0 }, worse = 0;
    for (size_t i = 0; i < LAYERS; i++) {
        const struct random_layer layer = draw_layer(i);
        enum ldnq_layer_fit fit, unused;
        const double fitted = measure_fresh_error(&layer, layer.solver, LDNQ_LAMBDA_AUTO, &fit);
        const double mse = measure_fresh_error(&layer, "mse", 0, &unused);
        const double rtn = measure_fresh_error(&layer, "rtn", 0, &unused);
        const double ratio = fitted / fmin(mse, rtn);
        if (!(ratio <= 1 + noise_bound(&layer)))
            fail_msg(
                "layer %zu (%s, %s, %zu inputs, %zu samples): %.3g times the error of rounding", i,
                layer.codebook, layer.solver, layer.inputs, layer.samples, ratio);
        fits[fit]++;
        worse += ratio > 1.1;
        sum += log(ratio);
    }
    assert_in_range(worse, 0, LAYERS / 25);
    assert_true(exp(sum / LAYERS) < 0.6);
    for (size_t fit = 0; fit < 3; fit++)
        assert_true(fits[fit] > LAYERS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layer_should_never_be_worse_than_rounding),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
