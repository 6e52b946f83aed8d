/* SPDX-License-Identifier: Apache-2.0 */
/* The solvers cd, beam and best: searches after one another, each from the best solution so
 * far, and the best per row (per layer, where rows share a scale) is kept.
 *
 * Solves  the quadratic of quant.h with the bias eliminated. A search is a solver, or a beam
 *         search (beam.h) from the scales of the best so far; coordinate descent (descent.h)
 *         follows each. Where rows are short, a search over all codes (exact.h) comes last
 * Shapes  as in quant.h
 * Errors  what the solvers and beam.h report, NOMEM
 * Threads as in the searches
 */
#include "quant/solver.h"

#include <math.h>
#include <string.h>

#include "quant/beam.h"
#include "quant/descent.h"
#include "quant/exact.h"
#include "quant/problem.h"

/* The searches, in this order. */
struct search_plan {
    const struct ldnq_beam_search *first; /* beam searches from the start */
    size_t first_count;
    const char *solver;                    /* name of the solver, or NULL */
    const struct ldnq_beam_search *rounds; /* beam searches from the best so far */
    size_t round_count;
    int steps; /* scales on each side in the search over all codes */
};

/* Codebooks with at most this many codes have their best scale far from the nearest one. */
#define FEW_CODES 8

struct search_state {
    const struct ldnq_layer_problem *problem; /* the reduced one */
    const struct ldnq_solver_options *options;
    struct ldnq_pool *pool;
    struct ldnq_layer_solution *solution; /* the best so far */
    double *errors;                       /* (G, M) its objectives */
    double *target;                       /* (G, M, K) W H, for the descents */
    struct ldnq_shared_start start;
    struct ldnq_layer_solution trial;
    double *trial_errors;
};

static double sum_errors(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

static void store_trial_rows(struct search_state *best, size_t first, size_t count)
{
    const size_t k = best->problem->cols;
    memcpy(best->solution->codes + first * k, best->trial.codes + first * k, count * k);
    const size_t scales = ldnq_scales_per_row(best->problem);
    memcpy(best->solution->scales + first * scales, best->trial.scales + first * scales,
           count * scales * sizeof(float));
    memcpy(best->errors + first, best->trial_errors + first, count * sizeof(double));
}

static void store_rows_that_improve(struct search_state *best)
{
    const size_t rows = best->problem->groups * best->problem->rows;
    if (best->problem->granularity == LDNQ_PER_TENSOR) {
        if (rows > 0 && sum_errors(best->trial_errors, rows) < sum_errors(best->errors, rows))
            store_trial_rows(best, 0, rows);
        return;
    }
    for (size_t row = 0; row < rows; row++)
        if (best->trial_errors[row] < best->errors[row])
            store_trial_rows(best, row, 1);
}

/* Copies the scale per row to all blocks of the row. From the last row to the first, because
 * a row's block scales overwrite the single scales of other rows. */
static void copy_row_scales_to_blocks(const struct ldnq_layer_problem *problem, float *scales)
{
    for (size_t row = problem->groups * problem->rows; row-- > 0;) {
        const float scale = scales[row];
        for (size_t s = 0; s < problem->block_count; s++)
            scales[row * problem->block_count + s] = scale;
    }
}

/* A solver that does not support blocks finds one scale per row; the descent starts from
 * that in every block. */
static enum ldnq_status solve_trial(struct search_state *best, const struct ldnq_solver *solver,
                                    struct ldnq_error *err)
{
    struct ldnq_layer_problem problem = *best->problem;
    const bool is_spread = problem.block_index && !solver->blocks;
    problem.shared_start = &best->start;
    if (is_spread) {
        problem.shared_start = NULL;
        problem.block_index = NULL;
        problem.granularity = LDNQ_PER_CHANNEL;
    }
    struct ldnq_solver_options options = *best->options;
    options.is_trial = !options.trace; /* which reports errors in parts of that of Q = 0 */
    LDNQ_TRY(ldnq_solve(solver, &problem, &options, best->pool, &best->trial, err));
    if (is_spread)
        copy_row_scales_to_blocks(best->problem, best->trial.scales);
    return LDNQ_OK;
}

static enum ldnq_status descend_from_trial(struct search_state *best, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_run_coordinate_descent(best->problem, best->target, best->pool, best->trial.codes,
                                         best->trial.scales, best->trial_errors, err));
    store_rows_that_improve(best);
    return LDNQ_OK;
}

