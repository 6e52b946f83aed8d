/* SPDX-License-Identifier: Apache-2.0 */
/* GPTQ: rounds one column at a time and lets the columns not yet rounded compensate.
 *
 * Solves  the quadratic of quant.h, greedily. For each column i
 *
 *             q_i = the code nearest to w_i / a
 *             w_j -= (w_i - a q_i) Hinv_ij / Hinv_ii    for all columns j not yet rounded
 *             Hinv loses row and column i
 *
 *         With X = L^-1, H = L L' (inverse.h) and columns from the last to the first, row i
 *         of X up to its diagonal is proportional to Hinv's row at that error, and the factor
 *         cancels: the update is w_j -= e X_ij with e = (w_i - a q_i) / X_ii. The updates
 *         of a block of columns reach the columns before the block as one matrix product
 * Shapes  as in quant.h
 * Errors  NUMERIC (a group's matrix is indefinite), NOMEM
 * Threads pieces of rows run in the pool
 * Source  Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: Accurate Post-Training
 *         Quantization for Generative Pre-trained Transformers", ICLR 2023, equations 2, 3
 *         and algorithm 1. Where we differ:
 *         - the quadratic is the centred one where the layer has a bias, because the best
 *           bias takes back what the codes shift on average
 *         - columns are rounded by descending variance
 *         - scales stay those of the start, and a row keeps the start's codes where they
 *           are no worse
 */
#include "quant/solver.h"

#include <string.h>

#include "base/pool.h"
#include "base/simd.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "quant/beam.h"
#include "quant/inverse.h"
#include "quant/problem.h"

/* Columns whose updates reach the others as one product. */
#define BLOCK 128

struct gptq {
    const struct ldnq_layer_problem *problem;
    struct ldnq_pool *pool;
    struct ldnq_layer_solution *solution; /* the start, then the better one per row */
    size_t k;                             /* cols */
    size_t row_count;                     /* over all groups */
    struct ldnq_inverse inverse;
    double *work;  /* (threads, PIECE_ROWS, K) W of a piece, columns permuted as in inverse */
    int8_t *codes; /* (G, M, K) */
    double *before,
        *after; /* (G, M) objectives of the best so far, at first the start, and of `codes` */
};

/* ---- the pass over the columns ---------------------------------------------------- */

/* Copies a piece of W to `work`, columns permuted. */
static void load_weights(const struct gptq *gptq, const struct ldnq_piece *piece, double *work)
{
    const size_t k = gptq->k;
    const struct ldnq_column *columns = gptq->inverse.columns + piece->group * k;
    const float *weight = gptq->problem->weight + piece->offset * k;
    for (size_t row = 0; row < piece->rows; row++)
        for (size_t i = 0; i < k; i++)
            work[row * k + i] = (double)weight[row * k + columns[i].col];
}

LDNQ_MULTIVERSION
static void subtract_scaled(size_t n, double error, const double *x, double *work)
{
    for (size_t j = 0; j < n; j++)
        work[j] -= error * x[j];
}

/* Rounds columns first .. first+count-1 of one row, the last first, and stores their
 * e in `errors`, for the columns before the block; `work` is the first of these columns. */
static void round_block(struct gptq *gptq, const struct ldnq_piece *piece, size_t row, size_t first,
                        size_t count, double *work, double *errors)
{
    const size_t k = gptq->k;
    const struct ldnq_column *columns = gptq->inverse.columns + piece->group * k + first;
    const double *factor = gptq->inverse.factor + piece->group * k * k;
    const float *scales = gptq->solution->scales;
    for (size_t i = count; i-- > 0;) {
        const double *x = factor + (first + i) * k + first;
        const double scale = (double)scales[ldnq_scale_index(gptq->problem, row, columns[i].col)];
        const int16_t code =
            ldnq_is_held_at_zero(gptq->problem, row * k + columns[i].col)
                ? 0
                : ldnq_codebook_find_nearest(gptq->problem->codebook, work[i] / scale);
        const double error = (work[i] - scale * code) / x[i];
        subtract_scaled(i, error, x, work);
        gptq->codes[row * k + columns[i].col] = (int8_t)code;
        gptq->after[row] += error * error;
        errors[i] = error;
    }
}

/* The objective of H alone, in its units, from the sum of e^2, which is that of H and the damping.
 */
static double subtract_damping(const struct gptq *gptq, const struct ldnq_piece *piece, size_t row)
{
    const struct ldnq_layer_problem *problem = gptq->problem;
    const size_t at = row * gptq->k;
    double squares = 0;
    for (size_t i = 0; i < gptq->k; i++) {
        const double scale = (double)gptq->solution->scales[ldnq_scale_index(problem, row, i)];
        const double d = scale * gptq->codes[at + i] - (double)problem->weight[at + i];
        squares += d * d;
    }
    const double error = gptq->after[row] - gptq->inverse.dampings[piece->group] * squares;
    return error > 0 ? gptq->inverse.units[piece->group] * error : 0;
}

