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
    double *errors;  /* (rows) */
    double constant; /* E|W (y - y^)|^2 on the held-out part */
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
    trial->errors = ldnq_arena_alloc(trial->arena, rows, sizeof *trial->errors, err);
    return solution->codes && solution->scales && solution->bias && trial->errors ? LDNQ_OK
                                                                                  : LDNQ_NOMEM;
}

/* ---- the error on the held-out part ------------------------------------------------------ */

/* -2 <D, E[W (y - y^) y^']> - 2 c'E[W (y - y^)] */
static double measure_correction(const struct choice_trial *trial)
{
    const struct ldnq_layer_moments *moments = &trial->fitting->moments;
    const struct ldnq_compensation *c = &moments->held_out_compensation;
    const struct ldnq_quantized_layer *quantized = trial->quantized;
    const struct ldnq_layer_solution *solution = &trial->solution;
    const size_t k = c->geometry.cols, per_row = ldnq_quantized_scales_per_row(quantized);
    const double positions = (double)moments->held_out_statistics.positions;
    double sum = 0;
    for (size_t row = 0; row < c->geometry.groups * c->geometry.rows; row++) {
        const double *cross = c->cross + row * k;
        const int8_t *codes = solution->codes + row * k;
        const float *weight = trial->weight + row * k;
        for (size_t i = 0; i < k; i++) {
            const size_t block = quantized->block_index ? quantized->block_index[i] : 0;
            sum +=
                ((double)solution->scales[row * per_row + block] * codes[i] - (double)weight[i]) *
                cross[i];
        }
        if (quantized->layer.bias)
            sum += ((double)solution->bias[row] - (double)trial->bias[row]) * c->shift[row];
    }
    return -2 * sum / positions;
}

/* The held-out statistics are means here. */
static struct ldnq_layer_problem make_held_out_problem(const struct choice_trial *trial)
{
    const struct ldnq_statistics *held_out = &trial->fitting->moments.held_out_statistics;
    struct ldnq_layer_problem problem =
        ldnq_fitting_make_problem(trial->fitting, trial->quantized, trial->weight, trial->bias);
    problem.gram = held_out->gram;
    problem.mean = problem.mean ? held_out->mean : NULL;
    return problem;
}

static double measure_held_out_error(const struct choice_trial *trial)
{
    const struct ldnq_layer_problem problem = make_held_out_problem(trial);
    const struct ldnq_choice choice = { trial->solution.codes, trial->solution.scales,
                                        problem.mean ? trial->solution.bias : NULL };
    double error = ldnq_compute_total_error(&problem, trial->fitting->quantizer->options->pool,
                                            &choice, trial->errors);
    if (ldnq_fitting_compensates(trial->fitting))
        error += trial->constant + measure_correction(trial);
    return fmax(error, 0);
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

/* Codes and scales of rounding do not depend on the samples: all of them measure it. */
static double measure_rounding_error(const struct choice_trial *trial,
                                     const struct ldnq_layer_problem *problem)
{
    const struct ldnq_layer_moments *moments = &trial->fitting->moments;
    const struct ldnq_choice choice = { trial->solution.codes, trial->solution.scales,
                                        problem->mean ? trial->solution.bias : NULL };
    const struct ldnq_layer_problem held_out = make_held_out_problem(trial);
    struct ldnq_pool *pool = trial->fitting->quantizer->options->pool;
    return (double)moments->statistics.positions *
               ldnq_compute_total_error(problem, pool, &choice, trial->errors) +
           (double)moments->held_out_statistics.positions *
               ldnq_compute_total_error(&held_out, pool, &choice, trial->errors);
}

/* The scale from the largest weight is the better one where that weight reads an outlier. */
static enum ldnq_status choose_rounding(struct choice_trial *trial,
                                        const struct ldnq_layer_problem *problem,
                                        struct ldnq_layer_choice *choice, struct ldnq_error *err)
{
    static const char *const roundings[] = { "mse", "rtn" };
    const struct ldnq_layer_moments *moments = &trial->fitting->moments;
    double errors[2];
    for (size_t i = 0; i < 2; i++) {
        const struct ldnq_layer_choice candidate = { .rounding = roundings[i], .keeps_bias = true };
        LDNQ_TRY(ldnq_fitting_round(trial->fitting, &candidate, problem, &trial->solution, err));
        errors[i] = measure_rounding_error(trial, problem);
    }
    const double chance = estimate_chance(trial, moments->statistics.positions +
                                                     moments->held_out_statistics.positions);
    choice->rounding = roundings[errors[1] < (1 - chance) * errors[0]];
    return LDNQ_OK;
}

static enum ldnq_status try_rounding(struct choice_trial *trial, struct ldnq_layer_choice *choice,
                                     struct ldnq_error *err)
{
    const struct ldnq_layer_problem problem =
        ldnq_fitting_make_problem(trial->fitting, trial->quantized, trial->weight, trial->bias);
    const size_t held_out = trial->fitting->moments.held_out_statistics.positions;
    double errors[2];
    LDNQ_TRY(choose_rounding(trial, &problem, choice, err));
    for (size_t i = 0; i < 2; i++) {
        choice->keeps_bias = i != 0;
        LDNQ_TRY(ldnq_fitting_round(trial->fitting, choice, &problem, &trial->solution, err));
        errors[i] = measure_held_out_error(trial);
    }
    choice->keeps_bias = !(errors[0] < (1 - estimate_chance(trial, held_out)) * errors[1]);
    choice->rounded_error = errors[choice->keeps_bias];
    return LDNQ_OK;
}

/* Adds the damping to the problem's Gram matrix, whose diagonal is saved before. */
static void damp_gram(const struct ldnq_layer_problem *problem, double damping, double *gram,
                      double *diagonal)
{
    const size_t k = problem->cols;
    for (size_t i = 0; i < problem->groups * k; i++) {
        double *at = gram + i / k * k * k + i % k * (k + 1);
        const double mean = problem->mean ? problem->mean[i] : 0;
        diagonal[i] = *at;
        *at += damping * fmax(*at - mean * mean, 0);
    }
}

static void restore_gram(const struct ldnq_layer_problem *problem, double *gram,
                         const double *diagonal)
{
    const size_t k = problem->cols;
    for (size_t i = 0; i < problem->groups * k; i++)
        gram[i / k * k * k + i % k * (k + 1)] = diagonal[i];
}

/* The error of the start, which all these solvers share, without the damping. */
static enum ldnq_status measure_start(const struct ldnq_layer_fitting *fitting,
                                      const struct ldnq_layer_problem *problem,
                                      struct ldnq_layer_solution *solution,
                                      struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = fitting->quantizer->options;
    const size_t rows = problem->groups * problem->rows;
    const size_t scales = rows * (problem->block_index ? problem->block_count : 1);
    struct ldnq_layer_solution start = {
        .codes = ldnq_arena_alloc(arena, rows * problem->cols, sizeof *start.codes, err),
        .scales = ldnq_arena_alloc(arena, scales, sizeof *start.scales, err),
        .bias = ldnq_arena_alloc(arena, rows, sizeof *start.bias, err),
    };
    if (!start.codes || !start.scales || !start.bias)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_solve(ldnq_solver_find("mse"), problem, &options->solver_options, options->pool,
                        &start, err));
    solution->error_start = start.error;
    return LDNQ_OK;
}

