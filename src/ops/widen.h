/* widen.h: float16 and bfloat16 for operators that compute in float32.
 *
 * Where infer refuses a node with halves among its inputs, it is asked again with
 * float32 in their place. forward then computes on widened copies and rounds what
 * is float32 back to halves, once, half to even. Operators that only move elements
 * take halves as they are, and never get here.
 *
 * Outputs are halves of input 0's type; where that one is not a real number (codes),
 * of the first half's type. With input 0 in float32 they stay float32.
 */
#ifndef LDNQ_OPS_WIDEN_H
#define LDNQ_OPS_WIDEN_H

#include "ops/op.h"

/* Inputs and outputs of a node that can be widened. */
#define LDNQ_WIDEN_INPUTS 16
#define LDNQ_WIDEN_OUTPUTS 8

bool ldnq_widen_applies(const struct ldnq_op_call *call);
/* infer on float32; sets call->widened. Errors: infer's. */
enum ldnq_status ldnq_widen_infer(struct ldnq_op_call *call, struct ldnq_error *err);
/* For calls with `widened` set: scratch and forward of the whole. */
size_t ldnq_widen_scratch(const struct ldnq_op_call *call);
enum ldnq_status ldnq_widen_forward(const struct ldnq_op_call *call, struct ldnq_error *err);

#endif
