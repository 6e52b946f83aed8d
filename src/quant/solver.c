/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/solver.h"

#include <string.h>

#include "quant/descent.h"
#include "quant/problem.h"
#include "quant/scale_rounding.h"
#include "quant/scale_sign.h"

static const struct ldnq_solver rtn = {
    .name = "rtn",
    .summary = "round to nearest, the scale from the largest weight; no data used",
    .blocks = true,
    .start = ldnq_start_from_largest_weight,
};

static const struct ldnq_solver mse = {
    .name = "mse",
    .summary = "codes and scales nearest to the weight in least squares; no data used",
    .blocks = true,
    .start = ldnq_start_from_projection,
};

static const struct ldnq_solver nearest = {
    .name = "nearest",
    .summary = "rounds with mse's or rtn's scale; the bias keeps the output's mean. One pass over "
               "the samples",
    .fits_bias = true,
    .blocks = true,
    .weight_bytes = 1,
    .start = ldnq_start_from_projection,
    .improve = ldnq_improve_by_scale_choice,
};

static const struct ldnq_solver gptq = {
    .name = "gptq",
    .summary = "column by column; those not yet rounded compensate for each rounding",
    .fits_bias = true,
    .needs_gram = true,
    .blocks = true,
    .takes_low_rank = true,
    .gram_matrices = 1,
    .weight_bytes = 1,
    .start = ldnq_start_from_projection,
    .improve = ldnq_improve_by_gptq,
};

static const struct ldnq_solver cd = {
    .name = "cd",
    .summary = "gptq, then coordinate descent on codes and scales",
    .fits_bias = true,
    .needs_gram = true,
    .blocks = true,
    .takes_low_rank = true,
    .gram_matrices = 2,
    .weight_bytes = 34,
    .start = ldnq_start_from_projection,
    .improve = ldnq_improve_by_descent,
};

static const struct ldnq_solver beam = {
    .name = "beam",
    .summary = "gptq with up to 16 branches in place of one, at several scales, then cd's descent",
    .fits_bias = true,
    .needs_gram = true,
    .blocks = true,
    .takes_low_rank = true,
    .gram_matrices = 2.5,
    .weight_bytes = 25,
    .start = ldnq_start_from_projection,
    .improve = ldnq_improve_by_beam,
};

static const struct ldnq_solver admm_paper = {
    .name = "admm-paper",
    .is_published = true,
    .summary = "the paper's ADMM on the layer's quadratic, codes and scale alternately",
    .fits_bias = true,
    .needs_gram = true,
    .gram_matrices = 1,
    .weight_bytes = 25,
    .start = ldnq_start_from_projection,
    .improve = ldnq_improve_by_paper_admm,
};

static const struct ldnq_solver admm = {
    .name = "admm",
    .summary = "preconditioned ADMM with a growing penalty, the best iterate per channel",
    .fits_bias = true,
    .needs_gram = true,
    .takes_low_rank = true,
    .gram_matrices = 2,
    .weight_bytes = 34,
    .start = ldnq_start_from_projection,
    .improve = ldnq_improve_by_admm,
};

static const struct ldnq_solver best = {
    .name = "best",
    .summary = "admm and beam, then beam from their scales; the best per channel",
    .fits_bias = true,
    .needs_gram = true,
    .takes_low_rank = true,
    .blocks = true,
    .gram_matrices = 3.5,
    .weight_bytes = 43,
    .start = ldnq_start_from_projection,
    .improve = ldnq_improve_by_admm_and_beam,
};

static const struct ldnq_solver *const table[] = {
    &rtn, &mse, &nearest, &gptq, &cd, &beam, &admm_paper, &admm, &best, NULL,
};

const struct ldnq_solver *const *ldnq_solvers(void)
{
    return table;
}

const struct ldnq_solver *ldnq_solver_find(const char *name)
{
    for (size_t i = 0; table[i]; i++)
        if (strcmp(table[i]->name, name) == 0)
            return table[i];
    return NULL;
}

/* A beam search has branches in each thread, and a descent in blocks products of eight rows: 8 S K
 * floats with S at most K / 16. */