static enum ldnq_status try_solver(struct search_state *best, const struct ldnq_solver *solver,
                                   struct ldnq_error *err)
{
    const struct ldnq_layer_solution *trial = &best->trial;
    LDNQ_TRY(solve_trial(best, solver, err));
    if (trial->iterations > best->solution->iterations)
        best->solution->iterations = trial->iterations;
    best->solution->rho = fmax(best->solution->rho, trial->rho);
    return descend_from_trial(best, err);
}

static enum ldnq_status try_beam(struct search_state *best, const struct ldnq_beam *beam,
                                 const struct ldnq_beam_search *round, struct ldnq_error *err)
{
    const size_t rows = best->problem->groups * best->problem->rows;
    if (rows > 0)
        memcpy(best->trial.scales, best->solution->scales,
               rows * ldnq_scales_per_row(best->problem) * sizeof(float));
    LDNQ_TRY(ldnq_beam_find(beam, round, best->trial.codes, best->trial.scales, err));
    return descend_from_trial(best, err);
}

static enum ldnq_status try_beams(struct search_state *best, const struct ldnq_beam *beam,
                                  const struct ldnq_beam_search *rounds, size_t count,
                                  struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(try_beam(best, beam, &rounds[i], err));
    return LDNQ_OK;
}

static enum ldnq_status allocate_search_arrays(struct search_state *best, struct ldnq_arena *arena,
                                               struct ldnq_error *err)
{
    const size_t rows = best->problem->groups * best->problem->rows;
    best->trial_errors = ldnq_arena_alloc(arena, rows, sizeof(double), err);
    best->target = ldnq_arena_alloc(arena, best->problem->low_rank ? 0 : rows * best->problem->cols,
                                    sizeof(double), err);
    best->trial.codes = ldnq_arena_alloc(arena, rows * best->problem->cols, 1, err);
    best->trial.scales =
        ldnq_arena_alloc(arena, rows * ldnq_scales_per_row(best->problem), sizeof(float), err);
    return best->trial_errors && best->target && best->trial.codes && best->trial.scales
               ? LDNQ_OK
               : LDNQ_NOMEM;
}

/* The solution is the start at first, from which other solvers start too. */
static enum ldnq_status store_start(struct search_state *best, struct ldnq_arena *arena,
                                    struct ldnq_error *err)
{
    const size_t rows = best->problem->groups * best->problem->rows;
    const size_t count = rows * best->problem->cols;
    const size_t scales = rows * ldnq_scales_per_row(best->problem);
    best->start.codes = ldnq_arena_alloc(arena, count, 1, err);
    best->start.scales = ldnq_arena_alloc(arena, scales, sizeof *best->start.scales, err);
    if (!best->start.codes || !best->start.scales)
        return LDNQ_NOMEM;
    if (count > 0)
        memcpy(best->start.codes, best->solution->codes, count);
    if (scales > 0)
        memcpy(best->start.scales, best->solution->scales, scales * sizeof *best->start.scales);
    best->start.is_known = true;
    return LDNQ_OK;
}

static enum ldnq_status improve_by_plan(struct ldnq_solver_task *task,
                                        const struct search_plan *plan, struct ldnq_error *err)
{
    struct ldnq_layer_solution *solution = task->solution;
    const size_t rows = task->problem->groups * task->problem->rows;
    struct ldnq_layer_problem reduced;
    struct ldnq_beam beam;
    struct search_state best = {
        .problem = &reduced,
        .options = task->options,
        .pool = task->pool,
        .solution = solution,
        .errors = task->errors,
    };
    LDNQ_TRY(ldnq_problem_eliminate_bias(task->problem, &reduced, task->arena, err));
    LDNQ_TRY(allocate_search_arrays(&best, task->arena, err));
    if (plan->solver)
        LDNQ_TRY(store_start(&best, task->arena, err));
    if (rows > 0)
        memcpy(best.errors, task->start_errors, rows * sizeof *best.errors);
    LDNQ_TRY(ldnq_compute_descent_target(&reduced, task->pool, best.target, err));
    if (plan->first_count + plan->round_count > 0)
        LDNQ_TRY(ldnq_beam_init(&beam, &reduced, task->pool, task->arena, err));
    LDNQ_TRY(try_beams(&best, &beam, plan->first, plan->first_count, err));
    if (plan->solver)
        LDNQ_TRY(try_solver(&best, ldnq_solver_find(plan->solver), err));
    LDNQ_TRY(try_beams(&best, &beam, plan->rounds, plan->round_count, err));
    task->has_errors = true;
    return ldnq_search_exactly(&reduced, plan->steps, task->pool, solution->codes, solution->scales,
                               best.errors, err);
}

