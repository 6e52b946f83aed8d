/* SPDX-License-Identifier: Apache-2.0 */
/* half.h: conversion of float16 and bfloat16, which are stored as raw bits.
 *
 * Narrowing rounds once, half to even; too large a number becomes infinity.
 */
#ifndef LDNQ_IR_HALF_H
#define LDNQ_IR_HALF_H

#include <stddef.h>
#include <stdint.h>

#include "ir/dtype.h"

double ldnq_half_to_double(uint16_t bits);
uint16_t ldnq_half_from_double(double value);
double ldnq_bfloat_to_double(uint16_t bits);
uint16_t ldnq_bfloat_from_double(double value);

/* Rounds floats to the numbers of a 16-bit type, in place; those beyond its largest number become
 * that one. */
void ldnq_round_to_halves(enum ldnq_dtype dtype, float *floats, size_t count);

/* Convert arrays of `count` elements between 16-bit floats and float. */
void ldnq_halves_to_floats(const uint16_t *halves, float *floats, size_t count);
void ldnq_halves_from_floats(const float *floats, uint16_t *halves, size_t count);
void ldnq_bfloats_to_floats(const uint16_t *halves, float *floats, size_t count);
void ldnq_bfloats_from_floats(const float *floats, uint16_t *halves, size_t count);

#endif
