/* SPDX-License-Identifier: Apache-2.0 */
/* layer_choice.c: whether a layer is fitted, fitted with damping, or rounded, by samples that the
 * candidates were not fitted to.
 *
 * A quick solver fits each candidate to the fitted part of the samples; the held-out part
 * measures |W y + b - (G y^ + b^)|^2, the error of the layer's output against the float
 * network's:
 *
 *     E|W (y - y^)|^2 - 2 <D, E[W (y - y^) y^']> - 2 c'E[W (y - y^)]
 *         + <D, D H> + 2 c'D E[y^] + |c|^2,      D = G - W,  c = b^ - b
 *
 * A candidate further from rounding has to be better by what chance would give it.
 */
#include "pipeline/layer_choice.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/ranks.h"
#include "base/size.h"
#include "quant/problem.h"

/* Added to the variance of each column, in units of it: what a correlation with other columns says
 * then counts less. */
static const double dampings[] = { 1, 0.1, 0 };
#define DAMPING_COUNT (sizeof dampings / sizeof *dampings)

/* With more positions per column the fit can't be to chance, and damping has nothing to gain. */
#define ENOUGH_POSITIONS_PER_COLUMN ((size_t)32)

/* With fewer, some direction of the input is not reached, and few held-out positions do not show
 * what the fit does there: it is always damped. */
#define FEWEST_POSITIONS_PER_COLUMN ((size_t)2)

/* More than that of the error of rounding isn't put down to chance. */
#define MOST_CHANCE 0.5

struct choice_trial {
    struct ldnq_layer_fitting *fitting;
    const struct ldnq_quantized_layer *quantized;
    const float *weight, *bias; /* of the float layer */
    struct ldnq_layer_solution solution;
    struct ldnq_shared_start start; /* of all fits, which have the same target */
    float *best_bias;               /* (rows) */
    double *errors;                 /* (2, rows) */
    float *differences;             /* (threads, LDNQ_FEW_ROWS, K) for a matrix of low rank */
    double constant;                /* E|W (y - y^)|^2 on the held-out part */
    struct ldnq_arena *arena;
};

static enum ldnq_status allocate_trial(struct choice_trial *trial, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &trial->quantized->layer;
    const size_t rows = ldnq_layer_rows(layer), elements = ldnq_layer_elements(layer);
    const size_t scales = rows * ldnq_quantized_scales_per_row(trial->quantized);
    struct ldnq_layer_solution *solution = &trial->solution;
    solution->codes = ldnq_arena_alloc(trial->arena, elements, sizeof *solution->codes, err);
    solution->scales = ldnq_arena_alloc(trial->arena, scales, sizeof *solution->scales, err);
    solution->bias = ldnq_arena_alloc(trial->arena, rows, sizeof *solution->bias, err);
    trial->start.codes = ldnq_arena_alloc(trial->arena, elements, sizeof *trial->start.codes, err);
    trial->start.scales = ldnq_arena_alloc(trial->arena, scales, sizeof *trial->start.scales, err);
    trial->best_bias = ldnq_arena_alloc(trial->arena, rows, sizeof *trial->best_bias, err);
    trial->errors = ldnq_arena_alloc(trial->arena, rows, 2 * sizeof *trial->errors, err);
    const size_t threads = ldnq_pool_threads(trial->fitting->quantizer->options->pool);
    trial->differences = ldnq_arena_alloc(
        trial->arena, trial->fitting->moments.is_low_rank ? threads * LDNQ_FEW_ROWS : 0,
        layer->geometry.cols * sizeof *trial->differences, err);
    return trial->differences && solution->codes && solution->scales && solution->bias &&
                   trial->start.codes && trial->start.scales && trial->best_bias && trial->errors
               ? LDNQ_OK
               : LDNQ_NOMEM;
}

/* ---- the error on the held-out part ------------------------------------------------------ */

/* D of a row. */
static void load_difference(const struct choice_trial *trial, size_t row, float *to)
{
    const struct ldnq_quantized_layer *quantized = trial->quantized;
    const size_t k = quantized->layer.geometry.cols;
    const size_t per_row = ldnq_quantized_scales_per_row(quantized);
    for (size_t i = 0; i < k; i++) {
        const size_t block = quantized->block_index ? quantized->block_index[i] : 0;
        to[i] = (float)((double)trial->solution.scales[row * per_row + block] *
                            trial->solution.codes[row * k + i] -
                        (double)trial->weight[row * k + i]);
    }
}

