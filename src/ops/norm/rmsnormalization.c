/* SPDX-License-Identifier: Apache-2.0 */
/* rmsnormalization.c: RMSNormalization over the axes from `axis` on.
 *
 * Computes y = x r scale, r = 1 / sqrt(mean(x^2) + epsilon)
 *          dx = r (g - x r^2 mean(g x)) with g = dy scale; dscale = sum of dy x r
 * Shapes   x, y (rows, cols), where cols are all elements from `axis` on; r (rows);
 *          scale broadcasts to x
 * Source   onnx.ai/onnx/operators/onnx__RMSNormalization.html
 */
#include "ops/shared/elementwise.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "ops/shared/float_sums.h"

LDNQ_BINARY_LOOP(scale_span, float, float, x *y)

struct rmsnorm_rows {
    const float *x;
    float *y; /* forward: x r; backward: g, overwritten by dx */
    size_t cols;
    double epsilon;
};

static enum ldnq_status find_axis(const struct ldnq_op_call *call, int *axis,
                                  struct ldnq_error *err)
{
    return ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", -1), call->in[0]->shape.rank,
                                axis, err);
}

static enum ldnq_status rmsnormalization_infer_shape(struct ldnq_op_call *call,
                                                     struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape, *scale = &call->in[1]->shape;
    char a[LDNQ_SHAPE_TEXT], b[LDNQ_SHAPE_TEXT];
    int axis;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    if (x->rank < 0)
        return LDNQ_OK;
    LDNQ_TRY(find_axis(call, &axis, err));
    bool fits = scale->rank <= x->rank;
    for (int i = 0; fits && i < scale->rank; i++) {
        int64_t dim = scale->dim[i], want = x->dim[x->rank - scale->rank + i];
        fits = dim == 1 || dim == want || ldnq_is_symbol(dim) || ldnq_is_symbol(want);
    }
    if (!fits)
        return ldnq_fail(err, LDNQ_MODEL,
                         "its scale of shape %s does not broadcast to its input "
                         "of shape %s",
                         ldnq_shape_print(scale, NULL, a, sizeof a),
                         ldnq_shape_print(x, NULL, b, sizeof b));
    return LDNQ_OK;
}

static struct rmsnorm_rows make_rows(const struct ldnq_op_call *call, float *y, size_t *count)
{
    struct rmsnorm_rows rows = { .x = call->in[0]->data,
                                 .y = y,
                                 .epsilon = (double)ldnq_attr_float(call->node, "epsilon", 1e-5f) };
    const struct ldnq_shape *shape = &call->in[0]->shape;
    int axis = 0;
    *count = 0;
    if (find_axis(call, &axis, NULL) == LDNQ_OK && ldnq_shape_count_range(shape, 0, axis, count))
        ldnq_shape_count_range(shape, axis, shape->rank, &rows.cols);
    return rows;
}

/* Computes r, the inverse root mean square, of one row. */
static double compute_inverse_rms(const struct rmsnorm_rows *r, const float *x)
{
    return 1.0 / sqrt(ldnq_sum_squared_deviations(x, r->cols, 0.0) / (double)r->cols + r->epsilon);
}

static void normalize_rows(const void *ctx, size_t first, size_t last)
{
    const struct rmsnorm_rows *r = ctx;
    for (size_t row = first; row < last; row++) {
        const float *x = r->x + row * r->cols;
        float *y = r->y + row * r->cols;
        const float inverse = (float)compute_inverse_rms(r, x);
        LDNQ_IVDEP
        for (size_t i = 0; i < r->cols; i++)
            y[i] = x[i] * inverse;
    }
}

static enum ldnq_status rmsnormalization_forward(const struct ldnq_op_call *call,
                                                 struct ldnq_error *err)
{
    size_t count;
    struct rmsnorm_rows rows = make_rows(call, call->out[0].data, &count);
    const struct ldnq_tensor *in[] = { &call->out[0], call->in[1] };
    (void)err;
    ldnq_op_run_rows(call, count, rows.cols, normalize_rows, &rows);
    ldnq_elementwise_run(call, scale_span, &call->out[0], in, 2);
    return LDNQ_OK;
}

