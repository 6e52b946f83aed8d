/* SPDX-License-Identifier: Apache-2.0 */
/* widen.h: float16 and bfloat16 for operators that compute in float32.
 *
 * "Halves" are both 16-bit types. If an operator's infer refuses a node that has halves
 * among its inputs (UNSUPPORTED), it is called again as if these inputs were float32. If it
 * accepts them, forward runs on float32 copies of these inputs, and its float32 outputs are
 * rounded to halves once (to nearest, ties to even). Operators that accept halves
 * themselves, such as those that only move elements, are not affected.
 *
 * Dtype of float32 outputs: float32 if input 0 is float32; else input 0's half type; if
 * input 0 is neither (integer codes), the type of the first half input.
 */
#ifndef LDNQ_OPS_WIDEN_H
#define LDNQ_OPS_WIDEN_H

#include "ops/op.h"

/* The most inputs and outputs of a node that can be widened. */
#define LDNQ_WIDEN_INPUTS 16
#define LDNQ_WIDEN_OUTPUTS 8

/* Whether the call has halves among its inputs, and not too many inputs and outputs. */
bool ldnq_widen_applies(const struct ldnq_op_call *call);
/* Calls infer with float32 inputs and sets call->widened. Errors: those of infer. */
enum ldnq_status ldnq_widen_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err);
/* For calls with `widened` set: scratch includes the copies and the operator's own. */
size_t ldnq_widen_scratch_bytes(const struct ldnq_op_call *call);
enum ldnq_status ldnq_widen_forward(const struct ldnq_op_call *call, struct ldnq_error *err);

#endif