static void correlate_chunk(void *ctx, size_t chunk, size_t thread)
{
    const struct choice_trial *trial = ctx;
    const struct ldnq_few_positions *few = &trial->fitting->moments.few;
    const size_t first = chunk * LDNQ_FEW_ROWS;
    const size_t count = ldnq_size_min(LDNQ_FEW_ROWS, few->rows - first);
    float *differences = trial->differences + thread * LDNQ_FEW_ROWS * few->cols;
    for (size_t r = 0; r < count; r++)
        load_difference(trial, first + r, differences + r * few->cols);
    trial->errors[chunk] = ldnq_few_positions_correlate(few, first, count, differences);
}

/* <D, sum of W (y - y^) y^'> over the held-out positions. */
static double correlate_by_positions(const struct choice_trial *trial)
{
    const size_t rows = trial->fitting->moments.few.rows;
    const size_t chunks = ldnq_size_ceil_div(rows, LDNQ_FEW_ROWS);
    struct choice_trial task = *trial;
    double sum = 0;
    struct ldnq_pool *pool = trial->fitting->quantizer->options->pool;
    ldnq_pool_run_share(pool, chunks, correlate_chunk, &task);
    ldnq_ranks_allgather_units(ldnq_pool_ranks(pool), trial->errors, chunks, sizeof *trial->errors,
                               NULL);
    for (size_t i = 0; i < chunks; i++)
        sum += trial->errors[i];
    return sum;
}

/* E|W (y - y^)|^2 - 2 <D, E[W (y - y^) y^']> - 2 c'E[W (y - y^)], or 0 without compensation. */
static double measure_correction(const struct choice_trial *trial, const float *bias)
{
    const struct ldnq_layer_moments *moments = &trial->fitting->moments;
    const struct ldnq_compensation *c = &moments->held_out_compensation;
    const struct ldnq_quantized_layer *quantized = trial->quantized;
    const struct ldnq_layer_solution *solution = &trial->solution;
    const size_t k = c->geometry.cols, per_row = ldnq_quantized_scales_per_row(quantized);
    const double positions = (double)moments->held_out_statistics.positions;
    double sum = 0;
    if (!ldnq_fitting_compensates(trial->fitting))
        return 0;
    if (moments->is_low_rank)
        sum = correlate_by_positions(trial);
    for (size_t row = 0; row < c->geometry.groups * c->geometry.rows; row++) {
        const double *cross = moments->is_low_rank ? NULL : c->cross + row * k;
        const int8_t *codes = solution->codes + row * k;
        const float *weight = trial->weight + row * k;
        for (size_t i = 0; cross && i < k; i++) {
            const size_t block = quantized->block_index ? quantized->block_index[i] : 0;
            sum +=
                ((double)solution->scales[row * per_row + block] * codes[i] - (double)weight[i]) *
                cross[i];
        }
        if (quantized->layer.bias)
            sum += ((double)bias[row] - (double)trial->bias[row]) * c->shift[row];
    }
    return trial->constant - 2 * sum / positions;
}

/* The held-out statistics are means here. */
static struct ldnq_layer_problem make_held_out_problem(const struct choice_trial *trial)
{
    const struct ldnq_statistics *held_out = &trial->fitting->moments.held_out_statistics;
    struct ldnq_layer_problem problem =
        ldnq_fitting_make_problem(trial->fitting, trial->quantized, trial->weight, trial->bias);
    problem.gram = held_out->gram;
    const struct ldnq_gram_positions *positions = &trial->fitting->moments.held_out_positions;
    problem.positions = positions->count ? positions : NULL;
    if (problem.low_rank) {
        problem.low_rank = &trial->fitting->moments.held_out_low_rank.gram;
        problem.diagonal = trial->fitting->moments.held_out_low_rank.diagonal;
    }
    problem.mean = problem.mean ? held_out->mean : NULL;
    return problem;
}