/* ---- backward ------------------------------------------------------------------------- */

static void compute_row_gradients(const void *ctx, size_t first, size_t last)
{
    const struct rmsnorm_rows *r = ctx;
    for (size_t row = first; row < last; row++) {
        const float *x = r->x + row * r->cols;
        float *g = r->y + row * r->cols;
        double inverse = compute_inverse_rms(r, x), sum = 0.0;
        for (size_t i = 0; i < r->cols; i++)
            sum += (double)g[i] * (double)x[i];
        const float scale = (float)inverse;
        const float shift = (float)(inverse * inverse * inverse * sum / (double)r->cols);
        for (size_t i = 0; i < r->cols; i++)
            g[i] = g[i] * scale - x[i] * shift;
    }
}

/* dscale = sum of dy x r over the axes along which scale is broadcast, in the order of the
 * elements, in double. */
static void compute_scale_gradient(const struct ldnq_op_grad *grad, const struct rmsnorm_rows *r)
{
    const struct ldnq_shape *shape = &grad->call->in[0]->shape;
    const float *dy = grad->out[0]->data;
    float *dscale = grad->in[1].data;
    double *sums = grad->call->scratch;
    size_t strides[LDNQ_MAX_RANK], index[LDNQ_MAX_RANK] = { 0 }, at = 0;
    size_t scales = ldnq_tensor_count(&grad->in[1]), count = ldnq_tensor_count(grad->call->in[0]);
    double inverse = 0.0;
    memset(sums, 0, scales * sizeof *sums);
    ldnq_op_broadcast_strides(&grad->in[1].shape, shape, strides);
    for (size_t i = 0, column = 0; i < count; i++) {
        if (column == 0)
            inverse = compute_inverse_rms(r, r->x + i);
        sums[at] += (double)dy[i] * (double)r->x[i] * inverse;
        column = column + 1 == r->cols ? 0 : column + 1;
        for (int axis = shape->rank - 1; axis >= 0; axis--) {
            at += strides[axis];
            if (++index[axis] < (size_t)shape->dim[axis])
                break;
            at -= index[axis] * strides[axis];
            index[axis] = 0;
        }
    }
    for (size_t i = 0; i < scales; i++)
        dscale[i] = (float)sums[i];
}

static size_t rmsnormalization_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    size_t bytes;
    return ldnq_size_mul(ldnq_tensor_count(&grad->in[1]), sizeof(double), &bytes) ? bytes
                                                                                  : SIZE_MAX;
}

static enum ldnq_status rmsnormalization_backward(const struct ldnq_op_grad *grad,
                                                  struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    size_t count;
    struct rmsnorm_rows rows = make_rows(call, grad->in[0].data, &count);
    (void)err;
    for (size_t i = 0; i < 2 && !grad->out[0]; i++)
        if (grad->in[i].data)
            memset(grad->in[i].data, 0, ldnq_tensor_count(&grad->in[i]) * sizeof(float));
    if (!grad->out[0])
        return LDNQ_OK;
    if (grad->in[1].data)
        compute_scale_gradient(grad, &rows);
    if (grad->in[0].data) {
        const struct ldnq_tensor *in[] = { grad->out[0], call->in[1] };
        ldnq_elementwise_run(call, scale_span, &grad->in[0], in, 2);
        ldnq_op_run_rows(call, count, rows.cols, compute_row_gradients, &rows);
    }
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_rmsnormalization = {
    .type = "RMSNormalization",
    .since = 23,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = rmsnormalization_infer_shape,
    .forward = rmsnormalization_forward,
    .differentiable = 3,
    .saved_inputs = 3,
    .backward_scratch_bytes = rmsnormalization_backward_scratch_bytes,
    .backward = rmsnormalization_backward,
};
