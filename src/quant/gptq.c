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
 * - Inputs are taken by descending diagonal; 1 % of the diagonal's mean is added
 *   (inverse.h).
 * - Scales are those of the codes nearest to the weight, which are the start; a
 *   channel keeps its start's codes where those are no worse.
 *
 * Source  Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: Accurate Post-Training
 *         Quantization for Generative Pre-trained Transformers", ICLR 2023
 */
#include "quant/solver.h"

#include <string.h>

#include "base/pool.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "quant/inverse.h"
#include "quant/problem.h"

/* Inputs whose steps are applied to the rest together. */
#define BLOCK 128

struct gptq {
    const struct ldnq_layer_problem *problem;
    struct ldnq_pool *pool;
    struct ldnq_layer_solution *solution; /* the start, then the better of the two */
    size_t groups, outputs, inputs;       /* G, M, K */
    size_t rows, pieces;                  /* G * M, and blocks of them */
    struct ldnq_inverse inverse;          /* columns are taken from the last on */
    double *work;                         /* (G, M, K) W in the columns' order */
    int8_t *codes;                        /* (G, M, K) */
    double *before, *after;               /* (G, M) objectives of start and codes */
};

/* ---- the pass over the inputs ----------------------------------------------------- */

/* W into work in the columns' order. */
static void load_weights(struct gptq *gptq, const struct ldnq_piece *piece)
{
    const size_t inputs = gptq->inputs;
    const struct ldnq_column *columns = gptq->inverse.columns + piece->group * inputs;
    for (size_t row = piece->offset; row < piece->offset + piece->rows; row++)
        for (size_t i = 0; i < inputs; i++)
            gptq->work[row * inputs + i] =
                (double)gptq->problem->weight[row * inputs + columns[i].input];
}

/* Columns first .. first+count-1 of one row, the last first; the steps e go to
 * `steps` for the columns in front of the block. */
static void round_block(struct gptq *gptq, const struct ldnq_piece *piece, size_t row, size_t first,
                        size_t count, double *steps)
{
    const size_t inputs = gptq->inputs;
    const struct ldnq_column *columns = gptq->inverse.columns + piece->group * inputs + first;
    const double *factor = gptq->inverse.factor + piece->group * inputs * inputs;
    const float *scales = gptq->solution->scales;
    double *work = gptq->work + row * inputs + first;
    for (size_t i = count; i-- > 0;) {
        const double *x = factor + (first + i) * inputs + first;
        const double scale = (double)scales[ldnq_scale_at(gptq->problem, row, columns[i].input)];
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
    const double *factor = gptq->inverse.factor + piece.group * inputs * inputs;
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

/* ---- set-up ------------------------------------------------------------------------- */

static bool allocate(struct gptq *gptq, struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t rows = gptq->rows, k = gptq->inputs;
    /* No product overflows: the caller holds arrays of this order. */
#define NEW(member, count)                                                                         \
    (gptq->member = ldnq_arena_alloc(arena, count, sizeof *gptq->member, err))
    return NEW(work, rows * k) && NEW(codes, rows * k) && NEW(before, rows) && NEW(after, rows);
#undef NEW
}

enum ldnq_status ldnq_gptq_improve(const struct ldnq_solver_task *task, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = task->problem;
    struct gptq gptq = {
        .problem = problem,
        .pool = task->pool,
        .solution = task->solution,
        .groups = problem->groups,
        .outputs = problem->outputs,
        .inputs = problem->inputs,
        .rows = problem->groups * problem->outputs,
        .pieces = ldnq_piece_count(problem),
    };
    if (!allocate(&gptq, task->arena, err))
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_inverse_init(problem, task->pool, &gptq.inverse, task->arena, err));
    ldnq_pool_run(task->pool, gptq.pieces, round_piece, &gptq);
    choose(&gptq);
    return LDNQ_OK;
}
