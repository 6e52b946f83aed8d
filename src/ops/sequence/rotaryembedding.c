/* SPDX-License-Identifier: Apache-2.0 */
/* rotaryembedding.c: RotaryEmbedding: rotates pairs of elements of each head by an angle that
 * depends on the position.
 *
 * Computes (y_a, y_b) = (cos x_a - sin x_b, sin x_a + cos x_b) for the pairs (i, i + half),
 *          or (2i, 2i + 1) if interleaved; elements from 2*half on are copied
 * Shapes   x, y (batch, heads, length, head) or (batch, length, heads * head);
 *          cos, sin (batch, length, half), or (positions, half) with position_ids
 *          (batch, length); half = rotary_embedding_dim / 2, or head / 2
 * Source   onnx.ai/onnx/operators/onnx__RotaryEmbedding.html
 */
#include "ops/op.h"

#include <inttypes.h>
#include <string.h>

struct rotary_embedding {
    const float *x, *cos, *sin;
    float *y;
    const int64_t
        *positions; /* position_ids (batch, length); NULL: cos and sin have one row per row of x */
    size_t heads, length, head, half;
    size_t batch_stride, head_stride, row_stride;
    bool interleaved, inverse;
};

static enum ldnq_status fail_input_shape_misfit(const struct ldnq_op_call *call, size_t input,
                                                struct ldnq_error *err)
{
    char x[LDNQ_SHAPE_TEXT], y[LDNQ_SHAPE_TEXT];
    return ldnq_fail(err, LDNQ_MODEL, "input %zu of shape %s does not fit its input of shape %s",
                     input, ldnq_shape_print(&call->in[input]->shape, NULL, y, sizeof y),
                     ldnq_shape_print(&call->in[0]->shape, NULL, x, sizeof x));
}

/* *size: the size of a head, or a symbol. */
static enum ldnq_status find_head_size(const struct ldnq_op_call *call, int64_t *size,
                                       struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    int64_t heads = ldnq_attr_int(call->node, "num_heads", 0);
    *size = x->dim[x->rank - 1];
    if (x->rank == 4 || ldnq_is_symbol(*size))
        return LDNQ_OK;
    if (heads < 1 || *size % heads != 0)
        return ldnq_fail(err, LDNQ_MODEL,
                         "num_heads=%" PRId64 " does not divide rows of %" PRId64 " into heads",
                         heads, *size);
    *size /= heads;
    return LDNQ_OK;
}

static enum ldnq_status check_caches(const struct ldnq_op_call *call, int64_t half,
                                     struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    const struct ldnq_tensor *ids = ldnq_op_input(call, 3);
    int64_t batch = x->dim[0], length = x->dim[x->rank - 2];
    if (ids && ids->shape.rank >= 0 &&
        (ids->shape.rank != 2 || !ldnq_op_dims_may_match(ids->shape.dim[0], batch) ||
         !ldnq_op_dims_may_match(ids->shape.dim[1], length)))
        return fail_input_shape_misfit(call, 3, err);
    for (size_t i = 1; i <= 2; i++) {
        const struct ldnq_shape *cache = &call->in[i]->shape;
        if (cache->rank < 0)
            continue;
        bool fits = cache->rank == (ids ? 2 : 3) &&
                    ldnq_op_dims_may_match(cache->dim[cache->rank - 1], half);
        if (!fits || (!ids && !(ldnq_op_dims_may_match(cache->dim[0], batch) &&
                                ldnq_op_dims_may_match(cache->dim[1], length))))
            return fail_input_shape_misfit(call, i, err);
    }
    if (ids && call->in[1]->shape.rank == 2 && call->in[2]->shape.rank == 2 &&
        !ldnq_op_dims_may_match(call->in[1]->shape.dim[0], call->in[2]->shape.dim[0]))
        return fail_input_shape_misfit(call, 2, err);
    return LDNQ_OK;
}

static enum ldnq_status rotary_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    int64_t head, rotated = ldnq_attr_int(call->node, "rotary_embedding_dim", 0);
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 2, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 3, LDNQ_DTYPE_BIT(LDNQ_INT64), err));
    if (x->rank < 0)
        return LDNQ_OK;
    if (x->rank != 3 && x->rank != 4)
        return ldnq_fail(err, LDNQ_MODEL, "its input has %d axes where 3 or 4 are needed", x->rank);
    LDNQ_TRY(find_head_size(call, &head, err));
    if (rotated < 0 || rotated % 2 != 0 || (!ldnq_is_symbol(head) && rotated > head))
        return ldnq_fail(err, LDNQ_MODEL,
                         "rotary_embedding_dim=%" PRId64 " does not fit heads of "
                         "%" PRId64,
                         rotated, head);
    if (rotated == 0 && !ldnq_is_symbol(head) && head % 2 != 0)
        return ldnq_fail(err, LDNQ_MODEL, "heads of %" PRId64 " have no halves", head);
    int64_t half = rotated ? rotated / 2 : ldnq_is_symbol(head) ? head : head / 2;
    return check_caches(call, half, err);
}

