/* SPDX-License-Identifier: Apache-2.0 */
/* hardmax.c: Hardmax: 1 at the first maximum along an axis, 0 elsewhere.
 *
 * Shapes  x, y (outer, size, inner): a row has `size` elements, `inner` apart. Since opset
 *         13 `size` is axis `axis`; before, it is all axes from `axis` on.
 * Source  onnx.ai/onnx/operators/onnx__Hardmax.html
 */
#include "ops/op.h"

struct hardmax_rows {
    const float *x;
    float *y;
    struct ldnq_axis_split at;
};

static enum ldnq_status infer_with_axis(struct ldnq_op_call *call, int64_t axis,
                                        struct ldnq_error *err)
{
    int rank = call->in[0]->shape.rank, found;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    return rank < 0 ? LDNQ_OK : ldnq_op_resolve_axis(axis, rank, &found, err);
}

static enum ldnq_status hardmax_1_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return infer_with_axis(call, ldnq_attr_int(call->node, "axis", 1), err);
}

static enum ldnq_status hardmax_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return infer_with_axis(call, ldnq_attr_int(call->node, "axis", -1), err);
}

static void mark_row_maxima(const void *ctx, size_t first, size_t last)
{
    const struct hardmax_rows *rows = ctx;
    size_t size = rows->at.size, inner = rows->at.inner;
    for (size_t row = first; row < last; row++) {
        size_t start = row / inner * size * inner + row % inner, best = start;
        for (size_t i = 0; i < size; i++) {
            size_t at = start + i * inner;
            best = rows->x[at] > rows->x[best] ? at : best;
        }
        for (size_t i = 0; i < size; i++)
            rows->y[start + i * inner] = start + i * inner == best ? 1.0f : 0.0f;
    }
}

static enum ldnq_status mark_maxima_along_axis(const struct ldnq_op_call *call, int64_t axis,
                                               bool flatten, struct ldnq_error *err)
{
    int found;
    LDNQ_TRY(ldnq_op_resolve_axis(axis, call->in[0]->shape.rank, &found, err));
    struct hardmax_rows rows = { .x = call->in[0]->data,
                                 .y = call->out[0].data,
                                 .at = ldnq_op_split_at_axis(&call->in[0]->shape, found) };
    if (flatten) {
        rows.at.size *= rows.at.inner;
        rows.at.inner = 1;
    }
    ldnq_op_run_rows(call, rows.at.outer * rows.at.inner, rows.at.size, mark_row_maxima, &rows);
    return LDNQ_OK;
}

static enum ldnq_status hardmax_1_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return mark_maxima_along_axis(call, ldnq_attr_int(call->node, "axis", 1), true, err);
}

static enum ldnq_status hardmax_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return mark_maxima_along_axis(call, ldnq_attr_int(call->node, "axis", -1), false, err);
}

const struct ldnq_op ldnq_op_hardmax_1 = {
    .type = "Hardmax",
    .since = 1,
    .until = 12,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = hardmax_1_infer_shape,
    .forward = hardmax_1_forward,
};

const struct ldnq_op ldnq_op_hardmax = {
    .type = "Hardmax",
    .since = 13,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = hardmax_infer_shape,
    .forward = hardmax_forward,
};