static double measure_held_out_error(const struct choice_trial *trial)
{
    const struct ldnq_layer_problem problem = make_held_out_problem(trial);
    const struct ldnq_choice choice = { trial->solution.codes, trial->solution.scales,
                                        problem.mean ? trial->solution.bias : NULL };
    const double error = ldnq_compute_total_error(
        &problem, trial->fitting->quantizer->options->pool, &choice, trial->errors);
    return fmax(error + measure_correction(trial, trial->solution.bias), 0);
}

/* The part of an error that may be chance: there are few positions, and few rows whose errors are
 * of their own. */
static double estimate_chance(const struct choice_trial *trial, size_t positions)
{
    const double rows = (double)ldnq_layer_rows(&trial->quantized->layer);
    return fmin(2 / sqrt(rows * (double)positions), MOST_CHANCE);
}

/* ---- the candidates ---------------------------------------------------------------------- */

enum ldnq_status ldnq_fitting_round(const struct ldnq_layer_fitting *fitting,
                                    const struct ldnq_layer_choice *choice,
                                    const struct ldnq_layer_problem *problem,
                                    struct ldnq_layer_solution *solution, struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = fitting->quantizer->options;
    LDNQ_TRY(ldnq_solve(ldnq_solver_find(choice->rounding), problem, &options->solver_options,
                        options->pool, solution, err));
    if (problem->mean && !choice->keeps_bias) {
        ldnq_compute_best_bias(problem, solution);
        solution->error = ldnq_compute_layer_error(problem, solution);
    }
    return LDNQ_OK;
}

/* What one way to round costs. */
struct rounding_errors {
    double sum;                     /* over all positions, with the file's bias */
    double best_bias, present_bias; /* on the held-out part */
};

/* Codes and scales of rounding do not depend on the samples: all of them measure it. */
static void measure_rounding(const struct choice_trial *trial,
                             const struct ldnq_layer_problem *problem,
                             struct rounding_errors *errors)
{
    const struct ldnq_layer_moments *moments = &trial->fitting->moments;
    struct ldnq_pool *pool = trial->fitting->quantizer->options->pool;
    struct ldnq_layer_solution best = trial->solution;
    const struct ldnq_layer_problem held_out = make_held_out_problem(trial);
    const struct ldnq_choice choice = { best.codes, best.scales, problem->mean ? best.bias : NULL };
    const float *present = best.bias;
    best.bias = trial->best_bias;
    if (problem->mean)
        ldnq_compute_best_bias(problem, &best);
    double with_best;
    const double fitted = ldnq_compute_total_error(problem, pool, &choice, trial->errors);
    const double with_present = ldnq_compute_total_error_of_biases(
        &held_out, pool, &choice, best.bias, trial->errors, &with_best);
    errors->sum = (double)moments->statistics.positions * fitted +
                  (double)moments->held_out_statistics.positions * with_present;
    errors->best_bias = fmax(with_best + measure_correction(trial, best.bias), 0);
    errors->present_bias = fmax(with_present + measure_correction(trial, present), 0);
}

/* The scale from the largest weight is the better one where that weight reads an outlier. */
static enum ldnq_status try_rounding(struct choice_trial *trial, struct ldnq_layer_choice *choice,
                                     struct ldnq_error *err)
{
    static const char *const roundings[] = { "mse", "rtn" };
    const struct ldnq_quantize_options *options = trial->fitting->quantizer->options;
    const struct ldnq_layer_moments *moments = &trial->fitting->moments;
    const struct ldnq_layer_problem problem =
        ldnq_fitting_make_problem(trial->fitting, trial->quantized, trial->weight, trial->bias);
    const size_t held_out = moments->held_out_statistics.positions;
    struct ldnq_solver_options solver_options = options->solver_options;
    struct rounding_errors errors[2];
    solver_options.is_trial = true;
    for (size_t i = 0; i < 2; i++) {
        LDNQ_TRY(ldnq_solve(ldnq_solver_find(roundings[i]), &problem, &solver_options,
                            options->pool, &trial->solution, err));
        measure_rounding(trial, &problem, &errors[i]);
    }
    const double chance = estimate_chance(trial, moments->statistics.positions + held_out);
    const size_t chosen = errors[1].sum < (1 - chance) * errors[0].sum;
    const struct rounding_errors *better = &errors[chosen];
    choice->rounding = roundings[chosen];
    choice->keeps_bias =
        !(better->best_bias < (1 - estimate_chance(trial, held_out)) * better->present_bias);
    choice->rounded_error = choice->keeps_bias ? better->present_bias : better->best_bias;
    return LDNQ_OK;
}

