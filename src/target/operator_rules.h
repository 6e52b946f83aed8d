/* SPDX-License-Identifier: Apache-2.0 */
/* operator_rules.h: short forms of the rules in a target's table.
 *
 * `inputs` is the bit mask of struct ldnq_operator_rule's data_inputs.
 */
#ifndef LDNQ_TARGET_OPERATOR_RULES_H
#define LDNQ_TARGET_OPERATOR_RULES_H

#include "target/target.h"

/* A weight in input 1, where it is constant. */
#define LAYER(type, inputs)                                                                        \
    { .op_type = type, .class = LDNQ_RUNS_QUANTIZED, .data_inputs = inputs, .weight = true }
#define COMPUTES(type, inputs)                                                                     \
    { .op_type = type, .class = LDNQ_RUNS_QUANTIZED, .data_inputs = inputs }
#define UNIFIES(type, inputs)                                                                      \
    { .op_type = type, .class = LDNQ_UNIFIES_SCALES, .data_inputs = inputs }
#define UNIFIES_INPUTS(type, inputs)                                                               \
    { .op_type = type, .class = LDNQ_UNIFIES_INPUTS, .data_inputs = inputs }
#define UNIFIES_NEAR(type, inputs)                                                                 \
    { .op_type = type, .class = LDNQ_UNIFIES_NEAR_SCALES, .data_inputs = inputs }
#define NO_PAIR(type) { .op_type = type, .class = LDNQ_TAKES_NO_PAIR, .data_inputs = 1 }
/* Copies, through which the runtime moves codes: with a pair before them or without. */
#define CARRIES(type, inputs) { .op_type = type, .data_inputs = inputs, .carries_codes = true }
#define CARRIES_NO_PAIR(type, inputs)                                                              \
    { .op_type = type, .class = LDNQ_TAKES_NO_PAIR, .data_inputs = inputs, .carries_codes = true }
#define MOVES(type) { .op_type = type, .class = LDNQ_PASSES_SCALE, .data_inputs = 1 }
/* The output's range does not depend on the data; with codes of `types` the kernel needs
 * exactly this range (0: with all). */
#define RANGED(type, from, to, types)                                                              \
    { .op_type = type,                                                                             \
      .class = LDNQ_RUNS_QUANTIZED,                                                                \
      .data_inputs = 1,                                                                            \
      .low = from,                                                                                 \
      .high = to,                                                                                  \
      .fixed_types = types }

#endif
