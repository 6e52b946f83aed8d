#include "quant/descent.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/simd.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "quant/blocks.h"
#include "quant/problem.h"
#include "quant/project.h"

/* Of a block's scale, in parts of it: what needs no further turn. */
#define SMALL_CHANGE 1e-4

/* Inputs that are asked together whether any of them wants to change. */
#define TILE 16

struct row {
    double qw, qq; /* q'Hw, q'Hq */
    bool changed;
};

struct descent {
    const struct ldnq_layer_problem *problem;
    struct ldnq_pool *pool;
    int8_t *codes;
    float *scales;
    size_t k, count, pieces;
    bool alone;           /* each row has scales of its own */
    const double *target; /* (G M, K) H w */
    double *slope;        /* (G M, K) H (a q - w) */
    double *work;         /* (G M, K) */
    struct ldnq_blocks blocks;
    double *product; /* (G M, K) with blocks */
    double *changes; /* (G M, S) with blocks */
    double *errors;  /* (G M) */
    struct row *rows;
    double *scratch;               /* (threads, 3, K) */
    double above[256], below[256]; /* by code, from INT8_MIN on: a step's limits */
};

/* ---- a sweep over the inputs of a row ---------------------------------------------- */

/* What a sweep needs of a row, by input; `unit` turns a slope into a step of the code. */
struct limits {
    double *unit, *above, *below; /* (K) steps beyond above or below change the code */
};

static struct limits limits_of(const struct descent *d, size_t thread)
{
    double *at = d->scratch + thread * 3 * d->k;
    return (struct limits){ at, at + d->k, at + 2 * d->k };
}

/* Half way to the codes around, as far as there are any. */
static void limit_input(const struct descent *d, const struct limits *limits, size_t input,
                        int8_t code)
{
    const size_t at = (size_t)(code - INT8_MIN);
    limits->above[input] = d->above[at];
    limits->below[input] = d->below[at];
}

/* An input without curvature takes no steps. */
static void limit_row(const struct descent *d, size_t row, const struct limits *limits)
{
    const double *gram = d->problem->gram + row / d->problem->outputs * d->k * d->k;
    const int8_t *codes = d->codes + row * d->k;
    for (size_t i = 0; i < d->k; i++) {
        const double curvature = gram[i * d->k + i];
        const double scale = (double)d->scales[ldnq_scale_at(d->problem, row, i)];
        limits->unit[i] = curvature > 0 ? -1 / (scale * curvature) : 0;
        limit_input(d, limits, i, codes[i]);
    }
}

LDNQ_MULTIVERSION
static bool wants_change(size_t n, const double *slope, const double *unit, const double *above,
                         const double *below)
{
    int any = 0;
    for (size_t i = 0; i < n; i++) {
        const double step = slope[i] * unit[i];
        any |= (step > above[i]) | (step < below[i]);
    }
    return any != 0;
}

LDNQ_MULTIVERSION
static void add_line(size_t n, double change, const double *line, double *slope)
{
    for (size_t i = 0; i < n; i++)
        slope[i] += change * line[i];
}

/* The best code of one input, the others as they are. Few inputs change, so that each
 * change goes to the slope at once: a line of H costs less than a product for all. */
static void change_input(const struct descent *d, size_t row, size_t input, double step,
                         const struct limits *limits)
{
    int8_t *code = d->codes + row * d->k + input;
    const double *gram = d->problem->gram + row / d->problem->outputs * d->k * d->k;
    const int16_t next = ldnq_codebook_nearest(d->problem->codebook, *code + step);
    const double scale = (double)d->scales[ldnq_scale_at(d->problem, row, input)];
    if (next == *code)
        return;
    add_line(d->k, scale * (next - *code), gram + input * d->k, d->slope + row * d->k);
    *code = (int8_t)next;
    limit_input(d, limits, input, *code);
    d->rows[row].changed = true;
}

static void sweep_row(const struct descent *d, size_t row, const struct limits *limits)
{
    const double *slope = d->slope + row * d->k;
    d->rows[row].changed = false;
    limit_row(d, row, limits);
    for (size_t first = 0; first < d->k; first += TILE) {
        const size_t count = ldnq_size_min(TILE, d->k - first);
        if (!wants_change(count, slope + first, limits->unit + first, limits->above + first,
                          limits->below + first))
            continue;
        for (size_t i = first; i < first + count; i++) {
            const double step = slope[i] * limits->unit[i];
            if (step > limits->above[i] || step < limits->below[i])
                change_input(d, row, i, step, limits);
        }
    }
}