/* ---- damping ------------------------------------------------------------------------------ */

/* A problem of the current layer with `damping` of each column's variance added to it. */
struct damped_problem {
    struct ldnq_layer_fitting *fitting;
    const struct ldnq_layer_problem *problem;
    double damping;
    double *added, *diagonal; /* (groups, cols) what is added, and the diagonal without it */
};

static enum ldnq_status init_damped_problem(struct damped_problem *damped, struct ldnq_arena *arena,
                                            struct ldnq_error *err)
{
    const size_t k = damped->problem->cols, count = damped->problem->groups * k;
    const struct ldnq_layer_problem *problem = damped->problem;
    const double *gram = problem->gram;
    damped->added = ldnq_arena_alloc(arena, count, sizeof *damped->added, err);
    damped->diagonal = ldnq_arena_alloc(arena, count, sizeof *damped->diagonal, err);
    if (!damped->added || !damped->diagonal)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const double mean = gram && problem->mean ? problem->mean[i] : 0;
        damped->diagonal[i] = gram ? gram[i / k * k * k + i % k * (k + 1)] : problem->diagonal[i];
        damped->added[i] = damped->damping * fmax(damped->diagonal[i] - mean * mean, 0);
    }
    return LDNQ_OK;
}

/* The damping is added to a matrix of low rank without changing it. */
static enum ldnq_status solve_damped_low_rank(const struct damped_problem *damped,
                                              const struct ldnq_solver *solver,
                                              const struct ldnq_solver_options *options,
                                              struct ldnq_layer_solution *solution,
                                              struct ldnq_error *err)
{
    struct ldnq_layer_problem problem = *damped->problem;
    struct ldnq_low_rank_gram low_rank = *problem.low_rank;
    for (size_t i = 0; i < problem.cols; i++)
        damped->diagonal[i] += damped->added[i];
    low_rank.added = damped->added;
    problem.low_rank = &low_rank;
    problem.diagonal = damped->diagonal;
    return ldnq_solve(solver, &problem, options, damped->fitting->quantizer->options->pool,
                      solution, err);
}

/* The Gram matrix is the one of the moments: it has the damping while the solver runs. The
 * solution's errors are absolute, and with the damping. */
static enum ldnq_status solve_damped_problem(const struct damped_problem *damped,
                                             const struct ldnq_solver *solver,
                                             struct ldnq_layer_solution *solution,
                                             struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = damped->fitting->quantizer->options;
    const size_t k = damped->problem->cols, count = damped->problem->groups * k;
    struct ldnq_solver_options solver_options = options->solver_options;
    struct ldnq_layer_problem problem = *damped->problem;
    struct ldnq_gram_positions positions;
    double *gram = damped->fitting->moments.statistics.gram;
    solver_options.is_trial = true;
    if (problem.low_rank)
        return solve_damped_low_rank(damped, solver, &solver_options, solution, err);
    if (problem.positions) {
        positions = *problem.positions;
        positions.added = damped->added;
        problem.positions = &positions;
    }
    for (size_t i = 0; i < count; i++)
        gram[i / k * k * k + i % k * (k + 1)] += damped->added[i];
    const enum ldnq_status status =
        ldnq_solve(solver, &problem, &solver_options, options->pool, solution, err);
    for (size_t i = 0; i < count; i++)
        gram[i / k * k * k + i % k * (k + 1)] = damped->diagonal[i];
    return status;
}

/* Computes the error of the start, which all these solvers share, without the damping. */
static enum ldnq_status measure_start(const struct damped_problem *damped, double *errors,
                                      double *sum, struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = damped->fitting->quantizer->options;
    const struct ldnq_layer_problem *problem = damped->problem;
    const size_t rows = problem->groups * problem->rows;
    const size_t scales = rows * (problem->block_index ? problem->block_count : 1);
    struct ldnq_solver_options solver_options = options->solver_options;
    struct ldnq_layer_solution start = {
        .codes = ldnq_arena_alloc(arena, rows * problem->cols, sizeof *start.codes, err),
        .scales = ldnq_arena_alloc(arena, scales, sizeof *start.scales, err),
        .bias = ldnq_arena_alloc(arena, rows, sizeof *start.bias, err),
    };
    if (!start.codes || !start.scales || !start.bias)
        return LDNQ_NOMEM;
    solver_options.is_trial = true;
    LDNQ_TRY(
        ldnq_solve(ldnq_solver_find("mse"), problem, &solver_options, options->pool, &start, err));
    const struct ldnq_choice choice = { start.codes, start.scales,
                                        problem->mean ? start.bias : NULL };
    *sum = ldnq_compute_total_error(problem, options->pool, &choice, errors);
    return LDNQ_OK;
}

