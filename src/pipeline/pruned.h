/* SPDX-License-Identifier: Apache-2.0 */
/* pruned.h: the zeros of a pruned weight, which quantization keeps.
 *
 * A code other than 0 would fill the pattern that a runtime saves work by, as 2 of 4.
 */
#ifndef LDNQ_PIPELINE_PRUNED_H
#define LDNQ_PIPELINE_PRUNED_H

#include "layer/quantized_layer.h"

/* Sets quantized->zeros if at least a tenth of the weight is exactly 0. `weight` is the file's.
 * Errors: NOMEM. */
enum ldnq_status ldnq_find_pruned_zeros(struct ldnq_quantized_layer *quantized,
                                        const struct ldnq_tensor *weight, struct ldnq_arena *arena,
                                        struct ldnq_error *err);

#endif
