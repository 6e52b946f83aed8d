/* Several solvers, coordinate descent from what each gives, and the best a channel
 * (a layer, where its channels share a scale). Where a channel has few inputs, a search
 * over all codes follows (exact.h).
 *
 * All work on the reduced problem, in which the bias is free; the exact bias comes
 * at the end. */
#include "quant/solver.h"

#include <math.h>
#include <string.h>

#include "quant/descent.h"
#include "quant/exact.h"
#include "quant/nearest.h"
#include "quant/problem.h"

struct best {
    const struct ldnq_layer_problem *problem; /* the reduced one */
    const struct ldnq_solver_options *options;
    struct ldnq_pool *pool;
    struct ldnq_layer_solution *solution; /* the best so far */
    double *errors;                       /* (G M) its objectives */
    struct ldnq_layer_solution trial;
    double *trial_errors;
};

static double sum_of(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

static void take_rows(struct best *best, size_t first, size_t count)
{
    const size_t inputs = best->problem->inputs;
    memcpy(best->solution->codes + first * inputs, best->trial.codes + first * inputs,
           count * inputs);
    const size_t scales = ldnq_row_scales(best->problem);
    memcpy(best->solution->scales + first * scales, best->trial.scales + first * scales,
           count * scales * sizeof(float));
    memcpy(best->errors + first, best->trial_errors + first, count * sizeof(double));
}

static void take_better(struct best *best)
{
    const size_t rows = best->problem->groups * best->problem->outputs;
    if (best->problem->granularity == LDNQ_PER_TENSOR) {
        if (rows > 0 && sum_of(best->trial_errors, rows) < sum_of(best->errors, rows))
            take_rows(best, 0, rows);
        return;
    }
    for (size_t row = 0; row < rows; row++)
        if (best->trial_errors[row] < best->errors[row])
            take_rows(best, row, 1);
}

/* From the last row on, as a row's scales take the place of others' single ones. */
static void spread_scales(const struct ldnq_layer_problem *problem, float *scales)
{
    for (size_t row = problem->groups * problem->outputs; row-- > 0;) {
        const float scale = scales[row];
        for (size_t s = 0; s < problem->segments; s++)
            scales[row * problem->segments + s] = scale;
    }
}

/* A solver without blocks gives each channel one scale, from which the descent's start. */
static enum ldnq_status solve_trial(struct best *best, const struct ldnq_solver *solver,
                                    struct ldnq_error *err)
{
    struct ldnq_layer_problem problem = *best->problem;
    const bool spread = problem.segment && !solver->blocks;
    if (spread) {
        problem.segment = NULL;
        problem.granularity = LDNQ_PER_CHANNEL;
    }
    LDNQ_TRY(solver->solve(&problem, best->options, best->pool, &best->trial, err));
    if (spread)
        spread_scales(best->problem, best->trial.scales);
    return LDNQ_OK;
}

static enum ldnq_status try_solver(struct best *best, const struct ldnq_solver *solver,
                                   struct ldnq_error *err)
{
    struct ldnq_layer_solution *trial = &best->trial;
    LDNQ_TRY(solve_trial(best, solver, err));
    LDNQ_TRY(ldnq_descend(best->problem, best->pool, trial->codes, trial->scales,
                          best->trial_errors, err));
    if (trial->iterations > best->solution->iterations)
        best->solution->iterations = trial->iterations;
    best->solution->rho = fmax(best->solution->rho, trial->rho);
    take_better(best);
    return LDNQ_OK;
}

static enum ldnq_status allocate(struct best *best, struct ldnq_arena *arena,
                                 struct ldnq_error *err)
{
    const size_t rows = best->problem->groups * best->problem->outputs;
    best->errors = ldnq_arena_alloc(arena, rows, sizeof(double), err);
    best->trial_errors = ldnq_arena_alloc(arena, rows, sizeof(double), err);
    best->trial.codes = ldnq_arena_alloc(arena, rows * best->problem->inputs, 1, err);
    best->trial.scales =
        ldnq_arena_alloc(arena, rows * ldnq_row_scales(best->problem), sizeof(float), err);
    return best->errors && best->trial_errors && best->trial.codes && best->trial.scales
               ? LDNQ_OK
               : LDNQ_NOMEM;
}

static enum ldnq_status search(struct best *best, const struct ldnq_solver *const *solvers,
                               struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_choice nearest = { best->solution->codes, best->solution->scales, NULL };
    LDNQ_TRY(allocate(best, arena, err));
    best->solution->iterations = 0;
    best->solution->rho = 0;
    ldnq_total_error(best->problem, best->pool, &nearest, best->errors);
    for (; *solvers; solvers++)
        LDNQ_TRY(try_solver(best, *solvers, err));
    return ldnq_search_exactly(best->problem, best->pool, best->solution->codes,
                               best->solution->scales, best->errors, err);
}

static enum ldnq_status solve_with(const struct ldnq_layer_problem *problem,
                                   const struct ldnq_solver_options *options,
                                   struct ldnq_pool *pool,
                                   const struct ldnq_solver *const *solvers,
                                   struct ldnq_layer_solution *solution, struct ldnq_arena *arena,
                                   struct ldnq_error *err)
{
    struct ldnq_layer_problem reduced;
    const struct ldnq_choice nothing = { 0 };
    const struct ldnq_choice choice = { solution->codes, solution->scales,
                                        problem->mean ? solution->bias : NULL };
    struct best best = { .problem = &reduced, .options = options, .pool = pool,
                         .solution = solution };
    double *errors = ldnq_arena_alloc(arena, problem->groups * problem->outputs, sizeof *errors,
                                      err);
    if (!errors)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_problem_reduce(problem, &reduced, arena, err));
    const double zero = ldnq_total_error(problem, pool, &nothing, errors);
    LDNQ_TRY(ldnq_nearest_start(problem, pool, solution, err));
    const double before = ldnq_total_error(problem, pool, &choice, errors);
    LDNQ_TRY(search(&best, solvers, arena, err));
    if (problem->mean)
        ldnq_layer_best_bias(problem, solution);
    double after = ldnq_total_error(problem, pool, &choice, errors);
    if (!(after <= before)) { /* by the rounding of scales and biases to float32 */
        LDNQ_TRY(ldnq_nearest_start(problem, pool, solution, err));
        after = before;
    }
    return ldnq_report_errors(zero, before, after, solution, err);
}