/* Replaces absolute errors with the damping by those without it, in parts of that of 0. */
static enum ldnq_status subtract_damping(const struct damped_problem *damped,
                                         struct ldnq_layer_solution *solution,
                                         struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_pool *pool = damped->fitting->quantizer->options->pool;
    const struct ldnq_choice zero = { 0 }, choice = { solution->codes, solution->scales, NULL };
    struct ldnq_layer_problem penalty = *damped->problem;
    double start,
        *errors = ldnq_arena_alloc(arena, penalty.groups * penalty.rows, sizeof *errors, err);
    if (!errors)
        return LDNQ_NOMEM;
    penalty.gram = NULL;
    penalty.positions = NULL;
    penalty.low_rank = NULL;
    penalty.mean = NULL;
    penalty.diagonal = damped->added;
    const double damping = ldnq_compute_total_error(&penalty, pool, &choice, errors);
    const double none = ldnq_compute_total_error(damped->problem, pool, &zero, errors);
    LDNQ_TRY(measure_start(damped, errors, &start, arena, err));
    return ldnq_report_errors(none, start, fmax(solution->error - damping, 0), solution, err);
}

enum ldnq_status ldnq_fitting_solve_damped(struct ldnq_layer_fitting *fitting,
                                           const struct ldnq_solver *solver, double damping,
                                           const struct ldnq_layer_problem *problem,
                                           struct ldnq_layer_solution *solution,
                                           struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = fitting->quantizer->options;
    struct damped_problem damped = { .fitting = fitting, .problem = problem, .damping = damping };
    if (!(damping > 0) || (!problem->gram && !problem->low_rank))
        return ldnq_solve(solver, problem, &options->solver_options, options->pool, solution, err);
    LDNQ_TRY(init_damped_problem(&damped, arena, err));
    LDNQ_TRY(solve_damped_problem(&damped, solver, solution, err));
    return subtract_damping(&damped, solution, arena, err);
}

/* ---- fits --------------------------------------------------------------------------------- */

/* The target of the candidates, compensated on the fitted part alone. Its sums are not finished. */
static enum ldnq_status make_target(const struct choice_trial *trial,
                                    const struct ldnq_compensation_strength *strength,
                                    float **weight, float **bias, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &trial->quantized->layer;
    const size_t rows = ldnq_layer_rows(layer), elements = ldnq_layer_elements(layer);
    const struct ldnq_layer_moments *moments = &trial->fitting->moments;
    *weight = ldnq_arena_alloc(trial->arena, elements, sizeof **weight, err);
    *bias = ldnq_arena_alloc(trial->arena, rows, sizeof **bias, err);
    if (!*weight || !*bias)
        return LDNQ_NOMEM;
    memcpy(*weight, trial->weight, elements * sizeof **weight);
    memcpy(*bias, trial->bias, rows * sizeof **bias);
    if (!ldnq_fitting_compensates(trial->fitting) || !(strength->lambda > 0))
        return LDNQ_OK;
    return ldnq_compensation_apply(&moments->compensation, &moments->statistics, strength->lambda,
                                   strength->damping, *weight, layer->bias ? *bias : NULL, err);
}

/* The dampings that are tried, from `first` to before the returned one. */
static size_t choose_dampings(size_t positions, size_t cols, size_t *first)
{
    *first = positions < ENOUGH_POSITIONS_PER_COLUMN * cols ? 0 : DAMPING_COUNT - 1;
    return positions < FEWEST_POSITIONS_PER_COLUMN * cols ? DAMPING_COUNT - 1 : DAMPING_COUNT;
}

