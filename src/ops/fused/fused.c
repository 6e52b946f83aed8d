/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/fused/fused.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/size.h"

/* Elements that a thread computes at a time. */
#define PART ((size_t)16384)

/* ---- attributes ------------------------------------------------------------------------ */

static enum ldnq_status read_activation(const struct ldnq_node *node, const float *parameters,
                                        size_t count, struct ldnq_fused_attrs *attrs,
                                        struct ldnq_error *err)
{
    struct ldnq_activation *f = &attrs->activation;
    const char *name = ldnq_attr_string(node, "activation", "");
    attrs->has_activation = *name != '\0';
    if (!attrs->has_activation)
        return LDNQ_OK;
    if (strcasecmp(name, "Clip") == 0) {
        attrs->is_clip = true;
        attrs->low = count > 0 ? parameters[0] : -INFINITY;
        attrs->high = count > 1 ? parameters[1] : INFINITY;
        return LDNQ_OK;
    }
    if (!ldnq_activation_find(name, f))
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "the activation '%s' is not supported", name);
    if (f->takes_alpha && count > 0)
        f->alpha = parameters[0];
    if (f->takes_beta && count > 1)
        f->beta = parameters[1];
    return LDNQ_OK;
}

enum ldnq_status ldnq_fused_read_attrs(const struct ldnq_op *op, const struct ldnq_node *node,
                                       const float *parameters, size_t parameter_count,
                                       struct ldnq_arena *arena, const void **attrs,
                                       struct ldnq_error *err)
{
    struct ldnq_fused_attrs *fused = ldnq_arena_alloc(arena, 1, sizeof *fused, err);
    if (!fused)
        return LDNQ_NOMEM;
    *fused = (struct ldnq_fused_attrs){ .op = op };
    LDNQ_TRY(read_activation(node, parameters, parameter_count, fused, err));
    *attrs = fused;
    return op->read_attrs(node, arena, &fused->inner, err);
}

/* ---- the operator inside ----------------------------------------------------------------- */

/* The call as the operator inside gets it. */
static struct ldnq_op_call make_inner_call(const struct ldnq_op_call *call)
{
    const struct ldnq_fused_attrs *attrs = call->attrs;
    struct ldnq_op_call inner = *call;
    inner.attrs = attrs->inner;
    inner.in_count = ldnq_size_min(call->in_count, (size_t)attrs->op->inputs_max);
    return inner;
}

enum ldnq_status ldnq_fused_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_fused_attrs *attrs = call->attrs;
    struct ldnq_op_call inner = make_inner_call(call);
    return attrs->op->infer(&inner, err);
}

size_t ldnq_fused_scratch_bytes(const struct ldnq_op_call *call)
{
    const struct ldnq_fused_attrs *attrs = call->attrs;
    const struct ldnq_op_call inner = make_inner_call(call);
    return attrs->op->scratch_bytes ? attrs->op->scratch_bytes(&inner) : 0;
}

size_t ldnq_fused_count_operations(const struct ldnq_op_call *call)
{
    const struct ldnq_fused_attrs *attrs = call->attrs;
    const struct ldnq_op_call inner = make_inner_call(call);
    return attrs->op->count_operations(&inner);
}

/* ---- the activation ---------------------------------------------------------------------- */

struct activation_task {
    const struct ldnq_fused_attrs *attrs;
    const float *sum; /* NULL: nothing is added */
    float *y;
    size_t count;
};

static void activate_part(void *argument, size_t part, size_t thread)
{
    (void)thread;
    const struct activation_task *task = argument;
    const struct ldnq_fused_attrs *attrs = task->attrs;
    const size_t first = part * PART, count = ldnq_size_min(PART, task->count - first);
    float *y = task->y + first;
    for (size_t i = 0; task->sum && i < count; i++)
        y[i] += task->sum[first + i];
    if (attrs->is_clip)
        for (size_t i = 0; i < count; i++)
            y[i] = fminf(fmaxf(y[i], attrs->low), attrs->high);
    else if (attrs->has_activation)
        ldnq_activation_run(&attrs->activation, INFINITY, y, y, count);
}

