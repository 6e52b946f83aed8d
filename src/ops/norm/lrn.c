/* SPDX-License-Identifier: Apache-2.0 */
/* lrn.c: LRN, local response normalization across channels.
 *
 * Computes y = x / (bias + alpha / size * sum of x^2 over a window of channels)^beta;
 *          the window of channel c is c - floor((size-1)/2) .. c + ceil((size-1)/2)
 * Shapes   x, y (N, C, ...)
 * Source   onnx.ai/onnx/operators/onnx__LRN.html
 */
#include "ops/operation_count.h"

#include <math.h>

#include "base/size.h"

struct lrn {
    const float *x;
    float *y;
    size_t channels, plane;  /* C, elements per channel */
    size_t before, after;    /* channels of the window before and after channel c */
    float scale, beta, bias; /* scale: alpha / size */
};

static enum ldnq_status lrn_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                       const void **attrs, struct ldnq_error *err)
{
    (void)arena;
    (void)attrs;
    return ldnq_attr_int(node, "size", 0) < 1 ? ldnq_fail(err, LDNQ_MODEL, "has no size") : LDNQ_OK;
}

static enum ldnq_status lrn_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    int rank = call->in[0]->shape.rank;
    if (rank >= 0 && rank < 2)
        return ldnq_fail(err, LDNQ_MODEL, "its input has %d axes where two are the least", rank);
    return ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err);
}

/* y = the sum of x^2 over the window, for planes first .. last-1 of all N*C. */
static void sum_squares(const struct lrn *lrn, size_t first, size_t last)
{
    for (size_t i = first; i < last; i++) {
        size_t c = i % lrn->channels, image = i - c;
        size_t from = c > lrn->before ? c - lrn->before : 0;
        size_t to = ldnq_size_min(c + lrn->after, lrn->channels - 1);
        float *y = lrn->y + i * lrn->plane;
        for (size_t k = 0; k < lrn->plane; k++)
            y[k] = 0.0f;
        for (size_t other = from; other <= to; other++) {
            const float *x = lrn->x + (image + other) * lrn->plane;
            for (size_t k = 0; k < lrn->plane; k++)
                y[k] += x[k] * x[k];
        }
    }
}

static void normalize_planes(const void *ctx, size_t first, size_t last)
{
    const struct lrn *lrn = ctx;
    sum_squares(lrn, first, last);
    for (size_t i = first * lrn->plane; i < last * lrn->plane; i++)
        lrn->y[i] = lrn->x[i] * powf(lrn->bias + lrn->scale * lrn->y[i], -lrn->beta);
}

static struct lrn make_lrn(const struct ldnq_op_call *call, float *y)
{
    const struct ldnq_shape *shape = &call->in[0]->shape;
    int64_t size = ldnq_attr_int(call->node, "size", 0);
    struct lrn lrn = { .x = call->in[0]->data,
                       .y = y,
                       .channels = (size_t)shape->dim[1],
                       .plane = 1,
                       .before = (size_t)((size - 1) / 2),
                       .after = (size_t)(size / 2),
                       .scale = ldnq_attr_float(call->node, "alpha", 1e-4f) / (float)size,
                       .beta = ldnq_attr_float(call->node, "beta", 0.75f),
                       .bias = ldnq_attr_float(call->node, "bias", 1.0f) };
    for (int i = 2; i < shape->rank; i++)
        lrn.plane *= (size_t)shape->dim[i];
    return lrn;
}

static size_t lrn_count_operations(const struct ldnq_op_call *call)
{
    const struct lrn lrn = make_lrn(call, NULL);
    const size_t factors[] = { ldnq_tensor_count(&call->out[0]),
                               ldnq_size_min(lrn.channels, lrn.before + lrn.after + 1) };
    return ldnq_operations_multiply(factors, 2);
}

static enum ldnq_status lrn_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &call->in[0]->shape;
    struct lrn lrn = make_lrn(call, call->out[0].data);
    (void)err;
    ldnq_op_run_rows(call, (size_t)shape->dim[0] * lrn.channels, lrn.plane * 8, normalize_planes,
                     &lrn);
    return LDNQ_OK;
}

/* ---- backward ----------------------------------------------------------------------- */

/* With D = bias + scale * sum of x^2:
 *   dx_j = dy_j D_j^-beta - 2 scale beta x_j * sum of (dy_c x_c D_c^(-beta-1))
 * over the channels c whose windows contain j. The first pass computes the first term, and
 * stores the summands of the second one in scratch. */
struct lrn_grad {
    struct lrn lrn; /* lrn.y is scratch */
    const float *dy;
    float *dx;
};

static void write_direct_gradient(const void *ctx, size_t first, size_t last)
{
    const struct lrn_grad *grad = ctx;
    const struct lrn *lrn = &grad->lrn;
    sum_squares(lrn, first, last);
    for (size_t i = first * lrn->plane; i < last * lrn->plane; i++) {
        float d = lrn->bias + lrn->scale * lrn->y[i], dx = grad->dy[i] * powf(d, -lrn->beta);
        grad->dx[i] = dx;
        lrn->y[i] = dx * lrn->x[i] / d;
    }
}

static void add_neighbour_gradient(const void *ctx, size_t first, size_t last)
{
    const struct lrn_grad *grad = ctx;
    const struct lrn *lrn = &grad->lrn;
    const float factor = 2.0f * lrn->scale * lrn->beta;
    for (size_t i = first; i < last; i++) {
        size_t c = i % lrn->channels, image = i - c;
        size_t from = c > lrn->after ? c - lrn->after : 0;
        size_t to = ldnq_size_min(c + lrn->before, lrn->channels - 1);
        const float *x = lrn->x + i * lrn->plane;
        float *dx = grad->dx + i * lrn->plane;
        for (size_t other = from; other <= to; other++) {
            const float *term = lrn->y + (image + other) * lrn->plane;
            for (size_t k = 0; k < lrn->plane; k++)
                dx[k] -= factor * x[k] * term[k];
        }
    }
}

static size_t lrn_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    size_t bytes;
    return ldnq_tensor_bytes(grad->call->in[0], &bytes) ? bytes : SIZE_MAX;
}

static enum ldnq_status lrn_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_shape *shape = &call->in[0]->shape;
    struct lrn_grad lrn = { .lrn = make_lrn(call, call->scratch),
                            .dy = grad->out[0]->data,
                            .dx = grad->in[0].data };
    size_t planes = (size_t)shape->dim[0] * lrn.lrn.channels;
    (void)err;
    if (!lrn.dx)
        return LDNQ_OK;
    ldnq_op_run_rows(call, planes, lrn.lrn.plane * 8, write_direct_gradient, &lrn);
    ldnq_op_run_rows(call, planes, lrn.lrn.plane * 8, add_neighbour_gradient, &lrn);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_lrn = {
    .type = "LRN",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .read_attrs = lrn_read_attrs,
    .infer = lrn_infer_shape,
    .count_operations = lrn_count_operations,
    .forward = lrn_forward,
    .differentiable = 1,
    .saved_inputs = 1,
    .backward_scratch_bytes = lrn_backward_scratch_bytes,
    .backward = lrn_backward,
};
