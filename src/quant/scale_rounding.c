/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/scale_rounding.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/descent.h"
#include "quant/problem.h"
#include "quant/project.h"

struct rounding {
    const struct ldnq_solver_task *task;
    const struct ldnq_solver *solver;
    /* The layer's problem, with the bias eliminated where the solver improves codes by it. */
    struct ldnq_layer_problem problem;
    const float *free_scales; /* (G, M, S) found without the restriction */
    double *target;           /* (G, M, K) W H, where the solver improves codes */
    struct ldnq_layer_solution trial;
    double *errors, *trial_errors; /* (G, M) */
};

/* ---- formats ------------------------------------------------------------------------------ */

const struct ldnq_scale_format ldnq_power_of_two_scales = { 0, -126, FLT_MAX };
const struct ldnq_scale_format ldnq_float16_scales = { 10, -14, 65504.0f };
const struct ldnq_scale_format ldnq_bfloat16_scales = { 7, -126, 0x1.fep127f };

/* The distance of the format's scales around `scale`. */
static double compute_scale_step(const struct ldnq_scale_format *format, double scale)
{
    int exponent;
    frexp(scale, &exponent);
    exponent = exponent - 1 < format->least_exponent ? format->least_exponent : exponent - 1;
    return ldexp(1, exponent - format->fraction);
}

static double find_largest_code(const struct ldnq_codebook *codebook)
{
    return fmax(fabs((double)codebook->codes[0]),
                fabs((double)codebook->codes[codebook->count - 1]));
}

float ldnq_find_neighboring_scale(const struct ldnq_scale_format *format,
                                  const struct ldnq_codebook *codebook, float scale, bool above)
{
    const double limit = (double)format->largest / fmax(1, find_largest_code(codebook));
    double step = compute_scale_step(format, (double)scale);
    double found = step * (above ? ceil : floor)((double)scale / step);
    if (found > limit) {
        step = compute_scale_step(format, limit);
        found = step * floor(limit / step);
    }
    return (float)fmax(found, step);
}

/* ---- codes at fixed scales ---------------------------------------------------------------- */

static void find_nearest_codes(struct rounding *rounding)
{
    const struct ldnq_layer_problem *problem = &rounding->problem;
    const size_t k = problem->cols;
    for (size_t row = 0; row < problem->groups * problem->rows; row++)
        for (size_t i = row * k; i < (row + 1) * k; i++)
            rounding->trial.codes[i] = (int8_t)ldnq_codebook_find_nearest(
                problem->codebook,
                (double)problem->weight[i] /
                    (double)rounding->trial.scales[ldnq_scale_index(problem, row, i - row * k)]);
    ldnq_clear_codes_of_pruned_weights(problem, 0, problem->groups * problem->rows * k,
                                       rounding->trial.codes);
}

static void measure_distance_to_weight(struct rounding *rounding)
{
    const struct ldnq_layer_problem *problem = &rounding->problem;
    const size_t k = problem->cols;
    for (size_t row = 0; row < problem->groups * problem->rows; row++) {
        double sum = 0;
        for (size_t i = row * k; i < (row + 1) * k; i++) {
            const float scale = rounding->trial.scales[ldnq_scale_index(problem, row, i - row * k)];
            const double d =
                (double)scale * (double)rounding->trial.codes[i] - (double)problem->weight[i];
            sum += d * d;
        }
        rounding->trial_errors[row] = sum;
    }
}

static enum ldnq_status find_trial_codes(struct rounding *rounding, struct ldnq_error *err)
{
    const struct ldnq_solver_task *task = rounding->task;
    find_nearest_codes(rounding);
    if (!rounding->solver->needs_gram) {
        measure_distance_to_weight(rounding);
        return LDNQ_OK;
    }
    struct ldnq_solver_task gptq = { .problem = &rounding->problem,
                                     .options = task->options,
                                     .pool = task->pool,
                                     .arena = task->arena,
                                     .zero = task->zero,
                                     .solution = &rounding->trial };
    LDNQ_TRY(ldnq_improve_by_gptq(&gptq, err));
    return ldnq_run_coordinate_descent(&rounding->problem, rounding->target, task->pool,
                                       rounding->trial.codes, rounding->trial.scales,
                                       rounding->trial_errors, err);
}