enum ldnq_status ldnq_fused_forward(const struct ldnq_op_call *call, size_t sum,
                                    struct ldnq_error *err)
{
    const struct ldnq_fused_attrs *attrs = call->attrs;
    const struct ldnq_op_call inner = make_inner_call(call);
    const struct ldnq_tensor *added = ldnq_op_input(call, sum);
    struct activation_task task = { .attrs = attrs,
                                    .sum = added ? added->data : NULL,
                                    .y = call->out[0].data,
                                    .count = ldnq_tensor_count(&call->out[0]) };
    if (added && !ldnq_shapes_are_equal(&added->shape, &call->out[0].shape))
        return ldnq_fail(err, LDNQ_MODEL, "the shape of its input %zu is not that of its output",
                         sum);
    LDNQ_TRY(attrs->op->forward(&inner, err));
    ldnq_pool_run(call->pool, ldnq_size_ceil_div(task.count, PART), activate_part, &task);
    return LDNQ_OK;
}

/* ---- as layers --------------------------------------------------------------------------- */

static enum ldnq_status
describe_inner_weight(const struct ldnq_op_layer *layer, const struct ldnq_node *node,
                      const struct ldnq_tensor *weight, const struct ldnq_tensor *bias,
                      struct ldnq_layer_geometry *geometry, struct ldnq_error *err)
{
    struct ldnq_node inner = *node;
    inner.op_attrs = ((const struct ldnq_fused_attrs *)node->op_attrs)->inner;
    return layer->describe_weight(&inner, weight, bias, geometry, err);
}

static const struct ldnq_op_layer *find_inner_layer(const struct ldnq_op_call *call)
{
    return ((const struct ldnq_fused_attrs *)call->attrs)->op->layer;
}

static enum ldnq_status describe_weight_in_b(const struct ldnq_node *node,
                                             const struct ldnq_tensor *weight,
                                             const struct ldnq_tensor *bias,
                                             struct ldnq_layer_geometry *geometry,
                                             struct ldnq_error *err)
{
    const struct ldnq_fused_attrs *attrs = node->op_attrs;
    return describe_inner_weight(attrs->op->layer, node, weight, bias, geometry, err);
}

static size_t count_positions_with_weight_in_b(const struct ldnq_op_call *call)
{
    const struct ldnq_op_call inner = make_inner_call(call);
    return find_inner_layer(call)->count_positions(&inner);
}

static void fill_columns_with_weight_in_b(const struct ldnq_op_call *call, size_t group,
                                          size_t first, size_t count, float *columns, size_t ld)
{
    const struct ldnq_op_call inner = make_inner_call(call);
    find_inner_layer(call)->fill_columns(&inner, group, first, count, columns, ld);
}

static enum ldnq_status describe_weight_in_a(const struct ldnq_node *node,
                                             const struct ldnq_tensor *weight,
                                             const struct ldnq_tensor *bias,
                                             struct ldnq_layer_geometry *geometry,
                                             struct ldnq_error *err)
{
    const struct ldnq_fused_attrs *attrs = node->op_attrs;
    return describe_inner_weight(attrs->op->layer->other, node, weight, bias, geometry, err);
}

static size_t count_positions_with_weight_in_a(const struct ldnq_op_call *call)
{
    const struct ldnq_op_call inner = make_inner_call(call);
    return find_inner_layer(call)->other->count_positions(&inner);
}

static void fill_columns_with_weight_in_a(const struct ldnq_op_call *call, size_t group,
                                          size_t first, size_t count, float *columns, size_t ld)
{
    const struct ldnq_op_call inner = make_inner_call(call);
    find_inner_layer(call)->other->fill_columns(&inner, group, first, count, columns, ld);
}

static const struct ldnq_op_layer other_layer = {
    .weight_input = 0,
    .bias_input = 2,
    .weight_label = "A",
    .data_input = 1,
    .describe_weight = describe_weight_in_a,
    .count_positions = count_positions_with_weight_in_a,
    .fill_columns = fill_columns_with_weight_in_a,
};

const struct ldnq_op_layer ldnq_fused_layer = {
    .weight_input = 1,
    .bias_input = 2,
    .weight_label = "B",
    .describe_weight = describe_weight_in_b,
    .count_positions = count_positions_with_weight_in_b,
    .fill_columns = fill_columns_with_weight_in_b,
};

const struct ldnq_op_layer ldnq_fused_layers = {
    .weight_input = 1,
    .bias_input = 2,
    .weight_label = "B",
    .other = &other_layer,
    .describe_weight = describe_weight_in_b,
    .count_positions = count_positions_with_weight_in_b,
    .fill_columns = fill_columns_with_weight_in_b,
};
