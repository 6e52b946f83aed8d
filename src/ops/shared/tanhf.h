/* SPDX-License-Identifier: Apache-2.0 */
/* tanhf.h: tanh and e^x - 1 in plain arithmetic, so that loops over them vectorize and return
 * the same bits on every machine. Within 2 units in the last place of tanh, and within 4 of
 * e^x - 1; infinity, zero and NaN as in tanhf and expm1f.
 *
 * Source  Cephes' tanhf: x (1 + x^2 p(x^2)) below 0.625, and 1 - 2 / (e^2x + 1) above it;
 *         e^x - 1 = 2 t / (1 - t) with t = tanh(x / 2)
 */
#ifndef LDNQ_OPS_TANHF_H
#define LDNQ_OPS_TANHF_H

#include <math.h>

#include "ops/shared/expf.h"

static inline float ldnq_tanhf(float x)
{
    const float cut = 0.625f, square = x * x;
    float p = -5.70498872745e-3f;
    p = p * square + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    const float small = x * (1.0f + p * square), size = fabsf(x);
    const float large = copysignf(1.0f - 2.0f / (ldnq_expf(2.0f * size) + 1.0f), x);
    /* The comparison is false for NaN, which `small` passes on. */
    return size >= cut ? large : small;
}

/* For x <= 0. */
static inline float ldnq_expm1f_negative(float x)
{
    const float t = ldnq_tanhf(0.5f * x);
    return 2.0f * t / (1.0f - t);
}

#endif