/* ---- the better neighbor ------------------------------------------------------------------ */

static void store_trial_rows(struct rounding *rounding, size_t first, size_t count)
{
    struct ldnq_layer_solution *solution = rounding->task->solution;
    const size_t k = rounding->problem.cols, s = ldnq_scales_per_row(&rounding->problem);
    memcpy(solution->codes + first * k, rounding->trial.codes + first * k, count * k);
    memcpy(solution->scales + first * s, rounding->trial.scales + first * s,
           count * s * sizeof(float));
    memcpy(rounding->errors + first, rounding->trial_errors + first, count * sizeof(double));
}

static void store_rows_that_improve(struct rounding *rounding)
{
    const size_t rows = rounding->problem.groups * rounding->problem.rows;
    double before = 0, after = 0;
    for (size_t row = 0; row < rows; row++) {
        before += rounding->errors[row];
        after += rounding->trial_errors[row];
        if (rounding->problem.granularity != LDNQ_PER_TENSOR &&
            rounding->trial_errors[row] < rounding->errors[row])
            store_trial_rows(rounding, row, 1);
    }
    if (rounding->problem.granularity == LDNQ_PER_TENSOR && after < before)
        store_trial_rows(rounding, 0, rows);
}

/* The nearer one of both neighbors. */
static float find_nearest_scale(const struct rounding *rounding, float scale)
{
    const struct ldnq_layer_problem *problem = &rounding->problem;
    const float below =
        ldnq_find_neighboring_scale(problem->scale_format, problem->codebook, scale, false);
    const float above =
        ldnq_find_neighboring_scale(problem->scale_format, problem->codebook, scale, true);
    return fabsf(above - scale) < fabsf(scale - below) ? above : below;
}

/* Blocks of a row have no choice of their own: most of them want the nearer neighbor. */
static float find_trial_scale(const struct rounding *rounding, float scale, bool above)
{
    const struct ldnq_layer_problem *problem = &rounding->problem;
    return problem->block_index && !above
               ? find_nearest_scale(rounding, scale)
               : ldnq_find_neighboring_scale(problem->scale_format, problem->codebook, scale,
                                             above);
}

static size_t count_scales(const struct ldnq_layer_problem *problem)
{
    return problem->groups * problem->rows * ldnq_scales_per_row(problem);
}

static enum ldnq_status try_neighboring_scales(struct rounding *rounding, bool above,
                                               struct ldnq_error *err)
{
    const size_t rows = rounding->problem.groups * rounding->problem.rows;
    for (size_t i = 0; i < count_scales(&rounding->problem); i++)
        rounding->trial.scales[i] = find_trial_scale(rounding, rounding->free_scales[i], above);
    LDNQ_TRY(find_trial_codes(rounding, err));
    if (above)
        store_trial_rows(rounding, 0, rows);
    else
        store_rows_that_improve(rounding);
    return LDNQ_OK;
}

static enum ldnq_status allocate_rounding(struct rounding *rounding, struct ldnq_error *err)
{
    struct ldnq_arena *arena = rounding->task->arena;
    const size_t rows = rounding->problem.groups * rounding->problem.rows;
    const size_t scales = count_scales(&rounding->problem);
    float *free_scales = ldnq_arena_alloc(arena, scales, sizeof *free_scales, err);
    rounding->trial.scales = ldnq_arena_alloc(arena, scales, sizeof(float), err);
    rounding->errors = ldnq_arena_alloc(arena, rows, sizeof(double), err);
    rounding->trial_errors = ldnq_arena_alloc(arena, rows, sizeof(double), err);
    if (!free_scales || !rounding->trial.scales || !rounding->errors || !rounding->trial_errors)
        return LDNQ_NOMEM;
    memcpy(free_scales, rounding->task->solution->scales, scales * sizeof *free_scales);
    rounding->free_scales = free_scales;
    return LDNQ_OK;
}

