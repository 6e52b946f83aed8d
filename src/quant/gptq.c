/* GPTQ: codes one input at a time, the inputs still to come making up for each
 * rounding.
 *
 *     for each input i:  q_i = the nearest code to w_i / a
 *                        w_j -= (w_i - a q_i) Hinv_ij / Hinv_ii   for all j to come
 *                        Hinv loses row and column i
 *
 * With X = L^-1, H = L L', the inputs being taken from the last to the first,
 * row i of X up to its diagonal is what Hinv's row is at that moment, but for a
 * factor that cancels: a step is w_j -= e X_ij, e = (w_i - a q_i) / X_ii, and all
 * the steps of a block act on the inputs to come as one product.
 *
 * - The quadratic is the centred one, H - m m', where the layer has a bias: the
 *   bias is free, and what the codes shift on average it takes back.
 * - Inputs are taken by descending diagonal; 1 % of the diagonal's mean is added.
 * - Scales are those of the codes nearest to the weight, which are the start; a
 *   channel keeps its start's codes where those are no worse.
 *
 * Source  Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: Accurate Post-Training
 *         Quantization for Generative Pre-trained Transformers", ICLR 2023
 */
#include "quant/solver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "linalg/cholesky.h"
#include "quant/nearest.h"
#include "quant/problem.h"

/* Inputs whose steps are applied to the rest together. */
#define BLOCK 128

/* Added to the diagonal, in units of its mean; the larger ones are for centred
 * matrices that have lost their definiteness to the statistics' rounding. */
static const double dampings[] = { 0.01, 0.1, 1, 10 };

struct column {
    double variance; /* the centred diagonal; 0 for a constant input */
    size_t input;
};

struct gptq {
    const struct ldnq_layer_problem *problem;
    struct ldnq_pool *pool;
    struct ldnq_layer_solution *solution; /* the start, then the better of the two */
    size_t groups, outputs, inputs;       /* G, M, K */
    size_t rows, pieces;                  /* G * M, and blocks of them */
    struct column *columns;               /* (G, K) the last is taken first */
    double *factor;                       /* (G, K, K) X, in the columns' order */
    bool *indefinite;                     /* (G) */
    double *work;                         /* (G, M, K) W in the columns' order */
    int8_t *codes;                        /* (G, M, K) */
    double *before, *after;               /* (G, M) objectives of start and codes */
};

/* ---- the inverse factor ------------------------------------------------------- */

static double centred(const struct gptq *gptq, size_t group, size_t i, size_t j)
{
    const struct ldnq_layer_problem *problem = gptq->problem;
    const size_t inputs = gptq->inputs;
    const double power = problem->gram[(group * inputs + i) * inputs + j];
    if (!problem->mean)
        return power;
    const double *mean = problem->mean + group * inputs;
    return power - mean[i] * mean[j];
}

static int by_variance(const void *left, const void *right)
{
    const struct column *a = left, *b = right;
    if (a->variance != b->variance)
        return a->variance < b->variance ? -1 : 1;
    return a->input > b->input ? -1 : a->input < b->input;
}

/* Returns the mean of the variances. */
static double order_columns(const struct gptq *gptq, size_t group)
{
    const size_t inputs = gptq->inputs;
    const double *gram = gptq->problem->gram + group * inputs * inputs;
    struct column *columns = gptq->columns + group * inputs;
    double mean = 0;
    for (size_t i = 0; i < inputs; i++) {
        const double variance = centred(gptq, group, i, i);
        const bool constant = fabs(variance) <= LDNQ_CONSTANT_INPUT * gram[i * inputs + i];
        columns[i] = (struct column){ constant ? 0 : variance, i };
        mean += columns[i].variance / (double)inputs;
    }
    if (inputs)
        qsort(columns, inputs, sizeof *columns, by_variance);
    return mean;
}

/* The lower triangle in units of `mean`, so that its scale can't overflow, plus the
 * damping. A constant input is bound to no other: it gets its nearest code. */