static void round_piece(void *ctx, size_t chunk, size_t thread)
{
    struct gptq *gptq = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(gptq->problem, chunk);
    const size_t k = gptq->k;
    double *work = gptq->work + thread * LDNQ_PIECE_ROWS * k;
    const double *factor = gptq->inverse.factor + piece.group * k * k;
    double errors[LDNQ_PIECE_ROWS * BLOCK];
    load_weights(gptq, &piece, work);
    for (size_t r = 0; r < piece.rows; r++)
        gptq->after[piece.offset + r] = 0;
    for (size_t end = k; end > 0;) {
        const size_t count = ldnq_size_min(end, BLOCK), first = end - count;
        for (size_t r = 0; r < piece.rows; r++)
            round_block(gptq, &piece, piece.offset + r, first, count, work + r * k + first,
                        errors + r * BLOCK);
        if (first > 0)
            ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, piece.rows, first, count, -1, errors, BLOCK,
                       factor + first * k, k, 1, work, k);
        end = first;
    }
    for (size_t r = 0; r < piece.rows; r++)
        gptq->after[piece.offset + r] = subtract_damping(gptq, &piece, piece.offset + r);
}

/* ---- the better codes of each row ------------------------------------------------------ */

static void store_better_rows(struct gptq *gptq, struct ldnq_solver_task *task)
{
    const size_t k = gptq->k;
    struct ldnq_layer_solution *solution = gptq->solution;
    const struct ldnq_choice nearest = { solution->codes, solution->scales, NULL };
    if (task->start_errors && gptq->row_count > 0)
        memcpy(gptq->before, task->start_errors, gptq->row_count * sizeof *gptq->before);
    else
        ldnq_compute_total_error(gptq->problem, gptq->pool, &nearest, gptq->before);
    for (size_t row = 0; row < gptq->row_count; row++) {
        if (!(gptq->after[row] < gptq->before[row]))
            continue;
        memcpy(solution->codes + row * k, gptq->codes + row * k, k);
        gptq->before[row] = gptq->after[row];
    }
    if (!task->errors || gptq->row_count == 0)
        return;
    memcpy(task->errors, gptq->before, gptq->row_count * sizeof *task->errors);
    task->has_errors = true;
}

/* ---- setup ------------------------------------------------------------------------- */

static bool allocate_gptq_arrays(struct gptq *gptq, struct ldnq_arena *arena,
                                 struct ldnq_error *err)
{
    const size_t rows = gptq->row_count, k = gptq->k;
    /* No product of sizes overflows: the caller holds arrays that large. */
#define NEW(member, count)                                                                         \
    (gptq->member = ldnq_arena_alloc(arena, count, sizeof *gptq->member, err))
    const size_t piece_rows = ldnq_pool_threads(gptq->pool) * LDNQ_PIECE_ROWS;
    return NEW(work, gptq->problem->low_rank ? 0 : piece_rows * k) && NEW(codes, rows * k) &&
           NEW(before, rows) && NEW(after, rows);
#undef NEW
}

/* ---- a matrix of low rank --------------------------------------------------------------- */

/* The same pass by the search of one branch, which knows such matrices. */
static enum ldnq_status round_by_low_rank(struct gptq *gptq, struct ldnq_solver_task *task,
                                          struct ldnq_error *err)
{
    static const double same = 1;
    const struct ldnq_beam_search search = { 1, &same, 1 };
    const struct ldnq_choice choice = { gptq->codes, gptq->solution->scales, NULL };
    struct ldnq_beam beam;
    LDNQ_TRY(ldnq_beam_init(&beam, gptq->problem, gptq->pool, task->arena, err));
    LDNQ_TRY(ldnq_beam_find(&beam, &search, gptq->codes, gptq->solution->scales, err));
    ldnq_compute_total_error(gptq->problem, gptq->pool, &choice, gptq->after);
    store_better_rows(gptq, task);
    return LDNQ_OK;
}

enum ldnq_status ldnq_improve_by_gptq(struct ldnq_solver_task *task, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = task->problem;
    struct gptq gptq = {
        .problem = problem,
        .pool = task->pool,
        .solution = task->solution,
        .k = problem->cols,
        .row_count = problem->groups * problem->rows,
    };
    if (!allocate_gptq_arrays(&gptq, task->arena, err))
        return LDNQ_NOMEM;
    if (problem->low_rank)
        return round_by_low_rank(&gptq, task, err);
    LDNQ_TRY(ldnq_inverse_init(problem, task->pool, &gptq.inverse, task->arena, err));
    ldnq_run_pieces(problem, task->pool, round_piece, &gptq);
    ldnq_exchange_rows(problem, task->pool, gptq.codes, gptq.k);
    ldnq_exchange_rows(problem, task->pool, gptq.after, sizeof *gptq.after);
    store_better_rows(&gptq, task);
    return LDNQ_OK;
}
