/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/exact.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "linalg/cholesky.h"
#include "quant/problem.h"
#include "quant/project.h"

#define MAX_COLS LDNQ_EXACT_COLS

/* The ratio of neighbouring scales. */
#define SCALE_STEP 1.03
/* Rounds of codes and scale where all rows share a scale. */
#define ROUNDS 8
/* Added to the diagonal, in units of its mean: a constant column then costs almost nothing,
 * but its code stays near the weight. */
#define DAMPING 1e-9

struct exact {
    const struct ldnq_layer_problem *problem;
    int steps;
    int8_t *codes;
    float *scales;
    double *errors;
    double *factor;   /* (G, K, K) upper triangle L' of H = L L' */
    bool *indefinite; /* (G) */
    double *qw, *qq;  /* (G, M) q'Hw and q'Hq, where rows share a scale */
};

/* The search of one row, in units of codes: for the lattice point q nearest to w / a. */
struct exact_search {
    const struct ldnq_codebook *codebook;
    const double *factor;
    size_t k, nodes;
    double centre[MAX_COLS]; /* w / a */
    double shift[MAX_COLS];  /* q - w / a of the codes chosen so far */
    double best;             /* least |L'(q - w/a)|^2 so far */
    int8_t codes[MAX_COLS], best_codes[MAX_COLS];
    bool found;
};

/* ---- one search ----------------------------------------------------------------------- */

/* The best real value for code i, given the codes of the columns after it. */
static double find_best_real_code(const struct exact_search *s, size_t i)
{
    const double *factor = s->factor + i * s->k;
    double sum = 0;
    for (size_t j = i + 1; j < s->k; j++)
        sum += factor[j] * s->shift[j];
    return s->centre[i] - sum / factor[i];
}

/* Returns the next code in order of distance from `at`; `low` and `high` are the next ones
 * on each side. */
static size_t find_next_nearest_code(const struct exact_search *s, double at, ptrdiff_t *low,
                                     size_t *high)
{
    const int16_t *codes = s->codebook->codes;
    const bool has_low = *low >= 0, has_high = *high < s->codebook->count;
    if (has_low && (!has_high || at - codes[*low] <= codes[*high] - at))
        return (size_t)(*low)--;
    return (*high)++;
}

static void descend_tree(struct exact_search *s, size_t level, double spent)
{
    const size_t i = level - 1;
    const double at = find_best_real_code(s, i), unit = s->factor[i * s->k + i];
    size_t high = 0;
    while (high < s->codebook->count && s->codebook->codes[high] < at)
        high++;
    ptrdiff_t low = (ptrdiff_t)high - 1;
    for (size_t tried = 0; tried < s->codebook->count; tried++) {
        const int16_t code = s->codebook->codes[find_next_nearest_code(s, at, &low, &high)];
        const double step = unit * (code - at), sum = spent + step * step;
        if (sum >= s->best || s->nodes++ >= LDNQ_EXACT_NODES)
            return;
        s->codes[i] = (int8_t)code;
        s->shift[i] = code - s->centre[i];
        if (i > 0) {
            descend_tree(s, i, sum);
            continue;
        }
        s->best = sum;
        s->found = true;
        memcpy(s->best_codes, s->codes, s->k);
    }
}

/* Searches for codes with an objective below `error` at this scale; returns whether there
 * are any. */
static bool search_row(const struct exact *exact, size_t row, double scale, double error,
                       struct exact_search *s)
{
    const struct ldnq_layer_problem *problem = exact->problem;
    s->codebook = problem->codebook;
    s->k = problem->cols;
    s->factor = exact->factor + row / problem->rows * s->k * s->k;
    s->nodes = 0;
    s->found = false;
    s->best = error / (scale * scale);
    for (size_t i = 0; i < s->k; i++)
        s->centre[i] = (double)problem->weight[row * s->k + i] / scale;
    descend_tree(s, s->k, 0);
    return s->found;
}

/* ---- objectives ------------------------------------------------------------------------- */

/* w'Hw, q'Hw and q'Hq of one row. */
struct row_sums {
    double ww, qw, qq;
};

static struct row_sums compute_row_quadratic_terms(const struct exact *exact, size_t row,
                                                   const int8_t *codes)
{
    const struct ldnq_layer_problem *problem = exact->problem;
    const size_t k = problem->cols;
    const double *gram = problem->gram + row / problem->rows * k * k;
    const float *w = problem->weight + row * k;
    struct row_sums sums = { 0, 0, 0 };
    for (size_t i = 0; i < k; i++) {
        double hw = 0, hq = 0;
        for (size_t j = 0; j < k; j++) {
            hw += gram[i * k + j] * (double)w[j];
            hq += gram[i * k + j] * codes[j];
        }
        sums.ww += (double)w[i] * hw;
        sums.qw += codes[i] * hw;
        sums.qq += codes[i] * hq;
    }
    return sums;
}

static double compute_row_error(const struct row_sums *sums, double scale)
{
    return sums->ww + scale * (scale * sums->qq - 2 * sums->qw);
}

/* ---- rows with scales of their own -------------------------------------------------------- */