size_t ldnq_fitting_count_dampings(size_t positions, size_t cols)
{
    size_t first;
    const size_t end = choose_dampings(positions, cols, &first);
    return end - first;
}

/* Fits with one damping, and measures the held-out error. */
static enum ldnq_status measure_fit(struct choice_trial *trial, struct ldnq_layer_problem *problem,
                                    double damping, double *error, struct ldnq_error *err)
{
    const struct ldnq_solver *asked = trial->fitting->quantizer->options->solver;
    const struct ldnq_solver *quick = asked->needs_gram ? ldnq_solver_find("gptq") : asked;
    struct damped_problem damped = { .fitting = trial->fitting,
                                     .problem = problem,
                                     .damping = asked->needs_gram ? damping : 0 };
    LDNQ_TRY(init_damped_problem(&damped, trial->arena, err));
    LDNQ_TRY(solve_damped_problem(&damped, quick, &trial->solution, err));
    *error = measure_held_out_error(trial);
    return LDNQ_OK;
}

/* Whether ranks save time that each make fits of their own: they share the rows of a fit (about
 * 3 M K^2 operations), but not its factorization (2/3 K^3). */
static bool are_fits_cheaper_apart(const struct ldnq_layer_problem *problem, size_t ranks)
{
    const double rows = 3 * (double)problem->rows, factorization = 2.0 / 3 * (double)problem->cols;
    return ranks > 1 && rows * (1 - 2.0 / (double)ranks) < factorization;
}

/* Measures the fits with dampings[first] to before dampings[end]. All ranks share the first fit,
 * which makes the start of the others. */
static enum ldnq_status measure_fits(struct choice_trial *trial, struct ldnq_layer_problem *problem,
                                     size_t first, size_t end, double *errors,
                                     struct ldnq_error *err)
{
    struct ldnq_pool *pool = trial->fitting->quantizer->options->pool;
    struct ldnq_ranks *ranks = ldnq_pool_ranks(pool);
    const bool apart = are_fits_cheaper_apart(problem, ldnq_ranks_count(ranks));
    const size_t others = end - first - 1;
    LDNQ_TRY(measure_fit(trial, problem, dampings[first], &errors[first], err));
    const struct ldnq_rank_share own =
        apart ? ldnq_ranks_own_share(ranks, others) : (struct ldnq_rank_share){ 0, others };
    if (apart)
        ldnq_pool_join_ranks(pool, NULL); /* each has work of its own */
    enum ldnq_status status = LDNQ_OK;
    for (size_t i = first + 1 + own.first; status == LDNQ_OK && i < first + 1 + own.end; i++)
        status = measure_fit(trial, problem, dampings[i], &errors[i], err);
    if (!apart)
        return status;
    ldnq_pool_join_ranks(pool, ranks);
    LDNQ_TRY(ldnq_ranks_share_first_failure(ranks, status, err));
    return ldnq_ranks_allgather_units(ranks, errors + first + 1, others, sizeof *errors, err);
}

static enum ldnq_status try_fits(struct choice_trial *trial, const float *weight, const float *bias,
                                 struct ldnq_layer_choice *choice, struct ldnq_error *err)
{
    const struct ldnq_solver *asked = trial->fitting->quantizer->options->solver;
    struct ldnq_layer_problem problem =
        ldnq_fitting_make_problem(trial->fitting, trial->quantized, weight, bias);
    const size_t positions = trial->fitting->moments.statistics.positions;
    const size_t cols = trial->quantized->layer.geometry.cols;
    size_t first = DAMPING_COUNT - 1, end = DAMPING_COUNT;
    if (asked->needs_gram)
        end = choose_dampings(positions, cols, &first);
    const bool damps = first == 0;
    const double chance =
        estimate_chance(trial, trial->fitting->moments.held_out_statistics.positions);
    double least = choice->rounded_error, errors[DAMPING_COUNT];
    problem.shared_start = &trial->start;
    LDNQ_TRY(measure_fits(trial, &problem, first, end, errors, err));
    choice->fit = LDNQ_LAYER_ROUNDED;
    for (size_t i = first; i < end; i++) {
        if (dampings[i] == 0)
            choice->fitted_error = errors[i];
        else if (!(errors[i] >= choice->damped_error))
            choice->damped_error = errors[i];
        if (!(errors[i] < least - (i == 0 || !damps ? chance * least : 0)))
            continue;
        least = errors[i];
        choice->damping = dampings[i];
        choice->fit = dampings[i] > 0 ? LDNQ_LAYER_DAMPED : LDNQ_LAYER_FITTED;
    }
    return LDNQ_OK;
}

