/* SPDX-License-Identifier: Apache-2.0 */
/* blocks.h: the columns of each block, for problems with several scales per row. */
#ifndef LDNQ_QUANT_BLOCKS_H
#define LDNQ_QUANT_BLOCKS_H

#include "base/arena.h"
#include "quant/quant.h"

/* Block s has the columns order[first[s]] .. order[first[s+1]-1], ascending. */
struct ldnq_blocks {
    uint32_t *order; /* (K) */
    size_t *first;   /* (S + 1) */
};

/* Allocates both in the arena; both are NULL for a problem without blocks. Errors: NOMEM. */
enum ldnq_status ldnq_blocks_init(const struct ldnq_layer_problem *problem,
                                  struct ldnq_blocks *blocks, struct ldnq_arena *arena,
                                  struct ldnq_error *err);

#endif