/* What takes 9 bytes per weight, where codes are found again. */
static enum ldnq_status allocate_trial_codes(struct rounding *rounding, struct ldnq_error *err)
{
    struct ldnq_arena *arena = rounding->task->arena;
    const struct ldnq_layer_problem *problem = &rounding->problem;
    const size_t elements = problem->groups * problem->rows * problem->cols;
    rounding->target = ldnq_arena_alloc(arena, elements, sizeof(double), err);
    rounding->trial.codes = ldnq_arena_alloc(arena, elements, 1, err);
    return rounding->target && rounding->trial.codes ? LDNQ_OK : LDNQ_NOMEM;
}

/* The objective, with the best bias where the solver fits it. */
static double measure_solution(const struct rounding *rounding)
{
    const struct ldnq_layer_problem *problem = rounding->task->problem;
    struct ldnq_layer_solution *solution = rounding->task->solution;
    if (rounding->solver->fits_bias && problem->mean)
        ldnq_compute_best_bias(problem, solution);
    const struct ldnq_choice choice = { solution->codes, solution->scales,
                                        problem->mean ? solution->bias : NULL };
    return ldnq_compute_total_error(problem, rounding->task->pool, &choice, rounding->trial_errors);
}

/* ---- scales that hardly change ------------------------------------------------------------ */

/* No code is worth less than this part of a step. */
#define NEGLIGIBLE_STEP (1.0 / 16)

/* Whether rounding moves no weight by as much: as the format of 16 bits does for most scales. */
static bool changes_are_negligible(const struct rounding *rounding)
{
    const double code = find_largest_code(rounding->problem.codebook);
    if (rounding->problem.scale_format == &ldnq_power_of_two_scales)
        return false;
    for (size_t i = 0; i < count_scales(&rounding->problem); i++) {
        const double scale = (double)rounding->free_scales[i];
        const double change =
            (double)find_nearest_scale(rounding, rounding->free_scales[i]) - scale;
        if (fabs(change) * code > NEGLIGIBLE_STEP * scale)
            return false;
    }
    return true;
}

static enum ldnq_status round_scales_to_nearest(struct rounding *rounding, double none,
                                                struct ldnq_error *err)
{
    struct ldnq_layer_solution *solution = rounding->task->solution;
    for (size_t i = 0; i < count_scales(&rounding->problem); i++)
        solution->scales[i] = find_nearest_scale(rounding, rounding->free_scales[i]);
    const double start = solution->error_start * none, after = measure_solution(rounding);
    return ldnq_report_errors(none, fmax(start, after), after, solution, err);
}

/* ---- all scales --------------------------------------------------------------------------- */

enum ldnq_status ldnq_round_scales(const struct ldnq_solver_task *task,
                                   const struct ldnq_solver *solver, struct ldnq_error *err)
{
    struct rounding rounding = { .task = task, .solver = solver, .problem = *task->problem };
    const struct ldnq_choice zero = { 0 };
    if (solver->needs_gram)
        LDNQ_TRY(ldnq_problem_eliminate_bias(task->problem, &rounding.problem, task->arena, err));
    if (rounding.problem.groups * rounding.problem.rows == 0)
        return LDNQ_OK;
    LDNQ_TRY(allocate_rounding(&rounding, err));
    const double none =
        task->options->is_trial
            ? 1
            : ldnq_compute_total_error(task->problem, task->pool, &zero, rounding.errors);
    if (changes_are_negligible(&rounding))
        return round_scales_to_nearest(&rounding, none, err);
    LDNQ_TRY(allocate_trial_codes(&rounding, err));
    if (solver->needs_gram)
        LDNQ_TRY(ldnq_compute_descent_target(&rounding.problem, task->pool, rounding.target, err));

    /* ---- the larger neighbor clips nothing: it is the start */
    LDNQ_TRY(try_neighboring_scales(&rounding, true, err));
    const double before = measure_solution(&rounding);

    /* ---- the smaller one */
    LDNQ_TRY(try_neighboring_scales(&rounding, false, err));
    double after = measure_solution(&rounding);
    if (!solver->needs_gram)
        return ldnq_report_errors(none, after, after, task->solution, err);

    /* ---- never worse: rounding the biases to float32 can cost more than the codes gained */
    if (!(after <= before)) {
        LDNQ_TRY(try_neighboring_scales(&rounding, true, err));
        after = measure_solution(&rounding);
    }
    return ldnq_report_errors(none, before, after, task->solution, err);
}
