/* SPDX-License-Identifier: Apache-2.0 */
/* groupnormalization.c: InstanceNormalization and GroupNormalization: each group of
 * channels of an image is normalized by its own mean and variance. A group of
 * InstanceNormalization is one channel.
 *
 * Computes y = (x - mean) / sqrt(variance + epsilon) * scale + bias
 * Shapes   x, y (N, C, ...); scale, bias (C), or (G) for GroupNormalization up to opset 20
 * Source   onnx.ai/onnx/operators/onnx__GroupNormalization.html, InstanceNormalization
 */
#include "ops/op.h"

#include <inttypes.h>

#include "base/size.h"
#include "ops/norm/standardize.h"
#include "ops/shared/float_sums.h"

struct groupnorm {
    const float *x, *scale, *bias;
    float *y;
    size_t channels, groups, plane; /* C, G, elements per channel */
    bool by_group;                  /* scale and bias are (G), not (C) */
    double epsilon;
};

/* Checks and infers the shapes; groups 0: one group per channel. */
static enum ldnq_status infer_groups(struct ldnq_op_call *call, int64_t groups, bool by_group,
                                     struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    if (x->rank >= 0 && x->rank < 2)
        return ldnq_fail(err, LDNQ_MODEL, "its input has %d axes where two are the least", x->rank);
    if (x->rank < 0 || ldnq_is_symbol(x->dim[1]))
        return LDNQ_OK;
    if (groups < 0 || groups > x->dim[1] || (groups && x->dim[1] % groups != 0))
        return ldnq_fail(err, LDNQ_MODEL,
                         "%" PRId64 " channels can't be divided into %" PRId64 " groups", x->dim[1],
                         groups);
    for (size_t i = 1; i < 3; i++) {
        const struct ldnq_shape *shape = &call->in[i]->shape;
        LDNQ_TRY(ldnq_op_require_dtype(call, i, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
        if (ldnq_shape_is_known(shape) &&
            (shape->rank != 1 || shape->dim[0] != (by_group ? groups : x->dim[1])))
            return ldnq_fail(err, LDNQ_MODEL, "input %zu does not fit %" PRId64 " channels", i,
                             x->dim[1]);
    }
    return LDNQ_OK;
}

/* Groups first .. last-1 of all N*G. */
static void normalize_group_range(const void *ctx, size_t first, size_t last)
{
    const struct groupnorm *g = ctx;
    size_t channels = g->channels / g->groups;
    for (size_t i = first; i < last; i++) {
        const float *x = g->x + i * channels * g->plane;
        float *y = g->y + i * channels * g->plane;
        size_t group = i % g->groups;
        struct ldnq_standardize_stats stats =
            ldnq_standardize_measure(x, channels * g->plane, g->epsilon);
        for (size_t c = 0; c < channels; c++) {
            size_t at = g->by_group ? group : group * channels + c;
            ldnq_standardize(x + c * g->plane, y + c * g->plane, g->plane, stats, g->scale[at],
                             g->bias[at]);
        }
    }
}

static enum ldnq_status normalize_groups(const struct ldnq_op_call *call, int64_t count,
                                         bool by_group)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    struct groupnorm groups = { .x = call->in[0]->data,
                                .scale = call->in[1]->data,
                                .bias = call->in[2]->data,
                                .y = call->out[0].data,
                                .channels = (size_t)x->dim[1],
                                .plane = 1,
                                .by_group = by_group,
                                .epsilon = (double)ldnq_attr_float(call->node, "epsilon", 1e-5f) };
    groups.groups = count ? (size_t)count : groups.channels;
    for (int i = 2; i < x->rank; i++)
        groups.plane *= (size_t)x->dim[i];
    if (ldnq_tensor_count(call->in[0]) > 0)
        ldnq_op_run_rows(call, (size_t)x->dim[0] * groups.groups,
                         groups.channels / groups.groups * groups.plane, normalize_group_range,
                         &groups);
    return LDNQ_OK;
}

static enum ldnq_status instancenormalization_infer_shape(struct ldnq_op_call *call,
                                                          struct ldnq_error *err)
{
    return infer_groups(call, 0, false, err);
}

static enum ldnq_status instancenormalization_forward(const struct ldnq_op_call *call,
                                                      struct ldnq_error *err)
{
    (void)err;
    return normalize_groups(call, 0, false);
}

static enum ldnq_status groupnormalization_read_attrs(const struct ldnq_node *node,
                                                      struct ldnq_arena *arena, const void **attrs,
                                                      struct ldnq_error *err)
{
    (void)arena;
    (void)attrs;
    return ldnq_attr_int(node, "num_groups", 0) < 1
               ? ldnq_fail(err, LDNQ_MODEL, "has no num_groups")
               : LDNQ_OK;
}

static enum ldnq_status groupnormalization_18_infer_shape(struct ldnq_op_call *call,
                                                          struct ldnq_error *err)
{
    return infer_groups(call, ldnq_attr_int(call->node, "num_groups", 0), true, err);
}

static enum ldnq_status groupnormalization_18_forward(const struct ldnq_op_call *call,
                                                      struct ldnq_error *err)
{
    (void)err;
    return normalize_groups(call, ldnq_attr_int(call->node, "num_groups", 0), true);
}

static enum ldnq_status groupnormalization_infer_shape(struct ldnq_op_call *call,
                                                       struct ldnq_error *err)
{
    return infer_groups(call, ldnq_attr_int(call->node, "num_groups", 0), false, err);
}

static enum ldnq_status groupnormalization_forward(const struct ldnq_op_call *call,
                                                   struct ldnq_error *err)
{
    (void)err;
    return normalize_groups(call, ldnq_attr_int(call->node, "num_groups", 0), false);
}

/* ---- backward ----------------------------------------------------------------------- */

struct groupnorm_grad {
    const float *x, *scale, *dy;
    float *dx, *dscale, *dbias;           /* NULL: not requested */
    struct ldnq_standardize_stats *stats; /* (N, G) */
    size_t images, channels, groups, plane;
    bool by_group;
    double epsilon;
};

/* The index into scale of a channel of a group. */
static size_t find_scale_index(const struct groupnorm_grad *g, size_t group, size_t channel)
{
    return g->by_group ? group : group * (g->channels / g->groups) + channel;
}

static void measure_groups(const void *ctx, size_t first, size_t last)
{
    const struct groupnorm_grad *g = ctx;
    size_t size = g->channels / g->groups * g->plane;
    for (size_t i = first; i < last; i++)
        g->stats[i] = ldnq_standardize_measure(g->x + i * size, size, g->epsilon);
}

/* dx = v (g - mean(g) - z mean(g z)) with g = dy scale, v = 1 / sqrt(variance + epsilon),
 * z = (x - mean) v and means over the group. */
static void compute_dx_of_groups(const void *ctx, size_t first, size_t last)
{
    const struct groupnorm_grad *g = ctx;
    size_t channels = g->channels / g->groups;
    const double n = (double)(channels * g->plane);
    for (size_t i = first; i < last; i++) {
        const double mean = g->stats[i].mean, v = g->stats[i].inverse_std;
        double shift = 0, slope = 0;
        for (size_t c = 0; c < channels; c++) {
            size_t at = (i * channels + c) * g->plane;
            double scale = (double)g->scale[find_scale_index(g, i % g->groups, c)];
            shift += scale * ldnq_sum_floats(g->dy + at, g->plane);
            slope += scale * ldnq_sum_weighted_deviations(g->dy + at, g->x + at, g->plane, mean);
        }
        shift *= v / n;
        slope *= v * v * v / n;
        for (size_t c = 0; c < channels; c++) {
            const float *x = g->x + (i * channels + c) * g->plane;
            const float *dy = g->dy + (i * channels + c) * g->plane;
            float *dx = g->dx + (i * channels + c) * g->plane;
            const double factor = v * (double)g->scale[find_scale_index(g, i % g->groups, c)];
            for (size_t k = 0; k < g->plane; k++)
                dx[k] = (float)(factor * (double)dy[k] - shift - slope * ((double)x[k] - mean));
        }
    }
}

/* Adds one channel's dscale and dbias, summed over all images. */
static void add_channel_scale_and_bias_gradients(const struct groupnorm_grad *g, size_t channel,
                                                 double *scale, double *bias)
{
    size_t group = channel / (g->channels / g->groups);
    for (size_t image = 0; image < g->images; image++) {
        struct ldnq_standardize_stats stats = g->stats[image * g->groups + group];
        size_t at = (image * g->channels + channel) * g->plane;
        *scale += stats.inverse_std *
                  ldnq_sum_weighted_deviations(g->dy + at, g->x + at, g->plane, stats.mean);
        *bias += ldnq_sum_floats(g->dy + at, g->plane);
    }
}

static void compute_scale_and_bias_gradients(const void *ctx, size_t first, size_t last)
{
    const struct groupnorm_grad *g = ctx;
    size_t channels = g->by_group ? g->channels / g->groups : 1;
    for (size_t i = first; i < last; i++) {
        double scale = 0, bias = 0;
        for (size_t c = 0; c < channels; c++)
            add_channel_scale_and_bias_gradients(g, i * channels + c, &scale, &bias);
        if (g->dscale)
            g->dscale[i] = (float)scale;
        if (g->dbias)
            g->dbias[i] = (float)bias;
    }
}

/* InstanceNormalization has no num_groups: one group per channel. */
static size_t count_groups(const struct ldnq_op_call *call)
{
    int64_t groups = ldnq_attr_int(call->node, "num_groups", 0);
    return groups > 0 ? (size_t)groups : (size_t)call->in[0]->shape.dim[1];
}

static size_t groupnormalization_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    size_t groups, bytes;
    return ldnq_size_mul((size_t)grad->call->in[0]->shape.dim[0], count_groups(grad->call),
                         &groups) &&
                   ldnq_size_mul(groups, sizeof(struct ldnq_standardize_stats), &bytes)
               ? bytes
               : SIZE_MAX;
}