enum ldnq_status ldnq_fitting_solve_damped(struct ldnq_layer_fitting *fitting,
                                           const struct ldnq_solver *solver, double damping,
                                           const struct ldnq_layer_problem *problem,
                                           struct ldnq_layer_solution *solution,
                                           struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = fitting->quantizer->options;
    double *gram = fitting->moments.statistics.gram;
    if (!(damping > 0) || !problem->gram)
        return ldnq_solve(solver, problem, &options->solver_options, options->pool, solution, err);
    double *diagonal =
        ldnq_arena_alloc(arena, problem->groups * problem->cols, sizeof *diagonal, err);
    if (!diagonal)
        return LDNQ_NOMEM;
    damp_gram(problem, damping, gram, diagonal);
    const enum ldnq_status status =
        ldnq_solve(solver, problem, &options->solver_options, options->pool, solution, err);
    restore_gram(problem, gram, diagonal);
    LDNQ_TRY(status);
    solution->error = ldnq_compute_layer_error(problem, solution);
    return measure_start(fitting, problem, solution, arena, err);
}

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

static enum ldnq_status try_fits(struct choice_trial *trial, const float *weight, const float *bias,
                                 struct ldnq_layer_choice *choice, struct ldnq_error *err)
{
    const struct ldnq_solver *asked = trial->fitting->quantizer->options->solver;
    const struct ldnq_solver *quick = asked->needs_gram ? ldnq_solver_find("gptq") : asked;
    const struct ldnq_layer_problem problem =
        ldnq_fitting_make_problem(trial->fitting, trial->quantized, weight, bias);
    const size_t positions = trial->fitting->moments.statistics.positions;
    const size_t cols = trial->quantized->layer.geometry.cols;
    const bool damps = asked->needs_gram && positions < ENOUGH_POSITIONS_PER_COLUMN *
                                                            trial->quantized->layer.geometry.cols;
    const double chance =
        estimate_chance(trial, trial->fitting->moments.held_out_statistics.positions);
    const size_t last = damps && positions < FEWEST_POSITIONS_PER_COLUMN * cols ? 1 : 0;
    double least = choice->rounded_error;
    choice->fit = LDNQ_LAYER_ROUNDED;
    for (size_t i = damps ? 0 : DAMPING_COUNT - 1; i < DAMPING_COUNT - last; i++) {
        LDNQ_TRY(ldnq_fitting_solve_damped(trial->fitting, quick, dampings[i], &problem,
                                           &trial->solution, trial->arena, err));
        const double error = measure_held_out_error(trial);
        if (dampings[i] == 0)
            choice->fitted_error = error;
        else if (!(error >= choice->damped_error))
            choice->damped_error = error;
        if (!(error < least - (i == 0 || !damps ? chance * least : 0)))
            continue;
        least = error;
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
    const struct ldnq_compensation *c = &moments->held_out_compensation;
    float *weight, *bias;
    LDNQ_TRY(allocate_trial(trial, err));
    LDNQ_TRY(make_target(trial, strength, &weight, &bias, err));
    for (size_t row = 0; ldnq_fitting_compensates(trial->fitting) &&
                         row < ldnq_layer_rows(&trial->quantized->layer);
         row++)
        trial->constant += c->power[row] / (double)moments->held_out_statistics.positions;
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

enum ldnq_status ldnq_fitting_choose(struct ldnq_layer_fitting *fitting, const float *weight,
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
    return status == LDNQ_NOMEM ? status : LDNQ_OK;
}