static void sweep_piece(const struct descent *d, const struct ldnq_piece *piece, size_t thread)
{
    const struct limits limits = limits_of(d, thread);
    for (size_t row = piece->offset; row < piece->offset + piece->rows; row++)
        sweep_row(d, row, &limits);
}

/* ---- scales -------------------------------------------------------------------------- */

/* q'Hw and q'Hq, from H q = (slope + target) / a. */
static void weigh_row(const struct descent *d, size_t at)
{
    struct row *row = &d->rows[at];
    const int8_t *q = d->codes + at * d->k;
    const double *slope = d->slope + at * d->k, *target = d->target + at * d->k;
    double qs = 0, qw = 0;
    for (size_t i = 0; i < d->k; i++) {
        qs += q[i] * slope[i];
        qw += q[i] * target[i];
    }
    row->qw = qw;
    row->qq = (qs + qw) / (double)d->scales[at];
}

/* The slope is linear in the scale. */
static void set_scale(const struct descent *d, size_t at, float scale)
{
    const double ratio = (double)scale / (double)d->scales[at];
    double *slope = d->slope + at * d->k;
    const double *target = d->target + at * d->k;
    for (size_t i = 0; i < d->k; i++)
        slope[i] = ratio * (slope[i] + target[i]) - target[i];
    d->scales[at] = scale;
}

/* ---- scales of blocks ---------------------------------------------------------------- */

/* The block's best change of its scale while the others stay:
 * -(q_s'slope) / (q_s'H q_s). */
static double block_change(const struct descent *d, const double *gram, size_t row, size_t s)
{
    const uint32_t *order = d->blocks.order;
    const int8_t *q = d->codes + row * d->k;
    double curvature = 0, slope = 0;
    for (size_t i = d->blocks.first[s]; i < d->blocks.first[s + 1]; i++) {
        const size_t at = order[i];
        double sum = 0;
        for (size_t j = d->blocks.first[s]; q[at] && j < d->blocks.first[s + 1]; j++)
            sum += gram[at * d->k + order[j]] * q[order[j]];
        curvature += q[at] * sum;
        slope += q[at] * d->slope[row * d->k + at];
    }
    return curvature > 0 ? -slope / curvature : 0;
}

/* How far to go along p = change_s q_s, at best and at most: no scale may shrink or grow
 * tenfold at once, which keeps it positive. */
static double step_length(const struct descent *d, size_t row, const double *p, const double *hp)
{
    const size_t segments = d->problem->segments;
    double slope = 0, curvature = 0;
    for (size_t i = 0; i < d->k; i++) {
        slope += p[i] * d->slope[row * d->k + i];
        curvature += p[i] * hp[i];
    }
    double length = curvature > 0 && slope < 0 ? -slope / curvature : 0;
    for (size_t s = row * segments; s < (row + 1) * segments; s++) {
        const double most = (d->changes[s] < 0 ? 0.9 : 9) * (double)d->scales[s];
        if (length * fabs(d->changes[s]) > most)
            length = most / fabs(d->changes[s]);
    }
    return length;
}

/* How far the row's codes and scales are from its weight. */
static void load_difference(const struct descent *d, size_t row)
{
    for (size_t i = row * d->k; i < (row + 1) * d->k; i++)
        d->work[i] =
            (double)d->scales[ldnq_scale_at(d->problem, row, i - row * d->k)] * d->codes[i] -
            (double)d->problem->weight[i];
}

/* The rows' H (a q - w), anew. */
static void load_slope(const struct descent *d, const struct ldnq_piece *piece)
{
    for (size_t row = piece->offset; row < piece->offset + piece->rows; row++)
        load_difference(d, row);
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, piece->rows, d->k, d->k, 1, d->work + piece->offset * d->k,
               d->k, d->problem->gram + piece->group * d->k * d->k, d->k, 0,
               d->slope + piece->offset * d->k, d->k);
}

static double row_error(const struct descent *d, size_t row)
{
    double error = 0;
    load_difference(d, row);
    for (size_t i = row * d->k; i < (row + 1) * d->k; i++)
        error += d->work[i] * d->slope[i];
    return error > 0 ? error : 0;
}

/* One step of steepest descent on the scales of each row, in units of what each block
 * would do alone. Returns whether any moved by more than a little. */
