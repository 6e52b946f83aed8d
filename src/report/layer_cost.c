/* SPDX-License-Identifier: Apache-2.0 */
#include "report/layer_cost.h"

#include <math.h>
#include <string.h>

#include "base/size.h"

#define DB_PER_BIT 6.0206

static bool has_estimate(const struct ldnq_diff *diff)
{
    for (size_t i = 0; i < diff->layer_count; i++)
        if (diff->layers[i].output_estimate > 0)
            return true;
    return false;
}

/* The noise that the layer adds; NaN where it was not measured. */
static double measure_noise(const struct ldnq_diff *diff, const struct ldnq_diff_layer *layer)
{
    if (has_estimate(diff))
        return layer->output_estimate;
    const double sqnr = diff->samples ? layer->isolated.sqnr : layer->weight_sqnr;
    return pow(10, -sqnr / 10);
}

static double sum_layer_noise(const struct ldnq_diff *diff)
{
    double sum = 0;
    for (size_t i = 0; i < diff->layer_count; i++)
        sum += fmax(measure_noise(diff, &diff->layers[i]), 0);
    return sum;
}

/* What shares are parts of. Parts that compensate each other are larger than their sum. */
static double sum_output_noise(const struct ldnq_diff *diff)
{
    const double sum = sum_layer_noise(diff);
    return has_estimate(diff) && diff->estimate ? fmax(sum, diff->estimate->error) : sum;
}

double ldnq_layer_noise_share(const struct ldnq_diff *diff, const struct ldnq_diff_layer *layer)
{
    const double whole = sum_output_noise(diff);
    return whole > 0 ? measure_noise(diff, layer) / whole : NAN;
}

double ldnq_diff_noise_besides_layers(const struct ldnq_diff *diff)
{
    return has_estimate(diff) ? 1 - sum_layer_noise(diff) / sum_output_noise(diff) : NAN;
}

static struct ldnq_layer_step choose_step(const struct ldnq_diff_layer *layer)
{
    const struct ldnq_quantized_tensor *codes = layer->weight;
    const double weights = (double)layer->weights;
    const bool is_wide = strstr(codes->type, "16") != NULL || strstr(codes->type, "32") != NULL;
    const int stored = strstr(codes->type, "2") ? 2 : strstr(codes->type, "4") ? 4 : 8;
    const double levels = (double)(codes->code_max - codes->code_min) + 1;
    const double bits = levels > 1 ? log2(levels) : 1;
    if (is_wide || stored == 8)
        return (struct ldnq_layer_step){ "float", (double)layer->bytes_a - (double)layer->bytes_b,
                                         INFINITY, NAN };
    const int next = 2 * stored;
    return (struct ldnq_layer_step){ next == 4 ? "int4" : "int8", weights * (next - stored) / 8,
                                     DB_PER_BIT * fmax(next - bits, 1), NAN };
}

/* In dB, of taking a part of the output's noise away. */
static double compute_sqnr_gain(double removed)
{
    return -10 * log10(fmax(1 - removed, 1e-3));
}

struct ldnq_layer_step ldnq_layer_step_up(const struct ldnq_diff *diff,
                                          const struct ldnq_diff_layer *layer)
{
    if (!layer->weight || layer->weight->count == 0)
        return (struct ldnq_layer_step){ NULL, 0, NAN, NAN };
    struct ldnq_layer_step step = choose_step(layer);
    const double share = ldnq_layer_noise_share(diff, layer);
    if (has_estimate(diff) && share >= 0)
        step.output_gain = compute_sqnr_gain(share * (1 - pow(10, -step.layer_gain / 10)));
    return step;
}

struct ldnq_layer_step ldnq_layers_step_up(const struct ldnq_diff *diff, const size_t *layers,
                                           size_t count)
{
    struct ldnq_layer_step all = { NULL, 0, NAN, NAN };
    double removed = 0;
    for (size_t i = 0; i < count; i++) {
        const struct ldnq_layer_step step = ldnq_layer_step_up(diff, &diff->layers[layers[i]]);
        all.bytes += step.bytes;
        removed += step.codebook ? 1 - pow(10, -step.output_gain / 10) : 0;
    }
    all.output_gain = has_estimate(diff) ? compute_sqnr_gain(removed) : NAN;
    return all;
}

size_t ldnq_layers_find_worst(const struct ldnq_diff *diff, size_t *worst, size_t most)
{
    size_t count = 0;
    for (size_t i = 0; i < diff->layer_count; i++) {
        const double noise = measure_noise(diff, &diff->layers[i]);
        if (!diff->layers[i].weight || !(noise > 0))
            continue;
        size_t at = count;
        while (at > 0 && measure_noise(diff, &diff->layers[worst[at - 1]]) < noise)
            at--;
        if (at == most)
            continue;
        count = ldnq_size_min(count + 1, most);
        memmove(&worst[at + 1], &worst[at], (count - 1 - at) * sizeof *worst);
        worst[at] = i;
    }
    return count;
}
