/* SPDX-License-Identifier: Apache-2.0 */
/* trilu.c: Trilu: keeps the upper or lower triangle of matrices and clears the rest. */
#include "ops/op.h"

#include <string.h>

#include "base/size.h"

static enum ldnq_status trilu_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    int rank = call->in[0]->shape.rank;
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_INT64), err));
    LDNQ_TRY(ldnq_op_require_one_element(call, 1, err));
    if (rank == 0 || rank == 1)
        return ldnq_fail(err, LDNQ_MODEL, "its input is not a matrix");
    return ldnq_op_infer_like_first_input(call, ~0u, err);
}

/* One row. `diagonal` is its column on diagonal k: the first column of the upper triangle,
 * the last one of the lower. */
static void copy_triangle_row(const char *x, char *y, size_t columns, size_t size, int64_t diagonal,
                              bool upper)
{
    int64_t most = (int64_t)columns, edge = upper ? diagonal : diagonal + 1;
    size_t cut = (size_t)(edge < 0 ? 0 : edge > most ? most : edge);
    size_t first = upper ? cut : 0, last = upper ? columns : cut;
    memset(y, 0, columns * size);
    memcpy(y + first * size, x + first * size, (last - first) * size);
}

/* Copies the triangle of elements of `size` bytes: input 0's, or their gradients. */
static void copy_triangle(const struct ldnq_op_call *call, size_t size, const char *x, char *y)
{
    const struct ldnq_tensor *in = call->in[0], *k = ldnq_op_input(call, 1);
    const int64_t *dim = in->shape.dim;
    size_t columns = (size_t)dim[in->shape.rank - 1];
    size_t rows = (size_t)dim[in->shape.rank - 2], count = ldnq_tensor_count(in);
    bool upper = ldnq_attr_int(call->node, "upper", 1) != 0;
    int64_t diagonal = k ? *(const int64_t *)k->data : 0;
    /* All diagonals outside the matrix are equivalent; this keeps sums from overflowing. */
    diagonal = diagonal > INT32_MAX ? INT32_MAX : diagonal < INT32_MIN ? INT32_MIN : diagonal;
    for (size_t row = 0; count > 0 && row < count / columns; row++)
        copy_triangle_row(x + row * columns * size, y + row * columns * size, columns, size,
                          diagonal + (int64_t)(row % rows), upper);
}

static enum ldnq_status trilu_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    copy_triangle(call, ldnq_dtype_size(call->in[0]->dtype), call->in[0]->data, call->out[0].data);
    return LDNQ_OK;
}

static enum ldnq_status trilu_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    (void)err;
    if (grad->in[0].data)
        copy_triangle(grad->call, sizeof(float), grad->out[0]->data, grad->in[0].data);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_trilu = {
    .type = "Trilu",
    .since = 14,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = trilu_infer_shape,
    .forward = trilu_forward,
    .differentiable = 1,
    .saved_inputs = 2,
    .backward = trilu_backward,
};
