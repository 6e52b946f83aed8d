/* SPDX-License-Identifier: Apache-2.0 */
/* ADMM on the centred quadratic, preconditioned, with a penalty that grows.
 *
 * Solves  the quadratic of quant.h with the bias eliminated, C = H - m m', by iterating
 *
 *             X <- (C + rho D)^-1 (C W + rho D (Q - U))         D = diag C
 *             Q <- a q nearest to V = X + U, codes and scale alternately, weighted by D
 *             U <- V - Q
 *
 *         In units where D is 1 this is plain ADMM with the penalty rho, so that one rho
 *         serves every layer. A small rho lets X move far from the weight; its growth then
 *         makes the codes converge. Every fifth iterate is judged with the scale that is
 *         best under C, a = q'Cw / q'Cq (summed over all rows per tensor), and the best one
 *         is kept. A row whose codes have converged, with X next to Q, drops out
 * Shapes  as in quant.h, one scale per row or per tensor
 * Errors  NUMERIC (C is indefinite), NOMEM
 * Threads pieces of rows and groups run in the pool
 * Source  the scheme of the paper (quant.h). Where we differ: the preconditioner D, the
 *         growing penalty, the centred matrix in place of the augmented one, and the scale
 *         under C. Of the options the trace alone is read
 */
#include "quant/solver.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "linalg/blas.h"
#include "linalg/cholesky.h"
#include "quant/low_rank_penalty.h"
#include "quant/problem.h"
#include "quant/project.h"

#define RHO_FIRST 0.03
#define RHO_GROWTH 1.29 /* to about 5 in the end */
#define ITERATIONS_PER_RHO 10
#define ITERATIONS 200
#define JUDGE_EVERY 5
#define PROJECTION_ROUNDS 2 /* alternations of codes and scale per projection */
#define QUIET 10            /* iterations without a change before a row drops out */
#define RESIDUAL 1e-6       /* |X - Q|^2 / |Q|^2, both weighted by D */
#define LARGE 1536          /* cols from which factorizations take most of the time */

/* D is at least this part of its mean, because the factorization needs a penalty for
 * constant columns too. The larger parts are for centred matrices that rounding of the
 * statistics has made indefinite. */
static const double least_parts[] = { 1e-4, 1e-2, 1, 400 };

/* How rho grows. */
struct penalty_schedule {
    int iterations, iterations_per_rho, judge_every;
    double growth;
};

struct admm_row {
    double ww, qw, qq;     /* w'Cw, q'Cw, q'Cq of the iterate */
    double vq, dq;         /* V'Dq, q'Dq */
    double best;           /* the least objective; per tensor rows[0] has the sum's */
    double residual, size; /* |X - Q|^2, |Q|^2, weighted by D */
    float scale;
    int quiet, iterations;
    bool changed, stopped;
};

struct admm {
    const struct ldnq_layer_problem *problem;
    const struct ldnq_solver_options *options;
    struct ldnq_pool *pool;
    struct ldnq_layer_solution *solution; /* the best iterate so far */
    double zero;                          /* the objective of Q = 0 */
    size_t k, row_count, pieces;          /* K, G M, pieces of rows */
    bool is_per_channel;
    struct penalty_schedule schedule;
    double rho, ratio; /* ratio: the previous rho divided by this one */
    bool judging;
    const double *centred; /* (G, K, K) C; NULL where it is of low rank */
    const double *powers;  /* (K) then its diagonal */
    struct ldnq_low_rank_penalty low_rank;
    double *diagonal;      /* (G, K) D */
    double *factor;        /* (G, K, K) Cholesky of C + rho D */
    bool *indefinite;      /* (G) */
    double *target;        /* (G M, K) C W */
    double *x;             /* (G M, K) X, then V; in each piece the active rows come first */
    double *work;          /* (G M, K) */
    double *dual;          /* (G M, K) U */
    int8_t *codes, *last;  /* (G M, K) of this iterate and of the one before */
    struct admm_row *rows; /* (G M) */
};

/* Large layers go through the same range of rho in fewer and larger steps, because each
 * rho costs a factorization. */
static struct penalty_schedule choose_penalty_schedule(size_t k)
{
    if (k < LARGE)
        return (struct penalty_schedule){ ITERATIONS, ITERATIONS_PER_RHO, JUDGE_EVERY, RHO_GROWTH };
    return (struct penalty_schedule){
        36, 3, 3, pow(RHO_GROWTH, (double)ITERATIONS / ITERATIONS_PER_RHO / 12)
    };
}

/* ---- the matrices of a group ------------------------------------------------------ */

