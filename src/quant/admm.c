/* ADMM on the centred quadratic, preconditioned, with a penalty that grows.
 *
 *     X <- (C + rho D)^-1 (C W + rho D (G - U))     C = H - m m', D = diag C
 *     G <- the nearest codes of V = X + U, their scale weighted by D, by turns
 *     U <- V - G
 *
 * With a bias, C is what its exact optimum leaves of the objective. In units
 * where D is 1 this is plain ADMM with the penalty rho, so one rho serves every
 * layer. A small rho lets X move far from the weight; its growth then makes the
 * codes settle. Each fifth iterate is judged with the scale that is best under C,
 * a = q'Cw / q'Cq, jointly per tensor, and the best is kept. A channel whose
 * codes have settled, with X next to G, drops out.
 *
 * A factorization serves a group's channels for as long as rho stays. Large
 * layers take the same range of rho in fewer and larger steps (pace()).
 * Of the options the trace alone is read; the rest are the paper's solver's.
 */
#include "quant/solver.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "linalg/blas.h"
#include "linalg/cholesky.h"
#include "quant/problem.h"
#include "quant/project.h"

#define RHO_FIRST 0.03
#define RHO_GROWTH 1.29 /* to some 5 in the end */
#define BUCKET 10
#define ITERATIONS 200
#define JUDGE_EVERY 5
#define TURNS 2
#define QUIET 10      /* iterations without a change before a channel drops out */
#define RESIDUAL 1e-6 /* |X - G|^2 against |G|^2, both weighted by D */
#define LARGE 1536    /* inputs from which factorizations are what takes the time */

/* D is at least this part of its mean: inputs that never vary need some penalty for
 * a factor to exist. The larger ones are for centred matrices that have lost their
 * definiteness to the statistics' rounding. */
static const double leasts[] = { 1e-4, 1e-2, 1, 400 };

/* How rho grows: `bucket` iterations at each value. */
struct pace {
    int iterations, bucket, judge_every;
    double growth;
};

struct row {
    double ww, qw, qq;     /* w'Cw, q'Cw, q'Cq of the iterate */
    double vq, dq;         /* V'Dq, q'Dq */
    double best;           /* the least objective; of all rows in rows[0] per tensor */
    double residual, size; /* |X - G|^2, |G|^2, weighted by D */
    float scale;
    int quiet, iterations;
    bool changed, stopped;
};

struct admm {
    const struct ldnq_layer_problem *problem;
    const struct ldnq_solver_options *options;
    struct ldnq_pool *pool;
    struct ldnq_layer_solution *solution; /* the best iterate so far */
    double zero;                          /* the objective of G = 0 */
    size_t k, count, pieces;              /* K, G * M, blocks of them */
    bool alone;                           /* per channel */
    struct pace pace;
    double rho, ratio; /* ratio: the last rho to this one */
    bool judging;
    const double *centred; /* (G, K, K) C */
    double *diagonal;      /* (G, K) D */
    double *factor;        /* (G, K, K) Cholesky of C + rho D */
    bool *indefinite;      /* (G) */
    double *target;        /* (G M, K) C W */
    double *x;             /* (G M, K) X, then V; a piece's active rows first */
    double *work;          /* (G M, K) */
    double *dual;          /* (G M, K) U */
    int8_t *codes, *last;  /* (G M, K) the iterate's, and those before */
    struct row *rows;      /* (G M) */
};

static struct pace pace(size_t inputs)
{
    struct pace pace = { ITERATIONS, BUCKET, JUDGE_EVERY, RHO_GROWTH };
    if (inputs >= LARGE)
        pace = (struct pace){ 36, 3, 3, pow(RHO_GROWTH, (double)ITERATIONS / BUCKET / 12) };
    return pace;
}

/* ---- the matrices of a group ------------------------------------------------------ */

/* D of a group: the diagonal, but at least the part `least` of its mean. */
static void weigh(struct admm *admm, size_t group, double least)
{
    const size_t k = admm->k;
    const double *c = admm->centred + group * k * k;
    double *d = admm->diagonal + group * k, sum = 0;
    for (size_t i = 0; i < k; i++)
        sum += c[i * k + i] > 0 ? c[i * k + i] : 0;
    least = sum > 0 ? least * sum / (double)k : 1;
    for (size_t i = 0; i < k; i++)
        d[i] = c[i * k + i] > least ? c[i * k + i] : least;
}

