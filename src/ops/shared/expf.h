/* SPDX-License-Identifier: Apache-2.0 */
/* expf.h: e^x in plain arithmetic, so that loops over it are vectorized, and the
 * same on every machine. Within 2e-7 of the value; infinity, zero, NaN and
 * subnormal results as expf has them.
 *
 * Source  Cephes' expf: e^x = 2^n e^r with |r| <= ln(2)/2, ln(2) in two parts
 */
#ifndef LDNQ_OPS_EXPF_H
#define LDNQ_OPS_EXPF_H

#include <stdint.h>
#include <string.h>

static inline float ldnq_power_of_two(int32_t n)
{
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

static inline float ldnq_expf(float x)
{
    /* Adding 1.5 * 2^23 leaves the nearest integer in the low bits. */
    const float rounder = 12582912.0f;
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    float shifted = x * 1.44269504088896341f + rounder, n = shifted - rounder;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    /* 2^n as a product of two powers, as 2^n itself may be out of the range of float. For
     * NaN, the exponent is arbitrary and the result is NaN. */
    int32_t exponent = (bits & 0x7fffff) - 0x400000, half = exponent >> 1;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * ldnq_power_of_two(half) * ldnq_power_of_two(exponent - half);
}

#endif