static bool step_blocks(const struct descent *d, const struct ldnq_piece *piece)
{
    const size_t k = d->k, segments = d->problem->segments, end = piece->offset + piece->rows;
    const double *gram = d->problem->gram + piece->group * k * k;
    for (size_t row = piece->offset; row < end; row++) {
        for (size_t s = 0; s < segments; s++)
            d->changes[row * segments + s] = block_change(d, gram, row, s);
        for (size_t i = 0; i < k; i++)
            d->work[row * k + i] =
                d->changes[ldnq_scale_at(d->problem, row, i)] * d->codes[row * k + i];
    }
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, piece->rows, k, k, 1, d->work + piece->offset * k, k, gram,
               k, 0, d->product + piece->offset * k, k);
    bool far = false;
    for (size_t row = piece->offset; row < end; row++) {
        const double *hp = d->product + row * k;
        const double length = step_length(d, row, d->work + row * k, hp);
        for (size_t i = 0; i < k; i++)
            d->slope[row * k + i] += length * hp[i];
        for (size_t s = row * segments; s < (row + 1) * segments; s++) {
            const double scale = (double)d->scales[s], change = length * d->changes[s];
            far = far || fabs(change) > SMALL_CHANGE * scale;
            d->scales[s] = ldnq_scale_or(scale + change, d->scales[s]);
        }
    }
    return far;
}

/* ---- start, and turns ------------------------------------------------------------------ */

static void start_chunk(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct descent *d = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(d->problem, chunk);
    load_slope(d, &piece);
}

/* A row's only scale is the best at once: it takes all its turns before the next row. */
static void descend_row(const struct descent *d, size_t row, const struct limits *limits)
{
    d->rows[row].changed = true;
    for (int turn = 0; d->rows[row].changed && turn < LDNQ_DESCENT_SWEEPS; turn++) {
        weigh_row(d, row);
        set_scale(d, row, ldnq_best_scale(d->rows[row].qw, d->rows[row].qq, d->scales[row]));
        sweep_row(d, row, limits);
    }
}

static void descend_blocks(const struct descent *d, const struct ldnq_piece *piece, size_t thread)
{
    bool goes_on = true;
    for (int turn = 0; goes_on && turn < LDNQ_DESCENT_SWEEPS; turn++) {
        goes_on = step_blocks(d, piece);
        sweep_piece(d, piece, thread);
        for (size_t row = piece->offset; row < piece->offset + piece->rows; row++)
            goes_on = goes_on || d->rows[row].changed;
    }
}

/* Rows with scales of their own. */
static void descend_chunk(void *ctx, size_t chunk, size_t thread)
{
    const struct descent *d = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(d->problem, chunk);
    const struct limits limits = limits_of(d, thread);
    if (d->problem->segment) {
        descend_blocks(d, &piece, thread);
        return;
    }
    for (size_t row = piece.offset; row < piece.offset + piece.rows; row++)
        descend_row(d, row, &limits);
}

static void weigh_chunk(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct descent *d = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(d->problem, chunk);
    for (size_t row = piece.offset; row < piece.offset + piece.rows; row++)
        weigh_row(d, row);
}

static void sweep_chunk(void *ctx, size_t chunk, size_t thread)
{
    const struct descent *d = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(d->problem, chunk);
    for (size_t row = piece.offset; row < piece.offset + piece.rows; row++)
        set_scale(d, row, ldnq_best_scale(d->rows[0].qw, d->rows[0].qq, d->scales[row]));
    sweep_piece(d, &piece, thread);
}

/* One scale: its sums run over all rows, into rows[0]. */
static void descend_together(struct descent *d)
{
    bool goes_on = d->count > 0;
    for (int turn = 0; goes_on && turn < LDNQ_DESCENT_SWEEPS; turn++) {
        goes_on = false;
        ldnq_pool_run(d->pool, d->pieces, weigh_chunk, d);
        for (size_t row = 1; row < d->count; row++) {
            d->rows[0].qw += d->rows[row].qw;
            d->rows[0].qq += d->rows[row].qq;
        }
        ldnq_pool_run(d->pool, d->pieces, sweep_chunk, d);
        for (size_t row = 0; row < d->count; row++)
            goes_on = goes_on || d->rows[row].changed;
    }
}

