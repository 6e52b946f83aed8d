/* SPDX-License-Identifier: Apache-2.0 */
/* few_positions.h: error compensation of a layer with fewer positions than columns.
 *
 * Then C = E[y^ y^'] (error_compensation.h) has no full rank, and positions are cheaper to solve
 * for than columns. With Y (P, K) the positions' y^ and D (P, M) their W (y - y^), one per row and
 * both without their means where the layer has a bias,
 *
 *     E[W (y - y^) y^'] (C + d I)^-1 = D' (Y Y' + P d I)^-1 Y
 *
 * and what this change does to the held-out positions needs only the products of positions. For
 * 1,152 columns and 833 positions that takes a fifth of the time.
 *
 * Shapes  one group; columns (capacity, K), differences (capacity, M), one position per row
 * Owns    nothing; all memory is the arena's
 * Errors  NOMEM
 * Threads between ldnq_blas_acquire and ldnq_blas_release; results do not depend on their number
 */
#ifndef LDNQ_PIPELINE_FEW_POSITIONS_H
#define LDNQ_PIPELINE_FEW_POSITIONS_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/pool.h"
#include "base/ranks.h"
#include "ops/op_layer.h"

#define LDNQ_NO_ROW ((size_t) - 1)

/* Columns per position from which products with the positions are cheaper than with H. */
#define LDNQ_COLS_PER_FEW_POSITION 3

static inline bool ldnq_are_few_positions(double positions, double cols)
{
    return positions * LDNQ_COLS_PER_FEW_POSITION <= cols;
}

struct ldnq_few_positions {
    size_t rows, cols;       /* M, K */
    size_t capacity;         /* positions; 0 when more came than were expected */
    size_t fitted, held_out; /* positions of both parts so far */
    float *columns;          /* fitted ones from the first row on, held-out ones before the end */
    float *differences;
};

/* The effect of a change X on the held-out error: it falls by 2 lambda <X, E> and rises by
 * lambda^2 <X, X C>, with E = E[W (y - y^) y^']. */
struct ldnq_held_out_effect {
    double x_e, x_xc;
};

enum ldnq_status ldnq_few_positions_init(struct ldnq_few_positions *few, size_t rows, size_t cols,
                                         size_t capacity, struct ldnq_arena *arena,
                                         struct ldnq_error *err);

/* Returns the first of `count` rows for the caller to write, or LDNQ_NO_ROW when they do not fit:
 * then nothing is known of the positions. */
size_t ldnq_few_positions_reserve(struct ldnq_few_positions *few, size_t count, bool held_out);

/* Whether reserve() has room for `count` more. */
static inline bool ldnq_few_positions_have_room(const struct ldnq_few_positions *few, size_t count)
{
    return few->capacity - few->fitted - few->held_out >= count;
}

/* Replaces what each rank has stored by what all of them have, in the order of their ranks, with
 * room for `capacity` positions. Errors: NOMEM, those of ranks.h. */
enum ldnq_status ldnq_few_positions_share(struct ldnq_few_positions *few,
                                          const struct ldnq_layer_geometry *geometry,
                                          size_t capacity, struct ldnq_ranks *ranks,
                                          struct ldnq_arena *arena, struct ldnq_error *err);

/* Whether these are `positions` positions: the fitted part, or both parts. Accepts NULL. */
bool ldnq_few_positions_hold_all(const struct ldnq_few_positions *few, size_t positions);

struct ldnq_few_positions_options {
    bool centred; /* the layer has a bias */
    struct ldnq_pool *pool;
};

/* Computes what the change at lambda = 1 that is fitted to the one part does to the other one, for
 * each damping: 0 where the system can't be factored. */
enum ldnq_status ldnq_few_positions_measure(const struct ldnq_few_positions *few,
                                            const struct ldnq_few_positions_options *options,
                                            const double *dampings, size_t count,
                                            struct ldnq_held_out_effect *effects,
                                            struct ldnq_error *err);

/* `add` is called in the pool's threads with the change (count, K) of rows first .. first+count-1.
 */
struct ldnq_change_reader {
    void (*add)(void *ctx, size_t first, size_t count, const double *change);
    void *ctx;
};

/* Rows of a block of the change. */
#define LDNQ_CHANGE_ROWS ((size_t)64)

/* Computes the change at lambda = 1 from the first `positions` of ldnq_few_positions_hold_all, in
 * blocks of rows, of which each rank has its share; none when the system can't be factored. */
enum ldnq_status ldnq_few_positions_solve(const struct ldnq_few_positions *few, size_t positions,
                                          const struct ldnq_few_positions_options *options,
                                          double damping, const struct ldnq_change_reader *reader,
                                          struct ldnq_error *err);

#endif
