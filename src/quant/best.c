/* A solver, then searches with several branches (beam.h) from the scales of the best so
 * far; coordinate descent from what each gives, and the best a channel (a layer, where its
 * channels share a scale). Where a channel has few inputs, a search over all codes follows
 * (exact.h).
 *
 * All work on the reduced problem, in which the bias is free; the exact bias comes
 * at the end. */
#include "quant/solver.h"

#include <math.h>
#include <string.h>

#include "quant/beam.h"
#include "quant/descent.h"
#include "quant/exact.h"
#include "quant/problem.h"

/* What is tried, in this order. */
struct plan {
    const char *solver;                    /* or NULL */
    const struct ldnq_beam_search *rounds; /* from the scales of the best so far */
    size_t round_count;
    int steps; /* of the search over all codes */
};

/* Codebooks with so many codes and fewer take other scales than the nearest ones. */
#define FEW_CODES 8

struct best {
    const struct ldnq_layer_problem *problem; /* the reduced one */
    const struct ldnq_solver_options *options;
    struct ldnq_pool *pool;
    struct ldnq_layer_solution *solution; /* the best so far */
    double *errors;                       /* (G M) its objectives */
    double *target;                       /* (G, M, K) of the descents */
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
    LDNQ_TRY(ldnq_solve(solver, &problem, best->options, best->pool, &best->trial, err));
    if (spread)
        spread_scales(best->problem, best->trial.scales);
    return LDNQ_OK;
}

static enum ldnq_status finish_trial(struct best *best, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_descend(best->problem, best->target, best->pool, best->trial.codes,
                          best->trial.scales, best->trial_errors, err));
    take_better(best);
    return LDNQ_OK;
}

static enum ldnq_status try_solver(struct best *best, const struct ldnq_solver *solver,
                                   struct ldnq_error *err)
{
    const struct ldnq_layer_solution *trial = &best->trial;
    LDNQ_TRY(solve_trial(best, solver, err));
    if (trial->iterations > best->solution->iterations)
        best->solution->iterations = trial->iterations;
    best->solution->rho = fmax(best->solution->rho, trial->rho);
    return finish_trial(best, err);
}

static enum ldnq_status try_beam(struct best *best, const struct ldnq_beam *beam,
                                 const struct ldnq_beam_search *round, struct ldnq_error *err)
{
    const size_t rows = best->problem->groups * best->problem->outputs;
    if (rows > 0)
        memcpy(best->trial.scales, best->solution->scales,
               rows * ldnq_row_scales(best->problem) * sizeof(float));
    LDNQ_TRY(ldnq_beam_find(beam, round, best->trial.codes, best->trial.scales, err));
    return finish_trial(best, err);
}

static enum ldnq_status try_rounds(struct best *best, const struct plan *plan,
                                   struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_beam beam;
    LDNQ_TRY(ldnq_beam_init(&beam, best->problem, best->pool, arena, err));
    for (size_t i = 0; i < plan->round_count; i++)
        LDNQ_TRY(try_beam(best, &beam, &plan->rounds[i], err));
    return LDNQ_OK;
}

static enum ldnq_status allocate(struct best *best, struct ldnq_arena *arena,
                                 struct ldnq_error *err)
{
    const size_t rows = best->problem->groups * best->problem->outputs;
    best->errors = ldnq_arena_alloc(arena, rows, sizeof(double), err);
    best->trial_errors = ldnq_arena_alloc(arena, rows, sizeof(double), err);
    best->target = ldnq_arena_alloc(arena, rows * best->problem->inputs, sizeof(double), err);
    best->trial.codes = ldnq_arena_alloc(arena, rows * best->problem->inputs, 1, err);
    best->trial.scales =
        ldnq_arena_alloc(arena, rows * ldnq_row_scales(best->problem), sizeof(float), err);
    return best->errors && best->trial_errors && best->target && best->trial.codes &&
                   best->trial.scales
               ? LDNQ_OK
               : LDNQ_NOMEM;
}

static enum ldnq_status improve(const struct ldnq_solver_task *task, const struct plan *plan,
                                struct ldnq_error *err)
{
    struct ldnq_layer_solution *solution = task->solution;
    const struct ldnq_choice start = { solution->codes, solution->scales, NULL };
    struct ldnq_layer_problem reduced;
    struct best best = {
        .problem = &reduced, .options = task->options, .pool = task->pool, .solution = solution
    };
    LDNQ_TRY(ldnq_problem_reduce(task->problem, &reduced, task->arena, err));
    LDNQ_TRY(allocate(&best, task->arena, err));
    ldnq_total_error(&reduced, task->pool, &start, best.errors);
    LDNQ_TRY(ldnq_descent_target(&reduced, task->pool, best.target, err));
    if (plan->solver)
        LDNQ_TRY(try_solver(&best, ldnq_solver_find(plan->solver), err));
    if (plan->round_count > 0)
        LDNQ_TRY(try_rounds(&best, plan, task->arena, err));
    return ldnq_search_exactly(&reduced, plan->steps, task->pool, solution->codes, solution->scales,
                               best.errors, err);
}

/* ---- the solvers ------------------------------------------------------------------- */

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* With few codes a scale far from the row's own can be the best. */
static int search_steps(const struct ldnq_layer_problem *problem)
{
    return problem->codebook->count <= FEW_CODES ? 24 : 6;
}

/* ADMM finds the scales. */
enum ldnq_status ldnq_best_improve(const struct ldnq_solver_task *task, struct ldnq_error *err)
{
    static const double wide[] = { 0.96, 1, 1.04 }, narrow[] = { 0.98, 1.02 };
    static const struct ldnq_beam_search rounds[] = { { 16, wide, COUNT(wide) },
                                                      { 16, narrow, COUNT(narrow) } };
    const struct plan plan = { "admm", rounds, COUNT(rounds), search_steps(task->problem) };
    return improve(task, &plan, err);
}

enum ldnq_status ldnq_cd_improve(const struct ldnq_solver_task *task, struct ldnq_error *err)
{
    const struct plan plan = { "gptq", NULL, 0, search_steps(task->problem) };
    return improve(task, &plan, err);
}

/* The scale nearest to the weight is too small where codes are few and inputs alike, by a
 * factor of 1.3 in ResNet-20 with up to 2 bits, 1.1 with 3. The first round finds which;
 * the descent behind it fits the scales that the second starts from. */
enum ldnq_status ldnq_beam_improve(const struct ldnq_solver_task *task, struct ldnq_error *err)
{
    static const double wide[] = { 1, 1.1, 1.3 }, same[] = { 1 };
    static const double near[] = { 1, 1.05 }, around[] = { 0.98, 1.02 };
    static const struct ldnq_beam_search few[] = { { 4, wide, COUNT(wide) },
                                                   { 16, same, COUNT(same) } };
    static const struct ldnq_beam_search many[] = { { 4, near, COUNT(near) },
                                                    { 16, around, COUNT(around) } };
    const bool is_few = task->problem->codebook->count <= FEW_CODES;
    const struct plan plan = { NULL, is_few ? few : many, 2, 6 };
    return improve(task, &plan, err);
}
