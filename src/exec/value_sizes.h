/* SPDX-License-Identifier: Apache-2.0 */
/* value_sizes.h: the memory that the values of a graph take, by its shapes.
 *
 * Units   bytes of one sample. Dimensions that the graph does not know, such as the batch, count
 *         as 1, and all elements as floats, so that graphs of the same shapes have the same sizes
 */
#ifndef LDNQ_EXEC_VALUE_SIZES_H
#define LDNQ_EXEC_VALUE_SIZES_H

#include "ir/ir.h"

/* 0 for a constant. */
double ldnq_count_value_bytes(const struct ldnq_value *value);

/* What values take as the nodes run in their order. */
struct ldnq_value_sizes {
    double *live; /* before each node and after the last one */
    double *run;  /* while each node runs: what is live before it, and what it computes */
};

/* Allocates both in the arena. Errors: NOMEM. */
enum ldnq_status ldnq_find_value_sizes(const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                       struct ldnq_value_sizes *sizes, struct ldnq_error *err);

/* At most as many samples as `most`, and at least 1, so that what a node reads and computes takes
 * LDNQ_BATCH_BYTES. */
#define LDNQ_BATCH_BYTES ((double)(4 << 20))
size_t ldnq_limit_batch(const struct ldnq_graph *graph, size_t most);

#endif
