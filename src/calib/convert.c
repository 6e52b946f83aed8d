/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/calib.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ir/half.h"

static bool is_float_dtype(enum ldnq_dtype dtype)
{
    return dtype == LDNQ_FLOAT || dtype == LDNQ_DOUBLE || dtype == LDNQ_FLOAT16 ||
           dtype == LDNQ_BFLOAT16;
}

static bool is_integer_dtype(enum ldnq_dtype dtype)
{
    return dtype == LDNQ_BOOL || ldnq_dtype_is_integer(dtype);
}

static double load_as_double(const struct ldnq_tensor *tensor, size_t i)
{
    switch (tensor->dtype) {
    case LDNQ_FLOAT:
        return (double)((const float *)tensor->data)[i];
    case LDNQ_DOUBLE:
        return ((const double *)tensor->data)[i];
    case LDNQ_FLOAT16:
        return ldnq_half_to_double(((const uint16_t *)tensor->data)[i]);
    case LDNQ_BFLOAT16:
        return ldnq_bfloat_to_double(((const uint16_t *)tensor->data)[i]);
    case LDNQ_UINT64:
        return (double)((const uint64_t *)tensor->data)[i];
    default:
        return (double)ldnq_tensor_load_integer(tensor, i);
    }
}

static void convert_to_real(const struct ldnq_tensor *from, struct ldnq_tensor *to, size_t count)
{
    if (to->dtype == LDNQ_FLOAT)
        for (size_t i = 0; i < count; i++)
            ((float *)to->data)[i] = (float)load_as_double(from, i);
    else
        for (size_t i = 0; i < count; i++)
            ((double *)to->data)[i] = load_as_double(from, i);
}

static enum ldnq_status convert_to_half(const struct ldnq_tensor *from, struct ldnq_tensor *to,
                                        size_t count, struct ldnq_error *err)
{
    const bool is_half = to->dtype == LDNQ_FLOAT16;
    uint16_t *halves = to->data;
    for (size_t i = 0; i < count; i++) {
        const double value = load_as_double(from, i);
        halves[i] = is_half ? ldnq_half_from_double(value) : ldnq_bfloat_from_double(value);
        if (isfinite(value) &&
            !isfinite(is_half ? ldnq_half_to_double(halves[i]) : ldnq_bfloat_to_double(halves[i])))
            return ldnq_fail(err, LDNQ_DATA, "the value %g does not fit %s", value,
                             ldnq_dtype_name(to->dtype));
    }
    return LDNQ_OK;
}

static bool fits_integer_type(int64_t value, enum ldnq_dtype dtype)
{
    unsigned bits = dtype == LDNQ_BOOL ? 1 : ldnq_dtype_bits(dtype);
    if (bits == 64)
        return dtype == LDNQ_INT64 || value >= 0;
    if (ldnq_dtype_is_signed(dtype))
        return value >= -((int64_t)1 << (bits - 1)) && value < (int64_t)1 << (bits - 1);
    return value >= 0 && value < (int64_t)1 << bits;
}

static void store_integer(struct ldnq_tensor *tensor, size_t i, int64_t value)
{
    switch (ldnq_dtype_size(tensor->dtype)) {
    case 8:
        ((int64_t *)tensor->data)[i] = value;
        break;
    case 4:
        ((uint32_t *)tensor->data)[i] = (uint32_t)value;
        break;
    case 2:
        ((uint16_t *)tensor->data)[i] = (uint16_t)value;
        break;
    default:
        ((uint8_t *)tensor->data)[i] = (uint8_t)value;
    }
}

static enum ldnq_status convert_to_integer(const struct ldnq_tensor *from, struct ldnq_tensor *to,
                                           size_t count, struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = ldnq_tensor_load_integer(from, i);
        if (from->dtype == LDNQ_UINT64 && value < 0)
            return ldnq_fail(err, LDNQ_DATA, "the value %" PRIu64 " does not fit %s",
                             (uint64_t)value, ldnq_dtype_name(to->dtype));
        if (!fits_integer_type(value, to->dtype))
            return ldnq_fail(err, LDNQ_DATA, "the value %" PRId64 " does not fit %s", value,
                             ldnq_dtype_name(to->dtype));
        store_integer(to, i, value);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_tensor_convert(const struct ldnq_tensor *tensor, enum ldnq_dtype dtype,
                                     struct ldnq_arena *arena, const struct ldnq_tensor **out,
                                     struct ldnq_error *err)
{
    *out = tensor;
    if (tensor->dtype == dtype)
        return LDNQ_OK;
    bool real =
        is_float_dtype(dtype) && (is_float_dtype(tensor->dtype) || is_integer_dtype(tensor->dtype));
    bool whole = is_integer_dtype(dtype) && is_integer_dtype(tensor->dtype);
    if (!real && !whole)
        return ldnq_fail(err, LDNQ_DATA, "holds %s where %s is wanted",
                         ldnq_dtype_name(tensor->dtype), ldnq_dtype_name(dtype));
    struct ldnq_tensor *made;
    LDNQ_TRY(ldnq_tensor_create(arena, dtype, &tensor->shape, &made, err));
    *out = made;
    size_t count = ldnq_tensor_count(made);
    if (whole)
        return convert_to_integer(tensor, made, count, err);
    if (dtype == LDNQ_FLOAT16 || dtype == LDNQ_BFLOAT16)
        return convert_to_half(tensor, made, count, err);
    convert_to_real(tensor, made, count);
    return LDNQ_OK;
}
