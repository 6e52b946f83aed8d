/* SPDX-License-Identifier: Apache-2.0 */
/* target_weights.c: weights alone: the smallest change to a file, for runtimes that
 * dequantize weights when they load or run a model. */
#include "target/target.h"

static const struct ldnq_operator_rule rules[] = { { .op_type = NULL } };

const struct ldnq_target ldnq_target_weights = {
    .name = "weights",
    .summary = "any runtime: weights alone, activations stay float",
    .opset_min = 10,
    .pairs = LDNQ_PAIRS_NONE,
    .per_channel = true,
    .negative_scales = true,
    .gathers_codes = true,
    .bias = LDNQ_BIAS_FLOAT,
    .weight_bits = ~0u,
    .rules = rules,
};
