/* The paper's solver: ADMM on one layer's quadratic.
 *
 *     X <- (H~ + rho I)^-1 (H~ W~ + rho (G - U))
 *     G <- the nearest a * q to V = X + U, codes and scale by turns
 *     U <- U + X - G = V - G
 *
 * H~ is the Gram matrix with the constant-one row of the bias, W~ the weight
 * with the bias; for the bias's entry G takes X's value and U stays 0. The
 * iterate of the least objective is kept.
 *
 * Where the paper leaves a choice, or we differ:
 * - rho is a factor times the mean of H's diagonal; see penalty() for the
 *   paper's choice, which is an option, and for why.
 * - Per channel every output channel is a problem of its own: it stops by its
 *   own rises and keeps its own best iterate.
 * - Per tensor with several groups each group has the rho of its own Gram
 *   matrix, since those of depthwise groups differ by orders of magnitude; the
 *   shared scale then weighs the groups by their rho, as ADMM's projection with
 *   a penalty matrix does.
 * - An iterate is judged with the bias that is best for it, and that bias, in
 *   closed form, is what the solution gets: it can only lower the objective.
 *
 * Source  Chen, Wang, Pan, AAAI 2019 (see quant.h)
 */
#include "quant/solver.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "linalg/blas.h"
#include "linalg/cholesky.h"
#include "quant/problem.h"
#include "quant/project.h"

/* How far one scale's worth of channels has come. */
struct record {
    double best, last; /* objectives: the least so far, and the last iterate's */
    int rises, iterations;
    bool stopped;
};

struct admm {
    const struct ldnq_layer_problem *problem;
    const struct ldnq_solver_options *options;
    struct ldnq_pool *pool;
    struct ldnq_layer_solution *solution; /* the best iterate so far */
    size_t groups, outputs, inputs;       /* G, M, K */
    size_t wide;                          /* K, or K + 1 with the bias's row */
    size_t rows, pieces;                  /* G * M, and blocks of them */
    double *factor;                       /* (G, wide, wide) Cholesky of H~ + rho I */
    double *rho;                          /* (G) */
    bool *indefinite;                     /* (G) */
    double *target;                       /* (G, M, wide) H~ W~ */
    double *x;                            /* (G, M, wide) X, then V; a piece's active rows first */
    double *dual;                         /* (G, M, K) U */
    int8_t *codes;                        /* (G, M, K) of the iterate G = a * q */
    float *scales;                        /* (G, M) */
    double *bias;                         /* (G, M) the bias's entry of G */
    size_t *channels;                     /* (G, M) a piece's active rows, as channels */
    double *errors;                       /* (G, M) */
    struct ldnq_span *spans;              /* (pieces) per tensor */
    struct record *records;               /* (G, M), or one per tensor */
};

/* A piece of rows with those of its channels that have not stopped. */
struct work {
    struct ldnq_piece piece;
    size_t *channels, active;
};

static struct work work_at(const struct admm *admm, size_t index)
{
    struct work work = { .piece = ldnq_piece_at(admm->problem, index) };
    work.channels = admm->channels + work.piece.offset;
    work.active = work.piece.rows;
    return work;
}

/* The place of the r-th active row among all (G, M). */
static size_t row_of(const struct admm *admm, const struct work *work, size_t r)
{
    return work->piece.group * admm->outputs + work->channels[r];
}

static double *x_of(const struct admm *admm, const struct work *work, size_t r)
{
    return admm->x + (work->piece.offset + r) * admm->wide;
}

/* ---- once -------------------------------------------------------------------- */

/* The paper takes H's first diagonal element. In a real network that is one
 * pixel of one channel: on ResNet-20's layers it is between 0 and 5 times the
 * mean of the diagonal, and no factor suits them all. Where it is (next to)
 * never active the mean stands in. 0 for a Gram matrix of zeros. */
static double penalty(const struct admm *admm, size_t group)
{
    const size_t inputs = admm->inputs;
    const double *gram = admm->problem->gram + group * inputs * inputs;
    double sum = 0;
    for (size_t i = 0; i < inputs; i++)
        sum += gram[i * inputs + i];
    const double mean = inputs ? sum / (double)inputs : 0;
    const bool first = admm->options->rho_from_first && gram[0] > 1e-3 * mean;
    return admm->options->rho_factor * (first ? gram[0] : mean);
}

