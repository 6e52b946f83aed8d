#include "ops/half.h"

#include <math.h>

/* A binary format of 16 bits. */
struct format {
    int fraction; /* bits */
    int bias;
};

static const struct format half = { 10, 15 }, bfloat = { 7, 127 };

static double decode(struct format format, uint16_t bits)
{
    int width = 15 - format.fraction, exponent = bits >> format.fraction & ((1 << width) - 1);
    int fraction = bits & ((1 << format.fraction) - 1);
    double sign = bits & 0x8000 ? -1.0 : 1.0;
    if (exponent == (1 << width) - 1)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, 1 - format.bias - format.fraction);
    return sign * ldexp(fraction + (1 << format.fraction),
                        exponent - format.bias - format.fraction);
}

static uint16_t encode(struct format format, double value)
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
    /* Units of the last place; subnormal numbers share the least one. */
    int least = 1 - format.bias, at = exponent - 1 < least ? least : exponent - 1;
    double units = rint(ldexp(fabs(value), format.fraction - at));
    /* A carry out of the fraction runs into the exponent, as it should. */
    unsigned bits = (unsigned)(at - least) << format.fraction;
    bits += (unsigned)units;
    return (uint16_t)(sign | (bits >= infinity ? infinity : bits));
}

double ldnq_half_to_double(uint16_t bits)
{
    return decode(half, bits);
}

uint16_t ldnq_half_of_double(double value)
{
    return encode(half, value);
}

double ldnq_bfloat_to_double(uint16_t bits)
{
    return decode(bfloat, bits);
}

uint16_t ldnq_bfloat_of_double(double value)
{
    return encode(bfloat, value);
}