static double get_power(const struct admm *admm, size_t group, size_t col)
{
    return admm->centred ? admm->centred[(group * admm->k + col) * admm->k + col]
                         : admm->powers[col];
}

/* Computes D of a group: C's diagonal, but at least `least` times its mean. */
static void load_diagonal(struct admm *admm, size_t group, double least)
{
    const size_t k = admm->k;
    double *d = admm->diagonal + group * k, sum = 0;
    for (size_t i = 0; i < k; i++)
        sum += fmax(get_power(admm, group, i), 0);
    least = sum > 0 ? least * sum / (double)k : 1;
    for (size_t i = 0; i < k; i++)
        d[i] = fmax(get_power(admm, group, i), least);
}

/* Writes C times rows of a group to `product`. */
static void multiply_by_centred(const struct admm *admm, size_t group, size_t rows, const double *x,
                                double *product, size_t thread)
{
    const size_t k = admm->k;
    if (rows == 0 || k == 0)
        return;
    if (!admm->centred)
        ldnq_low_rank_penalty_multiply(&admm->low_rank, rows, x, product, thread);
    else
        ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, k, k, 1, x, k, admm->centred + group * k * k, k, 0,
                   product, k);
}

static void factor_penalized_gram(void *ctx, size_t group, size_t thread)
{
    (void)thread;
    struct admm *admm = ctx;
    const size_t k = admm->k;
    double *factor = admm->factor + group * k * k;
    if (!admm->centred) {
        admm->indefinite[group] =
            !ldnq_low_rank_penalty_factor(&admm->low_rank, admm->rho, admm->diagonal);
        return;
    }
    memcpy(factor, admm->centred + group * k * k, k * k * sizeof *factor);
    for (size_t i = 0; i < k; i++)
        factor[i * k + i] += admm->rho * admm->diagonal[group * k + i];
    struct ldnq_error err;
    admm->indefinite[group] = ldnq_cholesky_factor(k, factor, &err) != LDNQ_OK;
}

/* The first factorization: D is raised until it succeeds. It then succeeds for every larger
 * rho too. */
static void factor_group_with_first_penalty(void *ctx, size_t group, size_t thread)
{
    struct admm *admm = ctx;
    admm->indefinite[group] = true;
    for (size_t i = 0; i < sizeof least_parts / sizeof *least_parts && admm->indefinite[group];
         i++) {
        load_diagonal(admm, group, least_parts[i]);
        factor_penalized_gram(admm, group, thread);
    }
}

static enum ldnq_status factor_with_first_penalty(struct admm *admm, struct ldnq_error *err)
{
    ldnq_pool_run(admm->pool, admm->problem->groups, factor_group_with_first_penalty, admm);
    for (size_t g = 0; g < admm->problem->groups; g++)
        if (admm->indefinite[g])
            return ldnq_fail(err, LDNQ_NUMERIC,
                             "the gram matrix of group %zu is not positive semidefinite, nor is "
                             "it with %g times its mean diagonal added",
                             g,
                             admm->rho * least_parts[sizeof least_parts / sizeof *least_parts - 1]);
    return LDNQ_OK;
}

/* ---- one piece's part of an iteration ---------------------------------------------- */