/* H~ + rho I into `out`, lower triangle. */
static void augment(const struct admm *admm, size_t group, double *out)
{
    const size_t inputs = admm->inputs, wide = admm->wide;
    const double *gram = admm->problem->gram + group * inputs * inputs;
    for (size_t i = 0; i < inputs; i++)
        memcpy(out + i * wide, gram + i * inputs, (i + 1) * sizeof *out);
    if (wide > inputs) {
        memcpy(out + inputs * wide, admm->problem->mean + group * inputs, inputs * sizeof *out);
        out[inputs * wide + inputs] = 1;
    }
    for (size_t i = 0; i < wide; i++)
        out[i * wide + i] += admm->rho[group];
}

/* With H = 0 any codes are right. The penalty 1 then gives X = G - U, which
 * leaves the codes as the start chose them. */
static void factor_gram(void *ctx, size_t group, size_t thread)
{
    (void)thread;
    struct admm *admm = ctx;
    double *factor = admm->factor + group * admm->wide * admm->wide;
    const double rho = penalty(admm, group);
    admm->rho[group] = rho > 0 ? rho : 1;
    augment(admm, group, factor);
    admm->indefinite[group] = ldnq_cholesky_factor(admm->wide, factor, NULL) != LDNQ_OK;
}

/* W~ into x: the start of everything. */
static void load_weights(struct admm *admm, const struct work *work)
{
    for (size_t r = 0; r < work->active; r++) {
        const size_t row = row_of(admm, work, r);
        const float *weight = admm->problem->weight + row * admm->inputs;
        double *x = x_of(admm, work, r);
        for (size_t i = 0; i < admm->inputs; i++)
            x[i] = (double)weight[i];
        if (admm->wide > admm->inputs)
            x[admm->inputs] = admm->bias[row] = (double)admm->problem->bias[row];
    }
}

/* H~ W~ from the W~ in x: W H + b m' for the weight, W m + b for the bias. */
static void weigh_targets(struct admm *admm, const struct work *work)
{
    const size_t inputs = admm->inputs, wide = admm->wide, group = work->piece.group;
    const double *x = x_of(admm, work, 0);
    double *target = admm->target + work->piece.offset * wide;
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, work->active, inputs, inputs, 1, x, wide,
               admm->problem->gram + group * inputs * inputs, inputs, 0, target, wide);
    if (wide == inputs)
        return;
    const double *mean = admm->problem->mean + group * inputs;
    for (size_t r = 0; r < work->active; r++, x += wide, target += wide) {
        target[inputs] = x[inputs];
        for (size_t i = 0; i < inputs; i++) {
            target[i] += x[inputs] * mean[i];
            target[inputs] += x[i] * mean[i];
        }
    }
}

static void prepare_piece(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct admm *admm = ctx;
    struct work work = work_at(admm, chunk);
    for (size_t r = 0; r < work.active; r++)
        work.channels[r] = work.piece.first + r;
    load_weights(admm, &work);
    weigh_targets(admm, &work);
}

/* ---- the steps of an iteration, on a piece's active rows ---------------------- */

static void solve_x(struct admm *admm, const struct work *work)
{
    const size_t inputs = admm->inputs, wide = admm->wide, group = work->piece.group;
    const double rho = admm->rho[group];
    for (size_t r = 0; r < work->active; r++) {
        const size_t row = row_of(admm, work, r);
        const double *target = admm->target + row * wide, *dual = admm->dual + row * inputs;
        const int8_t *codes = admm->codes + row * inputs;
        const double scale = (double)admm->scales[row];
        double *x = x_of(admm, work, r);
        for (size_t i = 0; i < inputs; i++)
            x[i] = target[i] + rho * (scale * codes[i] - dual[i]);
        if (wide > inputs)
            x[inputs] = target[inputs] + rho * admm->bias[row];
    }
    ldnq_cholesky_solve(wide, admm->factor + group * wide * wide, work->active,
                        x_of(admm, work, 0));
}

/* V = X + U, in X's place; the bias, which no codebook binds, goes to G. */
static void add_dual(struct admm *admm, const struct work *work)
{
    const size_t inputs = admm->inputs;
    for (size_t r = 0; r < work->active; r++) {
        const size_t row = row_of(admm, work, r);
        const double *dual = admm->dual + row * inputs;
        double *x = x_of(admm, work, r);
        for (size_t i = 0; i < inputs; i++)
            x[i] += dual[i];
        if (admm->wide > inputs)
            admm->bias[row] = x[inputs];
    }
}

