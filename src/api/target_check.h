/* SPDX-License-Identifier: Apache-2.0 */
/* target_check.h: what a target makes of the layers that will be quantized, before the work. */
#ifndef LDNQ_API_TARGET_CHECK_H
#define LDNQ_API_TARGET_CHECK_H

#include "pipeline/pipeline.h"

struct ldnq_target_check {
    const struct ldnq_graph *graph; /* the graph after the passes, with no layer quantized */
    const struct ldnq_target *target;
    const struct ldnq_quantize_options *options; /* hold the plan, if there is one */
    const struct ldnq_sink *sink;
};

/* Warns, in one line, of layers that the target will run slower than in the float model, as none
 * of its kernels reads their codes.
 * Errors: USAGE (a block size that the target's kernel does not take), those of
 * ldnq_select_layers. */
enum ldnq_status ldnq_target_check_layers(const struct ldnq_target_check *check,
                                          struct ldnq_arena *arena, struct ldnq_error *err);

#endif
