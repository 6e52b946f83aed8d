/* SPDX-License-Identifier: Apache-2.0 */
/* ranges.h: finds the range of every activation that has a Q/DQ pair.
 *
 * Each activation has an observer of a fixed size, which sees the values that the float
 * network computes: memory does not grow with the samples.
 */
#ifndef LDNQ_PIPELINE_RANGES_H
#define LDNQ_PIPELINE_RANGES_H

#include "target/observer.h"

struct ldnq_ranges;

/* Observers for a placement that is not inserted yet. Lives in the arena. Errors: NOMEM. */
enum ldnq_status ldnq_ranges_create(struct ldnq_placement *placement,
                                    const struct ldnq_graph *graph, enum ldnq_range_rule rule,
                                    struct ldnq_arena *arena, struct ldnq_ranges **out,
                                    struct ldnq_error *err);

/* Marks, by value index of the graph, the values that are to be added. */
void ldnq_ranges_mark(const struct ldnq_ranges *ranges, bool *visited);

/* Observes a tensor of float32; values that were not marked are left out. Errors: NUMERIC (NaN or
 * infinity that a layer reads, which codes would hide; the layer is named). */
enum ldnq_status ldnq_ranges_add(struct ldnq_ranges *ranges, const struct ldnq_value *value,
                                 const struct ldnq_tensor *tensor, struct ldnq_pool *pool,
                                 struct ldnq_error *err);

/* Chooses the scales. An activation that no sample reached (in a branch that is never taken)
 * has the scale of its bounds, or 1. */
void ldnq_ranges_choose(struct ldnq_ranges *ranges);

/* By value index: why one scale ruins a value. NULL: it does not. */
struct ldnq_ruined_values {
    const char **excluded; /* it stays float */
    const char **wide;     /* it has the target's wide type */
};

/* Stores the reasons, in the arena of the graph. Where the target has a wide type beside others, a
 * value has that, but for masks. Where every tensor of a target has codes and it has none, only
 * masks are ruined. Entries that are set stay. Returns the number of those that were added.
 * Errors: NOMEM */
enum ldnq_status ldnq_ranges_find_ruined(const struct ldnq_ranges *ranges,
                                         const struct ldnq_ruined_values *ruined, size_t *added,
                                         struct ldnq_error *err);

/* Sets the scales of the placement's activations, after it was inserted. */
void ldnq_ranges_apply(const struct ldnq_ranges *ranges);

#endif
