/* SPDX-License-Identifier: Apache-2.0 */
/* lppool.c: LpPool and GlobalLpPool: the p-norm of a window, or of a plane.
 *
 * Computes y = (sum of |x|^p)^(1/p); padding counts as 0
 * Shapes   x (N, C, D, H, W), y (N, C, OD, OH, OW), or (N, C, 1, 1, 1)
 * Source   onnx.ai/onnx/operators/onnx__LpPool.html, GlobalLpPool
 */
#include "ops/pool/pooling.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static enum ldnq_status check_norm_order(const struct ldnq_node *node, struct ldnq_error *err)
{
    int64_t p = ldnq_attr_int(node, "p", 2);
    if (p >= 1 && p <= INT32_MAX)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL, "p=%" PRId64 " is not possible", p);
}

/* |x|^p, without a call of pow for the common p = 1 and 2. */
static double raise_magnitude_to_p(float x, int64_t p)
{
    double v = fabs((double)x);
    return p == 2 ? v * v : p == 1 ? v : pow(v, (double)p);
}

static float take_pth_root(double sum, int64_t p)
{
    return (float)(p == 2 ? sqrt(sum) : p == 1 ? sum : pow(sum, 1.0 / (double)p));
}

/* ---- LpPool -------------------------------------------------------------------------- */

static enum ldnq_status lppool_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                          const void **attrs, struct ldnq_error *err)
{
    LDNQ_TRY(check_norm_order(node, err));
    return ldnq_pooling_read_attrs(node, arena, attrs, err);
}

static enum ldnq_status lppool_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_pooling_infer_shape(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err);
}

/* Sum of |x|^p over output i's taps in one input row. */
static double sum_row_powers(const struct ldnq_pooling *pooling, const float *x, size_t i)
{
    const struct ldnq_pooling_taps in_w = ldnq_pooling_find_taps(&pooling->axis[2], i);
    double sum = 0.0;
    for (size_t k = 0; k < in_w.count; k++)
        sum += raise_magnitude_to_p(x[in_w.at + k * (size_t)pooling->axis[2].dilation], pooling->p);
    return sum;
}

/* Sum of |x|^p over output i's window. */
static double sum_window_powers(const struct ldnq_pooling *pooling, struct ldnq_pooling_row row,
                                size_t i)
{
    const struct ldnq_pooling_axis *axis = pooling->axis;
    const float *x = (const float *)pooling->x + row.plane * axis[0].in * axis[1].in * axis[2].in;
    const struct ldnq_pooling_taps in_d = ldnq_pooling_find_taps(&axis[0], row.od);
    const struct ldnq_pooling_taps in_h = ldnq_pooling_find_taps(&axis[1], row.oh);
    double sum = 0.0;
    for (size_t d = 0; d < in_d.count; d++)
        for (size_t h = 0; h < in_h.count; h++) {
            size_t id = in_d.at + d * (size_t)axis[0].dilation;
            size_t ih = in_h.at + h * (size_t)axis[1].dilation;
            sum += sum_row_powers(pooling, x + (id * axis[1].in + ih) * axis[2].in, i);
        }
    return sum;
}

static void compute_row_norms(const void *ctx, size_t first, size_t last)
{
    const struct ldnq_pooling *pooling = ctx;
    size_t width = pooling->axis[2].out;
    for (size_t row = first; row < last; row++) {
        struct ldnq_pooling_row at = ldnq_pooling_find_row(pooling, row);
        float *y = (float *)pooling->y + row * width;
        for (size_t i = 0; i < width; i++)
            y[i] = take_pth_root(sum_window_powers(pooling, at, i), pooling->p);
    }
}

static enum ldnq_status lppool_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_pooling pooling;
    LDNQ_TRY(ldnq_pooling_make_forward(call, &pooling, err));
    ldnq_pooling_run_rows(call, &pooling, compute_row_norms);
    return LDNQ_OK;
}

/* dx = dy (|x| / y)^(p-1) sign(x), the gradient of a p-norm y; 0 where y = 0. */
static float compute_norm_gradient(float x, float y, float dy, int64_t p)
{
    double part = y > 0.0f ? pow(fabs((double)(x / y)), (double)(p - 1)) : 0.0;
    return x == 0.0f ? 0.0f : (float)((double)dy * copysign(part, (double)x));
}

struct lppool_grad {
    struct ldnq_pooling pooling;
    const float *y, *dy;
    float *dx;
};

/* dx (W) += the gradients of one output row (OW), for one (kd, kh). */
static void add_gradient_row(const struct ldnq_pooling *p, const float *x, const float *y,
                             const float *dy, float *dx)
{
    for (size_t i = 0; i < p->axis[2].out; i++) {
        const struct ldnq_pooling_taps in_w = ldnq_pooling_find_taps(&p->axis[2], i);
        for (size_t k = 0; k < in_w.count; k++) {
            size_t at = in_w.at + k * (size_t)p->axis[2].dilation;
            dx[at] += compute_norm_gradient(x[at], y[i], dy[i], p->p);
        }
    }
}

