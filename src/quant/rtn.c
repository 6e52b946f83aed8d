/* Round to nearest: the baseline that looks at the weight alone. */
#include "quant/solver.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/problem.h"

/* 1 for weights that are zero, or too small for a normal float32 scale: their
 * codes are all 0, for which any scale is right, and 1 is safe to divide by. */
static float full_scale(const struct ldnq_codebook *codebook, float size)
{
    const float scale = size / (float)codebook->codes[codebook->count - 1];
    return scale >= FLT_MIN ? scale : 1;
}

/* The largest weight of each scale. */
static void find_largest(const struct ldnq_layer_problem *problem, float *largest, size_t count)
{
    const size_t rows = problem->groups * problem->outputs, inputs = problem->inputs;
    memset(largest, 0, count * sizeof *largest);
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < inputs; i++) {
            float *size = &largest[ldnq_scale_at(problem, row, i)];
            *size = fmaxf(*size, fabsf(problem->weight[row * inputs + i]));
        }
}

enum ldnq_status ldnq_rtn_start(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                                struct ldnq_layer_solution *solution, struct ldnq_error *err)
{
    (void)pool;
    (void)err;
    const size_t rows = problem->groups * problem->outputs, inputs = problem->inputs;
    const size_t count = rows * ldnq_row_scales(problem);
    float all = 0;
    find_largest(problem, solution->scales, count);
    for (size_t i = 0; i < count; i++)
        all = fmaxf(all, solution->scales[i]);
    for (size_t i = 0; i < count; i++)
        solution->scales[i] = full_scale(
            problem->codebook, problem->granularity == LDNQ_PER_TENSOR ? all : solution->scales[i]);
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < inputs; i++) {
            const double scale = (double)solution->scales[ldnq_scale_at(problem, row, i)];
            solution->codes[row * inputs + i] = (int8_t)ldnq_codebook_nearest(
                problem->codebook, (double)problem->weight[row * inputs + i] / scale);
        }
    if (problem->mean)
        memcpy(solution->bias, problem->bias, rows * sizeof *solution->bias);
    return LDNQ_OK;
}