static enum ldnq_status compute_gradients(const struct ldnq_op_grad *grad, bool by_group)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_shape *x = &call->in[0]->shape;
    struct groupnorm_grad g = {
        .x = call->in[0]->data,
        .scale = call->in[1]->data,
        .dy = grad->out[0]->data,
        .dx = grad->in[0].data,
        .dscale = grad->in[1].data,
        .dbias = grad->in[2].data,
        .stats = call->scratch,
        .images = (size_t)x->dim[0],
        .channels = (size_t)x->dim[1],
        .groups = count_groups(call),
        .plane = 1,
        .by_group = by_group,
        .epsilon = (double)ldnq_attr_float(call->node, "epsilon", 1e-5f),
    };
    for (int i = 2; i < x->rank; i++)
        g.plane *= (size_t)x->dim[i];
    size_t scales = by_group ? g.groups : g.channels;
    if (g.channels == 0)
        return LDNQ_OK;
    size_t size = g.channels / g.groups * g.plane;
    ldnq_op_run_rows(call, g.images * g.groups, size, measure_groups, &g);
    if (g.dx && size > 0)
        ldnq_op_run_rows(call, g.images * g.groups, size, compute_dx_of_groups, &g);
    if (g.dscale || g.dbias)
        ldnq_op_run_rows(call, scales, g.images * g.channels / scales * g.plane,
                         compute_scale_and_bias_gradients, &g);
    return LDNQ_OK;
}

