/* SPDX-License-Identifier: Apache-2.0 */
/* float8.h: conversion of the float8 types and float4e2m1, which are stored as raw bits.
 *
 * Narrowing rounds once, half to even.
 */
#ifndef LDNQ_IR_FLOAT8_H
#define LDNQ_IR_FLOAT8_H

#include "ir/ir.h"

double ldnq_float8_to_double(enum ldnq_dtype dtype, uint8_t code);
/* A number that is too large becomes the largest finite one with `saturate`, and
 * infinity without it, or NaN in types that have no infinity. float4e2m1 always
 * saturates. */
uint8_t ldnq_float8_from_double(enum ldnq_dtype dtype, double value, bool saturate);

#endif
