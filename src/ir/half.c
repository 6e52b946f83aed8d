/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/half.h"

#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "ir/tensor.h"

/* A binary floating-point format of 16 bits: a sign, an exponent, a fraction. */
struct half_format {
    int fraction; /* bits of the fraction */
    int bias;
};

static const struct half_format half = { 10, 15 }, bfloat = { 7, 127 };

static double decode_half(struct half_format format, uint16_t bits)
{
    int width = 15 - format.fraction, exponent = bits >> format.fraction & ((1 << width) - 1);
    int fraction = bits & ((1 << format.fraction) - 1);
    double sign = bits & 0x8000 ? -1.0 : 1.0;
    if (exponent == (1 << width) - 1)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, 1 - format.bias - format.fraction);
    return sign *
           ldexp(fraction + (1 << format.fraction), exponent - format.bias - format.fraction);
}

static uint16_t encode_half(struct half_format format, double value)
{
    unsigned sign = signbit(value) ? 0x8000u : 0, infinity = 0x7fffu >> format.fraction;
    int exponent;
    infinity <<= format.fraction;
    if (isnan(value))
        return (uint16_t)(sign | infinity | 1u << (format.fraction - 1));
    if (isinf(value))
        return (uint16_t)(sign | infinity);
    if (value == 0.0)
        return (uint16_t)sign;
    frexp(value, &exponent);
    /* The magnitude in units of the last place; all subnormal numbers have the unit of
     * the smallest exponent. */
    int least = 1 - format.bias, at = exponent - 1 < least ? least : exponent - 1;
    double units = rint(ldexp(fabs(value), format.fraction - at));
    /* A carry out of the fraction increments the exponent, which is right. */
    unsigned bits = (unsigned)(at - least) << format.fraction;
    bits += (unsigned)units;
    return (uint16_t)(sign | (bits >= infinity ? infinity : bits));
}

double ldnq_half_to_double(uint16_t bits)
{
    return decode_half(half, bits);
}

uint16_t ldnq_half_from_double(double value)
{
    return encode_half(half, value);
}

double ldnq_bfloat_to_double(uint16_t bits)
{
    return decode_half(bfloat, bits);
}

uint16_t ldnq_bfloat_from_double(double value)
{
    return encode_half(bfloat, value);
}

/* ---- arrays of floats ------------------------------------------------------------------ */

static inline uint32_t float_to_bits(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline float bits_to_float(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Shifted into a float's position, the bits are the number divided by 2^112, the
 * difference of the biases. Infinity and NaN need the float's largest exponent. */
static inline float half_to_float(uint16_t code)
{
    float v = bits_to_float((uint32_t)(code & 0x7fff) << 13) * 0x1p112f;
    uint32_t bits = float_to_bits(v) | ((code & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u);
    return bits_to_float(bits | (uint32_t)(code & 0x8000) << 16);
}

/* Below 2^-14 halves are multiples of 2^-24, which is the spacing of floats at 0.5: adding 0.5f
 * rounds to them. Above, the 13 bits that go are rounded half to even: 0x1000 is added where the
 * kept part is odd, 0xfff where it is even. */
static inline uint16_t float_to_half(float v)
{
    uint32_t bits = float_to_bits(v), size = bits & 0x7fffffffu;
    uint32_t small = float_to_bits(bits_to_float(size) + 0.5f) - float_to_bits(0.5f);
    uint32_t large = ((size + 0xfffu + (size >> 13 & 1)) >> 13) - (112u << 10);
    uint32_t code = size < 0x38800000u ? small : size < 0x477ff000u ? large : 0x7c00u;
    code = size > 0x7f800000u ? 0x7e00u : code;
    return (uint16_t)(code | (bits >> 16 & 0x8000u));
}

static inline uint16_t float_to_bfloat(float v)
{
    uint32_t bits = float_to_bits(v);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16 & 0x8000u) | 0x7fc0u
                                                         : rounded);
}

LDNQ_MULTIVERSION
void ldnq_halves_to_floats(const uint16_t *halves, float *floats, size_t count)
{
    for (size_t i = 0; i < count; i++)
        floats[i] = half_to_float(halves[i]);
}

LDNQ_MULTIVERSION
void ldnq_halves_from_floats(const float *floats, uint16_t *halves, size_t count)
{
    for (size_t i = 0; i < count; i++)
        halves[i] = float_to_half(floats[i]);
}

void ldnq_bfloats_to_floats(const uint16_t *halves, float *floats, size_t count)
{
    for (size_t i = 0; i < count; i++)
        floats[i] = bits_to_float((uint32_t)halves[i] << 16);
}

void ldnq_bfloats_from_floats(const float *floats, uint16_t *halves, size_t count)
{
    for (size_t i = 0; i < count; i++)
        halves[i] = float_to_bfloat(floats[i]);
}

/* ---- rounding ------------------------------------------------------------------------------ */

#define LARGEST_HALF 65504.0f
#define LARGEST_BFLOAT 0x1.fep127f

static inline uint16_t narrow_float(enum ldnq_dtype dtype, float v)
{
    const float largest = dtype == LDNQ_FLOAT16 ? LARGEST_HALF : LARGEST_BFLOAT;
    const float bounded = isfinite(v) ? fminf(fmaxf(v, -largest), largest) : v;
    return dtype == LDNQ_FLOAT16 ? float_to_half(bounded) : float_to_bfloat(bounded);
}

void ldnq_round_to_halves(enum ldnq_dtype dtype, float *floats, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint16_t bits = narrow_float(dtype, floats[i]);
        floats[i] =
            dtype == LDNQ_FLOAT16 ? half_to_float(bits) : bits_to_float((uint32_t)bits << 16);
    }
}

enum ldnq_status ldnq_tensor_narrow(struct ldnq_arena *arena, const struct ldnq_tensor *from,
                                    enum ldnq_dtype dtype, const struct ldnq_tensor **out,
                                    struct ldnq_error *err)
{
    struct ldnq_tensor *narrow;
    *out = from;
    if (dtype != LDNQ_FLOAT16 && dtype != LDNQ_BFLOAT16)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_tensor_create(arena, dtype, &from->shape, &narrow, err));
    const float *floats = from->data;
    uint16_t *halves = narrow->data;
    for (size_t i = 0, count = ldnq_tensor_count(from); i < count; i++)
        halves[i] = narrow_float(dtype, floats[i]);
    *out = narrow;
    return LDNQ_OK;
}