static void add_pooled_gradient(const void *ctx, size_t first, size_t last)
{
    const struct lppool_grad *grad = ctx;
    const struct ldnq_pooling *p = &grad->pooling;
    const size_t in = ldnq_pooling_plane(p), rows = ldnq_pooling_rows(p);
    for (size_t plane = first; plane < last; plane++) {
        const float *x = (const float *)p->x + plane * in;
        float *dx = grad->dx + plane * in;
        memset(dx, 0, in * sizeof *dx);
        for (size_t row = 0; row < rows; row++) {
            struct ldnq_pooling_row at = ldnq_pooling_find_row(p, row);
            size_t out = (plane * rows + row) * p->axis[2].out;
            const struct ldnq_pooling_taps in_d = ldnq_pooling_find_taps(&p->axis[0], at.od);
            const struct ldnq_pooling_taps in_h = ldnq_pooling_find_taps(&p->axis[1], at.oh);
            for (size_t d = 0; d < in_d.count; d++)
                for (size_t h = 0; h < in_h.count; h++) {
                    size_t id = in_d.at + d * (size_t)p->axis[0].dilation;
                    size_t ih = in_h.at + h * (size_t)p->axis[1].dilation;
                    size_t row_start = (id * p->axis[1].in + ih) * p->axis[2].in;
                    add_gradient_row(p, x + row_start, grad->y + out, grad->dy + out,
                                     dx + row_start);
                }
        }
    }
}

static enum ldnq_status lppool_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    struct lppool_grad lp = { .y = call->out[0].data,
                              .dy = grad->out[0]->data,
                              .dx = grad->in[0].data };
    struct ldnq_pooling *p = &lp.pooling;
    LDNQ_TRY(ldnq_pooling_make(call, p, err));
    p->x = call->in[0]->data;
    ldnq_pooling_run_planes(call, p, add_pooled_gradient, &lp);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_lppool = {
    .type = "LpPool",
    .since = 2,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .read_attrs = lppool_read_attrs,
    .infer = lppool_infer_shape,
    .count_operations = ldnq_pooling_count_operations,
    .forward = lppool_forward,
    .differentiable = 1,
    .saved_inputs = 1,
    .saved_outputs = 1,
    .backward = lppool_backward,
};

/* ---- GlobalLpPool ----------------------------------------------------------------------- */

struct globallppool_planes {
    const float *x, *y, *dy;
    float *out; /* y; in the backward pass: dx */
    size_t size;
    int64_t p;
};

static enum ldnq_status globallppool_read_attrs(const struct ldnq_node *node,
                                                struct ldnq_arena *arena, const void **attrs,
                                                struct ldnq_error *err)
{
    (void)arena;
    (void)attrs;
    return check_norm_order(node, err);
}

static void compute_plane_norms(const void *ctx, size_t first, size_t last)
{
    const struct globallppool_planes *planes = ctx;
    for (size_t i = first; i < last; i++) {
        const float *x = planes->x + i * planes->size;
        double sum = 0.0;
        for (size_t k = 0; k < planes->size; k++)
            sum += raise_magnitude_to_p(x[k], planes->p);
        planes->out[i] = take_pth_root(sum, planes->p);
    }
}

static void compute_plane_gradients(const void *ctx, size_t first, size_t last)
{
    const struct globallppool_planes *planes = ctx;
    for (size_t i = first; i < last; i++) {
        const float *x = planes->x + i * planes->size;
        float *dx = planes->out + i * planes->size, y = planes->y[i], dy = planes->dy[i];
        for (size_t k = 0; k < planes->size; k++)
            dx[k] = compute_norm_gradient(x[k], y, dy, planes->p);
    }
}

static struct globallppool_planes make_planes(const struct ldnq_op_call *call)
{
    const struct ldnq_shape *shape = &call->in[0]->shape;
    struct globallppool_planes planes = { .x = call->in[0]->data,
                                          .size = 1,
                                          .p = ldnq_attr_int(call->node, "p", 2) };
    for (int i = 2; i < shape->rank; i++)
        planes.size *= (size_t)shape->dim[i];
    return planes;
}

static enum ldnq_status globallppool_forward(const struct ldnq_op_call *call,
                                             struct ldnq_error *err)
{
    struct globallppool_planes planes = make_planes(call);
    (void)err;
    planes.out = call->out[0].data;
    ldnq_op_run_rows(call, ldnq_tensor_count(&call->out[0]), planes.size, compute_plane_norms,
                     &planes);
    return LDNQ_OK;
}

static enum ldnq_status globallppool_backward(const struct ldnq_op_grad *grad,
                                              struct ldnq_error *err)
{
    struct globallppool_planes planes = make_planes(grad->call);
    (void)err;
    planes.y = grad->call->out[0].data;
    planes.dy = grad->out[0]->data;
    planes.out = grad->in[0].data;
    ldnq_op_run_rows(grad->call, ldnq_tensor_count(grad->out[0]), planes.size,
                     compute_plane_gradients, &planes);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_globallppool = {
    .type = "GlobalLpPool",
    .since = 2,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .read_attrs = globallppool_read_attrs,
    .infer = ldnq_pooling_infer_global,
    .forward = globallppool_forward,
    .differentiable = 1,
    .saved_inputs = 1,
    .saved_outputs = 1,
    .backward = globallppool_backward,
};