static void factor_group(void *ctx, size_t group, size_t thread)
{
    (void)thread;
    struct admm *admm = ctx;
    const size_t k = admm->k;
    double *factor = admm->factor + group * k * k;
    memcpy(factor, admm->centred + group * k * k, k * k * sizeof *factor);
    for (size_t i = 0; i < k; i++)
        factor[i * k + i] += admm->rho * admm->diagonal[group * k + i];
    struct ldnq_error err;
    admm->indefinite[group] = ldnq_cholesky_factor(k, factor, &err) != LDNQ_OK;
}

/* The first factor: D rises until there is one, which the larger rho to come keep. */
static void start_group(void *ctx, size_t group, size_t thread)
{
    struct admm *admm = ctx;
    admm->indefinite[group] = true;
    for (size_t i = 0; i < sizeof leasts / sizeof *leasts && admm->indefinite[group]; i++) {
        weigh(admm, group, leasts[i]);
        factor_group(admm, group, thread);
    }
}

static enum ldnq_status start_factors(struct admm *admm, struct ldnq_error *err)
{
    ldnq_pool_run(admm->pool, admm->problem->groups, start_group, admm);
    for (size_t g = 0; g < admm->problem->groups; g++)
        if (admm->indefinite[g])
            return ldnq_fail(err, LDNQ_NUMERIC,
                             "the gram matrix of group %zu is not positive semidefinite, nor is "
                             "it with %g times its mean diagonal added",
                             g, admm->rho * leasts[sizeof leasts / sizeof *leasts - 1]);
    return LDNQ_OK;
}

/* ---- one piece's part of an iteration ---------------------------------------------- */

static double dot(const double *x, const double *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* The active rows of a piece, in their order. */
static size_t active_rows(const struct admm *admm, const struct ldnq_piece *piece, size_t *rows)
{
    size_t n = 0;
    for (size_t r = 0; r < piece->rows; r++)
        if (!admm->rows[piece->offset + r].stopped)
            rows[n++] = piece->offset + r;
    return n;
}

static void update_x(struct admm *admm, const struct ldnq_piece *piece, const size_t *rows,
                     size_t n)
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
    ldnq_cholesky_solve(k, admm->factor + piece->group * k * k, n, x);
    for (size_t r = 0; r < n; r++) {
        memcpy(admm->last + rows[r] * k, admm->codes + rows[r] * k, k);
        for (size_t i = 0; i < k; i++)
            x[r * k + i] += admm->dual[rows[r] * k + i];
    }
}

/* The codes nearest to V at the row's scale, and the sums for the next one. */
static void take_codes(struct admm *admm, const double *v, const double *d, size_t at)
{
    struct row *row = &admm->rows[at];
    int8_t *q = admm->codes + at * admm->k;
    struct ldnq_span span = {
        .v = v, .v_stride = admm->k, .rows = 1, .length = admm->k, .codes = q, .weight = 1
    };
    ldnq_project_codes(admm->problem->codebook, &span, row->scale);
    row->vq = row->dq = 0;
    for (size_t i = 0; i < admm->k; i++) {
        row->vq += d[i] * v[i] * q[i];
        row->dq += d[i] * q[i] * q[i];
    }
}

static void x_chunk(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct admm *admm = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(admm->problem, chunk);
    size_t rows[LDNQ_PIECE_ROWS];
    const size_t n = active_rows(admm, &piece, rows);
    update_x(admm, &piece, rows, n);
    for (size_t r = 0; admm->alone && r < n; r++)
        for (int turn = 0; turn < TURNS; turn++) {
            struct row *row = &admm->rows[rows[r]];
            take_codes(admm, admm->x + (piece.offset + r) * admm->k,
                       admm->diagonal + piece.group * admm->k, rows[r]);
            row->scale = ldnq_best_scale(row->vq, row->dq, row->scale);
        }
}

static void codes_chunk(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct admm *admm = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(admm->problem, chunk);
    size_t rows[LDNQ_PIECE_ROWS];
    const size_t n = active_rows(admm, &piece, rows);
    for (size_t r = 0; r < n; r++)
        take_codes(admm, admm->x + (piece.offset + r) * admm->k,
                   admm->diagonal + piece.group * admm->k, rows[r]);
}

/* q'Cw and q'Cq of the iterate. */
static void judge_piece(struct admm *admm, const struct ldnq_piece *piece, const size_t *rows,
                        size_t n)
{
    const size_t k = admm->k;
    double *q = admm->x + piece->offset * k, *cq = admm->work + piece->offset * k;
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < k; i++)
            q[r * k + i] = admm->codes[rows[r] * k + i];
    if (n > 0 && k > 0)
        ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, n, k, k, 1, q, k, admm->centred + piece->group * k * k,
                   k, 0, cq, k);
    for (size_t r = 0; r < n; r++) {
        struct row *row = &admm->rows[rows[r]];
        row->qw = dot(q + r * k, admm->target + rows[r] * k, k);
        row->qq = dot(q + r * k, cq + r * k, k);
    }
}