#define THREAD_PRODUCT_BYTES 2.0
#define THREAD_COLUMN_BYTES 1500.0
/* Without a Gram matrix: mirrored weights, and the codes of the search, beside what ADMM has;
 * values, responses and corners of columns, or ADMM's two of them in doubles; errors and outputs of
 * rows. */
#define LOW_RANK_WEIGHT_BYTES 5.0
#define LOW_RANK_ADMM_BYTES 34.0
#define LOW_RANK_COLUMN_BYTES 8.0
#define LOW_RANK_ROW_BYTES 8.0

static double count_low_rank_bytes(const struct ldnq_solver *solver,
                                   const struct ldnq_problem_sizes *sizes)
{
    const bool has_admm = solver == &admm || solver == &best;
    const double k = (double)sizes->cols, rows = (double)sizes->rows;
    const double positions = (double)sizes->positions;
    return (LOW_RANK_WEIGHT_BYTES + (has_admm ? LOW_RANK_ADMM_BYTES : 0)) * rows * k +
           ((has_admm ? 3 : 1) * LOW_RANK_COLUMN_BYTES * k + LOW_RANK_ROW_BYTES * rows) *
               positions +
           sizeof(double) * positions * positions +
           THREAD_COLUMN_BYTES * (double)sizes->threads * k;
}

double ldnq_solver_count_bytes(const struct ldnq_solver *solver,
                               const struct ldnq_problem_sizes *sizes)
{
    const double k = (double)sizes->cols, groups = (double)sizes->groups;
    if (sizes->positions && solver->takes_low_rank)
        return count_low_rank_bytes(solver, sizes);
    const double weights = groups * (double)sizes->rows * k;
    const double threads = (double)sizes->threads;
    const bool has_products = sizes->has_blocks && solver->gram_matrices > 1;
    return solver->gram_matrices * sizeof(double) * groups * k * k +
           solver->weight_bytes * weights +
           (has_products ? THREAD_PRODUCT_BYTES * threads * k * k : 0) +
           (solver->needs_gram ? THREAD_COLUMN_BYTES * threads * k : 0);
}

void ldnq_solver_defaults(struct ldnq_solver_options *options)
{
    *options = (struct ldnq_solver_options){
        .rho_factor = 0.5,
        .max_iterations = 100,
        .max_rises = 3,
    };
}

/* ---- codes that have to be 0 ------------------------------------------------------------ */

/* Starts know the weight alone: where the code has to be 0 they get the weight 0. */
static enum ldnq_status compute_start(const struct ldnq_solver *solver,
                                      struct ldnq_solver_task *task, struct ldnq_error *err)
{
    struct ldnq_layer_problem pruned = *task->problem;
    const size_t count = pruned.groups * pruned.rows * pruned.cols;
    if (!pruned.zeros)
        return solver->start(task->problem, task->pool, task->solution, err);
    float *weight = ldnq_arena_alloc(task->arena, count, sizeof *weight, err);
    if (!weight)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        weight[i] = pruned.zeros[i] ? 0 : pruned.weight[i];
    pruned.weight = weight;
    return solver->start(&pruned, task->pool, task->solution, err);
}

static void copy_floats(float *to, const float *from, size_t count)
{
    if (count > 0)
        memcpy(to, from, count * sizeof *to);
}

static void copy_codes(int8_t *to, const int8_t *from, size_t count)
{
    if (count > 0)
        memcpy(to, from, count);
}

static enum ldnq_status start_solution(const struct ldnq_solver *solver,
                                       struct ldnq_solver_task *task, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = task->problem;
    struct ldnq_layer_solution *solution = task->solution;
    struct ldnq_shared_start *shared = problem->shared_start;
    const size_t rows = problem->groups * problem->rows;
    const size_t scales = rows * ldnq_scales_per_row(problem);
    if (!shared)
        return compute_start(solver, task, err);
    if (!shared->is_known) {
        LDNQ_TRY(compute_start(solver, task, err));
        copy_codes(shared->codes, solution->codes, rows * problem->cols);
        copy_floats(shared->scales, solution->scales, scales);
        shared->is_known = true;
        return LDNQ_OK;
    }
    copy_codes(solution->codes, shared->codes, rows * problem->cols);
    copy_floats(solution->scales, shared->scales, scales);
    if (problem->mean)
        copy_floats(solution->bias, problem->bias, rows);
    return LDNQ_OK;
}

