/* half.h: float16 and bfloat16 as raw bits, from and to double; to is rounded
 * once, half to even. */
#ifndef LDNQ_IR_HALF_H
#define LDNQ_IR_HALF_H

#include <stddef.h>
#include <stdint.h>

double ldnq_half_to_double(uint16_t bits);
uint16_t ldnq_half_of_double(double value);
double ldnq_bfloat_to_double(uint16_t bits);
uint16_t ldnq_bfloat_of_double(double value);

/* The same from and to float, run by run. */
void ldnq_halves_to_floats(const uint16_t *halves, float *floats, size_t count);
void ldnq_halves_of_floats(const float *floats, uint16_t *halves, size_t count);
void ldnq_bfloats_to_floats(const uint16_t *halves, float *floats, size_t count);
void ldnq_bfloats_of_floats(const float *floats, uint16_t *halves, size_t count);

#endif
