/* SPDX-License-Identifier: Apache-2.0 */
/* sample_diff.h: a struct ldnq_diff made by hand, of as many layers as wanted, with
 * everything that a page must cope with: names that are not text, missing values. */
#ifndef TESTS_SAMPLE_DIFF_H
#define TESTS_SAMPLE_DIFF_H

#include "compare/comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

struct sample_options {
    size_t layers;
    bool quantized; /* else float against float */
    bool samples;   /* ran on samples */
    bool traces;    /* made by quantize --report */
};

#define SAMPLE_POINTS 1500
#define SAMPLE_ROWS 100

static const char *const sample_evil_names[] = {
    "<script>window.evil = 1</script>",
    "a\" onmouseover=\"window.evil = 1",
    "it's & <b>bold</b>",
    "line\nfeed\ttab\x01\x7f",
    "broken \xff\xe2\x82 utf-8",
    "turned \xe2\x80\xae txt.exe",
    "\xe5\xb1\x82/\xc3\xa9tage/\xd7\xa9\xd7\x9b\xd7\x91\xd7\x94",
    "",
    ("/model/backbone/a_very_long_name_without_any_place_to_break_a_line_at/stage_four_block_seven_"
     "depthwise_convolution"),
};

/* Never fails; the arena of a test is not limited. */
static void *sample_alloc(struct ldnq_arena *arena, size_t count, size_t size)
{
    void *memory = ldnq_arena_alloc(arena, count, size, NULL);
    if (!memory)
        abort();
    return memory;
}

static inline double sample_normal(struct ldnq_rng *rng)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += ldnq_rng_uniform(rng);
    return sum;
}

static inline size_t sample_bin(const struct ldnq_weight_distribution *spread, double value)
{
    const double at = (value - spread->low) / (spread->high - spread->low) * LDNQ_DIFF_BINS;
    return at < 0 ? 0 : at >= LDNQ_DIFF_BINS ? LDNQ_DIFF_BINS - 1 : (size_t)at;
}

/* Draws weights and rounds them to codes: spread and histogram come from the same ones. */
static void sample_weights(struct ldnq_arena *arena, struct ldnq_rng *rng, double sigma, double top,
                           struct ldnq_diff_layer *layer, uint64_t *histogram)
{
    struct ldnq_weight_distribution *spread = sample_alloc(arena, 1, sizeof *spread);
    float(*points)[2] = sample_alloc(arena, SAMPLE_POINTS, sizeof *points);
    spread->low = -3.6 * sigma;
    spread->high = 3.6 * sigma;
    spread->point_count = SAMPLE_POINTS;
    spread->points = (const float(*)[2])points;
    const size_t drawn = layer->weights < 40000 ? layer->weights : 40000;
    for (size_t i = 0; i < drawn; i++) {
        const double w = sigma * sample_normal(rng);
        const double scale = sigma * (2.2 + 0.9 * (double)(i % 7) / 7) / top;
        const double code = fmin(fmax(rint(w / scale), -top), top);
        spread->a[sample_bin(spread, w)]++;
        spread->b[sample_bin(spread, code * scale)]++;
        histogram[(size_t)(code + top)]++;
        if (i < SAMPLE_POINTS) {
            points[i][0] = (float)w;
            points[i][1] = (float)(code * scale);
        }
    }
    layer->distribution = spread;
}

static void sample_trace(struct ldnq_arena *arena, struct ldnq_rng *rng,
                         struct ldnq_diff_layer *layer)
{
    const size_t count = 3 + (size_t)(ldnq_rng_uniform(rng) * (SAMPLE_ROWS - 3));
    struct ldnq_diff_iteration *rows = sample_alloc(arena, count, sizeof *rows);
    const double floor_at = 0.001 + 0.1 * ldnq_rng_uniform(rng);
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct ldnq_diff_iteration){
            .iteration = (int)i + 1,
            .objective = floor_at * (1 + 3 * exp(-0.15 * (double)i)),
            .residual = exp(-0.1 * (double)i),
            .changed = count - i,
            .active = count - i,
            .rho = 1,
        };
    layer->trace = rows;
    layer->trace_count = count;
}

