/* SPDX-License-Identifier: Apache-2.0 */
/* quantize_pair.h: a QuantizeLinear and the DequantizeLinear that reads it, in one pass.
 *
 * Computes y = (clamp(round(x / scale) + zero) - zero') * scale', with scale' and zero' of the
 *          DequantizeLinear; the same bits as the two operators, NaN and infinities included
 * Shapes   x, y any, float32, may share their memory; one scale per tensor
 */
#ifndef LDNQ_OPS_QUANTIZE_PAIR_H
#define LDNQ_OPS_QUANTIZE_PAIR_H

#include "ops/op.h"

/* 2^23 + 2^22: a sum with it has no fraction bits, so that the processor rounds it half to
 * even. Correct for all |v| < 2^22, which includes 16-bit codes. */
#define LDNQ_ROUNDER 12582912.0f

/* clamp(round(x / scale)); low for NaN. */
static inline float ldnq_round_code(float x, float scale, float low, float high)
{
    float v = x / scale;
    v = v > low ? v : low;
    v = v < high ? v : high;
    return (v + LDNQ_ROUNDER) - LDNQ_ROUNDER;
}

/* Whether the DequantizeLinear `reader` can run inside the QuantizeLinear `node`: each has one
 * constant scale, and both have a zero point of the same type or none. */
bool ldnq_quantize_pair_applies(const struct ldnq_node *node, const struct ldnq_node *reader);

/* Runs the QuantizeLinear `call` with call->fused_reader; low .. high is the range of codes. */
void ldnq_quantize_pair_run(const struct ldnq_op_call *call, float low, float high);

#endif
