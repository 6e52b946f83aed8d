/* SPDX-License-Identifier: Apache-2.0 */
/* globalpool.c: GlobalAveragePool and GlobalMaxPool: one number per plane.
 *
 * Shapes  x (N, C, D1, D2, ...), y (N, C, 1, 1, ...)
 * Source  onnx.ai/onnx/operators/onnx__GlobalAveragePool.html, GlobalMaxPool
 */
#include "ops/pool/pooling.h"

#include <math.h>

#include "ops/shared/float_sums.h"

/* Planes (size) of x and their one number each in y. */
struct globalpool_planes {
    const float *x;
    float *y;
    size_t size;
};

static void average_planes(const void *ctx, size_t first, size_t last)
{
    const struct globalpool_planes *planes = ctx;
    for (size_t i = first; i < last; i++)
        planes->y[i] = (float)(ldnq_sum_floats(planes->x + i * planes->size, planes->size) /
                               (double)planes->size);
}

static void max_planes(const void *ctx, size_t first, size_t last)
{
    const struct globalpool_planes *planes = ctx;
    for (size_t i = first; i < last; i++) {
        planes->y[i] = ldnq_find_max_float(planes->x + i * planes->size, planes->size);
    }
}

static enum ldnq_status globalpool_forward(const struct ldnq_op_call *call, ldnq_range_fn *run)
{
    const struct ldnq_shape *shape = &call->in[0]->shape;
    struct globalpool_planes planes = { .x = call->in[0]->data, .y = call->out[0].data, .size = 1 };
    for (int i = 2; i < shape->rank; i++)
        planes.size *= (size_t)shape->dim[i];
    ldnq_op_run_rows(call, ldnq_tensor_count(&call->out[0]), planes.size, run, &planes);
    return LDNQ_OK;
}

static enum ldnq_status globalaveragepool_forward(const struct ldnq_op_call *call,
                                                  struct ldnq_error *err)
{
    (void)err;
    return globalpool_forward(call, average_planes);
}

static enum ldnq_status globalmaxpool_forward(const struct ldnq_op_call *call,
                                              struct ldnq_error *err)
{
    (void)err;
    return globalpool_forward(call, max_planes);
}

/* ---- backward ----------------------------------------------------------------------- */

struct globalpool_grad {
    const float *x, *dy;
    float *dx;
    size_t size;
};

/* Computes GlobalAveragePool's dx = dy / size. */
static void average_planes_backward(const void *ctx, size_t first, size_t last)
{
    const struct globalpool_grad *planes = ctx;
    for (size_t i = first; i < last; i++) {
        const float value = planes->dy[i] / (float)planes->size;
        float *dx = planes->dx + i * planes->size;
        for (size_t k = 0; k < planes->size; k++)
            dx[k] = value;
    }
}

/* GlobalMaxPool: dx = dy at the maximum, the first of equal ones, and 0 elsewhere. */
static void max_planes_backward(const void *ctx, size_t first, size_t last)
{
    const struct globalpool_grad *planes = ctx;
    for (size_t i = first; i < last; i++) {
        const float *x = planes->x + i * planes->size;
        float *dx = planes->dx + i * planes->size;
        size_t max = 0;
        for (size_t k = 0; k < planes->size; k++) {
            dx[k] = 0.0f;
            max = x[k] > x[max] || (isnan(x[max]) && !isnan(x[k])) ? k : max;
        }
        if (planes->size > 0)
            dx[max] = planes->dy[i];
    }
}

static enum ldnq_status globalpool_backward(const struct ldnq_op_grad *grad, ldnq_range_fn *run)
{
    const struct ldnq_shape *shape = &grad->call->in[0]->shape;
    struct globalpool_grad planes = {
        .x = grad->call->in[0]->data, .dy = grad->out[0]->data, .dx = grad->in[0].data, .size = 1
    };
    for (int i = 2; i < shape->rank; i++)
        planes.size *= (size_t)shape->dim[i];
    if (planes.dx)
        ldnq_op_run_rows(grad->call, ldnq_tensor_count(&grad->call->out[0]), planes.size, run,
                         &planes);
    return LDNQ_OK;
}

static enum ldnq_status globalaveragepool_backward(const struct ldnq_op_grad *grad,
                                                   struct ldnq_error *err)
{
    (void)err;
    return globalpool_backward(grad, average_planes_backward);
}

static enum ldnq_status globalmaxpool_backward(const struct ldnq_op_grad *grad,
                                               struct ldnq_error *err)
{
    (void)err;
    return globalpool_backward(grad, max_planes_backward);
}

const struct ldnq_op ldnq_op_globalaveragepool = {
    .type = "GlobalAveragePool",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_PER_SAMPLE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = ldnq_pooling_infer_global,
    .forward = globalaveragepool_forward,
    .differentiable = 1,
    .backward = globalaveragepool_backward,
};

const struct ldnq_op ldnq_op_globalmaxpool = {
    .type = "GlobalMaxPool",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = ldnq_pooling_infer_global,
    .forward = globalmaxpool_forward,
    .differentiable = 1,
    .saved_inputs = 1,
    .backward = globalmaxpool_backward,
};
