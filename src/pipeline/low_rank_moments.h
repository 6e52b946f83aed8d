/* SPDX-License-Identifier: Apache-2.0 */
/* low_rank_moments.h: a large layer's problem from its few positions, without matrices of K columns
 * or M K numbers.
 *
 * Shapes  one group; the positions are those of few_positions.h
 * Owns    nothing; all memory is the arena's
 * Errors  NOMEM
 * Threads between ldnq_blas_acquire and ldnq_blas_release; results do not depend on their number
 */
#ifndef LDNQ_PIPELINE_LOW_RANK_MOMENTS_H
#define LDNQ_PIPELINE_LOW_RANK_MOMENTS_H

#include "pipeline/error_compensation.h"
#include "quant/quant.h"

/* Columns from which matrices of all columns are avoided where positions are few. */
#define LDNQ_LOW_RANK_COLS ((size_t)1536)

static inline bool ldnq_is_low_rank(const struct ldnq_layer_geometry *geometry, size_t positions)
{
    return geometry->groups == 1 && geometry->cols >= LDNQ_LOW_RANK_COLS &&
           ldnq_are_few_positions((double)positions, (double)geometry->cols);
}

struct ldnq_low_rank_moments {
    struct ldnq_low_rank_gram gram;
    double *diagonal; /* (K) */
};

enum ldnq_few_positions_part {
    LDNQ_FITTED_POSITIONS = 1,
    LDNQ_HELD_OUT_POSITIONS = 2,
    LDNQ_ALL_POSITIONS = 3,
};

/* Makes the matrix of a part; `centred`: the layer has a bias. */
enum ldnq_status ldnq_low_rank_moments_init(struct ldnq_low_rank_moments *moments,
                                            const struct ldnq_few_positions *few,
                                            enum ldnq_few_positions_part part, bool centred,
                                            struct ldnq_arena *arena, struct ldnq_error *err);

/* Returns the sum of d y^ times W (y - y^) over the held-out positions and over `count` rows from
 * `first` on; d (count, K) with at most LDNQ_FEW_ROWS rows. */
#define LDNQ_FEW_ROWS ((size_t)32)
double ldnq_few_positions_correlate(const struct ldnq_few_positions *few, size_t first,
                                    size_t count, const float *d);

#endif
