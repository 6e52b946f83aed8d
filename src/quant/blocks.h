/* blocks.h: the inputs of each of a row's scales, for problems that have several. */
#ifndef LDNQ_QUANT_BLOCKS_H
#define LDNQ_QUANT_BLOCKS_H

#include "quant/quant.h"

/* Block s is the inputs order[first[s]] .. order[first[s+1]-1], ascending. */
struct ldnq_blocks {
    uint32_t *order; /* (K) */
    size_t *first;   /* (S + 1) */
};

/* Both NULL for a problem without segments. Errors: NOMEM. */
enum ldnq_status ldnq_blocks_init(const struct ldnq_layer_problem *problem,
                                  struct ldnq_blocks *blocks, struct ldnq_arena *arena,
                                  struct ldnq_error *err);

#endif
