/* codes.h: exact sums of products of 8-bit codes, and their way back to codes.
 *
 * Codes are first moved by their zero points, which makes them int16; sums are
 * int32 and wrap around where they do not fit.
 */
#ifndef LDNQ_OPS_CODES_H
#define LDNQ_OPS_CODES_H

#include "ops/op.h"

#define LDNQ_CODES (LDNQ_DTYPE_BIT(LDNQ_UINT8) | LDNQ_DTYPE_BIT(LDNQ_INT8))

/* out[i] = codes[i] - zero, `zero` (NULL: none) broadcasting to codes under the
 * shape zero_shape. */
void ldnq_codes_shift(const struct ldnq_op_call *call, const struct ldnq_tensor *codes,
                      const struct ldnq_tensor *zero, const struct ldnq_shape *zero_shape,
                      int16_t *out);

/* c (m, n) = a (m, k) b (k, n); rows of ldb and ldc elements. */
void ldnq_codes_product(size_t m, size_t n, size_t k, const int16_t *a, const int16_t *b,
                        size_t ldb, int32_t *c, size_t ldc);

/* y[i] = clamp(round(sums[i] * scale[i * step]) + zero), half to even. */
void ldnq_codes_round(const int32_t *sums, const float *scale, size_t step, int32_t zero,
                      enum ldnq_dtype dtype, size_t count, void *y);

/* Zero point of one element; 0 for none. */
int32_t ldnq_codes_zero(const struct ldnq_tensor *zero);

/* Fails unless input `zero`, where there is one, has input `codes`' type, which
 * must be 8 bits wide. */
enum ldnq_status ldnq_codes_require(const struct ldnq_op_call *call, size_t codes, size_t zero,
                                    struct ldnq_error *err);

#endif
