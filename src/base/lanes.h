/* SPDX-License-Identifier: Apache-2.0 */
/* lanes.h: GCC's vectors of floats, with a clamp, which C's operators lack.
 *
 * LDNQ_LANES(name, count) declares the type `name`, which may be unaligned, and
 * name_clamp. The compiler splits vectors that are wider than the processor's.
 */
#ifndef LDNQ_BASE_LANES_H
#define LDNQ_BASE_LANES_H

#include <stdint.h>

/* Clamps by masks, as C has no ?: for vectors. NaN stays NaN. */
#define LDNQ_LANES(name, count)                                                                    \
    typedef float name __attribute__((vector_size((count) * sizeof(float)), aligned(4)));          \
    typedef int32_t name##_bits __attribute__((vector_size((count) * sizeof(float))));             \
    static inline __attribute__((always_inline, unused)) void name##_clamp(name *value, float low, \
                                                                           float high)             \
    {                                                                                              \
        const name lows = (name){ 0 } + low, highs = (name){ 0 } + high;                           \
        const name##_bits below = *value < lows;                                                   \
        *value = (name)((below & (name##_bits)lows) | (~below & (name##_bits) * value));           \
        const name##_bits above = *value > highs;                                                  \
        *value = (name)((above & (name##_bits)highs) | (~above & (name##_bits) * value));          \
    }

#endif
