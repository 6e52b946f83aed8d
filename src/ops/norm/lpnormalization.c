/* SPDX-License-Identifier: Apache-2.0 */
/* lpnormalization.c: LpNormalization: each row along an axis divided by its 1-norm or 2-norm.
 *
 * Shapes  x, y (outer, size, inner): a row has `size` elements, `inner` apart
 * Source  onnx.ai/onnx/operators/onnx__LpNormalization.html; rows of zeros are unchanged
 */
#include "ops/op.h"

#include <inttypes.h>
#include <math.h>

struct lpnorm_rows {
    const float *x;
    float *y;
    struct ldnq_axis_split at;
    bool squares; /* p = 2, otherwise p = 1 */
};

static enum ldnq_status lpnormalization_read_attrs(const struct ldnq_node *node,
                                                   struct ldnq_arena *arena, const void **attrs,
                                                   struct ldnq_error *err)
{
    int64_t p = ldnq_attr_int(node, "p", 2);
    (void)arena;
    (void)attrs;
    return p == 1 || p == 2 ? LDNQ_OK
                            : ldnq_fail(err, LDNQ_MODEL, "p=%" PRId64 " is not possible", p);
}

static enum ldnq_status find_axis(const struct ldnq_op_call *call, int *axis,
                                  struct ldnq_error *err)
{
    return ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", -1), call->in[0]->shape.rank,
                                axis, err);
}

static enum ldnq_status lpnormalization_infer_shape(struct ldnq_op_call *call,
                                                    struct ldnq_error *err)
{
    int axis;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    return call->in[0]->shape.rank < 0 ? LDNQ_OK : find_axis(call, &axis, err);
}

static void normalize_rows(const void *ctx, size_t first, size_t last)
{
    const struct lpnorm_rows *rows = ctx;
    size_t size = rows->at.size, inner = rows->at.inner;
    for (size_t row = first; row < last; row++) {
        size_t at = row / inner * size * inner + row % inner;
        double norm = 0.0;
        for (size_t i = 0; i < size; i++) {
            double x = (double)rows->x[at + i * inner];
            norm += rows->squares ? x * x : fabs(x);
        }
        norm = rows->squares ? sqrt(norm) : norm;
        for (size_t i = 0; i < size; i++) {
            double x = (double)rows->x[at + i * inner];
            rows->y[at + i * inner] = (float)(norm != 0.0 ? x / norm : x);
        }
    }
}

static enum ldnq_status lpnormalization_forward(const struct ldnq_op_call *call,
                                                struct ldnq_error *err)
{
    int axis;
    LDNQ_TRY(find_axis(call, &axis, err));
    struct lpnorm_rows rows = { .x = call->in[0]->data,
                                .y = call->out[0].data,
                                .at = ldnq_op_split_at_axis(&call->in[0]->shape, axis),
                                .squares = ldnq_attr_int(call->node, "p", 2) == 2 };
    ldnq_op_run_rows(call, rows.at.outer * rows.at.inner, rows.at.size, normalize_rows, &rows);
    return LDNQ_OK;
}

/* ---- backward ----------------------------------------------------------------------- */

struct lpnorm_grad {
    struct lpnorm_rows rows; /* y is not read */
    const float *dy;
    float *dx;
};

/* With n the norm of the row, u its gradient (x / n for p = 2, sign(x) for p = 1) and s the
 * sum of dy x over the row: dx = dy / n - u s / n^2. Rows of zeros have dx = dy. */
static void compute_row_gradients(const void *ctx, size_t first, size_t last)
{
    const struct lpnorm_grad *grad = ctx;
    const struct lpnorm_rows *rows = &grad->rows;
    size_t size = rows->at.size, inner = rows->at.inner;
    for (size_t row = first; row < last; row++) {
        size_t at = row / inner * size * inner + row % inner;
        double norm = 0.0, product = 0.0;
        for (size_t i = at; i < at + size * inner; i += inner) {
            double x = (double)rows->x[i];
            norm += rows->squares ? x * x : fabs(x);
            product += x * (double)grad->dy[i];
        }
        norm = rows->squares ? sqrt(norm) : norm;
        for (size_t i = at; i < at + size * inner; i += inner) {
            double x = (double)rows->x[i], dy = (double)grad->dy[i];
            double u = rows->squares ? x / norm : (double)((x > 0.0) - (x < 0.0));
            grad->dx[i] = (float)(norm != 0.0 ? (dy - u * product / norm) / norm : dy);
        }
    }
}

static enum ldnq_status lpnormalization_backward(const struct ldnq_op_grad *grad,
                                                 struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    int axis;
    LDNQ_TRY(find_axis(call, &axis, err));
    struct lpnorm_grad grad_rows = {
        .rows = { .x = call->in[0]->data,
                  .at = ldnq_op_split_at_axis(&call->in[0]->shape, axis),
                  .squares = ldnq_attr_int(call->node, "p", 2) == 2 },
        .dy = grad->out[0]->data,
        .dx = grad->in[0].data,
    };
    if (grad_rows.dx)
        ldnq_op_run_rows(call, grad_rows.rows.at.outer * grad_rows.rows.at.inner,
                         grad_rows.rows.at.size, compute_row_gradients, &grad_rows);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_lpnormalization = {
    .type = "LpNormalization",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .read_attrs = lpnormalization_read_attrs,
    .infer = lpnormalization_infer_shape,
    .forward = lpnormalization_forward,
    .differentiable = 1,
    .saved_inputs = 1,
    .backward = lpnormalization_backward,
};
