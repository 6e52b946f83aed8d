/* SPDX-License-Identifier: Apache-2.0 */
/* layer.h: made-up layers for the solvers' tests, with the memory of a problem
 * and its solution in one place. */
#ifndef TESTS_QUANT_LAYER_H
#define TESTS_QUANT_LAYER_H

#include "quant/quant.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

struct layer {
    struct ldnq_layer_problem problem;
    struct ldnq_layer_solution solution;
    float *weight, *bias;
    double *gram, *mean;
    uint32_t *block_index;
};

/* Near enough to a normal distribution. */
static inline double layer_random(struct ldnq_rng *rng)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += ldnq_rng_uniform(rng);
    return sum;
}

static inline void *layer_alloc(size_t count, size_t size)
{
    return calloc(count ? count : 1, size);
}

/* Blocks of 4 channels of a convolution with `taps` kernel elements: one block for each element. */
static inline void layer_set_blocks(struct layer *layer)
{
    const size_t k = layer->problem.cols, taps = k % 3 ? 1 : 3;
    layer->block_index = layer_alloc(k, sizeof *layer->block_index);
    for (size_t i = 0; i < k; i++)
        layer->block_index[i] = (uint32_t)(i / (4 * taps) * taps + i % taps);
    layer->problem.block_index = layer->block_index;
    layer->problem.block_count = (k + 4 * taps - 1) / (4 * taps) * taps;
}

static inline size_t layer_scale_count(const struct layer *layer)
{
    const struct ldnq_layer_problem *p = &layer->problem;
    return p->groups * p->rows * (p->block_index ? p->block_count : 1);
}

/* Which of the scales input i of a row takes. */
static inline size_t layer_scale(const struct layer *layer, size_t row, size_t i)
{
    const struct ldnq_layer_problem *p = &layer->problem;
    return p->block_index ? row * p->block_count + p->block_index[i] : row;
}

static inline struct layer layer_empty(size_t g, size_t m, size_t k, const char *codebook,
                                       enum ldnq_granularity granularity)
{
    struct layer layer = {
        .weight = layer_alloc(g * m * k, sizeof(float)),
        .bias = layer_alloc(g * m, sizeof(float)),
        .gram = layer_alloc(g * k * k, sizeof(double)),
        .mean = layer_alloc(g * k, sizeof(double)),
        .solution = { .codes = layer_alloc(g * m * k, 1),
                      .bias = layer_alloc(g * m, sizeof(float)) },
    };
    layer.problem = (struct ldnq_layer_problem){
        .groups = g,
        .rows = m,
        .cols = k,
        .weight = layer.weight,
        .gram = layer.gram,
        .mean = layer.mean,
        .bias = layer.bias,
        .codebook = ldnq_codebook_find(codebook),
        .granularity = granularity,
    };
    if (granularity == LDNQ_PER_BLOCK)
        layer_set_blocks(&layer);
    layer.solution.scales = layer_alloc(layer_scale_count(&layer), sizeof(float));
    return layer;
}

/* Positions of a layer's input after a ReLU: neighbours alike, the groups of
 * different strength. */
static inline void layer_sample(struct ldnq_rng *rng, size_t k, double strength, double *y)
{
    double walk = layer_random(rng);
    for (size_t i = 0; i < k; i++) {
        walk = 0.8 * walk + 0.6 * layer_random(rng);
        y[i] = walk > -0.3 ? strength * (walk + 0.3) : 0;
    }
}

static inline void layer_statistics(struct layer *layer, size_t samples, struct ldnq_rng *rng)
{
    const size_t k = layer->problem.cols;
    double *y = layer_alloc(k, sizeof *y);
    for (size_t g = 0; g < layer->problem.groups; g++) {
        double *gram = layer->gram + g * k * k, *mean = layer->mean + g * k;
        for (size_t p = 0; p < samples; p++) {
            layer_sample(rng, k, 0.5 + (double)(g % 5), y);
            for (size_t i = 0; i < k; i++) {
                mean[i] += y[i] / (double)samples;
                for (size_t j = 0; j < k; j++)
                    gram[i * k + j] += y[i] * y[j] / (double)samples;
            }
        }
    }
    free(y);
}

static inline struct layer layer_make(size_t g, size_t m, size_t k, const char *codebook,
                                      enum ldnq_granularity granularity, uint64_t seed)
{
    struct layer layer = layer_empty(g, m, k, codebook, granularity);
    struct ldnq_rng rng = { seed };
    for (size_t i = 0; i < g * m * k; i++)
        layer.weight[i] = (float)(0.1 * layer_random(&rng));
    for (size_t i = 0; i < g * m; i++)
        layer.bias[i] = (float)layer_random(&rng);
    layer_statistics(&layer, 3 * k + 5, &rng);
    return layer;
}

static inline void layer_without_bias(struct layer *layer)
{
    layer->problem.mean = NULL;
    layer->problem.bias = NULL;
    free(layer->solution.bias);
    layer->solution.bias = NULL;
}

static inline void layer_free(struct layer *layer)
{
    free(layer->weight);
    free(layer->bias);
    free(layer->gram);
    free(layer->mean);
    free(layer->block_index);
    free(layer->solution.codes);
    free(layer->solution.scales);
    free(layer->solution.bias);
}

static inline enum ldnq_status layer_solve(struct layer *layer, const char *solver,
                                           struct ldnq_pool *pool, struct ldnq_error *err)
{
    struct ldnq_solver_options options;
    ldnq_solver_defaults(&options);
    return ldnq_solve(ldnq_solver_find(solver), &layer->problem, &options, pool, &layer->solution,
                      err);
}

/* (d, c) [H m; m' 1] (d, c)' over all rows, by plain loops; codes NULL for G = 0. */
static inline double layer_objective(const struct layer *layer, const int8_t *codes,
                                     const float *scales, const float *bias)
{
    const struct ldnq_layer_problem *p = &layer->problem;
    double total = 0;
    for (size_t row = 0; row < p->groups * p->rows; row++) {
        const double *gram = p->gram + row / p->rows * p->cols * p->cols;
        const float *w = p->weight + row * p->cols;
        const int8_t *q = codes + row * p->cols;
        double linear = 0, change = p->mean ? (double)bias[row] - (double)p->bias[row] : 0;
        for (size_t i = 0; i < p->cols; i++) {
            double di = (double)scales[layer_scale(layer, row, i)] * q[i] - (double)w[i];
            if (p->mean)
                linear += di * p->mean[row / p->rows * p->cols + i];
            for (size_t j = 0; j < p->cols; j++)
                total += di * gram[i * p->cols + j] *
                         ((double)scales[layer_scale(layer, row, j)] * q[j] - (double)w[j]);
        }
        total += 2 * change * linear + change * change;
    }
    return total;
}

#endif