static double dot_product(const double *x, const double *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* Lists the active rows of a piece, in order, and returns their number. */
static size_t list_active_rows(const struct admm *admm, const struct ldnq_piece *piece,
                               size_t *rows)
{
    size_t n = 0;
    for (size_t r = 0; r < piece->rows; r++)
        if (!admm->rows[piece->offset + r].stopped)
            rows[n++] = piece->offset + r;
    return n;
}

static void update_x(struct admm *admm, const struct ldnq_piece *piece, const size_t *rows,
                     size_t n, size_t thread)
{
    const size_t k = admm->k;
    const double *d = admm->diagonal + piece->group * k;
    double *x = admm->x + piece->offset * k;
    for (size_t r = 0; r < n; r++) {
        const size_t at = rows[r] * k;
        const double scale = (double)admm->rows[rows[r]].scale;
        for (size_t i = 0; i < k; i++) {
            admm->dual[at + i] *= admm->ratio;
            x[r * k + i] = admm->target[at + i] +
                           admm->rho * d[i] * (scale * admm->codes[at + i] - admm->dual[at + i]);
        }
    }
    if (admm->centred)
        ldnq_cholesky_solve(k, admm->factor + piece->group * k * k, n, x);
    else if (n > 0)
        ldnq_low_rank_penalty_solve(&admm->low_rank, n, x, thread);
    for (size_t r = 0; r < n; r++) {
        memcpy(admm->last + rows[r] * k, admm->codes + rows[r] * k, k);
        for (size_t i = 0; i < k; i++)
            x[r * k + i] += admm->dual[rows[r] * k + i];
    }
}

/* Finds the codes nearest to V at the row's scale, and V'Dq and q'Dq for the next scale. */
static void project_row(struct admm *admm, const double *v, const double *d, size_t at)
{
    struct admm_row *row = &admm->rows[at];
    int8_t *q = admm->codes + at * admm->k;
    struct ldnq_span span = {
        .v = v, .v_stride = admm->k, .rows = 1, .length = admm->k, .codes = q, .weight = 1
    };
    ldnq_project_codes(admm->problem->codebook, &span, row->scale);
    ldnq_clear_codes_of_pruned_weights(admm->problem, at * admm->k, admm->k, q);
    row->vq = row->dq = 0;
    for (size_t i = 0; i < admm->k; i++) {
        row->vq += d[i] * v[i] * q[i];
        row->dq += d[i] * q[i] * q[i];
    }
}

/* The X step, and per channel the Q step. */
static void update_x_of_piece(void *ctx, size_t chunk, size_t thread)
{
    struct admm *admm = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(admm->problem, chunk);
    size_t rows[LDNQ_PIECE_ROWS];
    const size_t n = list_active_rows(admm, &piece, rows);
    update_x(admm, &piece, rows, n, thread);
    for (size_t r = 0; admm->is_per_channel && r < n; r++)
        for (int round = 0; round < PROJECTION_ROUNDS; round++) {
            struct admm_row *row = &admm->rows[rows[r]];
            project_row(admm, admm->x + (piece.offset + r) * admm->k,
                        admm->diagonal + piece.group * admm->k, rows[r]);
            row->scale = ldnq_compute_best_scale(row->vq, row->dq, row->scale);
        }
}

static void project_piece(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct admm *admm = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(admm->problem, chunk);
    size_t rows[LDNQ_PIECE_ROWS];
    const size_t n = list_active_rows(admm, &piece, rows);
    for (size_t r = 0; r < n; r++)
        project_row(admm, admm->x + (piece.offset + r) * admm->k,
                    admm->diagonal + piece.group * admm->k, rows[r]);
}

/* Computes q'Cw and q'Cq of the iterate, in the memory of V. */
static void compute_error_terms(struct admm *admm, const struct ldnq_piece *piece,
                                const size_t *rows, size_t n, size_t thread)
{
    const size_t k = admm->k;
    double *q = admm->x + piece->offset * k, *cq = admm->work + piece->offset * k;
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < k; i++)
            q[r * k + i] = admm->codes[rows[r] * k + i];
    multiply_by_centred(admm, piece->group, n, q, cq, thread);
    for (size_t r = 0; r < n; r++) {
        struct admm_row *row = &admm->rows[rows[r]];
        row->qw = dot_product(q + r * k, admm->target + rows[r] * k, k);
        row->qq = dot_product(q + r * k, cq + r * k, k);
    }
}

/* The U step and the row's state of convergence; then V's memory is free for judging. */
static void update_dual_variables_of_piece(void *ctx, size_t chunk, size_t thread)
{
    struct admm *admm = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(admm->problem, chunk);
    const size_t k = admm->k;
    const double *d = admm->diagonal + piece.group * k;
    size_t rows[LDNQ_PIECE_ROWS];
    const size_t n = list_active_rows(admm, &piece, rows);
    for (size_t r = 0; r < n; r++) {
        struct admm_row *row = &admm->rows[rows[r]];
        const double *v = admm->x + (piece.offset + r) * k;
        row->residual = row->size = 0;
        for (size_t i = 0; i < k; i++) {
            double *u = admm->dual + rows[r] * k + i;
            const double g = (double)row->scale * admm->codes[rows[r] * k + i];
            const double gap = v[i] - *u - g;
            row->residual += d[i] * gap * gap;
            row->size += d[i] * g * g;
            *u = v[i] - g;
        }
        row->changed = memcmp(admm->last + rows[r] * k, admm->codes + rows[r] * k, k) != 0;
        row->quiet = row->changed ? 0 : row->quiet + 1;
        row->iterations++;
    }
    if (admm->judging)
        compute_error_terms(admm, &piece, rows, n, thread);
}

/* ---- the best iterate --------------------------------------------------------------- */