static void arrange(const struct gptq *gptq, size_t group, double mean, double damping)
{
    const size_t inputs = gptq->inputs;
    const struct column *columns = gptq->columns + group * inputs;
    double *factor = gptq->factor + group * inputs * inputs;
    for (size_t i = 0; i < inputs; i++) {
        double *row = factor + i * inputs;
        for (size_t j = 0; j <= i; j++) {
            const bool bound = columns[i].variance != 0 && columns[j].variance != 0;
            row[j] = bound ? centred(gptq, group, columns[i].input, columns[j].input) / mean : 0;
        }
        row[i] += damping;
    }
}

/* Without any variance all codes are as good as the start's, which X = I gives. */
static void factor_group(void *ctx, size_t group, size_t thread)
{
    (void)thread;
    struct gptq *gptq = ctx;
    const size_t inputs = gptq->inputs, levels = sizeof dampings / sizeof *dampings;
    double *factor = gptq->factor + group * inputs * inputs;
    const double mean = order_columns(gptq, group);
    enum ldnq_status status = LDNQ_NUMERIC;
    for (size_t i = 0; i < levels && status != LDNQ_OK; i++) {
        arrange(gptq, group, mean > 0 ? mean : 1, mean > 0 ? dampings[i] : 1);
        status = ldnq_cholesky_factor(inputs, factor, NULL);
    }
    if (status == LDNQ_OK)
        ldnq_cholesky_invert(inputs, factor);
    gptq->indefinite[group] = status != LDNQ_OK;
}

static enum ldnq_status factor_all(struct gptq *gptq, struct ldnq_error *err)
{
    ldnq_pool_run(gptq->pool, gptq->groups, factor_group, gptq);
    for (size_t group = 0; group < gptq->groups; group++)
        if (gptq->indefinite[group])
            return ldnq_fail(err, LDNQ_NUMERIC,
                             "the gram matrix of group %zu is not positive semidefinite, nor is "
                             "it with ten times its mean diagonal added", group);
    return LDNQ_OK;
}

/* ---- the pass over the inputs ----------------------------------------------------- */

/* W into work in the columns' order. */
static void load_weights(struct gptq *gptq, const struct ldnq_piece *piece)
{
    const size_t inputs = gptq->inputs;
    const struct column *columns = gptq->columns + piece->group * inputs;
    for (size_t row = piece->offset; row < piece->offset + piece->rows; row++)
        for (size_t i = 0; i < inputs; i++)
            gptq->work[row * inputs + i] =
                (double)gptq->problem->weight[row * inputs + columns[i].input];
}

/* Columns first .. first+count-1 of one row, the last first; the steps e go to
 * `steps` for the columns in front of the block. */
static void round_block(struct gptq *gptq, const struct ldnq_piece *piece, size_t row,
                        size_t first, size_t count, double *steps)
{
    const size_t inputs = gptq->inputs;
    const struct column *columns = gptq->columns + piece->group * inputs + first;
    const double *factor = gptq->factor + piece->group * inputs * inputs;
    const float *scales = gptq->solution->scales;
    double *work = gptq->work + row * inputs + first;
    for (size_t i = count; i-- > 0;) {
        const double *x = factor + (first + i) * inputs + first;
        const double scale =
            (double)scales[ldnq_scale_at(gptq->problem, row, columns[i].input)];
        const int16_t code = ldnq_codebook_nearest(gptq->problem->codebook, work[i] / scale);
        const double step = (work[i] - scale * code) / x[i];
        for (size_t j = 0; j < i; j++)
            work[j] -= step * x[j];
        gptq->codes[row * inputs + columns[i].input] = (int8_t)code;
        steps[i] = step;
    }
}

static void round_piece(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct gptq *gptq = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(gptq->problem, chunk);
    const size_t inputs = gptq->inputs;
    const double *factor = gptq->factor + piece.group * inputs * inputs;
    double steps[LDNQ_PIECE_ROWS * BLOCK];
    load_weights(gptq, &piece);
    for (size_t end = inputs; end > 0;) {
        const size_t count = ldnq_size_min(end, BLOCK), first = end - count;
        for (size_t r = 0; r < piece.rows; r++)
            round_block(gptq, &piece, piece.offset + r, first, count, steps + r * BLOCK);
        if (first > 0)
            ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, piece.rows, first, count, -1, steps, BLOCK,
                       factor + first * inputs, inputs, 1, gptq->work + piece.offset * inputs,
                       inputs);
        end = first;
    }
}