static enum ldnq_status allocate_blocks(struct descent *d, struct ldnq_arena *arena,
                                        struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_blocks_init(d->problem, &d->blocks, arena, err));
    d->product = ldnq_arena_alloc(arena, d->count * d->k, sizeof *d->product, err);
    d->changes = ldnq_arena_alloc(arena, d->count * d->problem->segments, sizeof *d->changes, err);
    return d->product && d->changes ? LDNQ_OK : LDNQ_NOMEM;
}

/* The slope of blocks has not followed the rounding of their scales to float32. */
static void judge_chunk(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct descent *d = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(d->problem, chunk);
    if (d->problem->segment && d->k > 0)
        load_slope(d, &piece);
    for (size_t row = piece.offset; row < piece.offset + piece.rows; row++)
        d->errors[row] = row_error(d, row);
}

static void set_limits(struct descent *d)
{
    const struct ldnq_codebook *book = d->problem->codebook;
    for (size_t i = 0; i < book->count; i++) {
        const size_t at = (size_t)(book->codes[i] - INT8_MIN);
        const bool is_last = i + 1 == book->count;
        d->above[at] = is_last ? INFINITY : 0.5 * (book->codes[i + 1] - book->codes[i]);
        d->below[at] = i == 0 ? -INFINITY : -0.5 * (book->codes[i] - book->codes[i - 1]);
    }
}

static enum ldnq_status descend_in(struct descent *d, struct ldnq_arena *arena,
                                   struct ldnq_error *err)
{
    const size_t elements = d->count * d->k;
    d->slope = ldnq_arena_alloc(arena, elements, sizeof *d->slope, err);
    d->work = ldnq_arena_alloc(arena, elements, sizeof *d->work, err);
    d->rows = ldnq_arena_alloc(arena, d->count, sizeof *d->rows, err);
    d->scratch =
        ldnq_arena_alloc(arena, ldnq_pool_threads(d->pool) * 3 * d->k, sizeof *d->scratch, err);
    if (!d->slope || !d->work || !d->rows || !d->scratch)
        return LDNQ_NOMEM;
    set_limits(d);
    if (d->problem->segment)
        LDNQ_TRY(allocate_blocks(d, arena, err));
    if (elements > 0)
        ldnq_pool_run(d->pool, d->pieces, start_chunk, d);
    if (elements > 0 && d->alone)
        ldnq_pool_run(d->pool, d->pieces, descend_chunk, d);
    else if (elements > 0)
        descend_together(d);
    ldnq_pool_run(d->pool, d->pieces, judge_chunk, d);
    return LDNQ_OK;
}

enum ldnq_status ldnq_descend(const struct ldnq_layer_problem *problem, const double *target,
                              struct ldnq_pool *pool, int8_t *codes, float *scales, double *errors,
                              struct ldnq_error *err)
{
    struct descent descent = {
        .problem = problem,
        .target = target,
        .pool = pool,
        .codes = codes,
        .scales = scales,
        .k = problem->inputs,
        .count = problem->groups * problem->outputs,
        .pieces = ldnq_piece_count(problem),
        .alone = problem->granularity != LDNQ_PER_TENSOR,
        .errors = errors,
    };
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = descend_in(&descent, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

/* ---- H w ----------------------------------------------------------------------------- */

struct targets {
    const struct ldnq_layer_problem *problem;
    double *weight, *target;
};

static void target_chunk(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct targets *t = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(t->problem, chunk);
    const size_t k = t->problem->inputs, at = piece.offset * k;
    for (size_t i = at; i < at + piece.rows * k; i++)
        t->weight[i] = (double)t->problem->weight[i];
    if (k > 0)
        ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, piece.rows, k, k, 1, t->weight + at, k,
                   t->problem->gram + piece.group * k * k, k, 0, t->target + at, k);
}

enum ldnq_status ldnq_descent_target(const struct ldnq_layer_problem *problem,
                                     struct ldnq_pool *pool, double *target, struct ldnq_error *err)
{
    struct targets targets = { problem, NULL, target };
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const size_t count = problem->groups * problem->outputs * problem->inputs;
    targets.weight = ldnq_arena_alloc(arena, count, sizeof *targets.weight, err);
    if (targets.weight)
        ldnq_pool_run(pool, ldnq_piece_count(problem), target_chunk, &targets);
    ldnq_arena_destroy(arena);
    return targets.weight ? LDNQ_OK : LDNQ_NOMEM;
}
