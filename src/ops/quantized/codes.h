/* SPDX-License-Identifier: Apache-2.0 */
/* codes.h: integer matrix products of 8-bit codes, and the requantization of their sums.
 *
 * Numbers  codes minus their zero points are int16; sums are exact int32 and wrap around on
 *          overflow
 * Threads  ldnq_codes_subtract_zero is one pool call; the others are safe
 */
#ifndef LDNQ_OPS_CODES_H
#define LDNQ_OPS_CODES_H

#include "ops/op.h"

#define LDNQ_CODES (LDNQ_DTYPE_BIT(LDNQ_UINT8) | LDNQ_DTYPE_BIT(LDNQ_INT8))

/* out[i] = codes[i] - zero, where `zero` (NULL: 0), taken as of shape zero_shape, broadcasts
 * to codes. */
void ldnq_codes_subtract_zero(const struct ldnq_op_call *call, const struct ldnq_tensor *codes,
                              const struct ldnq_tensor *zero, const struct ldnq_shape *zero_shape,
                              int16_t *out);

/* c (m, n) = a (m, k) b (k, n); rows of b and c are ldb and ldc elements apart. */
void ldnq_codes_multiply(size_t m, size_t n, size_t k, const int16_t *a, const int16_t *b,
                         size_t ldb, int32_t *c, size_t ldc);

/* y[i] = clamp(round(sums[i] * scale[i * step]) + zero), rounding half to even; y has dtype
 * int8 or uint8. */
void ldnq_codes_requantize(const int32_t *sums, const float *scale, size_t step, int32_t zero,
                           enum ldnq_dtype dtype, size_t count, void *y);

/* The value of a zero point with one element; 0 for NULL. */
int32_t ldnq_codes_read_zero(const struct ldnq_tensor *zero);

/* Fails unless input `codes` has 8-bit codes and input `zero`, if there is one, has the same
 * dtype. */
enum ldnq_status ldnq_codes_check_types(const struct ldnq_op_call *call, size_t codes, size_t zero,
                                        struct ldnq_error *err);

#endif