/* ---- the better of the two ---------------------------------------------------------- */

static void choose(struct gptq *gptq)
{
    const size_t inputs = gptq->inputs;
    struct ldnq_layer_solution *solution = gptq->solution;
    const struct ldnq_choice nearest = { solution->codes, solution->scales, NULL };
    const struct ldnq_choice passed = { gptq->codes, solution->scales, NULL };
    ldnq_total_error(gptq->problem, gptq->pool, &nearest, gptq->before);
    ldnq_total_error(gptq->problem, gptq->pool, &passed, gptq->after);
    for (size_t row = 0; row < gptq->rows; row++)
        if (gptq->after[row] < gptq->before[row])
            memcpy(solution->codes + row * inputs, gptq->codes + row * inputs, inputs);
}

static double solution_error(struct gptq *gptq)
{
    const struct ldnq_choice choice = { gptq->solution->codes, gptq->solution->scales,
                                        gptq->problem->mean ? gptq->solution->bias : NULL };
    return ldnq_total_error(gptq->problem, gptq->pool, &choice, gptq->after);
}

/* Where the start was (next to) perfect, rounding the bias to float32 can cost
 * more than the pass gained: then the start it is. */
static enum ldnq_status fit(struct gptq *gptq, double zero, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_nearest_start(gptq->problem, gptq->pool, gptq->solution, err));
    const double before = solution_error(gptq);
    LDNQ_TRY(ldnq_report_errors(zero, before, before, gptq->solution, err));
    ldnq_pool_run(gptq->pool, gptq->pieces, round_piece, gptq);
    choose(gptq);
    if (gptq->problem->mean)
        ldnq_layer_best_bias(gptq->problem, gptq->solution);
    double after = solution_error(gptq);
    if (!(after <= before)) {
        LDNQ_TRY(ldnq_nearest_start(gptq->problem, gptq->pool, gptq->solution, err));
        after = before;
    }
    return ldnq_report_errors(zero, before, after, gptq->solution, err);
}

/* ---- set-up ------------------------------------------------------------------------- */

static bool allocate(struct gptq *gptq, struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t groups = gptq->groups, rows = gptq->rows, k = gptq->inputs;
    /* No product overflows: the caller holds arrays of this order. */
#define NEW(member, count)                                                                         \
    (gptq->member = ldnq_arena_alloc(arena, count, sizeof *gptq->member, err))
    return NEW(columns, groups * k) && NEW(factor, groups * k * k) && NEW(indefinite, groups) &&
           NEW(work, rows * k) && NEW(codes, rows * k) && NEW(before, rows) &&
           NEW(after, rows);
#undef NEW
}

static enum ldnq_status solve_in(struct gptq *gptq, struct ldnq_arena *arena,
                                 struct ldnq_error *err)
{
    if (!allocate(gptq, arena, err))
        return LDNQ_NOMEM;
    const struct ldnq_choice nothing = { 0 };
    const double zero = ldnq_total_error(gptq->problem, gptq->pool, &nothing, gptq->before);
    LDNQ_TRY(factor_all(gptq, err));
    gptq->solution->iterations = 0;
    gptq->solution->rho = 0;
    return fit(gptq, zero, err);
}

static enum ldnq_status solve(const struct ldnq_layer_problem *problem,
                              const struct ldnq_solver_options *options, struct ldnq_pool *pool,
                              struct ldnq_layer_solution *solution, struct ldnq_error *err)
{
    (void)options;
    LDNQ_TRY(ldnq_problem_check(problem, err));
    struct gptq gptq = {
        .problem = problem,
        .pool = pool,
        .solution = solution,
        .groups = problem->groups,
        .outputs = problem->outputs,
        .inputs = problem->inputs,
        .rows = problem->groups * problem->outputs,
        .pieces = ldnq_piece_count(problem),
    };
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = solve_in(&gptq, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

const struct ldnq_solver ldnq_solver_gptq = {
    .name = "gptq",
    .summary = "input by input, those to come making up for each rounding",
    .fits_bias = true,
    .blocks = true,
    .solve = solve,
};