/* G = the nearest a * q to V for each channel by itself; start 0 searches. */
static void project_channels(struct admm *admm, const struct work *work)
{
    for (size_t r = 0; r < work->active; r++) {
        const size_t row = row_of(admm, work, r);
        struct ldnq_span span = {
            .v = x_of(admm, work, r),
            .v_stride = admm->wide,
            .rows = 1,
            .length = admm->inputs,
            .codes = admm->codes + row * admm->inputs,
            .weight = 1,
        };
        admm->scales[row] =
            ldnq_project(admm->problem->codebook, NULL, &span, 1, admm->scales[row]);
    }
}

/* The same for all channels together. */
static void project_tensor(struct admm *admm)
{
    const float start = admm->rows ? admm->scales[0] : 0;
    const float scale =
        ldnq_project(admm->problem->codebook, admm->pool, admm->spans, admm->pieces, start);
    for (size_t row = 0; row < admm->rows; row++)
        admm->scales[row] = scale;
}

/* U = V - G */
static void update_dual(struct admm *admm, const struct work *work)
{
    const size_t inputs = admm->inputs;
    for (size_t r = 0; r < work->active; r++) {
        const size_t row = row_of(admm, work, r);
        const double *v = x_of(admm, work, r), scale = (double)admm->scales[row];
        const int8_t *codes = admm->codes + row * inputs;
        double *dual = admm->dual + row * inputs;
        for (size_t i = 0; i < inputs; i++)
            dual[i] = v[i] - scale * codes[i];
    }
}

static void measure(struct admm *admm, const struct work *work)
{
    const struct ldnq_choice iterate = { admm->codes, admm->scales, NULL };
    ldnq_row_errors(admm->problem, work->piece.group, work->channels, work->active, &iterate,
                    admm->errors + work->piece.offset);
}

/* ---- which iterate is kept, and when to stop --------------------------------- */

/* Whether this iterate is the best so far. */
static bool judge(struct record *record, double error, const struct ldnq_solver_options *options)
{
    const bool better = error < record->best;
    record->rises = error > record->last ? record->rises + 1 : 0;
    record->last = error;
    record->best = better ? error : record->best;
    record->iterations++;
    record->stopped =
        record->rises >= options->max_rises || record->iterations >= options->max_iterations;
    return better;
}

static void keep_rows(struct admm *admm, size_t first, size_t count)
{
    const size_t inputs = admm->inputs;
    memcpy(admm->solution->codes + first * inputs, admm->codes + first * inputs, count * inputs);
    memcpy(admm->solution->scales + first, admm->scales + first, count * sizeof *admm->scales);
}

/* Leaves those channels active that go on. */
static void judge_channels(struct admm *admm, struct work *work)
{
    const double *errors = admm->errors + work->piece.offset;
    size_t active = 0;
    for (size_t r = 0; r < work->active; r++) {
        const size_t row = row_of(admm, work, r);
        if (judge(&admm->records[row], errors[r], admm->options))
            keep_rows(admm, row, 1);
        if (!admm->records[row].stopped)
            work->channels[active++] = work->channels[r];
    }
    work->active = active;
}

static void judge_tensor(struct admm *admm)
{
    double error = 0;
    for (size_t row = 0; row < admm->rows; row++)
        error += admm->errors[row];
    if (judge(&admm->records[0], error, admm->options))
        keep_rows(admm, 0, admm->rows);
}

/* ---- the iteration ------------------------------------------------------------ */

/* Channels don't wait for each other: a piece runs all its iterations at once. */
static void fit_channels(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct admm *admm = ctx;
    struct work work = work_at(admm, chunk);
    while (work.active > 0) {
        solve_x(admm, &work);
        add_dual(admm, &work);
        project_channels(admm, &work);
        update_dual(admm, &work);
        measure(admm, &work);
        judge_channels(admm, &work);
    }
}

static void before_projection(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct admm *admm = ctx;
    struct work work = work_at(admm, chunk);
    solve_x(admm, &work);
    add_dual(admm, &work);
}

static void after_projection(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct admm *admm = ctx;
    struct work work = work_at(admm, chunk);
    update_dual(admm, &work);
    measure(admm, &work);
}

static void fit_tensor(struct admm *admm)
{
    while (!admm->records[0].stopped) {
        ldnq_pool_run(admm->pool, admm->pieces, before_projection, admm);
        project_tensor(admm);
        ldnq_pool_run(admm->pool, admm->pieces, after_projection, admm);
        judge_tensor(admm);
    }
}

/* ---- start and end -------------------------------------------------------------- */

