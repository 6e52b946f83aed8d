/* SPDX-License-Identifier: Apache-2.0 */
/* dynamic_codes.h: uint8 codes whose scale and zero point follow from the range of the data.
 *
 * scale = (max - min) / 255 with max >= 0 and min <= 0, zero = clamp(round(-min / scale))
 *
 * Source  onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html
 */
#ifndef LDNQ_OPS_DYNAMIC_CODES_H
#define LDNQ_OPS_DYNAMIC_CODES_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct ldnq_dynamic_codes {
    float scale, zero; /* zero: 0 to 255 */
};

static inline struct ldnq_dynamic_codes ldnq_choose_dynamic_codes(const float *x, size_t count)
{
    float low = 0.0f, high = 0.0f;
    for (size_t i = 0; i < count; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    const float scale = high == low ? 1.0f : (high - low) / 255.0f;
    /* If the range is not finite, -low / scale may be NaN; the zero point is then 0. */
    const float zero = rintf(-low / scale);
    return (struct ldnq_dynamic_codes){ scale,
                                        zero > 0.0f ? (zero < 255.0f ? zero : 255.0f) : 0.0f };
}

static inline uint8_t ldnq_round_to_dynamic_code(const struct ldnq_dynamic_codes *codes, float x)
{
    float v = rintf(x / codes->scale) + codes->zero;
    v = v > 0.0f ? v : 0.0f;
    return (uint8_t)(v < 255.0f ? v : 255.0f);
}

#endif
