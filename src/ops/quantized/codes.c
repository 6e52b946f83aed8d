/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/quantized/codes.h"

#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "ops/shared/elementwise.h"

LDNQ_BINARY_LOOP(shift_uint8, uint8_t, int16_t, x - y)
LDNQ_BINARY_LOOP(shift_int8, int8_t, int16_t, x - y)

void ldnq_codes_subtract_zero(const struct ldnq_op_call *call, const struct ldnq_tensor *codes,
                              const struct ldnq_tensor *zero, const struct ldnq_shape *zero_shape,
                              int16_t *out)
{
    static const int16_t none = 0;
    struct ldnq_tensor result = { LDNQ_INT16, codes->shape, out };
    struct ldnq_tensor shift = { codes->dtype, { 0 }, (void *)&none };
    if (zero)
        shift = (struct ldnq_tensor){ codes->dtype, *zero_shape, zero->data };
    const struct ldnq_tensor *in[] = { codes, &shift };
    ldnq_elementwise_run(call, codes->dtype == LDNQ_UINT8 ? shift_uint8 : shift_int8, &result, in,
                         2);
}

/* c (n) += factor b. */
LDNQ_MULTIVERSION
static void add_scaled_code_row(int32_t factor, const int16_t *b, size_t n, int32_t *c)
{
    LDNQ_IVDEP
    for (size_t i = 0; i < n; i++)
        c[i] = (int32_t)((uint32_t)c[i] + (uint32_t)(factor * b[i]));
}

void ldnq_codes_multiply(size_t m, size_t n, size_t k, const int16_t *a, const int16_t *b,
                         size_t ldb, int32_t *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++)
            c[i * ldc + j] = 0;
        for (size_t l = 0; l < k; l++)
            if (a[i * k + l] != 0)
                add_scaled_code_row(a[i * k + l], b + l * ldb, n, c + i * ldc);
    }
}

void ldnq_codes_requantize(const int32_t *sums, const float *scale, size_t step, int32_t zero,
                           enum ldnq_dtype dtype, size_t count, void *y)
{
    bool is_signed = dtype == LDNQ_INT8;
    const float low = (float)((is_signed ? -128 : 0) - zero);
    const float high = (float)((is_signed ? 127 : 255) - zero);
    for (size_t i = 0; i < count; i++) {
        float v = (float)sums[i] * scale[i * step];
        v = v > low ? v : low;
        v = v < high ? v : high;
        /* int8 and uint8 have the same byte here. */
        ((uint8_t *)y)[i] = (uint8_t)((int32_t)rintf(v) + zero);
    }
}

int32_t ldnq_codes_read_zero(const struct ldnq_tensor *zero)
{
    return zero ? (int32_t)ldnq_tensor_load_integer(zero, 0) : 0;
}

enum ldnq_status ldnq_codes_check_types(const struct ldnq_op_call *call, size_t codes, size_t zero,
                                        struct ldnq_error *err)
{
    const struct ldnq_tensor *a = ldnq_op_input(call, codes), *b = ldnq_op_input(call, zero);
    LDNQ_TRY(ldnq_op_require_dtype(call, codes, LDNQ_CODES, err));
    if (a && b && a->dtype != b->dtype)
        return ldnq_fail(err, LDNQ_MODEL, "its zero point has type %s where %s is needed",
                         ldnq_dtype_name(b->dtype), ldnq_dtype_name(a->dtype));
    return LDNQ_OK;
}