/* ---- the solvers ------------------------------------------------------------------- */

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* With few codes the best scale can be far from the present one. */
static int choose_scale_step_count(const struct ldnq_layer_problem *problem)
{
    return problem->codebook->count <= FEW_CODES ? 24 : 6;
}

/* Products of one branch over the layer, M K^2, from which fewer branches are searched. The
 * objective is larger by 2.8, 2.2 and 1.1 % with 256, 512 and 1,024 columns in two fifths of the
 * time; by 2.4 % with 1,024 in a seventh of it. */
#define LARGE_WORK 4e9
#define HUGE_WORK 3e10

static const double same[] = { 1 }, near[] = { 1, 1.05 }, around[] = { 0.98, 1.02 };
static const struct ldnq_beam_search many_codes[] = { { 4, near, COUNT(near) },
                                                      { 16, around, COUNT(around) } };
static const struct ldnq_beam_search large_layer[] = { { 4, near, COUNT(near) },
                                                       { 4, around, COUNT(around) } };
static const struct ldnq_beam_search huge_layer[] = { { 1, near, COUNT(near) },
                                                      { 4, same, COUNT(same) } };

/* Returns two searches. */
static const struct ldnq_beam_search *choose_searches(const struct ldnq_layer_problem *problem)
{
    const double k = (double)problem->cols;
    const double work = (double)problem->groups * (double)problem->rows * k * k;
    return work < LARGE_WORK ? many_codes : work < HUGE_WORK ? large_layer : huge_layer;
}

/* ADMM finds the scales that the beam searches start from. Where there are more codes, the scales
 * of least squares are a start as good, in a sixth of the time, and both are tried. In blocks they
 * are the only one: ADMM has one scale for the whole row. */
enum ldnq_status ldnq_improve_by_admm_and_beam(struct ldnq_solver_task *task,
                                               struct ldnq_error *err)
{
    static const double wide[] = { 0.96, 1, 1.04 }, narrow[] = { 0.98, 1.02 };
    static const struct ldnq_beam_search rounds[] = { { 16, wide, COUNT(wide) },
                                                      { 16, narrow, COUNT(narrow) } };
    const bool is_few = task->problem->codebook->count <= FEW_CODES;
    const bool has_blocks = task->problem->block_index != NULL;
    const struct search_plan plan = {
        .first = many_codes,
        .first_count = is_few ? 0 : COUNT(many_codes),
        .solver = is_few || !has_blocks ? "admm" : NULL,
        .rounds = rounds,
        .round_count = COUNT(rounds),
        .steps = choose_scale_step_count(task->problem),
    };
    return improve_by_plan(task, &plan, err);
}

enum ldnq_status ldnq_improve_by_descent(struct ldnq_solver_task *task, struct ldnq_error *err)
{
    const struct search_plan plan = { .solver = "gptq",
                                      .steps = choose_scale_step_count(task->problem) };
    return improve_by_plan(task, &plan, err);
}

/* The scale nearest to the weight is too small where codes are few and columns correlated:
 * by a factor of 1.3 in ResNet-20 with up to 2 bits, of 1.1 with 3. The first beam search
 * finds the factor; the descent after it fits the scales that the second one starts from. */
enum ldnq_status ldnq_improve_by_beam(struct ldnq_solver_task *task, struct ldnq_error *err)
{
    static const double wide[] = { 1, 1.1, 1.3 };
    static const struct ldnq_beam_search few_codes[] = { { 4, wide, COUNT(wide) },
                                                         { 16, same, COUNT(same) } };
    const bool is_few = task->problem->codebook->count <= FEW_CODES;
    const struct search_plan plan = { .rounds = is_few ? few_codes : choose_searches(task->problem),
                                      .round_count = 2,
                                      .steps = 6 };
    return improve_by_plan(task, &plan, err);
}