/* Stores the iterate of `count` rows that share a scale, if it is the best so far. */
static void store_if_best(struct admm *admm, size_t first, size_t count)
{
    double ww = 0, qw = 0, qq = 0;
    for (size_t r = first; r < first + count; r++) {
        ww += admm->rows[r].ww;
        qw += admm->rows[r].qw;
        qq += admm->rows[r].qq;
    }
    const float scale = qw > 0 ? ldnq_compute_best_scale(qw, qq, 0) : 0;
    const double a = (double)scale, error = ww - 2 * a * qw + a * a * qq;
    if (!(scale > 0) || !(error < admm->rows[first].best))
        return;
    admm->rows[first].best = error;
    memcpy(admm->solution->codes + first * admm->k, admm->codes + first * admm->k, count * admm->k);
    for (size_t r = first; r < first + count; r++)
        admm->solution->scales[r] = scale;
}

static void store_best(struct admm *admm)
{
    if (!admm->is_per_channel) {
        store_if_best(admm, 0, admm->row_count);
        return;
    }
    for (size_t r = 0; r < admm->row_count; r++)
        if (!admm->rows[r].stopped)
            store_if_best(admm, r, 1);
}

static bool has_converged(const struct admm_row *row)
{
    return row->quiet >= QUIET && row->residual <= RESIDUAL * row->size;
}

/* Stops converged rows; rows that share a scale stop together. Returns whether any row is
 * still active. */
static bool stop_converged(struct admm *admm)
{
    size_t converged = 0;
    for (size_t r = 0; r < admm->row_count; r++) {
        struct admm_row *row = &admm->rows[r];
        row->stopped = row->stopped || (admm->is_per_channel && has_converged(row));
        converged += row->stopped || has_converged(row);
    }
    return converged < admm->row_count;
}

/* The Q step where all rows share a scale. */
static void project_tensor(struct admm *admm)
{
    double vq = 0, dq = 0;
    ldnq_pool_run(admm->pool, admm->pieces, project_piece, admm);
    for (size_t r = 0; r < admm->row_count; r++) {
        vq += admm->rows[r].vq;
        dq += admm->rows[r].dq;
    }
    const float scale = ldnq_compute_best_scale(vq, dq, admm->rows[0].scale);
    for (size_t r = 0; r < admm->row_count; r++)
        admm->rows[r].scale = scale;
}

static void report_iteration(const struct admm *admm, int iteration)
{
    struct ldnq_trace_row out = { .iteration = iteration, .rho = admm->rho };
    double best = 0, residual = 0, size = 0;
    for (size_t r = 0; r < admm->row_count; r++) {
        const struct admm_row *row = &admm->rows[r];
        best += admm->is_per_channel || r == 0 ? row->best : 0;
        residual += row->residual;
        size += row->size;
        out.active += !row->stopped;
        out.changed += !row->stopped && row->changed;
    }
    out.objective = admm->zero > 0 ? best / admm->zero : 0;
    out.residual = size > 0 ? sqrt(residual / size) : 0;
    admm->options->trace(admm->options->trace_ctx, &out);
}

/* Rows with scales of their own are iterated by the rank that has their piece. */
static void run_pieces(struct admm *admm, ldnq_chunk_fn *run)
{
    if (admm->is_per_channel)
        ldnq_run_pieces(admm->problem, admm->pool, run, admm);
    else
        ldnq_pool_run(admm->pool, admm->pieces, run, admm);
}

/* Codes are read where the iterate is judged. */
static void exchange_iterate(struct admm *admm)
{
    if (!admm->is_per_channel)
        return;
    ldnq_exchange_rows(admm->problem, admm->pool, admm->rows, sizeof *admm->rows);
    if (admm->judging)
        ldnq_exchange_rows(admm->problem, admm->pool, admm->codes, admm->k);
}

static enum ldnq_status run_admm_iterations(struct admm *admm, struct ldnq_error *err)
{
    bool is_active = admm->row_count > 0 && admm->k > 0;
    admm->rho = RHO_FIRST;
    LDNQ_TRY(factor_with_first_penalty(admm, err));
    for (int i = 0; is_active && i < admm->schedule.iterations; i++) {
        /* ---- a larger penalty */
        admm->ratio = 1;
        if (i > 0 && i % admm->schedule.iterations_per_rho == 0) {
            admm->rho *= admm->schedule.growth;
            admm->ratio = 1 / admm->schedule.growth;
            ldnq_pool_run(admm->pool, admm->problem->groups, factor_penalized_gram, admm);
        }
        /* ---- X, Q and U */
        admm->judging = (i + 1) % admm->schedule.judge_every == 0;
        run_pieces(admm, update_x_of_piece);
        for (int round = 0; !admm->is_per_channel && round < PROJECTION_ROUNDS; round++)
            project_tensor(admm);
        run_pieces(admm, update_dual_variables_of_piece);
        exchange_iterate(admm);
        /* ---- the best iterate so far, and the rows that have converged */
        if (admm->judging)
            store_best(admm);
        is_active = stop_converged(admm);
        if (admm->options->trace)
            report_iteration(admm, i + 1);
    }
    return LDNQ_OK;
}

