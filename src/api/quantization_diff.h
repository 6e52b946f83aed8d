/* SPDX-License-Identifier: Apache-2.0 */
/* quantization_diff.h: what a quantization knows of itself beyond what two files show. */
#ifndef LDNQ_API_QUANTIZATION_DIFF_H
#define LDNQ_API_QUANTIZATION_DIFF_H

#include "compare/comparison.h"
#include "pipeline/pipeline.h"

/* Adds the estimate with the parts of the layers, the nodes that stay float and the
 * values of 16 bits, each with the reason, to the comparison of the quantized network with the
 * float one. They live in the arena. Errors: NOMEM. */
enum ldnq_status ldnq_quantization_fill_diff(const struct ldnq_quantization *result,
                                             struct ldnq_arena *arena, struct ldnq_diff *diff,
                                             struct ldnq_error *err);

#endif