static enum ldnq_status solve(const struct ldnq_layer_problem *problem,
                              const struct ldnq_solver_options *options, struct ldnq_pool *pool,
                              const struct ldnq_solver *const *solvers,
                              struct ldnq_layer_solution *solution, struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_problem_check(problem, err));
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status =
        solve_with(problem, options, pool, solvers, solution, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

/* ---- the solvers ------------------------------------------------------------------- */

static enum ldnq_status solve_best(const struct ldnq_layer_problem *problem,
                                   const struct ldnq_solver_options *options,
                                   struct ldnq_pool *pool, struct ldnq_layer_solution *solution,
                                   struct ldnq_error *err)
{
    static const struct ldnq_solver *const solvers[] = { &ldnq_solver_admm, &ldnq_solver_gptq,
                                                         NULL };
    return solve(problem, options, pool, solvers, solution, err);
}

static enum ldnq_status solve_cd(const struct ldnq_layer_problem *problem,
                                 const struct ldnq_solver_options *options,
                                 struct ldnq_pool *pool, struct ldnq_layer_solution *solution,
                                 struct ldnq_error *err)
{
    static const struct ldnq_solver *const solvers[] = { &ldnq_solver_gptq, NULL };
    return solve(problem, options, pool, solvers, solution, err);
}

const struct ldnq_solver ldnq_solver_best = {
    .name = "best",
    .summary = "admm and gptq, each with coordinate descent; the better a channel",
    .fits_bias = true,
    .blocks = true,
    .solve = solve_best,
};

const struct ldnq_solver ldnq_solver_cd = {
    .name = "cd",
    .summary = "gptq, then coordinate descent on codes and scales",
    .fits_bias = true,
    .blocks = true,
    .solve = solve_cd,
};
