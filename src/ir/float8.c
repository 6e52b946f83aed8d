/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/float8.h"

#include <math.h>

struct float8_format {
    int fraction, width, bias;      /* fraction and exponent in bits */
    uint8_t largest, overflow, nan; /* codes without sign; overflow: infinity, or NaN */
    bool unsigned_zero;             /* there is no -0: its code is the only NaN */
};

static struct float8_format find_format(enum ldnq_dtype dtype)
{
    switch (dtype) {
    case LDNQ_FLOAT8E4M3FN:
        return (struct float8_format){ 3, 4, 7, 0x7e, 0x7f, 0x7f, false };
    case LDNQ_FLOAT8E4M3FNUZ:
        return (struct float8_format){ 3, 4, 8, 0x7f, 0x80, 0x80, true };
    case LDNQ_FLOAT8E5M2:
        return (struct float8_format){ 2, 5, 15, 0x7b, 0x7c, 0x7e, false };
    case LDNQ_FLOAT8E5M2FNUZ:
        return (struct float8_format){ 2, 5, 16, 0x7f, 0x80, 0x80, true };
    default: /* float4e2m1; it has no NaN, which becomes the largest number */
        return (struct float8_format){ 1, 2, 1, 0x7, 0x7, 0x7, false };
    }
}

static double decode_magnitude(const struct float8_format *f, unsigned code)
{
    int exponent = (int)(code >> f->fraction), fraction = (int)(code & ((1u << f->fraction) - 1));
    if (exponent == 0)
        return ldexp(fraction, 1 - f->bias - f->fraction);
    return ldexp(fraction + (1 << f->fraction), exponent - f->bias - f->fraction);
}

double ldnq_float8_to_double(enum ldnq_dtype dtype, uint8_t code)
{
    struct float8_format f = find_format(dtype);
    unsigned sign = 1u << (f.fraction + f.width), size = code & (sign - 1);
    if (f.unsigned_zero && code == sign)
        return (double)NAN;
    if (size > f.largest) {
        bool is_infinity = f.overflow != f.nan && size == f.overflow;
        return is_infinity ? (code & sign ? -(double)INFINITY : (double)INFINITY) : (double)NAN;
    }
    double value = decode_magnitude(&f, size);
    return code & sign ? -value : value;
}

/* The nearest code without sign; largest + 1 when the number is too large. */
static unsigned encode_magnitude(const struct float8_format *f, double size)
{
    int exponent;
    if (size == 0.0)
        return 0;
    frexp(size, &exponent);
    int least = 1 - f->bias, at = exponent - 1 < least ? least : exponent - 1;
    double units = rint(ldexp(size, f->fraction - at));
    double code = ldexp(at - least, f->fraction) + units;
    return code > f->largest ? f->largest + 1u : (unsigned)code;
}

uint8_t ldnq_float8_from_double(enum ldnq_dtype dtype, double value, bool saturate)
{
    struct float8_format f = find_format(dtype);
    unsigned sign = signbit(value) ? 1u << (f.fraction + f.width) : 0;
    if (isnan(value))
        return f.nan | (f.unsigned_zero ? 0 : (uint8_t)sign);
    unsigned size = isinf(value) ? f.largest + 1u : encode_magnitude(&f, fabs(value));
    if (size > f.largest)
        size = saturate ? f.largest : f.overflow;
    if (f.unsigned_zero && (size == 0 || size == f.nan))
        sign = 0;
    return (uint8_t)(size | sign);
}
