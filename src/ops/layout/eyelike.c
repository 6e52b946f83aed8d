/* SPDX-License-Identifier: Apache-2.0 */
/* eyelike.c: EyeLike: ones on diagonal k and zeros elsewhere, in the shape of the input. */
#include <string.h>

#include "ops/op.h"

static enum ldnq_dtype find_output_dtype(const struct ldnq_op_call *call)
{
    return (enum ldnq_dtype)ldnq_attr_int(call->node, "dtype", call->in[0]->dtype);
}

/* Writes the number 1 in a dtype and returns its bytes; 0 for dtypes that are not supported. */
static size_t write_number_one(enum ldnq_dtype dtype, void *one)
{
    const float f = 1.0f;
    const double d = 1.0;
    const uint16_t half = dtype == LDNQ_FLOAT16 ? 0x3c00 : 0x3f80;
    const int64_t i = 1;
    size_t size = ldnq_dtype_size(dtype);
    if (dtype == LDNQ_FLOAT)
        memcpy(one, &f, size);
    else if (dtype == LDNQ_DOUBLE)
        memcpy(one, &d, size);
    else if (dtype == LDNQ_FLOAT16 || dtype == LDNQ_BFLOAT16)
        memcpy(one, &half, size);
    else if (ldnq_dtype_is_integer(dtype) || dtype == LDNQ_BOOL)
        memcpy(one, &i, size); /* the low bytes come first: little endian only */
    else
        return 0;
    return size;
}

static enum ldnq_status eyelike_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    char one[sizeof(double)];
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, ~0u, err));
    call->out[0].dtype = find_output_dtype(call);
    if (write_number_one(find_output_dtype(call), one) == 0)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "dtype=%s is not supported",
                         ldnq_dtype_name(find_output_dtype(call)));
    if (call->out[0].shape.rank >= 0 && call->out[0].shape.rank != 2)
        return ldnq_fail(err, LDNQ_MODEL, "its input is not a matrix");
    return LDNQ_OK;
}

static enum ldnq_status eyelike_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *out = &call->out[0];
    const int64_t k = ldnq_attr_int(call->node, "k", 0);
    const int64_t rows = out->shape.dim[0], columns = out->shape.dim[1];
    char one[sizeof(double)], *data = out->data;
    size_t size = write_number_one(out->dtype, one);
    (void)err;
    memset(data, 0, ldnq_tensor_count(out) * size);
    for (int64_t row = 0; row < rows && k > -rows && k < columns; row++)
        if (row + k >= 0 && row + k < columns)
            memcpy(data + (size_t)(row * columns + row + k) * size, one, size);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_eyelike = {
    .type = "EyeLike",
    .since = 9,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = eyelike_infer_shape,
    .forward = eyelike_forward,
};
