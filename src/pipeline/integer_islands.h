/* SPDX-License-Identifier: Apache-2.0 */
/* integer_islands.h: convolutions between float operators that do not pay for their conversions.
 *
 * An island is a largest set of connected nodes that compute on codes. What enters it is quantized,
 * what leaves it is dequantized. Its layers stay float where, by the costs in the target's record,
 * these conversions take longer than its kernels save:
 *
 *     sum over its layers   saved time per product * products (depthwise: lost time per output)
 *   < sum over its borders  time per element * elements
 *
 * by more than the record's least loss. Islands of one position cost their nodes, and stay while
 * their weights are many. Sizes that are not known (of the pictures) cancel: each value has its
 * positions relative to the input's. Islands with other layers than 2-D convolutions stay as they
 * are.
 */
#ifndef LDNQ_PIPELINE_INTEGER_ISLANDS_H
#define LDNQ_PIPELINE_INTEGER_ISLANDS_H

#include "pipeline/faster_in_float.h"

/* Sets the refusal of such layers; all other refusals are set. Layers that a plan names keep
 * their island. Errors: NOMEM. */
enum ldnq_status ldnq_refuse_integer_islands(struct ldnq_code_flow *flow, struct ldnq_layer *layers,
                                             size_t count,
                                             const struct ldnq_quantize_options *options,
                                             struct ldnq_arena *arena, struct ldnq_error *err);

#endif