/* ---- start and end --------------------------------------------------------------------- */

/* Computes C W, w'Cw, and q'Cw and q'Cq of the start. */
static void load_piece_and_error_terms(void *ctx, size_t chunk, size_t thread)
{
    struct admm *admm = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(admm->problem, chunk);
    const size_t k = admm->k, at = piece.offset * k;
    size_t rows[LDNQ_PIECE_ROWS];
    const size_t n = list_active_rows(admm, &piece, rows);
    for (size_t i = at; i < at + piece.rows * k; i++)
        admm->x[i] = (double)admm->problem->weight[i];
    multiply_by_centred(admm, piece.group, n, admm->x + at, admm->target + at, thread);
    for (size_t r = 0; r < n; r++)
        admm->rows[rows[r]].ww = dot_product(admm->x + at + r * k, admm->target + at + r * k, k);
    compute_error_terms(admm, &piece, rows, n, thread);
}

/* Makes the start the first iterate, which is the best so far, with its best scale. */
static void load_starting_codes(struct admm *admm)
{
    double sum = 0;
    memcpy(admm->codes, admm->solution->codes, admm->row_count * admm->k);
    memset(admm->dual, 0, admm->row_count * admm->k * sizeof *admm->dual);
    for (size_t r = 0; r < admm->row_count; r++)
        admm->rows[r] = (struct admm_row){ .scale = admm->solution->scales[r] };
    run_pieces(admm, load_piece_and_error_terms);
    exchange_iterate(admm);
    for (size_t r = 0; r < admm->row_count; r++) {
        struct admm_row *row = &admm->rows[r];
        const double a = (double)row->scale;
        row->best = row->ww - 2 * a * row->qw + a * a * row->qq;
        sum += row->best;
    }
    if (!admm->is_per_channel && admm->row_count > 0)
        admm->rows[0].best = sum;
    store_best(admm);
}

static double compute_mean_penalty(const struct admm *admm)
{
    const size_t n = admm->problem->groups * admm->k;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += admm->diagonal[i];
    return n > 0 ? admm->rho * sum / (double)n : 0;
}

static bool allocate_admm_arrays(struct admm *admm, struct ldnq_arena *arena,
                                 struct ldnq_error *err)
{
    const size_t g = admm->problem->groups, k = admm->k, all = admm->row_count * k;
    /* No product of sizes overflows: the caller holds arrays that large. */
#define NEW(member, n) (admm->member = ldnq_arena_alloc(arena, n, sizeof *admm->member, err))
    return NEW(diagonal, g * k) && NEW(factor, admm->centred ? g * k * k : 0) &&
           NEW(indefinite, g) && NEW(target, all) && NEW(x, all) && NEW(work, all) &&
           NEW(dual, all) && NEW(codes, all) && NEW(last, all) && NEW(rows, admm->row_count);
#undef NEW
}

enum ldnq_status ldnq_improve_by_admm(struct ldnq_solver_task *task, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = task->problem;
    struct admm admm = {
        .problem = problem,
        .options = task->options,
        .pool = task->pool,
        .solution = task->solution,
        .zero = task->zero,
        .k = problem->cols,
        .row_count = problem->groups * problem->rows,
        .pieces = ldnq_piece_count(problem),
        .is_per_channel = problem->granularity == LDNQ_PER_CHANNEL,
        .schedule = choose_penalty_schedule(problem->cols),
    };
    struct ldnq_layer_problem reduced;
    LDNQ_TRY(ldnq_problem_eliminate_bias(problem, &reduced, task->arena, err));
    admm.centred = reduced.gram;
    admm.powers = reduced.diagonal;
    if (problem->low_rank)
        LDNQ_TRY(ldnq_low_rank_penalty_init(&admm.low_rank, problem, ldnq_pool_threads(task->pool),
                                            task->arena, err));
    if (!allocate_admm_arrays(&admm, task->arena, err))
        return LDNQ_NOMEM;
    load_starting_codes(&admm);
    LDNQ_TRY(run_admm_iterations(&admm, err));
    for (size_t r = 0; r < admm.row_count; r++)
        if (admm.rows[r].iterations > task->solution->iterations)
            task->solution->iterations = admm.rows[r].iterations;
    task->solution->rho = compute_mean_penalty(&admm);
    return LDNQ_OK;
}
