/* Round to nearest: the baseline that uses no data.
 *
 * Solves  nothing: a = max |w| / the largest code, q = the code nearest to w / a
 * Errors  none
 */
#include "quant/solver.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/problem.h"

/* The scale at which `size` has the largest code. It is 1 for weights that are zero or too
 * small for a normal float32 scale: all their codes are 0, so that any scale is right, and
 * 1 is safe to divide by. */
static float find_unclipped_scale(const struct ldnq_codebook *codebook, float size)
{
    const float scale = size / (float)codebook->codes[codebook->count - 1];
    return scale >= FLT_MIN ? scale : 1;
}

/* Writes the largest |w| under each scale. */
static void find_largest_weight_per_scale(const struct ldnq_layer_problem *problem, float *largest,
                                          size_t count)
{
    const size_t rows = problem->groups * problem->rows, k = problem->cols;
    memset(largest, 0, count * sizeof *largest);
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < k; i++) {
            float *size = &largest[ldnq_scale_index(problem, row, i)];
            *size = fmaxf(*size, fabsf(problem->weight[row * k + i]));
        }
}

enum ldnq_status ldnq_start_from_largest_weight(const struct ldnq_layer_problem *problem,
                                                struct ldnq_pool *pool,
                                                struct ldnq_layer_solution *solution,
                                                struct ldnq_error *err)
{
    (void)pool;
    (void)err;
    const size_t rows = problem->groups * problem->rows, k = problem->cols;
    const size_t count = rows * ldnq_scales_per_row(problem);
    float all = 0;
    find_largest_weight_per_scale(problem, solution->scales, count);
    for (size_t i = 0; i < count; i++)
        all = fmaxf(all, solution->scales[i]);
    for (size_t i = 0; i < count; i++)
        solution->scales[i] = find_unclipped_scale(
            problem->codebook, problem->granularity == LDNQ_PER_TENSOR ? all : solution->scales[i]);
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < k; i++) {
            const double scale = (double)solution->scales[ldnq_scale_index(problem, row, i)];
            solution->codes[row * k + i] = (int8_t)ldnq_codebook_find_nearest(
                problem->codebook, (double)problem->weight[row * k + i] / scale);
        }
    if (problem->mean)
        memcpy(solution->bias, problem->bias, rows * sizeof *solution->bias);
    return LDNQ_OK;
}