static double compute_zero_error(const struct choice_trial *trial)
{
    const struct ldnq_layer_problem problem = make_held_out_problem(trial);
    const struct ldnq_choice zero = { 0 };
    return ldnq_compute_total_error(&problem, trial->fitting->quantizer->options->pool, &zero,
                                    trial->errors);
}

/* ---- the choice --------------------------------------------------------------------------- */

static enum ldnq_status choose(struct choice_trial *trial,
                               const struct ldnq_compensation_strength *strength,
                               struct ldnq_layer_choice *choice, struct ldnq_error *err)
{
    struct ldnq_layer_moments *moments = &trial->fitting->moments;
    struct ldnq_compensation *c = &moments->held_out_compensation;
    float *weight, *bias;
    LDNQ_TRY(allocate_trial(trial, err));
    LDNQ_TRY(make_target(trial, strength, &weight, &bias, err));
    for (size_t row = 0; c->power && row < ldnq_layer_rows(&trial->quantized->layer); row++)
        trial->constant += c->power[row] / (double)moments->held_out_statistics.positions;
    if (c->input.cols) {
        trial->constant = c->total_power / (double)moments->held_out_statistics.positions;
        LDNQ_TRY(ldnq_compensation_find_cross(c, trial->arena, err));
    }
    ldnq_statistics_finish(&moments->statistics);
    ldnq_statistics_finish(&moments->held_out_statistics);
    enum ldnq_status status = try_rounding(trial, choice, err);
    if (status == LDNQ_OK)
        status = try_fits(trial, weight, bias, choice, err);
    const double zero = compute_zero_error(trial);
    choice->fitted_error /= zero;
    choice->damped_error /= zero;
    choice->rounded_error /= zero;
    ldnq_statistics_restore_sums(&moments->statistics);
    ldnq_statistics_restore_sums(&moments->held_out_statistics);
    return status;
}

enum ldnq_status ldnq_fitting_choose_fit(struct ldnq_layer_fitting *fitting, const float *weight,
                                         const float *bias,
                                         const struct ldnq_compensation_strength *strength,
                                         struct ldnq_layer_choice *choice, struct ldnq_error *err)
{
    const struct ldnq_layer_moments *moments = &fitting->moments;
    struct choice_trial trial = {
        .fitting = fitting,
        .quantized = &fitting->quantizer->result->network.layers[fitting->index],
        .weight = weight,
        .bias = bias,
    };
    const size_t cols = trial.quantized->layer.geometry.cols;
    *choice = (struct ldnq_layer_choice){ .fitted_error = NAN,
                                          .damped_error = NAN,
                                          .rounded_error = NAN };
    if (!moments->held_out_arena || moments->statistics.positions == 0)
        return LDNQ_OK;
    const bool is_rounded = fitting->index < fitting->quantizer->rounded;
    if (is_rounded && moments->held_out_statistics.positions == 0) {
        choice->fit = LDNQ_LAYER_ROUNDED;
        choice->rounding = "mse";
        choice->keeps_bias = true;
        return LDNQ_OK;
    }
    if (moments->held_out_statistics.positions == 0) {
        /* Nothing says what the fit is worth: columns count by what can be known of them. */
        if (fitting->quantizer->options->solver->needs_gram) {
            choice->damping = (double)cols / (double)moments->statistics.positions;
            choice->fit = LDNQ_LAYER_DAMPED;
        }
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_arena_create(&trial.arena, err));
    const enum ldnq_status status = choose(&trial, strength, choice, err);
    ldnq_arena_destroy(trial.arena);
    if (status != LDNQ_OK) /* numbers that the solver refuses, and then reports with the layer */
        choice->fit = LDNQ_LAYER_FITTED;
    if (status == LDNQ_OK && is_rounded) {
        choice->fit = LDNQ_LAYER_ROUNDED;
        choice->damping = 0;
    }
    return status == LDNQ_NOMEM ? status : LDNQ_OK;
}
