/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/norm/softmax_backward.h"

#include "base/simd.h"
#include "base/size.h"
#include "ops/shared/expf.h"
#include "ops/shared/float_sums.h"

/* Rows that are computed together where rows are interleaved (inner > 1). */
#define TILE ((size_t)128)

struct softmax_grad {
    const float *y, *dy;
    float *dx;
    struct ldnq_axis_split at;
    bool logarithm;
};

/* ---- contiguous rows --------------------------------------------------------- */

LDNQ_MULTIVERSION
static void compute_logsoftmax_row_gradient(const float *y, const float *dy, float *dx,
                                            size_t count, float sum)
{
    for (size_t i = 0; i < count; i++)
        dx[i] = dy[i] - ldnq_expf(y[i]) * sum;
}

static void compute_contiguous_row_gradients(const void *ctx, size_t first, size_t last)
{
    const struct softmax_grad *s = ctx;
    size_t size = s->at.size;
    for (size_t row = first; row < last; row++) {
        const float *y = s->y + row * size, *dy = s->dy + row * size;
        float *dx = s->dx + row * size;
        if (s->logarithm) {
            compute_logsoftmax_row_gradient(y, dy, dx, size, (float)ldnq_sum_floats(dy, size));
            continue;
        }
        const float sum = (float)ldnq_sum_weighted_deviations(dy, y, size, 0.0);
        for (size_t i = 0; i < size; i++)
            dx[i] = y[i] * (dy[i] - sum);
    }
}

/* ---- interleaved rows ------------------------------------------------------------- */

LDNQ_MULTIVERSION
static void compute_block_gradient(const struct softmax_grad *s, size_t at, size_t rows)
{
    const float *y = s->y + at, *dy = s->dy + at;
    float *dx = s->dx + at;
    double sum[TILE] = { 0 };
    size_t step = s->at.inner;
    for (size_t i = 0; i < s->at.size; i++)
        for (size_t k = 0; k < rows; k++)
            sum[k] += s->logarithm ? (double)dy[i * step + k]
                                   : (double)dy[i * step + k] * (double)y[i * step + k];
    for (size_t i = 0; i < s->at.size; i++) {
        for (size_t k = 0; k < rows; k++) {
            float value = y[i * step + k], gradient = dy[i * step + k], total = (float)sum[k];
            dx[i * step + k] =
                s->logarithm ? gradient - ldnq_expf(value) * total : value * (gradient - total);
        }
    }
}

/* Blocks of TILE interleaved rows, counted over (outer, block). */
static void compute_interleaved_row_gradients(const void *ctx, size_t first, size_t last)
{
    const struct softmax_grad *s = ctx;
    size_t blocks = ldnq_size_ceil_div(s->at.inner, TILE);
    for (size_t i = first; i < last; i++) {
        size_t row = i % blocks * TILE;
        compute_block_gradient(s, i / blocks * s->at.size * s->at.inner + row,
                               ldnq_size_min(TILE, s->at.inner - row));
    }
}

/* ---- records ------------------------------------------------------------------------- */

/* Splits x into (outer, size, inner) at the axis, as softmax.c does. */
static enum ldnq_status find_softmax_axis_split(const struct ldnq_op_call *call,
                                                struct ldnq_axis_split *at, struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &call->in[0]->shape;
    bool flat = call->node->op->until < 13;
    int64_t given = ldnq_attr_int(call->node, "axis", flat ? 1 : -1);
    int axis = flat ? shape->rank : 0;
    *at = (struct ldnq_axis_split){ 1, 1, 1 };
    if (flat ? given != shape->rank : shape->rank > 0)
        LDNQ_TRY(ldnq_op_resolve_axis(given, shape->rank, &axis, err));
    if (!flat)
        *at = ldnq_op_split_at_axis(shape, axis);
    for (int i = 0; i < shape->rank && flat; i++)
        *(i < axis ? &at->outer : &at->size) *= (size_t)shape->dim[i];
    return LDNQ_OK;
}

static enum ldnq_status compute_gradient(const struct ldnq_op_grad *grad, bool logarithm,
                                         struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    struct softmax_grad s = { .y = call->out[0].data,
                              .dy = grad->out[0]->data,
                              .dx = grad->in[0].data,
                              .logarithm = logarithm };
    LDNQ_TRY(find_softmax_axis_split(call, &s.at, err));
    if (!s.dx)
        return LDNQ_OK;
    if (s.at.inner == 1)
        ldnq_op_run_rows(call, s.at.outer, s.at.size, compute_contiguous_row_gradients, &s);
    else
        ldnq_op_run_rows(call, s.at.outer * ldnq_size_ceil_div(s.at.inner, TILE),
                         s.at.size * ldnq_size_min(s.at.inner, TILE),
                         compute_interleaved_row_gradients, &s);
    return LDNQ_OK;
}

enum ldnq_status ldnq_softmax_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    return compute_gradient(grad, false, err);
}

enum ldnq_status ldnq_logsoftmax_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    return compute_gradient(grad, true, err);
}