/* One head of one position: x, y (head), cosines and sines (half). */
static void rotate_head(const struct rotary_embedding *r, const float *x, float *y,
                        const float *cosines, const float *sines)
{
    size_t step = r->interleaved ? 2 : 1, other = r->interleaved ? 1 : r->half;
    for (size_t i = 0; i < r->half; i++) {
        float a = x[i * step], b = x[i * step + other], c = cosines[i];
        float s = r->inverse ? -sines[i] : sines[i];
        y[i * step] = c * a - s * b;
        y[i * step + other] = s * a + c * b;
    }
    if (r->head > 2 * r->half)
        memcpy(y + 2 * r->half, x + 2 * r->half, (r->head - 2 * r->half) * sizeof *y);
}

/* All heads of rows first .. last-1, counted over (batch, length). */
static void rotate_rows(const void *ctx, size_t first, size_t last)
{
    const struct rotary_embedding *r = ctx;
    for (size_t row = first; row < last; row++) {
        size_t cache = (r->positions ? (size_t)r->positions[row] : row) * r->half;
        size_t at = row / r->length * r->batch_stride + row % r->length * r->row_stride;
        for (size_t h = 0; h < r->heads; h++)
            rotate_head(r, r->x + at + h * r->head_stride, r->y + at + h * r->head_stride,
                        r->cos + cache, r->sin + cache);
    }
}

/* y = the rotated x; r->x, r->y and r->inverse are set by the caller. */
static enum ldnq_status rotary_run(const struct ldnq_op_call *call, struct rotary_embedding *r,
                                   struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    const struct ldnq_tensor *ids = ldnq_op_input(call, 3);
    bool has_four_axes = x->rank == 4;
    int64_t head;
    LDNQ_TRY(find_head_size(call, &head, err));
    r->head = (size_t)head;
    r->heads =
        has_four_axes ? (size_t)x->dim[1] : (size_t)ldnq_attr_int(call->node, "num_heads", 1);
    r->length = (size_t)x->dim[has_four_axes ? 2 : 1];
    int64_t rotated = ldnq_attr_int(call->node, "rotary_embedding_dim", 0);
    r->half = (size_t)(rotated ? rotated : head) / 2;
    r->interleaved = ldnq_attr_int(call->node, "interleaved", 0) != 0;
    r->batch_stride = r->heads * r->length * r->head;
    r->head_stride = has_four_axes ? r->length * r->head : r->head;
    r->row_stride = has_four_axes ? r->head : r->heads * r->head;
    r->cos = call->in[1]->data;
    r->sin = call->in[2]->data;
    r->positions = ids ? ids->data : NULL;
    size_t rows = (size_t)x->dim[0] * r->length;
    for (size_t i = 0; r->positions && i < rows; i++)
        if (r->positions[i] < 0 || r->positions[i] >= call->in[1]->shape.dim[0])
            return ldnq_fail(err, LDNQ_MODEL,
                             "position %" PRId64 " is not in its caches of %" PRId64,
                             r->positions[i], call->in[1]->shape.dim[0]);
    ldnq_op_run_rows(call, rows, r->heads * r->head, rotate_rows, r);
    return LDNQ_OK;
}

static enum ldnq_status rotary_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct rotary_embedding rotary = { .x = call->in[0]->data, .y = call->out[0].data };
    return rotary_run(call, &rotary, err);
}

/* The transpose of a rotation is its inverse. cos and sin have no gradient. */
static enum ldnq_status rotary_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    struct rotary_embedding rotary = { .y = grad->in[0].data, .inverse = true };
    if (!grad->in[0].data)
        return LDNQ_OK;
    if (!grad->out[0]) {
        memset(grad->in[0].data, 0, ldnq_tensor_count(&grad->in[0]) * sizeof(float));
        return LDNQ_OK;
    }
    rotary.x = grad->out[0]->data;
    return rotary_run(grad->call, &rotary, err);
}

const struct ldnq_op ldnq_op_rotaryembedding = {
    .type = "RotaryEmbedding",
    .since = 23,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3,
    .inputs_max = 4,
    .outputs_max = 1,
    .infer = rotary_infer_shape,
    .forward = rotary_forward,
    .differentiable = 1,
    .saved_inputs = 0xe,
    .backward = rotary_backward,
};
