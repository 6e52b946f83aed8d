/* SPDX-License-Identifier: Apache-2.0 */
/* Round to nearest: the baseline that uses no data.
 *
 * Solves  nothing: a = max |w| / the largest code, q = the code nearest to w / a
 * Errors  none
 */
#include "quant/solver.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "quant/problem.h"

/* The scale at which `size` has the largest code. It is 1 for weights that are zero or too
 * small for a normal float32 scale: all their codes are 0, so that any scale is right, and
 * 1 is safe to divide by. */
static float find_unclipped_scale(const struct ldnq_codebook *codebook, float size)
{
    const float scale = size / (float)codebook->codes[codebook->count - 1];
    return scale >= FLT_MIN ? scale : 1;
}

struct weight_rounding {
    const struct ldnq_layer_problem *problem;
    struct ldnq_layer_solution *solution;
};

/* Writes the largest |w| under each scale of the piece's rows. */
static void find_largest_weights(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct weight_rounding *rounding = ctx;
    const struct ldnq_layer_problem *problem = rounding->problem;
    const struct ldnq_piece piece = ldnq_piece_at(problem, chunk);
    const size_t k = problem->cols, scales = ldnq_scales_per_row(problem);
    float *largest = rounding->solution->scales;
    memset(largest + piece.offset * scales, 0, piece.rows * scales * sizeof *largest);
    for (size_t row = piece.offset; row < piece.offset + piece.rows; row++)
        for (size_t i = 0; i < k; i++) {
            float *size = &largest[ldnq_scale_index(problem, row, i)];
            const float found = fabsf(problem->weight[row * k + i]);
            *size = found > *size ? found : *size;
        }
}

static void round_weights(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct weight_rounding *rounding = ctx;
    const struct ldnq_layer_problem *problem = rounding->problem;
    const struct ldnq_piece piece = ldnq_piece_at(problem, chunk);
    const size_t k = problem->cols;
    const float *scales = rounding->solution->scales;
    for (size_t row = piece.offset; row < piece.offset + piece.rows; row++)
        for (size_t i = 0; i < k; i++)
            rounding->solution->codes[row * k + i] = (int8_t)ldnq_codebook_find_nearest(
                problem->codebook, (double)problem->weight[row * k + i] /
                                       (double)scales[ldnq_scale_index(problem, row, i)]);
}

enum ldnq_status ldnq_start_from_largest_weight(const struct ldnq_layer_problem *problem,
                                                struct ldnq_pool *pool,
                                                struct ldnq_layer_solution *solution,
                                                struct ldnq_error *err)
{
    (void)err;
    const size_t rows = problem->groups * problem->rows;
    const size_t count = rows * ldnq_scales_per_row(problem);
    struct weight_rounding rounding = { problem, solution };
    float all = 0;
    ldnq_pool_run(pool, ldnq_piece_count(problem), find_largest_weights, &rounding);
    for (size_t i = 0; i < count; i++)
        all = fmaxf(all, solution->scales[i]);
    for (size_t i = 0; i < count; i++)
        solution->scales[i] = find_unclipped_scale(
            problem->codebook, problem->granularity == LDNQ_PER_TENSOR ? all : solution->scales[i]);
    ldnq_pool_run(pool, ldnq_piece_count(problem), round_weights, &rounding);
    if (problem->mean)
        memcpy(solution->bias, problem->bias, rows * sizeof *solution->bias);
    return LDNQ_OK;
}
