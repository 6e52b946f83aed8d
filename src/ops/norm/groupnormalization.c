/* groupnormalization.c: InstanceNormalization and GroupNormalization: planes, or
 * groups of planes, normalized each by its own mean and deviation.
 *
 * Shapes  x, y (N, C, ...); scale and bias (C), for GroupNormalization up to
 *         opset 20 one for each group
 */
#include "ops/op.h"

#include <inttypes.h>

#include "base/size.h"
#include "ops/norm/standardize.h"
#include "ops/shared/sums.h"

struct groups {
    const float *x, *scale, *bias;
    float *y;
    size_t channels, groups, plane; /* a plane is one channel of one image */
    bool by_group;                  /* scale and bias are a group's */
    double epsilon;
};

/* groups 0: as many as channels. */
static enum ldnq_status check(struct ldnq_op_call *call, int64_t groups, bool by_group,
                              struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    LDNQ_TRY(ldnq_op_infer_same(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    if (x->rank >= 0 && x->rank < 2)
        return ldnq_fail(err, LDNQ_MODEL, "its input has %d axes where two are the least", x->rank);
    if (x->rank < 0 || ldnq_is_symbol(x->dim[1]))
        return LDNQ_OK;
    if (groups < 0 || groups > x->dim[1] || (groups && x->dim[1] % groups != 0))
        return ldnq_fail(err, LDNQ_MODEL,
                         "%" PRId64 " channels can't be cut into %" PRId64 " groups", x->dim[1],
                         groups);
    for (size_t i = 1; i < 3; i++) {
        const struct ldnq_shape *shape = &call->in[i]->shape;
        LDNQ_TRY(ldnq_op_require(call, i, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
        if (ldnq_shape_is_known(shape) &&
            (shape->rank != 1 || shape->dim[0] != (by_group ? groups : x->dim[1])))
            return ldnq_fail(err, LDNQ_MODEL, "input %zu does not fit %" PRId64 " channels", i,
                             x->dim[1]);
    }
    return LDNQ_OK;
}

/* One group of one image. */
static void normalize_groups(const void *ctx, size_t first, size_t last)
{
    const struct groups *g = ctx;
    size_t channels = g->channels / g->groups;
    for (size_t i = first; i < last; i++) {
        const float *x = g->x + i * channels * g->plane;
        float *y = g->y + i * channels * g->plane;
        size_t group = i % g->groups;
        struct ldnq_standardize_stats moments =
            ldnq_standardize_measure(x, channels * g->plane, g->epsilon);
        for (size_t c = 0; c < channels; c++) {
            size_t at = g->by_group ? group : group * channels + c;
            ldnq_standardize(x + c * g->plane, y + c * g->plane, g->plane, moments, g->scale[at],
                             g->bias[at]);
        }
    }
}

static enum ldnq_status forward_with(const struct ldnq_op_call *call, int64_t count, bool by_group)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    struct groups groups = { .x = call->in[0]->data,
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
        ldnq_op_for_rows(call, (size_t)x->dim[0] * groups.groups,
                         groups.channels / groups.groups * groups.plane, normalize_groups, &groups);
    return LDNQ_OK;
}

static enum ldnq_status instancenormalization_infer(struct ldnq_op_call *call,
                                                    struct ldnq_error *err)
{
    return check(call, 0, false, err);
}

static enum ldnq_status instancenormalization_forward(const struct ldnq_op_call *call,
                                                      struct ldnq_error *err)
{
    (void)err;
    return forward_with(call, 0, false);
}

static enum ldnq_status groups_read(const struct ldnq_node *node, struct ldnq_arena *arena,
                                    const void **attrs, struct ldnq_error *err)
{
    (void)arena;
    (void)attrs;
    return ldnq_attr_int(node, "num_groups", 0) < 1
               ? ldnq_fail(err, LDNQ_MODEL, "has no num_groups")
               : LDNQ_OK;
}

static enum ldnq_status groupnormalization_18_infer(struct ldnq_op_call *call,
                                                    struct ldnq_error *err)
{
    return check(call, ldnq_attr_int(call->node, "num_groups", 0), true, err);
}

static enum ldnq_status groupnormalization_18_forward(const struct ldnq_op_call *call,
                                                      struct ldnq_error *err)
{
    (void)err;
    return forward_with(call, ldnq_attr_int(call->node, "num_groups", 0), true);
}

static enum ldnq_status groupnormalization_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return check(call, ldnq_attr_int(call->node, "num_groups", 0), false, err);
}

static enum ldnq_status groupnormalization_forward(const struct ldnq_op_call *call,
                                                   struct ldnq_error *err)
{
    (void)err;
    return forward_with(call, ldnq_attr_int(call->node, "num_groups", 0), false);
}

/* ---- backward ----------------------------------------------------------------------- */

struct groups_grad {
    const float *x, *scale, *dy;
    float *dx, *dscale, *dbias;             /* NULL where not wanted */
    struct ldnq_standardize_stats *moments; /* (images, groups) */
    size_t images, channels, groups, plane;
    bool by_group;
    double epsilon;
};

static size_t scale_at(const struct groups_grad *g, size_t group, size_t channel)
{
    return g->by_group ? group : group * (g->channels / g->groups) + channel;
}

static void find_moments(const void *ctx, size_t first, size_t last)
{
    const struct groups_grad *g = ctx;
    size_t size = g->channels / g->groups * g->plane;
    for (size_t i = first; i < last; i++)
        g->moments[i] = ldnq_standardize_measure(g->x + i * size, size, g->epsilon);
}

/* dx = v (g - mean(g) - z mean(g z)) with g = dy * scale, z the normalized x and v the
 * inverse deviation. */
static void groups_backward(const void *ctx, size_t first, size_t last)
{
    const struct groups_grad *g = ctx;
    size_t channels = g->channels / g->groups;
    const double n = (double)(channels * g->plane);
    for (size_t i = first; i < last; i++) {
        const double mean = g->moments[i].mean, v = g->moments[i].inverse;
        double shift = 0, slope = 0;
        for (size_t c = 0; c < channels; c++) {
            size_t at = (i * channels + c) * g->plane;
            double scale = (double)g->scale[scale_at(g, i % g->groups, c)];
            shift += scale * ldnq_sum(g->dy + at, g->plane);
            slope += scale * ldnq_sum_products(g->dy + at, g->x + at, g->plane, mean);
        }
        shift *= v / n;
        slope *= v * v * v / n;
        for (size_t c = 0; c < channels; c++) {
            const float *x = g->x + (i * channels + c) * g->plane;
            const float *dy = g->dy + (i * channels + c) * g->plane;
            float *dx = g->dx + (i * channels + c) * g->plane;
            const double factor = v * (double)g->scale[scale_at(g, i % g->groups, c)];
            for (size_t k = 0; k < g->plane; k++)
                dx[k] = (float)(factor * (double)dy[k] - shift - slope * ((double)x[k] - mean));
        }
    }
}

/* One channel's sums over all images. */
static void add_channel(const struct groups_grad *g, size_t channel, double *scale, double *bias)
{
    size_t group = channel / (g->channels / g->groups);
    for (size_t image = 0; image < g->images; image++) {
        struct ldnq_standardize_stats moments = g->moments[image * g->groups + group];
        size_t at = (image * g->channels + channel) * g->plane;
        *scale +=
            moments.inverse * ldnq_sum_products(g->dy + at, g->x + at, g->plane, moments.mean);
        *bias += ldnq_sum(g->dy + at, g->plane);
    }
}

static void scales_backward(const void *ctx, size_t first, size_t last)
{
    const struct groups_grad *g = ctx;
    size_t channels = g->by_group ? g->channels / g->groups : 1;
    for (size_t i = first; i < last; i++) {
        double scale = 0, bias = 0;
        for (size_t c = 0; c < channels; c++)
            add_channel(g, i * channels + c, &scale, &bias);
        if (g->dscale)
            g->dscale[i] = (float)scale;
        if (g->dbias)
            g->dbias[i] = (float)bias;
    }
}

/* InstanceNormalization has no num_groups: as many as channels. */
static size_t groups_of(const struct ldnq_op_call *call)
{
    int64_t groups = ldnq_attr_int(call->node, "num_groups", 0);
    return groups > 0 ? (size_t)groups : (size_t)call->in[0]->shape.dim[1];
}

static size_t groups_backward_scratch(const struct ldnq_op_grad *grad)
{
    size_t groups, bytes;
    return ldnq_size_mul((size_t)grad->call->in[0]->shape.dim[0], groups_of(grad->call), &groups) &&
                   ldnq_size_mul(groups, sizeof(struct ldnq_standardize_stats), &bytes)
               ? bytes
               : SIZE_MAX;
}

static enum ldnq_status backward_with(const struct ldnq_op_grad *grad, bool by_group)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_shape *x = &call->in[0]->shape;
    struct groups_grad g = {
        .x = call->in[0]->data,
        .scale = call->in[1]->data,
        .dy = grad->out[0]->data,
        .dx = grad->in[0].data,
        .dscale = grad->in[1].data,
        .dbias = grad->in[2].data,
        .moments = call->scratch,
        .images = (size_t)x->dim[0],
        .channels = (size_t)x->dim[1],
        .groups = groups_of(call),
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
    ldnq_op_for_rows(call, g.images * g.groups, size, find_moments, &g);
    if (g.dx && size > 0)
        ldnq_op_for_rows(call, g.images * g.groups, size, groups_backward, &g);
    if (g.dscale || g.dbias)
        ldnq_op_for_rows(call, scales, g.images * g.channels / scales * g.plane, scales_backward,
                         &g);
    return LDNQ_OK;
}

static enum ldnq_status by_channel_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    (void)err;
    return backward_with(grad, false);
}

static enum ldnq_status by_group_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    (void)err;
    return backward_with(grad, true);
}

#define BACKWARD(name)                                                                             \
    .flows = 7, .reads_in = 3, .backward_scratch = groups_backward_scratch, .backward = name

const struct ldnq_op ldnq_op_instancenormalization = {
    .type = "InstanceNormalization",
    .since = 6,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_max = 1,
    .infer = instancenormalization_infer,
    .forward = instancenormalization_forward,
    BACKWARD(by_channel_backward),
};

const struct ldnq_op ldnq_op_groupnormalization_18 = {
    .type = "GroupNormalization",
    .since = 18,
    .until = 20,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_max = 1,
    .read = groups_read,
    .infer = groupnormalization_18_infer,
    .forward = groupnormalization_18_forward,
    BACKWARD(by_group_backward),
};

const struct ldnq_op ldnq_op_groupnormalization = {
    .type = "GroupNormalization",
    .since = 21,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_max = 1,
    .read = groups_read,
    .infer = groupnormalization_infer,
    .forward = groupnormalization_forward,
    BACKWARD(by_channel_backward),
};
