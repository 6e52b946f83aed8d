/* float8.h: the float8 types and float4e2m1, from and to double; to is rounded once,
 * half to even. */
#ifndef LDNQ_IR_FLOAT8_H
#define LDNQ_IR_FLOAT8_H

#include "ir/ir.h"

double ldnq_float8_to_double(enum ldnq_dtype dtype, uint8_t code);
/* What is too large becomes the largest number where it saturates, else infinity, or
 * NaN in types that have none. float4 always saturates. */
uint8_t ldnq_float8_of_double(enum ldnq_dtype dtype, double value, bool saturate);

#endif
