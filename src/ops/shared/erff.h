/* SPDX-License-Identifier: Apache-2.0 */
/* erff.h: the error function in plain arithmetic, so that loops over it vectorize and return
 * the same bits on every machine. Within 2 units in the last place; infinity, zero and NaN
 * as in erff.
 *
 * Source  our own minimax fits: erf(x) = x + x p(x^2) below `cut`, and
 *         1 - exp(-x (1 - q(x))) above it, where the error of q hardly counts
 */
#ifndef LDNQ_OPS_ERFF_H
#define LDNQ_OPS_ERFF_H

#include <math.h>

#include "ops/shared/expf.h"

static inline float ldnq_erff(float x)
{
    const float cut = 0.9f, most = 4.0f; /* erff(4) is 1 in float */
    const float square = x * x;
    float t = fabsf(x);
    t = t > most ? most : t;
    float p = -6.090496046e-04f;
    p = p * square + 5.011993340e-03f;
    p = p * square - 2.677893385e-02f;
    p = p * square + 1.128214170e-01f;
    p = p * square - 3.761252341e-01f;
    p = p * square + 1.283791539e-01f;
    const float small = x + x * p;
    float q = -1.043311441e-05f;
    q = q * t + 3.148581134e-04f;
    q = q * t - 3.610341951e-03f;
    q = q * t + 2.369456595e-02f;
    q = q * t - 1.061590491e-01f;
    q = q * t - 6.351980344e-01f;
    q = q * t - 1.286370751e-01f;
    const float large = copysignf(1.0f - ldnq_expf(q * t - t), x);
    /* The comparison is false for NaN, which `small` passes on. */
    return t >= cut ? large : small;
}

#endif