/* A solver that does not know the codes that have to be 0 may have changed them: they go back to 0,
 * and the others make up for it. */
static enum ldnq_status restore_zeros(struct ldnq_solver_task *task, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = task->problem;
    const size_t count = problem->groups * problem->rows * problem->cols;
    struct ldnq_layer_problem reduced;
    if (!ldnq_clear_codes_of_pruned_weights(problem, 0, count, task->solution->codes))
        return LDNQ_OK;
    double *target = ldnq_arena_alloc(task->arena, count, sizeof *target, err);
    if (!target)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_problem_eliminate_bias(problem, &reduced, task->arena, err));
    LDNQ_TRY(ldnq_compute_descent_target(&reduced, task->pool, target, err));
    task->has_errors = true;
    return ldnq_run_coordinate_descent(&reduced, target, task->pool, task->solution->codes,
                                       task->solution->scales, task->errors, err);
}

/* ---- the frame that runs every solver ------------------------------------------------- */

static enum ldnq_status check_solver_supports(const struct ldnq_solver *solver,
                                              const struct ldnq_layer_problem *problem,
                                              struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_problem_check(problem, err));
    if (problem->block_index && !solver->blocks)
        return ldnq_fail(err, LDNQ_USAGE,
                         "the solver '%s' has one scale per channel, not one per block",
                         solver->name);
    if (problem->block_index && problem->scale_format == &ldnq_power_of_two_scales)
        return ldnq_fail(err, LDNQ_USAGE, "scales of blocks can't be powers of two");
    if (solver->needs_gram && !problem->gram && !(problem->low_rank && solver->takes_low_rank))
        return ldnq_fail(err, LDNQ_USAGE,
                         "the solver '%s' needs the gram matrix of the layer's input",
                         solver->name);
    return LDNQ_OK;
}

/* The end of solvers that only round: the same codes with the file's bias and the best one, so that
 * their quadratic is computed once. */
static enum ldnq_status keep_better_bias(struct ldnq_solver_task *task, double *errors,
                                         struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = task->problem;
    struct ldnq_layer_solution *solution = task->solution;
    const struct ldnq_choice choice = { solution->codes, solution->scales, problem->bias };
    double after;
    ldnq_compute_best_bias(problem, solution);
    const double before = ldnq_compute_total_error_of_biases(problem, task->pool, &choice,
                                                             solution->bias, errors, &after);
    if (!(after <= before)) {
        memcpy(solution->bias, problem->bias,
               problem->groups * problem->rows * sizeof *solution->bias);
        after = before;
    }
    return ldnq_report_errors(task->zero, before, after, solution, err);
}

static enum ldnq_status allocate_errors(struct ldnq_solver_task *task, double **errors,
                                        struct ldnq_error *err)
{
    const size_t rows = task->problem->groups * task->problem->rows;
    *errors = ldnq_arena_alloc(task->arena, rows, 2 * sizeof **errors, err);
    task->errors = ldnq_arena_alloc(task->arena, rows, sizeof *task->errors, err);
    task->has_errors = false;
    return *errors && task->errors ? LDNQ_OK : LDNQ_NOMEM;
}

static double measure_error_of_zero_weights(const struct ldnq_solver_task *task, double *errors)
{
    const struct ldnq_choice zero = { 0 };
    return task->options->is_trial
               ? 1
               : ldnq_compute_total_error(task->problem, task->pool, &zero, errors);
}

/* The objective with the bias of the solution. For a trial, what the solver knows of its rows saves
 * a product with H. */
static double measure_solution(const struct ldnq_solver_task *task, double *errors)
{
    const struct ldnq_layer_problem *problem = task->problem;
    const struct ldnq_layer_solution *solution = task->solution;
    const struct ldnq_choice choice = { solution->codes, solution->scales,
                                        problem->mean ? solution->bias : NULL };
    return task->options->is_trial && task->has_errors
               ? ldnq_add_rounding_of_biases(problem, solution, task->errors)
               : ldnq_compute_total_error(problem, task->pool, &choice, errors);
}

