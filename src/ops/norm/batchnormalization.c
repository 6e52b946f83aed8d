/* SPDX-License-Identifier: Apache-2.0 */
/* batchnormalization.c: BatchNormalization with the running statistics (inference): one
 * scale and one shift per channel. Training mode is in batchnormalization_training.h.
 *
 * Computes y = (x - mean) / sqrt(var + epsilon) * gamma + beta
 * Shapes   x, y (N, C, ...); gamma, beta, mean, var (C)
 * Source   onnx.ai/onnx/operators/onnx__BatchNormalization.html
 */
#include "ops/op.h"

#include <inttypes.h>
#include <math.h>

#include "ops/norm/batchnormalization_training.h"
#include "ops/shared/float_sums.h"

struct batchnorm_planes {
    const float *x;
    float *y;
    const float *scale, *shift; /* (C) */
    size_t channels, size;
};

static enum ldnq_status batchnormalization_7_read_attrs(const struct ldnq_node *node,
                                                        struct ldnq_arena *arena,
                                                        const void **attrs, struct ldnq_error *err)
{
    (void)arena;
    (void)attrs;
    if (ldnq_attr_int(node, "spatial", 1) == 0)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "spatial=0 is not supported");
    return LDNQ_OK;
}

static enum ldnq_status batchnormalization_read_attrs(const struct ldnq_node *node,
                                                      struct ldnq_arena *arena, const void **attrs,
                                                      struct ldnq_error *err)
{
    (void)arena;
    (void)attrs;
    for (size_t i = 1; i < node->output_count && !ldnq_batchnorm_is_training(node); i++)
        if (node->outputs[i])
            return ldnq_fail(err, LDNQ_MODEL, "has output %zu without training_mode", i);
    return LDNQ_OK;
}