static struct ldnq_quantized_tensor sample_codes(struct ldnq_arena *arena,
                                                 const struct ldnq_diff_layer *layer, int bits)
{
    const int64_t top = (1 << (bits - 1)) - 1;
    return (struct ldnq_quantized_tensor){
        .name = ldnq_arena_printf(arena, NULL, "%s_quantized", layer->node),
        .reader = layer->node,
        .is_constant = true,
        .type = bits == 2   ? "int2"
                : bits == 4 ? "int4"
                            : "int8",
        .shape = layer->shape,
        .axis = 0,
        .block_size = bits == 2 ? 32 : 0,
        .scale_count = (size_t)layer->shape.dim[0],
        .scale_min = 0.0013,
        .scale_max = 0.0217,
        .count = layer->weights,
        .code_min = -top,
        .code_max = top,
        .codes_used = (size_t)(2 * top + 1),
        .entropy = 0.8 * bits,
        .bytes = layer->weights * (size_t)bits / 8 + 4 * (size_t)layer->shape.dim[0],
        .histogram_first = -top,
        .histogram_count = (size_t)(2 * top + 1),
        .histogram = sample_alloc(arena, (size_t)(2 * top + 1), sizeof(uint64_t)),
    };
}

static struct ldnq_quantized_tensor sample_activation(struct ldnq_arena *arena,
                                                      const struct ldnq_diff_layer *layer)
{
    return (struct ldnq_quantized_tensor){
        .name = ldnq_arena_printf(arena, NULL, "%s_input_quantized", layer->node),
        .reader = layer->node,
        .type = "uint8",
        .shape = { .rank = 4, .dim = { LDNQ_DIFF_OPEN, 64, 28, 28 } },
        .axis = -1,
        .scale_count = 1,
        .scale_min = 0.0235,
        .scale_max = 0.0235,
        .zero_min = 128,
        .zero_max = 128,
        .entropy = NAN,
    };
}

static const char *sample_name(struct ldnq_arena *arena, size_t i, size_t count)
{
    const size_t evil = sizeof sample_evil_names / sizeof *sample_evil_names;
    if (count > 1 && i % 5 == 4 && i / 5 < evil)
        return sample_evil_names[i / 5];
    return ldnq_arena_printf(arena, NULL, "/layer%zu/layer%zu.%zu/conv%zu/Conv", i / 12 + 1,
                             i / 12 + 1, i / 3 % 4, i % 3 + 1);
}

static void sample_errors(struct ldnq_diff_layer *layer, struct ldnq_rng *rng, size_t i,
                          double *accumulated)
{
    const double noise = pow(10, -1.6 - 1.5 * ldnq_rng_uniform(rng));
    *accumulated = 0.75 * *accumulated + noise;
    layer->isolated = (struct ldnq_diff_error){ -10 * log10(noise), 1 - noise / 2 };
    layer->accumulated =
        (struct ldnq_diff_error){ -10 * log10(*accumulated), 1 - *accumulated / 2 };
    if (i % 17 == 11)
        layer->isolated = (struct ldnq_diff_error){ INFINITY, 1 };
    if (i % 23 == 7)
        layer->isolated = layer->accumulated = (struct ldnq_diff_error){ NAN, NAN };
}