static void search_scales(const struct exact *exact, size_t row)
{
    const double around = (double)exact->scales[row];
    const int steps = exact->steps;
    struct exact_search search;
    for (int i = -steps; i <= steps; i++) {
        const double scale = around * pow(SCALE_STEP, i);
        if (!ldnq_is_scale(scale) || !search_row(exact, row, scale, exact->errors[row], &search))
            continue;
        const struct row_sums sums = compute_row_quadratic_terms(exact, row, search.best_codes);
        const float fitted = ldnq_compute_best_scale(sums.qw, sums.qq, (float)scale);
        const double error = compute_row_error(&sums, (double)fitted);
        if (!(error < exact->errors[row]))
            continue;
        exact->errors[row] = error > 0 ? error : 0;
        exact->scales[row] = fitted;
        memcpy(exact->codes + row * search.k, search.best_codes, search.k);
    }
}

static void search_piece(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct exact *exact = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(exact->problem, chunk);
    for (size_t r = 0; !exact->indefinite[piece.group] && r < piece.rows; r++)
        search_scales(exact, piece.offset + r);
}

/* ---- rows that share a scale ---------------------------------------------------------------- */

static void search_codes_piece(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct exact *exact = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(exact->problem, chunk);
    const size_t k = exact->problem->cols;
    struct exact_search search;
    for (size_t row = piece.offset; row < piece.offset + piece.rows; row++) {
        if (!exact->indefinite[piece.group] &&
            search_row(exact, row, (double)exact->scales[row], exact->errors[row], &search))
            memcpy(exact->codes + row * k, search.best_codes, k);
        const struct row_sums sums =
            compute_row_quadratic_terms(exact, row, exact->codes + row * k);
        exact->errors[row] = sums.ww;
        exact->qw[row] = sums.qw;
        exact->qq[row] = sums.qq;
    }
}

static void search_tensor(struct exact *exact, struct ldnq_pool *pool)
{
    const size_t rows = exact->problem->groups * exact->problem->rows;
    for (int round = 0; round < ROUNDS; round++) {
        double qw = 0, qq = 0;
        ldnq_pool_run(pool, ldnq_piece_count(exact->problem), search_codes_piece, exact);
        for (size_t row = 0; row < rows; row++) {
            qw += exact->qw[row];
            qq += exact->qq[row];
        }
        const float scale = ldnq_compute_best_scale(qw, qq, exact->scales[0]);
        for (size_t row = 0; row < rows; row++) {
            const struct row_sums sums = { exact->errors[row], exact->qw[row], exact->qq[row] };
            const double error = compute_row_error(&sums, (double)scale);
            exact->errors[row] = error > 0 ? error : 0;
            exact->scales[row] = scale;
        }
    }
}

/* ---- all ------------------------------------------------------------------------------------ */

static void transpose_factor(size_t k, double *factor)
{
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < i; j++)
            factor[j * k + i] = factor[i * k + j];
}

static void factor_damped_gram(struct exact *exact, size_t group)
{
    const size_t k = exact->problem->cols;
    const double *gram = exact->problem->gram + group * k * k;
    double *factor = exact->factor + group * k * k, mean = 0;
    memcpy(factor, gram, k * k * sizeof *factor);
    for (size_t i = 0; i < k; i++)
        mean += gram[i * k + i] / (double)k;
    for (size_t i = 0; i < k; i++)
        factor[i * k + i] += DAMPING * mean;
    exact->indefinite[group] = ldnq_cholesky_factor(k, factor, NULL) != LDNQ_OK;
    transpose_factor(k, factor);
}

static enum ldnq_status allocate_and_search_exactly(struct exact *exact, struct ldnq_pool *pool,
                                                    struct ldnq_arena *arena,
                                                    struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = exact->problem;
    const size_t groups = problem->groups, k = problem->cols, rows = groups * problem->rows;
    exact->factor = ldnq_arena_alloc(arena, groups * k * k, sizeof *exact->factor, err);
    exact->indefinite = ldnq_arena_alloc(arena, groups, sizeof *exact->indefinite, err);
    exact->qw = ldnq_arena_alloc(arena, rows, sizeof *exact->qw, err);
    exact->qq = ldnq_arena_alloc(arena, rows, sizeof *exact->qq, err);
    if (!exact->factor || !exact->indefinite || !exact->qw || !exact->qq)
        return LDNQ_NOMEM;
    for (size_t group = 0; group < groups; group++)
        factor_damped_gram(exact, group);
    if (problem->granularity == LDNQ_PER_TENSOR) {
        search_tensor(exact, pool);
        return LDNQ_OK;
    }
    ldnq_run_pieces(problem, pool, search_piece, exact);
    ldnq_exchange_rows(problem, pool, exact->codes, k);
    ldnq_exchange_rows(problem, pool, exact->scales, sizeof *exact->scales);
    ldnq_exchange_rows(problem, pool, exact->errors, sizeof *exact->errors);
    return LDNQ_OK;
}

enum ldnq_status ldnq_search_exactly(const struct ldnq_layer_problem *problem, int steps,
                                     struct ldnq_pool *pool, int8_t *codes, float *scales,
                                     double *errors, struct ldnq_error *err)
{
    struct exact exact = {
        .problem = problem, .steps = steps, .codes = codes, .scales = scales, .errors = errors
    };
    if (problem->zeros) /* the search knows no codes that are held */
        return LDNQ_OK;
    if (problem->low_rank || problem->cols == 0 || problem->cols > LDNQ_EXACT_COLS ||
        problem->rows == 0 || problem->block_index)
        return LDNQ_OK;
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = allocate_and_search_exactly(&exact, pool, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}