static enum ldnq_status batchnormalization_infer_shape(struct ldnq_op_call *call,
                                                       struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    int64_t channels = x->rank < 2 ? 1 : x->dim[1];
    for (size_t i = 1; i < 5; i++) {
        const struct ldnq_shape *shape = &call->in[i]->shape;
        LDNQ_TRY(ldnq_op_require_dtype(call, i, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
        if (shape->rank < 0 || x->rank < 0)
            continue;
        if (shape->rank != 1 || (!ldnq_is_symbol(shape->dim[0]) && !ldnq_is_symbol(channels) &&
                                 shape->dim[0] != channels))
            return ldnq_fail(err, LDNQ_MODEL,
                             "input %zu does not have one number for each of %" PRId64 " channels",
                             i, channels);
    }
    for (size_t i = 1; i < call->out_count; i++) {
        call->out[i].dtype = LDNQ_FLOAT;
        call->out[i].shape = call->in[2 + i]->shape;
    }
    return ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err);
}

/* scale and shift, (C) each. */
static size_t batchnormalization_scratch_bytes(const struct ldnq_op_call *call)
{
    return 2 * sizeof(float) * ldnq_tensor_count(call->in[1]);
}

static void normalize_planes(const void *ctx, size_t first, size_t last)
{
    const struct batchnorm_planes *planes = ctx;
    size_t size = planes->size;
    for (size_t plane = first; plane < last; plane++) {
        const float *x = planes->x + plane * size;
        float *y = planes->y + plane * size;
        const float scale = planes->scale[plane % planes->channels];
        const float shift = planes->shift[plane % planes->channels];
        LDNQ_IVDEP
        for (size_t i = 0; i < size; i++)
            y[i] = x[i] * scale + shift;
    }
}

static enum ldnq_status batchnormalization_forward(const struct ldnq_op_call *call,
                                                   struct ldnq_error *err)
{
    const float *gamma = call->in[1]->data, *beta = call->in[2]->data;
    const float *mean = call->in[3]->data, *variance = call->in[4]->data;
    double epsilon = (double)ldnq_attr_float(call->node, "epsilon", 1e-5f);
    size_t channels = ldnq_tensor_count(call->in[1]), count = ldnq_tensor_count(call->in[0]);
    float *scale = call->scratch, *shift = scale + channels;
    (void)err;
    if (ldnq_batchnorm_is_training(call->node)) {
        ldnq_batchnorm_train_forward(call);
        return LDNQ_OK;
    }
    for (size_t c = 0; c < channels; c++) {
        double factor = (double)gamma[c] / sqrt((double)variance[c] + epsilon);
        scale[c] = (float)factor;
        shift[c] = (float)((double)beta[c] - (double)mean[c] * factor);
    }
    struct batchnorm_planes planes = { .x = call->in[0]->data,
                                       .y = call->out[0].data,
                                       .scale = scale,
                                       .shift = shift,
                                       .channels = channels,
                                       .size = 1 };
    for (int i = 2; i < call->in[0]->shape.rank; i++)
        planes.size *= (size_t)call->in[0]->shape.dim[i];
    if (count > 0)
        ldnq_op_run_rows(call, count / planes.size, planes.size, normalize_planes, &planes);
    return LDNQ_OK;
}

/* ---- backward ----------------------------------------------------------------------- */

struct batchnorm_channels {
    const float *x, *dy, *gamma, *mean, *variance;
    float *dx, *dgamma, *dbeta, *dmean, *dvariance; /* NULL: not requested */
    size_t images, channels, size;
    double epsilon;
};

/* dx of one channel = dy * factor. */
static void write_input_gradient_of_scaling(const struct batchnorm_channels *c, size_t channel,
                                            float factor)
{
    for (size_t image = 0; image < c->images; image++) {
        size_t at = (image * c->channels + channel) * c->size;
        const float *dy = c->dy + at;
        float *dx = c->dx + at;
        for (size_t i = 0; i < c->size; i++)
            dx[i] = dy[i] * factor;
    }
}

/* With v = 1 / sqrt(var + epsilon) and sums over one channel of all images:
 *   dx = gamma v dy           dbeta = sum dy      dgamma = v sum dy (x - mean)
 *   dmean = -gamma v sum dy   dvar = -gamma v^3 / 2 sum dy (x - mean) */
static void compute_channel_gradients(const void *ctx, size_t first, size_t last)
{
    const struct batchnorm_channels *c = ctx;
    bool needs_x = c->dgamma || c->dvariance, needs_sum = c->dbeta || c->dmean;
    for (size_t channel = first; channel < last; channel++) {
        double v = 1.0 / sqrt((double)c->variance[channel] + c->epsilon), sum = 0, product = 0;
        double gamma = (double)c->gamma[channel], mean = (double)c->mean[channel];
        for (size_t image = 0; image < c->images; image++) {
            size_t at = (image * c->channels + channel) * c->size;
            if (needs_sum)
                sum += ldnq_sum_floats(c->dy + at, c->size);
            if (needs_x)
                product += ldnq_sum_weighted_deviations(c->dy + at, c->x + at, c->size, mean);
        }
        if (c->dx)
            write_input_gradient_of_scaling(c, channel, (float)(gamma * v));
        if (c->dgamma)
            c->dgamma[channel] = (float)(product * v);
        if (c->dbeta)
            c->dbeta[channel] = (float)sum;
        if (c->dmean)
            c->dmean[channel] = (float)(-gamma * v * sum);
        if (c->dvariance)
            c->dvariance[channel] = (float)(-0.5 * gamma * v * v * v * product);
    }
}

static enum ldnq_status batchnormalization_backward(const struct ldnq_op_grad *grad,
                                                    struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_shape *x = &call->in[0]->shape;
    (void)err;
    if (ldnq_batchnorm_is_training(call->node)) {
        ldnq_batchnorm_train_backward(grad);
        return LDNQ_OK;
    }
    struct batchnorm_channels c = {
        .x = call->in[0]->data,
        .dy = grad->out[0]->data,
        .gamma = call->in[1]->data,
        .mean = call->in[3]->data,
        .variance = call->in[4]->data,
        .dx = grad->in[0].data,
        .dgamma = grad->in[1].data,
        .dbeta = grad->in[2].data,
        .dmean = grad->in[3].data,
        .dvariance = grad->in[4].data,
        .images = x->rank > 0 ? (size_t)x->dim[0] : 1,
        .channels = ldnq_tensor_count(call->in[1]),
        .size = 1,
        .epsilon = (double)ldnq_attr_float(call->node, "epsilon", 1e-5f),
    };
    for (int i = 2; i < x->rank; i++)
        c.size *= (size_t)x->dim[i];
    ldnq_op_run_rows(call, c.channels, c.images * c.size, compute_channel_gradients, &c);
    return LDNQ_OK;
}

/* ---- records ------------------------------------------------------------------------ */

/* Before opset 14, more than one output means training mode, which is refused. */
#define BATCHNORMALIZATION(name, SINCE, UNTIL, OUTPUTS, READ)                                      \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = "BatchNormalization",                                                              \
        .since = SINCE,                                                                            \
        .until = UNTIL,                                                                            \
        .flags = LDNQ_OP_IN_PLACE,                                                                 \
        .inputs_min = 5,                                                                           \
        .inputs_max = 5,                                                                           \
        .outputs_max = OUTPUTS,                                                                    \
        .read_attrs = READ,                                                                        \
        .infer = batchnormalization_infer_shape,                                                   \
        .scratch_bytes = batchnormalization_scratch_bytes,                                         \
        .forward = batchnormalization_forward,                                                     \
        .differentiable = 31,                                                                      \
        .saved_inputs = 27,                                                                        \
        .backward = batchnormalization_backward,                                                   \
    };

BATCHNORMALIZATION(batchnormalization_7, 7, 8, 1, batchnormalization_7_read_attrs)
BATCHNORMALIZATION(batchnormalization_9, 9, 13, 1, NULL)
BATCHNORMALIZATION(batchnormalization, 14, LDNQ_OPSET_LATEST, 3, batchnormalization_read_attrs)