static void sample_layer(struct ldnq_arena *arena, const struct sample_options *options,
                         struct ldnq_rng *rng, struct ldnq_diff *diff, size_t i)
{
    struct ldnq_diff_layer *layer = &diff->layers[i];
    const int64_t wide = (int64_t)64 << (4 * i / options->layers);
    const int64_t kernel = i % 3 == 1 ? 3 : 1;
    *layer = (struct ldnq_diff_layer){
        .node = sample_name(arena, i, options->layers),
        .op = i + 1 == options->layers ? "Gemm" : "Conv",
        .pairing = i % 3 ? LDNQ_PAIR_NAME : LDNQ_PAIR_CONTENT,
        .folded = i % 2 ? "bn<1>" : NULL,
        .shape = { .rank = 4, .dim = { wide, wide / 2, kernel, kernel } },
        .weights = (size_t)(wide * wide / 2 * kernel * kernel),
        .bits = 32,
        .weight_sqnr = INFINITY,
        .isolated = { NAN, NAN },
        .accumulated = { NAN, NAN },
    };
    layer->match = layer->node;
    layer->macs = i % 19 == 3 ? NAN : 196.0 * (double)layer->weights;
    layer->bytes_a = layer->bytes_b = 4 * layer->weights;
    if (options->quantized && i % 13 != 5) {
        const int bits = i % 4 == 0 ? 8 : i % 7 == 3 ? 2 : 4;
        struct ldnq_quantized_tensor *codes = &diff->tensors[diff->tensor_count++];
        *codes = sample_codes(arena, layer, bits);
        sample_weights(arena, rng, 0.01 + 0.05 * ldnq_rng_uniform(rng), (double)codes->code_max,
                       layer, (uint64_t *)codes->histogram);
        layer->weight = codes;
        layer->bytes_b = codes->bytes;
        layer->bits = 8.0 * (double)codes->bytes / (double)layer->weights;
        layer->weight_sqnr = 6.02 * bits - 5 + 3 * ldnq_rng_uniform(rng);
        diff->tensors[diff->tensor_count] = sample_activation(arena, layer);
        layer->input = &diff->tensors[diff->tensor_count++];
        if (options->traces)
            sample_trace(arena, rng, layer);
    }
    diff->a.weights += layer->weights;
    diff->a.weight_bytes += layer->bytes_a;
    diff->b.weight_bytes += layer->bytes_b;
}

static void sample_notes(struct ldnq_arena *arena, struct ldnq_diff *diff, size_t layers)
{
    diff->removed_count = layers;
    diff->removed = sample_alloc(arena, layers, sizeof *diff->removed);
    for (size_t i = 0; i < layers; i++)
        diff->removed[i] = (struct ldnq_diff_change){
            ldnq_arena_printf(arena, NULL, "/layer%zu/bn%zu/BatchNormalization", i / 12, i % 12),
            "BatchNormalization",
            ldnq_arena_printf(arena, NULL, "folded into '%s'", diff->layers[i].node),
        };
    diff->added_count = diff->changed_count = 1;
    diff->added = sample_alloc(arena, 1, sizeof *diff->added);
    diff->added[0] = (struct ldnq_diff_change){ "<img src=x>", "Transpose", "" };
    diff->changed = sample_alloc(arena, 1, sizeof *diff->changed);
    diff->changed[0] =
        (struct ldnq_diff_change){ "pool & pad", "MaxPool", "attribute pads: 0,0,0,0 -> 1,1,1,1" };
}

static void sample_outputs(struct ldnq_arena *arena, struct ldnq_diff *diff, double accumulated)
{
    diff->samples = 512;
    diff->measured_on = "512 samples";
    diff->seconds = 41.7;
    diff->output_count = 2;
    diff->outputs = sample_alloc(arena, 2, sizeof *diff->outputs);
    diff->outputs[0] = (struct ldnq_diff_output){
        .name = "logits<1000>",
        .match = "logits<1000>",
        .error = { -10 * log10(accumulated), 1 - accumulated / 2 },
        .noise_to_signal = accumulated,
        .bound = 37 * accumulated,
        .max_error = 1.84,
        .agreement = 0.974609,
        .agreement_low = 0.957,
        .agreement_high = 0.985,
        .kl = 0.0213,
    };
    diff->outputs[1] = (struct ldnq_diff_output){
        .name = "features",
        .match = "features",
        .error = { INFINITY, 1 },
        .noise_to_signal = 0,
        .bound = NAN,
        .max_error = 0,
        .agreement = NAN,
        .agreement_low = NAN,
        .agreement_high = NAN,
        .kl = NAN,
    };
}