static enum ldnq_status groupnormalization_backward(const struct ldnq_op_grad *grad,
                                                    struct ldnq_error *err)
{
    (void)err;
    return compute_gradients(grad, false);
}

static enum ldnq_status groupnormalization_18_backward(const struct ldnq_op_grad *grad,
                                                       struct ldnq_error *err)
{
    (void)err;
    return compute_gradients(grad, true);
}

#define BACKWARD(name)                                                                             \
    .differentiable = 7, .saved_inputs = 3,                                                        \
    .backward_scratch_bytes = groupnormalization_backward_scratch_bytes, .backward = name

const struct ldnq_op ldnq_op_instancenormalization = {
    .type = "InstanceNormalization",
    .since = 6,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_max = 1,
    .infer = instancenormalization_infer_shape,
    .forward = instancenormalization_forward,
    BACKWARD(groupnormalization_backward),
};

const struct ldnq_op ldnq_op_groupnormalization_18 = {
    .type = "GroupNormalization",
    .since = 18,
    .until = 20,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_max = 1,
    .read_attrs = groupnormalization_read_attrs,
    .infer = groupnormalization_18_infer_shape,
    .forward = groupnormalization_18_forward,
    BACKWARD(groupnormalization_18_backward),
};

const struct ldnq_op ldnq_op_groupnormalization = {
    .type = "GroupNormalization",
    .since = 21,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_max = 1,
    .read_attrs = groupnormalization_read_attrs,
    .infer = groupnormalization_infer_shape,
    .forward = groupnormalization_forward,
    BACKWARD(groupnormalization_backward),
};
