/* Round to nearest: the baseline that looks at the weight alone. */
#include "quant/solver.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/problem.h"

static float largest(const float *values, size_t n)
{
    float size = 0;
    for (size_t i = 0; i < n; i++)
        size = fmaxf(size, fabsf(values[i]));
    return size;
}

/* 1 for weights that are zero, or too small for a normal float32 scale: their
 * codes are all 0, for which any scale is right, and 1 is safe to divide by. */
static float full_scale(const struct ldnq_codebook *codebook, float size)
{
    const float scale = size / (float)codebook->codes[codebook->count - 1];
    return scale >= FLT_MIN ? scale : 1;
}

static void round_channel(const struct ldnq_layer_problem *problem, size_t row, float scale,
                          struct ldnq_layer_solution *solution)
{
    const float *weight = problem->weight + row * problem->inputs;
    int8_t *codes = solution->codes + row * problem->inputs;
    solution->scales[row] = scale;
    for (size_t i = 0; i < problem->inputs; i++)
        codes[i] = (int8_t)ldnq_codebook_nearest(problem->codebook,
                                                 (double)weight[i] / (double)scale);
}

static void round_all(const struct ldnq_layer_problem *problem,
                      struct ldnq_layer_solution *solution)
{
    const size_t rows = problem->groups * problem->outputs, inputs = problem->inputs;
    const bool alone = problem->granularity == LDNQ_PER_CHANNEL;
    float size = alone ? 0 : largest(problem->weight, rows * inputs);
    for (size_t row = 0; row < rows; row++) {
        if (alone)
            size = largest(problem->weight + row * inputs, inputs);
        round_channel(problem, row, full_scale(problem->codebook, size), solution);
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
    return ldnq_report_errors(ldnq_total_error_serial(problem, &zero), error, error, solution,
                              err);
}

const struct ldnq_solver ldnq_solver_rtn = {
    .name = "rtn",
    .summary = "round to nearest, the scale from the largest weight; no data used",
    .solve = solve,
};