/* Limits, of which one is not kept, and what made the file. */
static void sample_decision(struct ldnq_diff *diff)
{
    static const struct ldnq_diff_gate gates[] = {
        { "agreement", "logits<1000>", "%", false, 95, 97.4609, true },
        { "file size", NULL, "bytes", true, 1e6, 2e6, false },
    };
    static const struct ldnq_diff_fact facts[] = { { "seed", "3" }, { "kernels", "<none>" } };
    diff->gates = gates;
    diff->gate_count = 2;
    diff->command = "ldnq quantize 'models/resnet <50>.onnx' --output out/resnet-int4.onnx";
    diff->facts = facts;
    diff->fact_count = 2;
}

/* Two samples with another answer, one of them a picture. */
static void sample_changed(struct ldnq_arena *arena, struct ldnq_diff *diff)
{
    uint8_t *pixels = sample_alloc(arena, 4 * 16 * 12, 1);
    for (size_t i = 0; i < 4 * 16 * 12; i++)
        pixels[i] = (uint8_t)(i % 4 == 3 ? 255 : 40 + i % 16 * 10);
    diff->changed_samples = sample_alloc(arena, 2, sizeof *diff->changed_samples);
    diff->changed_samples[0] = (struct ldnq_diff_sample){ .name = "cat/<7>.png",
                                                          .output = "logits<1000>",
                                                          .class_a = 281,
                                                          .class_b = 282,
                                                          .width = 16,
                                                          .height = 12,
                                                          .pixels = pixels };
    diff->changed_samples[1] = (struct ldnq_diff_sample){ .name = "x.npy[3]",
                                                          .output = "logits<1000>",
                                                          .class_a = 1,
                                                          .class_b = 7,
                                                          .values = { 0.25, -3 },
                                                          .value_count = 2 };
    diff->changed_sample_count = 2;
    diff->changed_sample_total = 13;
}

static struct ldnq_diff *sample_diff(struct ldnq_arena *arena, const struct sample_options *options)
{
    struct ldnq_rng rng = { 20 + options->layers };
    struct ldnq_diff *diff = sample_alloc(arena, 1, sizeof *diff);
    diff->layers = sample_alloc(arena, options->layers, sizeof *diff->layers);
    diff->tensors = sample_alloc(arena, 2 * options->layers, sizeof *diff->tensors);
    diff->layer_count = diff->paired_layers = options->layers;
    double accumulated = 0.002;
    for (size_t i = 0; i < options->layers; i++) {
        sample_layer(arena, options, &rng, diff, i);
        if (options->samples)
            sample_errors(&diff->layers[i], &rng, i, &accumulated);
    }
    if (options->layers > 20) {
        diff->layers[20].match = NULL;
        diff->layers[20].pairing = LDNQ_PAIR_NONE;
        diff->paired_layers--;
    }
    diff->paired = 2 * options->layers + 17;
    diff->b.weights = diff->a.weights;
    diff->a = (struct ldnq_diff_file){ "models/resnet <50>.onnx",
                                       "pytorch 2.13.0",
                                       diff->a.weight_bytes + 31337,
                                       0,
                                       17,
                                       8,
                                       3 * options->layers + 20,
                                       0,
                                       diff->a.weights,
                                       diff->a.weight_bytes };
    diff->b = (struct ldnq_diff_file){ "out/resnet-int4.onnx",
                                       "ldnq",
                                       diff->b.weight_bytes + 71337,
                                       diff->b.weight_bytes,
                                       21,
                                       10,
                                       5 * options->layers + 20,
                                       3 * options->layers,
                                       diff->b.weights,
                                       diff->b.weight_bytes };
    if (options->quantized)
        sample_notes(arena, diff, options->layers);
    if (options->samples)
        sample_outputs(arena, diff, accumulated);
    if (options->traces && options->layers > 1) {
        sample_decision(diff);
        sample_changed(arena, diff);
    }
    return diff;
}

#endif
