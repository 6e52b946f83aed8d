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

static void round_all(const struct ldnq_layer_problem *problem,
                      struct ldnq_layer_solution *solution)
{
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
}

static enum ldnq_status solve(const struct ldnq_layer_problem *problem,
                              const struct ldnq_solver_options *options, struct ldnq_pool *pool,
                              struct ldnq_layer_solution *solution, struct ldnq_error *err)
{
    (void)options;
    (void)pool;
    LDNQ_TRY(ldnq_problem_check(problem, err));
    round_all(problem, solution);
    if (problem->mean)
        memcpy(solution->bias, problem->bias,
               problem->groups * problem->outputs * sizeof *solution->bias);
    solution->iterations = 0;
    solution->rho = 0;
    const struct ldnq_choice zero = { 0 }, choice = { solution->codes, solution->scales,
                                                      problem->mean ? solution->bias : NULL };
    const double error = ldnq_total_error_serial(problem, &choice);
    return ldnq_report_errors(ldnq_total_error_serial(problem, &zero), error, error, solution, err);
}

const struct ldnq_solver ldnq_solver_rtn = {
    .name = "rtn",
    .summary = "round to nearest, the scale from the largest weight; no data used",
    .blocks = true,
    .solve = solve,
};