/* G = the start, the bias as it is. */
static void load_start(struct admm *admm)
{
    ldnq_pool_run(admm->pool, admm->pieces, prepare_piece, admm);
    if (admm->rows == 0)
        return;
    memcpy(admm->codes, admm->solution->codes, admm->rows * admm->inputs);
    memcpy(admm->scales, admm->solution->scales, admm->rows * sizeof *admm->scales);
}

static void start_records(struct admm *admm)
{
    const struct ldnq_choice choice = { admm->codes, admm->scales, NULL };
    const double sum = ldnq_total_error(admm->problem, admm->pool, &choice, admm->errors);
    const bool alone = admm->problem->granularity == LDNQ_PER_CHANNEL;
    for (size_t i = 0; i < (alone ? admm->rows : 1); i++) {
        struct record *record = &admm->records[i];
        record->best = record->last = alone ? admm->errors[i] : sum;
    }
}

/* Groups whose inputs are all zero have no say in the shared scale. */
static void weigh_spans(struct admm *admm)
{
    for (size_t i = 0; i < admm->pieces; i++) {
        const size_t group = ldnq_piece_at(admm->problem, i).group;
        admm->spans[i].weight = fmax(penalty(admm, group), 0);
    }
}

static enum ldnq_status factor_all(struct admm *admm, struct ldnq_error *err)
{
    double sum = 0;
    ldnq_pool_run(admm->pool, admm->groups, factor_gram, admm);
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

static void iterate(struct admm *admm)
{
    if (admm->options->max_iterations <= 0 || admm->rows == 0)
        return;
    weigh_spans(admm);
    if (admm->problem->granularity == LDNQ_PER_CHANNEL)
        ldnq_pool_run(admm->pool, admm->pieces, fit_channels, admm);
    else
        fit_tensor(admm);
}

static int most_iterations(const struct admm *admm)
{
    int most = 0;
    for (size_t row = 0; row < admm->rows; row++)
        most = admm->records[row].iterations > most ? admm->records[row].iterations : most;
    return most;
}

/* ---- set-up ---------------------------------------------------------------------- */

static bool allocate(struct admm *admm, struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t rows = admm->rows, k = admm->inputs, wide = admm->wide;
    /* No product overflows: the caller holds arrays of this order. */
#define NEW(member, count)                                                                         \
    (admm->member = ldnq_arena_alloc(arena, count, sizeof *admm->member, err))
    return NEW(factor, admm->groups * wide * wide) && NEW(rho, admm->groups) &&
           NEW(indefinite, admm->groups) && NEW(target, rows * wide) && NEW(x, rows * wide) &&
           NEW(dual, rows * k) && NEW(codes, rows * k) && NEW(scales, rows) && NEW(bias, rows) &&
           NEW(channels, rows) && NEW(errors, rows) && NEW(spans, admm->pieces) &&
           NEW(records, rows + 1);
#undef NEW
}

static void lay_spans(struct admm *admm)
{
    for (size_t i = 0; i < admm->pieces; i++) {
        const struct ldnq_piece piece = ldnq_piece_at(admm->problem, i);
        admm->spans[i] = (struct ldnq_span){
            .v = admm->x + piece.offset * admm->wide,
            .v_stride = admm->wide,
            .rows = piece.rows,
            .length = admm->inputs,
            .codes = admm->codes + piece.offset * admm->inputs,
        };
    }
}

enum ldnq_status ldnq_admm_paper_improve(const struct ldnq_solver_task *task,
                                         struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = task->problem;
    const struct ldnq_solver_options *options = task->options;
    if (!(options->rho_factor > 0) || !isfinite(options->rho_factor))
        return ldnq_fail(err, LDNQ_USAGE, "rho's factor is %g; it must be above 0, e.g. 0.5",
                         options->rho_factor);
    struct admm admm = {
        .problem = problem,
        .options = options,
        .pool = task->pool,
        .solution = task->solution,
        .groups = problem->groups,
        .outputs = problem->outputs,
        .inputs = problem->inputs,
        .wide = problem->inputs + (problem->mean ? 1 : 0),
        .rows = problem->groups * problem->outputs,
        .pieces = ldnq_piece_count(problem),
    };
    if (!allocate(&admm, task->arena, err))
        return LDNQ_NOMEM;
    lay_spans(&admm);
    LDNQ_TRY(factor_all(&admm, err));
    load_start(&admm);
    start_records(&admm);
    iterate(&admm);
    task->solution->iterations = most_iterations(&admm);
    return LDNQ_OK;
}
