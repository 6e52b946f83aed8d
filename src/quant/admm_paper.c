/* SPDX-License-Identifier: Apache-2.0 */
/* The paper's solver: ADMM on one layer's quadratic.
 *
 * Solves  the quadratic of quant.h, by iterating
 *
 *             X <- (H~ + rho I)^-1 (H~ W~ + rho (Q - U))
 *             Q <- a q nearest to V = X + U, codes and scale alternately
 *             U <- U + X - Q = V - Q
 *
 *         H~ is the Gram matrix augmented by the row and column of the bias (problem.h), W~
 *         the weight with the bias as its last column. No codebook restricts the bias: Q
 *         has X's value there, and U is 0. The best iterate is kept
 * Shapes  as in quant.h, one scale per row or per tensor; K~ is K, or K + 1 with a bias
 * Errors  NUMERIC (H~ + rho I is indefinite), NOMEM, USAGE (rho_factor out of range)
 * Threads pieces of rows and groups run in the pool
 * Source  the paper (quant.h). Where it leaves a choice, or we differ:
 *         - rho is a factor times the mean of H's diagonal; find_penalty() has the paper's
 *           choice, which is an option, and the reason
 *         - per channel, every row is a problem of its own: it stops by its own rises of the
 *           objective and keeps its own best iterate
 *         - per tensor with several groups, each group has the rho of its own Gram matrix,
 *           because those of depthwise groups differ by orders of magnitude; the shared
 *           scale weights the groups by their rho, as ADMM's projection with a penalty
 *           matrix does
 *         - an iterate is judged with the bias that is best for it, and the solution gets
 *           that bias, which can only lower the objective
 */
#include "quant/solver.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "linalg/blas.h"
#include "linalg/cholesky.h"
#include "quant/problem.h"
#include "quant/project.h"

/* The progress of the rows under one scale. */
struct admm_progress {
    double best, last; /* the least objective so far, and the last iterate's */
    int rises, iterations;
    bool stopped;
};

struct paper_admm {
    const struct ldnq_layer_problem *problem;
    const struct ldnq_solver_options *options;
    struct ldnq_pool *pool;
    struct ldnq_layer_solution *solution; /* the best iterate so far */
    size_t groups, m, k;                  /* G, M, K */
    size_t wide;                          /* K~, the cols of the augmented problem */
    size_t row_count, piece_count;        /* over all groups */
    double *factor;                       /* (G, wide, wide) Cholesky of H~ + rho I */
    double *rho;                          /* (G) */
    bool *indefinite;                     /* (G) */
    double *target;                       /* (G, M, wide) H~ W~ */
    double *x;               /* (G, M, K~) X, then V; in each piece the active rows come first */
    double *dual;            /* (G, M, K) U */
    int8_t *codes;           /* (G, M, K) of the iterate Q = a q */
    float *scales;           /* (G, M) */
    double *bias;            /* (G, M) the bias's column of Q */
    size_t *active_rows;     /* (G, M) in each piece, counted in the group */
    double *errors;          /* (G, M) */
    struct ldnq_span *spans; /* one per piece, for one scale per tensor */
    struct admm_progress *progress; /* (G, M), or one per tensor */
};

/* A piece of rows, with a list of the rows that have not stopped. */
struct active_piece {
    struct ldnq_piece piece;
    size_t *rows, count; /* counted in the group */
};

static struct active_piece find_active_piece(const struct paper_admm *admm, size_t index)
{
    struct active_piece active = { .piece = ldnq_piece_at(admm->problem, index) };
    active.rows = admm->active_rows + active.piece.offset;
    active.count = active.piece.rows;
    return active;
}

/* The index of the r-th active row among all G M rows. */
static size_t find_tensor_row(const struct paper_admm *admm, const struct active_piece *active,
                              size_t r)
{
    return active->piece.group * admm->m + active->rows[r];
}

static double *find_x_row(const struct paper_admm *admm, const struct active_piece *active,
                          size_t r)
{
    return admm->x + (active->piece.offset + r) * admm->wide;
}

