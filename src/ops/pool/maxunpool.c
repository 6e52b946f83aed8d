/* SPDX-License-Identifier: Apache-2.0 */
/* maxunpool.c: MaxUnpool: stores each element at its index in the output; the other elements
 * of the output are 0. It is the inverse of MaxPool with its second output.
 *
 * Shapes  x and indices (N, C, D, H, W), y (N, C, OD, OH, OW). An index counts over the
 *         flattened shape that the window implies. If output_shape is another one, an
 *         element keeps its coordinates.
 * Source  onnx.ai/onnx/operators/onnx__MaxUnpool.html
 */
#include <inttypes.h>
#include <string.h>

#include "ops/shared/strided.h"
#include "ops/shared/sliding_window.h"

static enum ldnq_status maxunpool_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                             const void **attrs, struct ldnq_error *err)
{
    struct ldnq_window *window = ldnq_arena_alloc(arena, 1, sizeof *window, err);
    if (!window)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_window_read_attrs(node, window, err));
    *attrs = window;
    for (size_t i = 0; i < window->axes; i++)
        if (window->kernel[i] == 0)
            return ldnq_fail(err, LDNQ_MODEL, "has no kernel_shape");
    return LDNQ_OK;
}

/* *shape: the shape that the window implies for the input of the MaxPool. */
static enum ldnq_status infer_pooled_shape(struct ldnq_op_call *call, struct ldnq_shape *shape,
                                           struct ldnq_error *err)
{
    const struct ldnq_window *window = call->attrs;
    *shape = call->in[0]->shape;
    if ((size_t)shape->rank != window->axes + 2)
        return ldnq_fail(err, LDNQ_MODEL, "its input has %d axes where its window needs %zu",
                         shape->rank, window->axes + 2);
    for (size_t i = 0; i < window->axes; i++) {
        int64_t *dim = &shape->dim[i + 2];
        if (ldnq_is_symbol(*dim)) {
            LDNQ_TRY(ldnq_op_make_unknown_dim(call, dim, err));
            continue;
        }
        if (*dim < 1 || *dim > LDNQ_WINDOW_LARGEST)
            return ldnq_fail(err, LDNQ_MODEL, "%" PRId64 " elements can't be unpooled", *dim);
        *dim = (*dim - 1) * window->stride[i] + window->kernel[i] - window->pad_begin[i] -
               window->pad_end[i];
        if (*dim < 0)
            return ldnq_fail(err, LDNQ_MODEL, "its pads leave no element of axis %zu", i + 2);
    }
    return LDNQ_OK;
}

static enum ldnq_status maxunpool_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape, *indices = &call->in[1]->shape;
    struct ldnq_shape *out = &call->out[0].shape;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_INT64), err));
    if (x->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if (ldnq_shape_is_known(x) && ldnq_shape_is_known(indices) &&
        !ldnq_shapes_are_equal(x, indices))
        return ldnq_fail(err, LDNQ_MODEL, "its indices are not in the shape of its input");
    LDNQ_TRY(infer_pooled_shape(call, out, err));
    if (!ldnq_op_input(call, 2))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_op_read_dims(call, 2, out, err));
    if (out->rank >= 0 && out->rank != x->rank)
        return ldnq_fail(err, LDNQ_MODEL, "its output_shape has %d numbers where %d are needed",
                         out->rank, x->rank);
    return LDNQ_OK;
}

/* Converts index `at` into shape `from` to an index into shape `to`, of those strides, with
 * the same coordinates; false if `to` does not have them. */
static bool convert_index(const struct ldnq_shape *from, const ptrdiff_t *strides,
                          const struct ldnq_shape *to, int64_t at, size_t *index)
{
    *index = 0;
    if (at < 0)
        return false;
    for (int i = from->rank - 1; i >= 0; i--) {
        int64_t dim = from->dim[i], coordinate = dim > 0 ? at % dim : 0;
        if (dim == 0 || coordinate >= to->dim[i])
            return false;
        *index += (size_t)(coordinate * strides[i]);
        at /= dim;
    }
    return at == 0;
}

/* The shape that the indices count over, and the strides of the output. */
static enum ldnq_status find_index_layout(const struct ldnq_op_call *call, struct ldnq_shape *from,
                                          ptrdiff_t strides[LDNQ_MAX_RANK], struct ldnq_error *err)
{
    struct ldnq_op_call at_run_time = *call;
    ldnq_row_major_strides(&call->out[0].shape, strides);
    return infer_pooled_shape(&at_run_time, from, err);
}

static enum ldnq_status maxunpool_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const float *x = call->in[0]->data;
    const int64_t *indices = call->in[1]->data;
    const struct ldnq_tensor *out = &call->out[0];
    struct ldnq_shape from;
    ptrdiff_t strides[LDNQ_MAX_RANK];
    size_t index;
    LDNQ_TRY(find_index_layout(call, &from, strides, err));
    memset(out->data, 0, ldnq_tensor_count(out) * sizeof(float));
    for (size_t i = 0; i < ldnq_tensor_count(call->in[0]); i++) {
        if (!convert_index(&from, strides, &out->shape, indices[i], &index))
            return ldnq_fail(err, LDNQ_MODEL, "index %" PRId64 " is outside of its output",
                             indices[i]);
        ((float *)out->data)[index] = x[i];
    }
    return LDNQ_OK;
}

/* If two elements have the same index, both get the gradient there. This cannot happen with
 * indices of a MaxPool whose windows do not overlap. */
static enum ldnq_status maxunpool_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const int64_t *indices = call->in[1]->data;
    const float *dy = grad->out[0]->data;
    float *dx = grad->in[0].data;
    struct ldnq_shape from;
    ptrdiff_t strides[LDNQ_MAX_RANK];
    size_t index;
    LDNQ_TRY(find_index_layout(call, &from, strides, err));
    for (size_t i = 0; i < ldnq_tensor_count(call->in[0]); i++)
        dx[i] = convert_index(&from, strides, &call->out[0].shape, indices[i], &index) ? dy[index]
                                                                                       : 0.0f;
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_maxunpool = {
    .type = "MaxUnpool",
    .since = 9,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 3,
    .outputs_max = 1,
    .read_attrs = maxunpool_read_attrs,
    .infer = maxunpool_infer_shape,
    .forward = maxunpool_forward,
    .differentiable = 1,
    .saved_inputs = 2,
    .backward = maxunpool_backward,
};
