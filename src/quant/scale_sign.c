/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/scale_sign.h"

#include <string.h>

/* With more codes, one more is worth less than what readers of the file may make of the sign. */
#define MOST_CODES 16

static bool gains_by_sign(const struct ldnq_layer_problem *problem)
{
    const struct ldnq_codebook *codebook = problem->codebook;
    return problem->negative_scales && !problem->block_index && codebook->count <= MOST_CODES &&
           -codebook->codes[0] > codebook->codes[codebook->count - 1];
}

/* The weight of the largest magnitude. */
static float find_largest(const float *weight, size_t count)
{
    float low = 0, high = 0;
    for (size_t i = 0; i < count; i++) {
        low = weight[i] < low ? weight[i] : low;
        high = weight[i] > high ? weight[i] : high;
    }
    return high > -low ? high : low;
}

static void negate(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = -values[i];
}

enum ldnq_status ldnq_mirror_rows(const struct ldnq_layer_problem *problem,
                                  struct ldnq_mirrored_rows *mirrored, struct ldnq_arena *arena,
                                  struct ldnq_error *err)
{
    const size_t rows = problem->groups * problem->rows, cols = problem->cols;
    const size_t unit = problem->granularity == LDNQ_PER_TENSOR ? rows : 1;
    *mirrored = (struct ldnq_mirrored_rows){ .problem = *problem };
    if (!gains_by_sign(problem) || rows == 0)
        return LDNQ_OK;
    float *weight = ldnq_arena_alloc(arena, rows * cols, sizeof *weight, err);
    float *bias = problem->bias ? ldnq_arena_alloc(arena, rows, sizeof *bias, err) : NULL;
    mirrored->is_mirrored = ldnq_arena_alloc(arena, rows, sizeof *mirrored->is_mirrored, err);
    if (!weight || !mirrored->is_mirrored || (problem->bias && !bias))
        return LDNQ_NOMEM;
    memcpy(weight, problem->weight, rows * cols * sizeof *weight);
    if (bias)
        memcpy(bias, problem->bias, rows * sizeof *bias);
    for (size_t row = 0; row < rows; row += unit) {
        if (!(find_largest(weight + row * cols, unit * cols) > 0))
            continue;
        memset(mirrored->is_mirrored + row, true, unit);
        negate(weight + row * cols, unit * cols);
        if (bias)
            negate(bias + row, unit);
    }
    mirrored->problem.weight = weight;
    mirrored->problem.bias = bias;
    return LDNQ_OK;
}

void ldnq_mirror_solution(const struct ldnq_mirrored_rows *mirrored,
                          struct ldnq_layer_solution *solution)
{
    const size_t rows = mirrored->problem.groups * mirrored->problem.rows;
    for (size_t row = 0; mirrored->is_mirrored && row < rows; row++) {
        if (!mirrored->is_mirrored[row])
            continue;
        solution->scales[row] = -solution->scales[row];
        if (mirrored->problem.bias)
            solution->bias[row] = -solution->bias[row];
    }
}