/* V becomes U; then V's place is free for judging. */
static void finish_chunk(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct admm *admm = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(admm->problem, chunk);
    const size_t k = admm->k;
    const double *d = admm->diagonal + piece.group * k;
    size_t rows[LDNQ_PIECE_ROWS];
    const size_t n = active_rows(admm, &piece, rows);
    for (size_t r = 0; r < n; r++) {
        struct row *row = &admm->rows[rows[r]];
        const double *v = admm->x + (piece.offset + r) * k;
        row->residual = row->size = 0;
        for (size_t i = 0; i < k; i++) {
            double *u = admm->dual + rows[r] * k + i;
            const double g = (double)row->scale * admm->codes[rows[r] * k + i];
            const double apart = v[i] - *u - g;
            row->residual += d[i] * apart * apart;
            row->size += d[i] * g * g;
            *u = v[i] - g;
        }
        row->changed = memcmp(admm->last + rows[r] * k, admm->codes + rows[r] * k, k) != 0;
        row->quiet = row->changed ? 0 : row->quiet + 1;
        row->iterations++;
    }
    if (admm->judging)
        judge_piece(admm, &piece, rows, n);
}

/* ---- the best iterate --------------------------------------------------------------- */

static void keep_best(struct admm *admm, size_t first, size_t count)
{
    double ww = 0, qw = 0, qq = 0;
    for (size_t r = first; r < first + count; r++) {
        ww += admm->rows[r].ww;
        qw += admm->rows[r].qw;
        qq += admm->rows[r].qq;
    }
    const float scale = qw > 0 ? ldnq_best_scale(qw, qq, 0) : 0;
    const double a = (double)scale, error = ww - 2 * a * qw + a * a * qq;
    if (!(scale > 0) || !(error < admm->rows[first].best))
        return;
    admm->rows[first].best = error;
    memcpy(admm->solution->codes + first * admm->k, admm->codes + first * admm->k, count * admm->k);
    for (size_t r = first; r < first + count; r++)
        admm->solution->scales[r] = scale;
}

static void keep_all(struct admm *admm)
{
    if (!admm->alone) {
        keep_best(admm, 0, admm->count);
        return;
    }
    for (size_t r = 0; r < admm->count; r++)
        if (!admm->rows[r].stopped)
            keep_best(admm, r, 1);
}

static bool is_settled(const struct row *row)
{
    return row->quiet >= QUIET && row->residual <= RESIDUAL * row->size;
}

/* Channels with one scale stop together. Returns whether any goes on. */
static bool drop_settled(struct admm *admm)
{
    size_t settled = 0;
    for (size_t r = 0; r < admm->count; r++) {
        struct row *row = &admm->rows[r];
        row->stopped = row->stopped || (admm->alone && is_settled(row));
        settled += row->stopped || is_settled(row);
    }
    return settled < admm->count;
}

static void share_scale(struct admm *admm)
{
    double up = 0, down = 0;
    ldnq_pool_run(admm->pool, admm->pieces, codes_chunk, admm);
    for (size_t r = 0; r < admm->count; r++) {
        up += admm->rows[r].vq;
        down += admm->rows[r].dq;
    }
    const float scale = ldnq_best_scale(up, down, admm->rows[0].scale);
    for (size_t r = 0; r < admm->count; r++)
        admm->rows[r].scale = scale;
}

static void trace(const struct admm *admm, int iteration)
{
    struct ldnq_trace_row out = { .iteration = iteration, .rho = admm->rho };
    double best = 0, residual = 0, size = 0;
    for (size_t r = 0; r < admm->count; r++) {
        const struct row *row = &admm->rows[r];
        best += admm->alone || r == 0 ? row->best : 0;
        residual += row->residual;
        size += row->size;
        out.active += !row->stopped;
        out.changed += !row->stopped && row->changed;
    }
    out.objective = admm->zero > 0 ? best / admm->zero : 0;
    out.residual = size > 0 ? sqrt(residual / size) : 0;
    admm->options->trace(admm->options->trace_ctx, &out);
}