/* ---- once per layer ------------------------------------------------------------ */

/* The paper takes H's first diagonal element. In a real network that is one kernel position
 * of one channel: on ResNet-20's layers it is between 0 and 5 times the mean of the diagonal,
 * and no factor suits them all. Where that element is almost 0, the mean replaces it.
 * Returns 0 for a Gram matrix of zeros. */
static double find_penalty(const struct paper_admm *admm, size_t group)
{
    const size_t k = admm->k;
    const double *gram = admm->problem->gram + group * k * k;
    double sum = 0;
    for (size_t i = 0; i < k; i++)
        sum += gram[i * k + i];
    const double mean = k ? sum / (double)k : 0;
    const bool first = admm->options->rho_from_first && gram[0] > 1e-3 * mean;
    return admm->options->rho_factor * (first ? gram[0] : mean);
}

/* Writes H~ + rho I to `out`, lower triangle. */
static void load_augmented(const struct paper_admm *admm, size_t group, double *out)
{
    const size_t k = admm->k, wide = admm->wide;
    const double *gram = admm->problem->gram + group * k * k;
    for (size_t i = 0; i < k; i++)
        memcpy(out + i * wide, gram + i * k, (i + 1) * sizeof *out);
    if (wide > k) {
        memcpy(out + k * wide, admm->problem->mean + group * k, k * sizeof *out);
        out[k * wide + k] = 1;
    }
    for (size_t i = 0; i < wide; i++)
        out[i * wide + i] += admm->rho[group];
}

/* With H = 0 all codes are equally good. The penalty 1 then makes X = Q - U, which keeps
 * the codes of the start. */
static void factor_augmented_gram(void *ctx, size_t group, size_t thread)
{
    (void)thread;
    struct paper_admm *admm = ctx;
    double *factor = admm->factor + group * admm->wide * admm->wide;
    const double rho = find_penalty(admm, group);
    admm->rho[group] = rho > 0 ? rho : 1;
    load_augmented(admm, group, factor);
    admm->indefinite[group] = ldnq_cholesky_factor(admm->wide, factor, NULL) != LDNQ_OK;
}

/* Copies W~ to x. */
static void load_weights(struct paper_admm *admm, const struct active_piece *active)
{
    for (size_t r = 0; r < active->count; r++) {
        const size_t row = find_tensor_row(admm, active, r);
        const float *weight = admm->problem->weight + row * admm->k;
        double *x = find_x_row(admm, active, r);
        for (size_t i = 0; i < admm->k; i++)
            x[i] = (double)weight[i];
        if (admm->wide > admm->k)
            x[admm->k] = admm->bias[row] = (double)admm->problem->bias[row];
    }
}

/* Computes H~ W~ from the W~ in x: W H + b m' for the weight, W m + b for the bias. */
static void compute_piece_targets(struct paper_admm *admm, const struct active_piece *active)
{
    const size_t k = admm->k, wide = admm->wide, group = active->piece.group;
    const double *x = find_x_row(admm, active, 0);
    double *target = admm->target + active->piece.offset * wide;
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, active->count, k, k, 1, x, wide,
               admm->problem->gram + group * k * k, k, 0, target, wide);
    if (wide == k)
        return;
    const double *mean = admm->problem->mean + group * k;
    for (size_t r = 0; r < active->count; r++, x += wide, target += wide) {
        target[k] = x[k];
        for (size_t i = 0; i < k; i++) {
            target[i] += x[k] * mean[i];
            target[k] += x[i] * mean[i];
        }
    }
}

static void load_piece(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct paper_admm *admm = ctx;
    struct active_piece active = find_active_piece(admm, chunk);
    for (size_t r = 0; r < active.count; r++)
        active.rows[r] = active.piece.first + r;
    load_weights(admm, &active);
    compute_piece_targets(admm, &active);
}

/* ---- the steps of an iteration, on a piece's active rows ---------------------- */