static enum ldnq_status solve_and_measure(const struct ldnq_solver *solver,
                                          struct ldnq_solver_task *task, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = task->problem;
    struct ldnq_layer_solution *solution = task->solution;
    double *errors, best_sum;
    LDNQ_TRY(allocate_errors(task, &errors, err));

    /* ---- start */
    task->zero = measure_error_of_zero_weights(task, errors);
    LDNQ_TRY(start_solution(solver, task, err));
    solution->iterations = 0;
    solution->rho = solution->error_start = solution->error = 0;
    if (!solver->improve && task->options->is_trial)
        return LDNQ_OK;
    if (!solver->improve && solver->fits_bias && problem->mean)
        return keep_better_bias(task, errors, err);
    const struct ldnq_choice start = { solution->codes, solution->scales,
                                       problem->mean ? solution->bias : NULL };
    const double before =
        ldnq_compute_total_error_of_biases(problem, task->pool, &start, NULL, errors, &best_sum);
    task->start_errors = errors + problem->groups * problem->rows;
    LDNQ_TRY(ldnq_report_errors(task->zero, before, before, solution, err));
    if (!solver->improve && !solver->fits_bias)
        return LDNQ_OK;

    /* ---- improve */
    if (solver->improve) {
        LDNQ_TRY(solver->improve(task, err));
        LDNQ_TRY(restore_zeros(task, err));
    }

    /* ---- best bias */
    if (problem->mean)
        ldnq_compute_best_bias(problem, solution);

    /* ---- never worse: where the start is (next to) perfect, rounding scales and biases to
     * float32 can cost more than the codes gained */
    double after = measure_solution(task, errors);
    if (!(after <= before)) {
        LDNQ_TRY(start_solution(solver, task, err));
        after = before;
    }
    return ldnq_report_errors(task->zero, before, after, solution, err);
}

/* First without the restriction; each scale is then rounded, and the codes found again. */
static enum ldnq_status solve_with_scale_format(const struct ldnq_solver *solver,
                                                struct ldnq_solver_task *task,
                                                struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = task->problem;
    struct ldnq_layer_problem unrestricted = *problem;
    unrestricted.scale_format = NULL;
    task->problem = &unrestricted;
    LDNQ_TRY(solve_and_measure(solver, task, err));
    task->problem = problem;
    return ldnq_round_scales(task, solver, err);
}

/* Lets scales be negative: negates rows before they are solved, and their scales after it. Rounding
 * alone and published methods define their scales, which stay. */
static enum ldnq_status solve_with_scale_signs(const struct ldnq_solver *solver,
                                               struct ldnq_solver_task *task,
                                               struct ldnq_error *err)
{
    struct ldnq_mirrored_rows mirrored = { .is_mirrored = NULL };
    if (solver->needs_gram && !solver->is_published) {
        LDNQ_TRY(ldnq_mirror_rows(task->problem, &mirrored, task->arena, err));
        task->problem = &mirrored.problem;
    }
    LDNQ_TRY(task->problem->scale_format ? solve_with_scale_format(solver, task, err)
                                         : solve_and_measure(solver, task, err));
    ldnq_mirror_solution(&mirrored, task->solution);
    return LDNQ_OK;
}

enum ldnq_status ldnq_solve(const struct ldnq_solver *solver,
                            const struct ldnq_layer_problem *problem,
                            const struct ldnq_solver_options *options, struct ldnq_pool *pool,
                            struct ldnq_layer_solution *solution, struct ldnq_error *err)
{
    struct ldnq_solver_task task = {
        .problem = problem, .options = options, .pool = pool, .solution = solution
    };
    LDNQ_TRY(check_solver_supports(solver, problem, err));
    LDNQ_TRY(ldnq_arena_create(&task.arena, err));
    const enum ldnq_status status = solve_with_scale_signs(solver, &task, err);
    ldnq_arena_destroy(task.arena);
    return status;
}
