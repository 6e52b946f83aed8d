/* groupnormalization.c: InstanceNormalization and GroupNormalization: planes, or
 * groups of planes, normalized each by its own mean and deviation.
 *
 * Shapes  x, y (N, C, ...); scale and bias (C), for GroupNormalization up to
 *         opset 20 one for each group
 */
#include "ops/op.h"

#include <inttypes.h>

#include "ops/normalize.h"

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
        return ldnq_fail(err, LDNQ_MODEL, "its input has %d axes where two are the least",
                         x->rank);
    if (x->rank < 0 || ldnq_is_symbol(x->dim[1]))
        return LDNQ_OK;
    if (groups < 0 || groups > x->dim[1] || (groups && x->dim[1] % groups != 0))
        return ldnq_fail(err, LDNQ_MODEL, "%" PRId64 " channels can't be cut into %" PRId64
                         " groups", x->dim[1], groups);
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
        struct ldnq_moments moments = ldnq_moments(x, channels * g->plane, g->epsilon);
        for (size_t c = 0; c < channels; c++) {
            size_t at = g->by_group ? group : group * channels + c;
            ldnq_normalize(x + c * g->plane, y + c * g->plane, g->plane, moments, g->scale[at],
                           g->bias[at]);
        }
    }
}

static enum ldnq_status forward_with(const struct ldnq_op_call *call, int64_t count, bool by_group)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    struct groups groups = { .x = call->in[0]->data, .scale = call->in[1]->data,
                             .bias = call->in[2]->data, .y = call->out[0].data,
                             .channels = (size_t)x->dim[1], .plane = 1, .by_group = by_group,
                             .epsilon = (double)ldnq_attr_float(call->node, "epsilon", 1e-5f) };
    groups.groups = count ? (size_t)count : groups.channels;
    for (int i = 2; i < x->rank; i++)
        groups.plane *= (size_t)x->dim[i];
    if (ldnq_tensor_count(call->in[0]) > 0)
        ldnq_op_for_rows(call, (size_t)x->dim[0] * groups.groups,
                         groups.channels / groups.groups * groups.plane, normalize_groups,
                         &groups);
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

static enum ldnq_status groupnormalization_infer(struct ldnq_op_call *call,
                                                 struct ldnq_error *err)
{
    return check(call, ldnq_attr_int(call->node, "num_groups", 0), false, err);
}

static enum ldnq_status groupnormalization_forward(const struct ldnq_op_call *call,
                                                   struct ldnq_error *err)
{
    (void)err;
    return forward_with(call, ldnq_attr_int(call->node, "num_groups", 0), false);
}

const struct ldnq_op ldnq_op_instancenormalization = {
    .type = "InstanceNormalization", .since = 6, .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3, .inputs_max = 3, .outputs_max = 1,
    .infer = instancenormalization_infer,
    .forward = instancenormalization_forward,
};

const struct ldnq_op ldnq_op_groupnormalization_18 = {
    .type = "GroupNormalization", .since = 18, .until = 20,
    .inputs_min = 3, .inputs_max = 3, .outputs_max = 1,
    .read = groups_read,
    .infer = groupnormalization_18_infer,
    .forward = groupnormalization_18_forward,
};

const struct ldnq_op ldnq_op_groupnormalization = {
    .type = "GroupNormalization", .since = 21, .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3, .inputs_max = 3, .outputs_max = 1,
    .read = groups_read,
    .infer = groupnormalization_infer,
    .forward = groupnormalization_forward,
};
