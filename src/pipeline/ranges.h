/* ranges.h: finds the range of every activation that has a Q/DQ pair.
 *
 * One pass of the float network over the samples, a batch at a time: each activation has an
 * observer of a fixed size, so that memory does not grow with the samples.
 */
#ifndef LDNQ_PIPELINE_RANGES_H
#define LDNQ_PIPELINE_RANGES_H

#include "base/sink.h"
#include "calib/calib.h"
#include "target/observer.h"

struct ldnq_ranges_options {
    enum ldnq_range_rule rule;
    size_t batch; /* samples per batch */
    struct ldnq_pool *pool;
    const struct ldnq_sink *sink;
};

/* Sets the scales of a placement that was inserted into `graph`. `reference` is a clone of
 * it whose pairs are bypassed (ldnq_placement_bypass_pairs). An activation that no sample reached
 * (in a branch that is never taken) has the scale of its bounds, or 1.
 * Errors: those of the samples and of the executor; DATA (an activation that is not finite:
 * node and sample are named), NOMEM. */
enum ldnq_status ldnq_ranges_find(struct ldnq_placement *placement, const struct ldnq_graph *graph,
                                  const struct ldnq_graph *reference, struct ldnq_samples *samples,
                                  const struct ldnq_ranges_options *options,
                                  struct ldnq_error *err);

#endif