static enum ldnq_status iterate(struct admm *admm, struct ldnq_error *err)
{
    bool goes_on = admm->count > 0 && admm->k > 0;
    admm->rho = RHO_FIRST;
    LDNQ_TRY(start_factors(admm, err));
    for (int i = 0; goes_on && i < admm->pace.iterations; i++) {
        admm->ratio = 1;
        if (i > 0 && i % admm->pace.bucket == 0) {
            admm->rho *= admm->pace.growth;
            admm->ratio = 1 / admm->pace.growth;
            ldnq_pool_run(admm->pool, admm->problem->groups, factor_group, admm);
        }
        admm->judging = (i + 1) % admm->pace.judge_every == 0;
        ldnq_pool_run(admm->pool, admm->pieces, x_chunk, admm);
        for (int turn = 0; !admm->alone && turn < TURNS; turn++)
            share_scale(admm);
        ldnq_pool_run(admm->pool, admm->pieces, finish_chunk, admm);
        if (admm->judging)
            keep_all(admm);
        goes_on = drop_settled(admm);
        if (admm->options->trace)
            trace(admm, i + 1);
    }
    return LDNQ_OK;
}

/* ---- start and end --------------------------------------------------------------------- */

static void start_chunk(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct admm *admm = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(admm->problem, chunk);
    const size_t k = admm->k, at = piece.offset * k;
    size_t rows[LDNQ_PIECE_ROWS];
    const size_t n = active_rows(admm, &piece, rows);
    for (size_t i = at; i < at + piece.rows * k; i++)
        admm->x[i] = (double)admm->problem->weight[i];
    if (k > 0)
        ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, n, k, k, 1, admm->x + at, k,
                   admm->centred + piece.group * k * k, k, 0, admm->target + at, k);
    for (size_t r = 0; r < n; r++)
        admm->rows[rows[r]].ww = dot(admm->x + at + r * k, admm->target + at + r * k, k);
    judge_piece(admm, &piece, rows, n);
}

static void start_rows(struct admm *admm)
{
    double sum = 0;
    memcpy(admm->codes, admm->solution->codes, admm->count * admm->k);
    memset(admm->dual, 0, admm->count * admm->k * sizeof *admm->dual);
    for (size_t r = 0; r < admm->count; r++)
        admm->rows[r] = (struct row){ .scale = admm->solution->scales[r] };
    ldnq_pool_run(admm->pool, admm->pieces, start_chunk, admm);
    for (size_t r = 0; r < admm->count; r++) {
        struct row *row = &admm->rows[r];
        const double a = (double)row->scale;
        row->best = row->ww - 2 * a * row->qw + a * a * row->qq;
        sum += row->best;
    }
    if (!admm->alone && admm->count > 0)
        admm->rows[0].best = sum;
    keep_all(admm);
}

static double mean_penalty(const struct admm *admm)
{
    const size_t n = admm->problem->groups * admm->k;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += admm->diagonal[i];
    return n > 0 ? admm->rho * sum / (double)n : 0;
}

static bool allocate(struct admm *admm, struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t g = admm->problem->groups, k = admm->k, all = admm->count * k;
    /* No product overflows: the caller holds arrays of this order. */
#define NEW(member, n) (admm->member = ldnq_arena_alloc(arena, n, sizeof *admm->member, err))
    return NEW(diagonal, g * k) && NEW(factor, g * k * k) && NEW(indefinite, g) &&
           NEW(target, all) && NEW(x, all) && NEW(work, all) && NEW(dual, all) && NEW(codes, all) &&
           NEW(last, all) && NEW(rows, admm->count);
#undef NEW
}

enum ldnq_status ldnq_admm_improve(const struct ldnq_solver_task *task, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = task->problem;
    struct admm admm = {
        .problem = problem,
        .options = task->options,
        .pool = task->pool,
        .solution = task->solution,
        .zero = task->zero,
        .k = problem->inputs,
        .count = problem->groups * problem->outputs,
        .pieces = ldnq_piece_count(problem),
        .alone = problem->granularity == LDNQ_PER_CHANNEL,
        .pace = pace(problem->inputs),
    };
    struct ldnq_layer_problem reduced;
    LDNQ_TRY(ldnq_problem_reduce(problem, &reduced, task->arena, err));
    admm.centred = reduced.gram;
    if (!allocate(&admm, task->arena, err))
        return LDNQ_NOMEM;
    start_rows(&admm);
    LDNQ_TRY(iterate(&admm, err));
    for (size_t r = 0; r < admm.count; r++)
        if (admm.rows[r].iterations > task->solution->iterations)
            task->solution->iterations = admm.rows[r].iterations;
    task->solution->rho = mean_penalty(&admm);
    return LDNQ_OK;
}