static void update_x(struct paper_admm *admm, const struct active_piece *active)
{
    const size_t k = admm->k, wide = admm->wide, group = active->piece.group;
    const double rho = admm->rho[group];
    for (size_t r = 0; r < active->count; r++) {
        const size_t row = find_tensor_row(admm, active, r);
        const double *target = admm->target + row * wide, *dual = admm->dual + row * k;
        const int8_t *codes = admm->codes + row * k;
        const double scale = (double)admm->scales[row];
        double *x = find_x_row(admm, active, r);
        for (size_t i = 0; i < k; i++)
            x[i] = target[i] + rho * (scale * codes[i] - dual[i]);
        if (wide > k)
            x[k] = target[k] + rho * admm->bias[row];
    }
    ldnq_cholesky_solve(wide, admm->factor + group * wide * wide, active->count,
                        find_x_row(admm, active, 0));
}

/* V = X + U, in X's memory; the bias, which no codebook restricts, goes to Q. */
static void add_dual(struct paper_admm *admm, const struct active_piece *active)
{
    const size_t k = admm->k;
    for (size_t r = 0; r < active->count; r++) {
        const size_t row = find_tensor_row(admm, active, r);
        const double *dual = admm->dual + row * k;
        double *x = find_x_row(admm, active, r);
        for (size_t i = 0; i < k; i++)
            x[i] += dual[i];
        if (admm->wide > k)
            admm->bias[row] = x[k];
    }
}

/* Q = the a q nearest to V, row by row. */
static void project_rows(struct paper_admm *admm, const struct active_piece *active)
{
    for (size_t r = 0; r < active->count; r++) {
        const size_t row = find_tensor_row(admm, active, r);
        struct ldnq_span span = {
            .v = find_x_row(admm, active, r),
            .v_stride = admm->wide,
            .rows = 1,
            .length = admm->k,
            .codes = admm->codes + row * admm->k,
            .weight = 1,
        };
        admm->scales[row] =
            ldnq_project(admm->problem->codebook, NULL, &span, 1, admm->scales[row]);
    }
}

/* Q = the a q nearest to V, with one scale for all rows. */
static void project_tensor(struct paper_admm *admm)
{
    const float start = admm->row_count ? admm->scales[0] : 0;
    const float scale =
        ldnq_project(admm->problem->codebook, admm->pool, admm->spans, admm->piece_count, start);
    for (size_t row = 0; row < admm->row_count; row++)
        admm->scales[row] = scale;
}

/* U = V - Q */
static void update_dual(struct paper_admm *admm, const struct active_piece *active)
{
    const size_t k = admm->k;
    for (size_t r = 0; r < active->count; r++) {
        const size_t row = find_tensor_row(admm, active, r);
        const double *v = find_x_row(admm, active, r), scale = (double)admm->scales[row];
        const int8_t *codes = admm->codes + row * k;
        double *dual = admm->dual + row * k;
        for (size_t i = 0; i < k; i++)
            dual[i] = v[i] - scale * codes[i];
    }
}

static void compute_iterate_row_errors(struct paper_admm *admm, const struct active_piece *active)
{
    const struct ldnq_choice iterate = { admm->codes, admm->scales, NULL };
    ldnq_compute_row_errors(admm->problem, active->piece.group, active->rows, active->count,
                            &iterate, admm->errors + active->piece.offset);
}

/* ---- which iterate is kept, and when to stop --------------------------------- */

/* Counts an iterate; returns whether it is the best so far. */
static bool update_progress(struct admm_progress *progress, double error,
                            const struct ldnq_solver_options *options)
{
    const bool is_better = error < progress->best;
    progress->rises = error > progress->last ? progress->rises + 1 : 0;
    progress->last = error;
    progress->best = is_better ? error : progress->best;
    progress->iterations++;
    progress->stopped =
        progress->rises >= options->max_rises || progress->iterations >= options->max_iterations;
    return is_better;
}

