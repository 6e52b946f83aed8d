/* half.h: float16 and bfloat16 as raw bits, from and to double; to is rounded
 * once, half to even. */
#ifndef LDNQ_OPS_HALF_H
#define LDNQ_OPS_HALF_H

#include <stdint.h>

double ldnq_half_to_double(uint16_t bits);
uint16_t ldnq_half_of_double(double value);
double ldnq_bfloat_to_double(uint16_t bits);
uint16_t ldnq_bfloat_of_double(double value);

#endif
