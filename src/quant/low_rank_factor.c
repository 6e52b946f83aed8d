/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/low_rank_factor.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "linalg/blas.h"
#include "linalg/cholesky.h"

#define BLOCK LDNQ_LOW_RANK_BLOCK
/* Added to the diagonal, in units of its mean, as in inverse.c. */
#define DAMPING 0.01

struct factor_workspace {
    const struct ldnq_layer_problem *problem;
    struct ldnq_low_rank_factor *factor;
    size_t k, positions;
    double unit, damping;
    double *inverse;                   /* (P, P) S^-1 */
    double *values, *solved, *reduced; /* (BLOCK, P) Y_B, U, X U */
};

/* Loads the columns first .. first+count-1, divided so that Y Y' is H. */
static void load_block_values(const struct factor_workspace *f, size_t first, size_t count)
{
    const size_t positions = f->positions;
    const double scale = 1 / sqrt((double)positions * f->unit);
    for (size_t i = 0; i < count; i++) {
        const struct ldnq_column *column = &f->factor->columns[first + i];
        const float *from = f->problem->low_rank->columns + column->col * positions;
        for (size_t p = 0; p < positions; p++)
            f->values[i * positions + p] = scale * (double)from[p];
    }
}

/* Computes U and X of a block, X in `corner` (count, count). */
static enum ldnq_status factor_block(const struct factor_workspace *f, size_t first, size_t count,
                                     double *corner, struct ldnq_error *err)
{
    const size_t positions = f->positions;
    const double *added = f->problem->low_rank->added;
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, count, positions, positions, 1, f->values, positions,
               f->inverse, positions, 0, f->solved, positions);
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, count, count, positions, 1, f->values, positions,
               f->solved, positions, 0, corner, count);
    for (size_t i = 0; i < count; i++) {
        const struct ldnq_column *column = &f->factor->columns[first + i];
        const bool varies = column->variance > 0;
        corner[i * count + i] += f->damping + (added && varies ? added[column->col] / f->unit : 0);
    }
    LDNQ_TRY(ldnq_cholesky_factor(count, corner, err));
    ldnq_cholesky_invert(count, corner);
    for (size_t i = 0; i < count; i++)
        memset(corner + i * count + i + 1, 0, (count - i - 1) * sizeof *corner);
    return LDNQ_OK;
}

/* Stores what a search reads of the block. */
static void store_block(const struct factor_workspace *f, size_t first, size_t count,
                        const double *corner, const double *responses)
{
    struct ldnq_low_rank_factor *factor = f->factor;
    const size_t block = (f->k - first - count) / BLOCK;
    float *to = factor->corners + block * BLOCK * BLOCK;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j <= i; j++)
            to[i * BLOCK + j] = (float)corner[i * count + j];
        factor->units[first + i] = (float)(1 / corner[i * count + i]);
    }
    for (size_t i = 0; i < count * f->positions; i++) {
        factor->values[first * f->positions + i] = (float)f->values[i];
        factor->responses[first * f->positions + i] = (float)responses[i];
    }
}

/* From the first columns to the last: S grows by each block. */
static enum ldnq_status factor_blocks(const struct factor_workspace *f, struct ldnq_error *err)
{
    const size_t positions = f->positions;
    double corner[BLOCK * BLOCK];
    size_t first = 0;
    for (size_t p = 0; p < positions; p++)
        f->inverse[p * positions + p] = 1;
    while (first < f->k) {
        const size_t left = (f->k - first) % BLOCK, count = left ? left : BLOCK;
        load_block_values(f, first, count);
        LDNQ_TRY(factor_block(f, first, count, corner, err));
        ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, count, positions, count, 1, corner, count, f->solved,
                   positions, 0, f->reduced, positions);
        ldnq_dgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, positions, positions, count, -1, f->reduced,
                   positions, f->reduced, positions, 1, f->inverse, positions);
        ldnq_dgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, count, positions, count, 1, corner, count,
                   f->reduced, positions, 0, f->solved, positions);
        store_block(f, first, count, corner, f->solved);
        first += count;
    }
    return LDNQ_OK;
}

/* Sorts the columns and returns the mean of their variances. */
static double order_low_rank_columns(const struct ldnq_layer_problem *problem,
                                     struct ldnq_column *columns)
{
    for (size_t i = 0; i < problem->cols; i++)
        columns[i] = (struct ldnq_column){ problem->diagonal[i], i };
    return ldnq_order_columns(problem->cols, columns);
}

static enum ldnq_status allocate_and_factor(struct factor_workspace *f, struct ldnq_arena *scratch,
                                            struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t k = f->k, positions = f->positions, blocks = ldnq_size_ceil_div(k, BLOCK);
    struct ldnq_low_rank_factor *factor = f->factor;
#define NEW(owner, member, from, n)                                                                \
    ((owner)->member = ldnq_arena_alloc(from, n, sizeof *(owner)->member, err))
    if (!NEW(factor, columns, arena, k) || !NEW(factor, values, arena, k * positions) ||
        !NEW(factor, responses, arena, k * positions) ||
        !NEW(factor, corners, arena, blocks * BLOCK * BLOCK) || !NEW(factor, units, arena, k) ||
        !NEW(f, inverse, scratch, positions * positions) ||
        !NEW(f, values, scratch, BLOCK * positions) ||
        !NEW(f, solved, scratch, BLOCK * positions) || !NEW(f, reduced, scratch, BLOCK * positions))
        return LDNQ_NOMEM;
#undef NEW
    const double mean = order_low_rank_columns(f->problem, factor->columns);
    /* Without any variance all codes are equally good; X = I then leaves the start's. */
    f->unit = mean > 0 ? mean : 1;
    f->damping = mean > 0 ? DAMPING : 1;
    return factor_blocks(f, err);
}

enum ldnq_status ldnq_low_rank_factor_init(const struct ldnq_layer_problem *problem,
                                           struct ldnq_low_rank_factor *factor,
                                           struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct factor_workspace f = { .problem = problem,
                                  .factor = factor,
                                  .k = problem->cols,
                                  .positions = problem->low_rank->count };
    struct ldnq_arena *scratch;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    const enum ldnq_status status = allocate_and_factor(&f, scratch, arena, err);
    ldnq_arena_destroy(scratch);
    return status;
}