static void store_rows(struct paper_admm *admm, size_t first, size_t count)
{
    const size_t k = admm->k;
    memcpy(admm->solution->codes + first * k, admm->codes + first * k, count * k);
    memcpy(admm->solution->scales + first, admm->scales + first, count * sizeof *admm->scales);
}

/* Stores the rows whose iterate is their best, and removes those that stop. */
static void store_best_rows(struct paper_admm *admm, struct active_piece *active)
{
    const double *errors = admm->errors + active->piece.offset;
    size_t count = 0;
    for (size_t r = 0; r < active->count; r++) {
        const size_t row = find_tensor_row(admm, active, r);
        if (update_progress(&admm->progress[row], errors[r], admm->options))
            store_rows(admm, row, 1);
        if (!admm->progress[row].stopped)
            active->rows[count++] = active->rows[r];
    }
    active->count = count;
}

static void store_best_tensor(struct paper_admm *admm)
{
    double error = 0;
    for (size_t row = 0; row < admm->row_count; row++)
        error += admm->errors[row];
    if (update_progress(&admm->progress[0], error, admm->options))
        store_rows(admm, 0, admm->row_count);
}

/* ---- the iteration ------------------------------------------------------------ */

/* Rows are independent: a piece runs all its iterations at once. */
static void fit_piece(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct paper_admm *admm = ctx;
    struct active_piece active = find_active_piece(admm, chunk);
    while (active.count > 0) {
        update_x(admm, &active);
        add_dual(admm, &active);
        project_rows(admm, &active);
        update_dual(admm, &active);
        compute_iterate_row_errors(admm, &active);
        store_best_rows(admm, &active);
    }
}

static void update_x_of_piece(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct paper_admm *admm = ctx;
    struct active_piece active = find_active_piece(admm, chunk);
    update_x(admm, &active);
    add_dual(admm, &active);
}

static void update_dual_variables_of_piece(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct paper_admm *admm = ctx;
    struct active_piece active = find_active_piece(admm, chunk);
    update_dual(admm, &active);
    compute_iterate_row_errors(admm, &active);
}

static void fit_tensor(struct paper_admm *admm)
{
    while (!admm->progress[0].stopped) {
        ldnq_pool_run(admm->pool, admm->piece_count, update_x_of_piece, admm);
        project_tensor(admm);
        ldnq_pool_run(admm->pool, admm->piece_count, update_dual_variables_of_piece, admm);
        store_best_tensor(admm);
    }
}

/* ---- start and end -------------------------------------------------------------- */

/* Q = the start, with the bias as it is. */
static void load_starting_codes(struct paper_admm *admm)
{
    ldnq_pool_run(admm->pool, admm->piece_count, load_piece, admm);
    if (admm->row_count == 0)
        return;
    memcpy(admm->codes, admm->solution->codes, admm->row_count * admm->k);
    memcpy(admm->scales, admm->solution->scales, admm->row_count * sizeof *admm->scales);
}

static void init_progress(struct paper_admm *admm)
{
    const struct ldnq_choice choice = { admm->codes, admm->scales, NULL };
    const double sum = ldnq_compute_total_error(admm->problem, admm->pool, &choice, admm->errors);
    const bool is_per_channel = admm->problem->granularity == LDNQ_PER_CHANNEL;
    for (size_t i = 0; i < (is_per_channel ? admm->row_count : 1); i++) {
        struct admm_progress *progress = &admm->progress[i];
        progress->best = progress->last = is_per_channel ? admm->errors[i] : sum;
    }
}

/* The weight of each piece in the fit of a shared scale is its group's rho, 0 for groups whose
 * inputs are all zero. */
static void weigh_pieces_by_penalty(struct paper_admm *admm)
{
    for (size_t i = 0; i < admm->piece_count; i++) {
        const size_t group = ldnq_piece_at(admm->problem, i).group;
        admm->spans[i].weight = fmax(find_penalty(admm, group), 0);
    }
}

static enum ldnq_status factor_augmented_grams(struct paper_admm *admm, struct ldnq_error *err)
{
    double sum = 0;
    ldnq_pool_run(admm->pool, admm->groups, factor_augmented_gram, admm);
    for (size_t group = 0; group < admm->groups; group++) {
        if (admm->indefinite[group])
            return ldnq_fail(err, LDNQ_NUMERIC,
                             "the gram matrix of group %zu plus rho = %g is not positive definite",
                             group, admm->rho[group]);
        sum += admm->rho[group];
    }
    admm->solution->rho = admm->groups ? sum / (double)admm->groups : 0;
    return LDNQ_OK;
}

static void fit_by_granularity(struct paper_admm *admm)
{
    if (admm->options->max_iterations <= 0 || admm->row_count == 0)
        return;
    weigh_pieces_by_penalty(admm);
    if (admm->problem->granularity == LDNQ_PER_CHANNEL)
        ldnq_pool_run(admm->pool, admm->piece_count, fit_piece, admm);
    else
        fit_tensor(admm);
}

static int find_most_iterations(const struct paper_admm *admm)
{
    int most = 0;
    for (size_t row = 0; row < admm->row_count; row++)
        most = admm->progress[row].iterations > most ? admm->progress[row].iterations : most;
    return most;
}

/* ---- setup ---------------------------------------------------------------------- */

static bool allocate_paper_arrays(struct paper_admm *admm, struct ldnq_arena *arena,
                                  struct ldnq_error *err)
{
    const size_t rows = admm->row_count, k = admm->k, wide = admm->wide;
    /* No product of sizes overflows: the caller holds arrays that large. */
#define NEW(member, count)                                                                         \
    (admm->member = ldnq_arena_alloc(arena, count, sizeof *admm->member, err))
    return NEW(factor, admm->groups * wide * wide) && NEW(rho, admm->groups) &&
           NEW(indefinite, admm->groups) && NEW(target, rows * wide) && NEW(x, rows * wide) &&
           NEW(dual, rows * k) && NEW(codes, rows * k) && NEW(scales, rows) && NEW(bias, rows) &&
           NEW(active_rows, rows) && NEW(errors, rows) && NEW(spans, admm->piece_count) &&
           NEW(progress, rows + 1);
#undef NEW
}

static void init_spans(struct paper_admm *admm)
{
    for (size_t i = 0; i < admm->piece_count; i++) {
        const struct ldnq_piece piece = ldnq_piece_at(admm->problem, i);
        admm->spans[i] = (struct ldnq_span){
            .v = admm->x + piece.offset * admm->wide,
            .v_stride = admm->wide,
            .rows = piece.rows,
            .length = admm->k,
            .codes = admm->codes + piece.offset * admm->k,
        };
    }
}

enum ldnq_status ldnq_improve_by_paper_admm(struct ldnq_solver_task *task, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = task->problem;
    const struct ldnq_solver_options *options = task->options;
    if (!(options->rho_factor > 0) || !isfinite(options->rho_factor))
        return ldnq_fail(err, LDNQ_USAGE, "rho's factor is %g; it must be above 0, e.g. 0.5",
                         options->rho_factor);
    struct paper_admm admm = {
        .problem = problem,
        .options = options,
        .pool = task->pool,
        .solution = task->solution,
        .groups = problem->groups,
        .m = problem->rows,
        .k = problem->cols,
        .wide = problem->cols + (problem->mean ? 1 : 0),
        .row_count = problem->groups * problem->rows,
        .piece_count = ldnq_piece_count(problem),
    };
    if (!allocate_paper_arrays(&admm, task->arena, err))
        return LDNQ_NOMEM;
    init_spans(&admm);
    LDNQ_TRY(factor_augmented_grams(&admm, err));
    load_starting_codes(&admm);
    init_progress(&admm);
    fit_by_granularity(&admm);
    task->solution->iterations = find_most_iterations(&admm);
    return LDNQ_OK;
}
