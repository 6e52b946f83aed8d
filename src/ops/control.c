/* SPDX-License-Identifier: Apache-2.0 */
/* control.c: If, Loop and Scan: attributes and shape inference. The executor runs the
 * bodies (exec/control_flow.c). passes/subgraphs.c infers the shapes in the bodies before
 * it calls infer here.
 *
 * There is no backward: gradients through these nodes are refused.
 */
#include "ops/control.h"

#include <string.h>

/* Instead of -1 ("any number"), with which no input could be omitted (registry.c). Loop's
 * first two inputs are optional. */
#define MOST_INPUTS (1 << 20)

/* ---- attributes ------------------------------------------------------------------------ */

static enum ldnq_status check_tensors(struct ldnq_value *const *values, size_t count,
                                      struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (values[i]->is_no_tensor)
            return ldnq_fail(err, LDNQ_UNSUPPORTED, "'%s' in its body is not a tensor",
                             values[i]->name);
    return LDNQ_OK;
}

static enum ldnq_status append_body_graph(const struct ldnq_node *node, const char *name,
                                          struct ldnq_control *control, struct ldnq_error *err)
{
    const struct ldnq_attr *attr = ldnq_node_find_attr(node, name);
    if (!attr || attr->kind != LDNQ_ATTR_GRAPH)
        return ldnq_fail(err, LDNQ_MODEL, "lacks its %s", name);
    LDNQ_TRY(check_tensors(attr->g->inputs, attr->g->input_count, err));
    LDNQ_TRY(check_tensors(attr->g->outputs, attr->g->output_count, err));
    control->bodies[control->body_count++] = attr->g;
    return LDNQ_OK;
}

static enum ldnq_status check_body(const struct ldnq_graph *body, size_t inputs, size_t outputs,
                                   struct ldnq_error *err)
{
    if (body->input_count == inputs && body->output_count == outputs)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL,
                     "its body has %zu inputs and %zu outputs where %zu and %zu are needed",
                     body->input_count, body->output_count, inputs, outputs);
}

static size_t count_own_inputs(const struct ldnq_node *node)
{
    return node->input_count - node->capture_count;
}

static enum ldnq_status if_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                      const void **attrs, struct ldnq_error *err)
{
    struct ldnq_control *control = ldnq_arena_alloc(arena, 1, sizeof *control, err);
    *attrs = control;
    if (!control)
        return LDNQ_NOMEM;
    control->kind = LDNQ_CONTROL_IF;
    if (count_own_inputs(node) != 1)
        return ldnq_fail(err, LDNQ_MODEL, "has %zu inputs where one is needed",
                         count_own_inputs(node));
    LDNQ_TRY(append_body_graph(node, "then_branch", control, err));
    LDNQ_TRY(append_body_graph(node, "else_branch", control, err));
    LDNQ_TRY(check_body(control->bodies[0], 0, node->output_count, err));
    return check_body(control->bodies[1], 0, node->output_count, err);
}

/* No input from `first` to the captures may be omitted. */
static enum ldnq_status check_carried(const struct ldnq_node *node, size_t first,
                                      struct ldnq_error *err)
{
    for (size_t i = first; i < count_own_inputs(node); i++)
        if (!node->inputs[i])
            return ldnq_fail(err, LDNQ_MODEL, "lacks its input %zu", i);
    return LDNQ_OK;
}

static enum ldnq_status loop_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                        const void **attrs, struct ldnq_error *err)
{
    struct ldnq_control *control = ldnq_arena_alloc(arena, 1, sizeof *control, err);
    *attrs = control;
    if (!control)
        return LDNQ_NOMEM;
    control->kind = LDNQ_CONTROL_LOOP;
    control->first = control->body_first = 2;
    control->body_out = 1;
    control->carried = count_own_inputs(node) > 2 ? count_own_inputs(node) - 2 : 0;
    LDNQ_TRY(check_carried(node, 2, err));
    LDNQ_TRY(append_body_graph(node, "body", control, err));
    if (node->output_count < control->carried)
        return ldnq_fail(err, LDNQ_MODEL, "has %zu outputs where it carries %zu values",
                         node->output_count, control->carried);
    control->stacked = node->output_count - control->carried;
    return check_body(control->bodies[0], 2 + control->carried, 1 + node->output_count, err);
}

static enum ldnq_status read_int_list_attr(const struct ldnq_node *node, const char *name,
                                           size_t count, const int64_t **list,
                                           struct ldnq_error *err)
{
    size_t given;
    *list = ldnq_attr_ints(node, name, &given);
    if (*list && given != count)
        return ldnq_fail(err, LDNQ_MODEL, "its attribute '%s' has %zu numbers where %zu are needed",
                         name, given, count);
    return LDNQ_OK;
}

static enum ldnq_status scan_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                        const void **attrs, struct ldnq_error *err)
{
    struct ldnq_control *control = ldnq_arena_alloc(arena, 1, sizeof *control, err);
    int64_t scanned = ldnq_attr_int(node, "num_scan_inputs", 0);
    size_t own = count_own_inputs(node);
    *attrs = control;
    if (!control)
        return LDNQ_NOMEM;
    control->kind = LDNQ_CONTROL_SCAN;
    if (scanned < 1 || (uint64_t)scanned > own)
        return ldnq_fail(err, LDNQ_MODEL, "its num_scan_inputs does not fit its %zu inputs", own);
    control->scanned = (size_t)scanned;
    control->carried = own - control->scanned;
    LDNQ_TRY(check_carried(node, 0, err));
    LDNQ_TRY(append_body_graph(node, "body", control, err));
    if (node->output_count < control->carried)
        return ldnq_fail(err, LDNQ_MODEL, "has %zu outputs where it carries %zu values",
                         node->output_count, control->carried);
    control->stacked = node->output_count - control->carried;
    size_t in = control->scanned, out = control->stacked;
    LDNQ_TRY(read_int_list_attr(node, "scan_input_axes", in, &control->in_axes, err));
    LDNQ_TRY(read_int_list_attr(node, "scan_input_directions", in, &control->in_reversed, err));
    LDNQ_TRY(read_int_list_attr(node, "scan_output_axes", out, &control->out_axes, err));
    LDNQ_TRY(read_int_list_attr(node, "scan_output_directions", out, &control->out_reversed, err));
    return check_body(control->bodies[0], own, node->output_count, err);
}

/* ---- shapes ------------------------------------------------------------------------------ */

enum ldnq_status ldnq_control_merge(struct ldnq_graph *graph, const struct ldnq_tensor *a,
                                    const struct ldnq_tensor *b, struct ldnq_tensor *out,
                                    struct ldnq_error *err)
{
    bool typed = a->dtype != LDNQ_UNDEFINED && b->dtype != LDNQ_UNDEFINED;
    if (typed && a->dtype != b->dtype)
        return ldnq_fail(err, LDNQ_MODEL, "one of its values may be %s or %s",
                         ldnq_dtype_name(a->dtype), ldnq_dtype_name(b->dtype));
    struct ldnq_tensor merged = { .dtype = typed ? a->dtype : LDNQ_UNDEFINED,
                                  .shape.rank = LDNQ_RANK_UNKNOWN };
    if (a->shape.rank == b->shape.rank)
        merged.shape = a->shape;
    for (int i = 0; i < merged.shape.rank; i++)
        if (a->shape.dim[i] != b->shape.dim[i])
            LDNQ_TRY(ldnq_graph_find_or_add_symbol(graph, NULL, &merged.shape.dim[i], err));
    *out = merged;
    return LDNQ_OK;
}

static struct ldnq_tensor describe_value(const struct ldnq_value *value)
{
    return (struct ldnq_tensor){ .dtype = value->dtype, .shape = value->shape };
}

static enum ldnq_status require_graph(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return call->graph ? LDNQ_OK : ldnq_fail(err, LDNQ_UNSUPPORTED, "only the executor can run it");
}

static enum ldnq_status if_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_control *control = call->attrs;
    LDNQ_TRY(require_graph(call, err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, LDNQ_DTYPE_BIT(LDNQ_BOOL), err));
    LDNQ_TRY(ldnq_op_require_one_element(call, 0, err));
    for (size_t i = 0; i < call->out_count; i++) {
        struct ldnq_tensor then_out = describe_value(control->bodies[0]->outputs[i]);
        struct ldnq_tensor else_out = describe_value(control->bodies[1]->outputs[i]);
        LDNQ_TRY(ldnq_control_merge(call->graph, &then_out, &else_out, &call->out[i], err));
    }
    return LDNQ_OK;
}

/* With no iteration, a carried value is returned as it came in. */
static enum ldnq_status infer_carried(struct ldnq_op_call *call, const struct ldnq_control *control,
                                      size_t i, struct ldnq_error *err)
{
    const struct ldnq_tensor *before = call->in[control->first + i];
    struct ldnq_tensor after = describe_value(control->bodies[0]->outputs[control->body_out + i]);
    return ldnq_control_merge(call->graph, before, &after, &call->out[i], err);
}

/* Slices with a new axis of `length`. A symbol of the body may have another value in each
 * iteration, so that the output gets new ones. */
static enum ldnq_status infer_stacked(struct ldnq_op_call *call, const struct ldnq_control *control,
                                      size_t i, int64_t length, struct ldnq_error *err)
{
    size_t at = control->carried + i;
    const struct ldnq_value *slice = control->bodies[0]->outputs[control->body_out + at];
    struct ldnq_tensor *out = &call->out[at];
    int axis, rank = slice->shape.rank + 1;
    out->dtype = slice->dtype;
    if (slice->shape.rank < 0)
        return LDNQ_OK;
    if (rank > LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its output %zu has more than %d axes", at,
                         LDNQ_MAX_RANK);
    LDNQ_TRY(ldnq_op_resolve_axis(ldnq_control_option(control->out_axes, i), rank, &axis, err));
    out->shape.rank = rank;
    for (int d = 0, from = 0; d < rank; d++) {
        int64_t dim = d == axis ? length : slice->shape.dim[from++];
        if (d != axis && ldnq_is_symbol(dim))
            LDNQ_TRY(ldnq_op_make_unknown_dim(call, &dim, err));
        out->shape.dim[d] = dim;
    }
    return LDNQ_OK;
}

static bool is_constant_true(const struct ldnq_tensor *tensor)
{
    return tensor->data && tensor->dtype == LDNQ_BOOL && ldnq_tensor_count(tensor) == 1 &&
           *(const uint8_t *)tensor->data;
}

/* The number of iterations, or its symbol, of a Loop whose trip count is known and whose condition
 * is always true. */
static bool find_trip_count(const struct ldnq_op_call *call, const struct ldnq_control *control,
                            int64_t *length)
{
    const struct ldnq_tensor *trip_count = call->in_count > 0 ? call->in[0] : NULL;
    const struct ldnq_tensor *condition = call->in_count > 1 ? call->in[1] : NULL;
    const struct ldnq_tensor *body_condition = control->bodies[0]->outputs[0]->constant;
    if (!trip_count || !trip_count->data || trip_count->dtype != LDNQ_INT64 ||
        ldnq_tensor_count(trip_count) != 1 || (condition && !is_constant_true(condition)) ||
        !body_condition || !is_constant_true(body_condition))
        return false;
    *length = *(const int64_t *)trip_count->data;
    if (*length < 0 && !ldnq_is_symbol(*length))
        *length = 0;
    return true;
}

static enum ldnq_status loop_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_control *control = call->attrs;
    size_t own = call->in_count - call->node->capture_count;
    int64_t length;
    LDNQ_TRY(require_graph(call, err));
    LDNQ_TRY(own > 0 ? ldnq_op_require_dtype(call, 0, LDNQ_DTYPE_BIT(LDNQ_INT64), err) : LDNQ_OK);
    LDNQ_TRY(own > 1 ? ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_BOOL), err) : LDNQ_OK);
    if (own == 0 || !find_trip_count(call, control, &length))
        LDNQ_TRY(ldnq_op_make_unknown_dim(call, &length, err));
    for (size_t i = 0; i < control->carried; i++)
        LDNQ_TRY(infer_carried(call, control, i, err));
    for (size_t i = 0; i < control->stacked; i++)
        LDNQ_TRY(infer_stacked(call, control, i, length, err));
    return LDNQ_OK;
}

static enum ldnq_status scan_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_control *control = call->attrs;
    const struct ldnq_tensor *scanned = call->in[control->carried];
    int64_t length;
    int axis;
    LDNQ_TRY(require_graph(call, err));
    if (scanned->shape.rank < 0) {
        LDNQ_TRY(ldnq_op_make_unknown_dim(call, &length, err));
    } else {
        LDNQ_TRY(ldnq_op_resolve_axis(ldnq_control_option(control->in_axes, 0), scanned->shape.rank,
                                      &axis, err));
        length = scanned->shape.dim[axis];
    }
    for (size_t i = 0; i < control->carried; i++)
        LDNQ_TRY(infer_carried(call, control, i, err));
    for (size_t i = 0; i < control->stacked; i++)
        LDNQ_TRY(infer_stacked(call, control, i, length, err));
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_if = {
    .type = "If",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_CONTROL_FLOW,
    .inputs_min = 1,
    .inputs_max = MOST_INPUTS,
    .outputs_max = -1,
    .read_attrs = if_read_attrs,
    .infer = if_infer_shape,
    .differentiable = LDNQ_ALL_INPUTS,
};

const struct ldnq_op ldnq_op_loop = {
    .type = "Loop",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_CONTROL_FLOW,
    .inputs_min = 0,
    .inputs_max = MOST_INPUTS,
    .outputs_max = -1,
    .read_attrs = loop_read_attrs,
    .infer = loop_infer_shape,
    .differentiable = LDNQ_ALL_INPUTS,
};

const struct ldnq_op ldnq_op_scan = {
    .type = "Scan",
    .since = 9,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_CONTROL_FLOW,
    .inputs_min = 1,
    .inputs_max = MOST_INPUTS,
    .outputs_max = -1,
    .read_attrs = scan_read_attrs,
    .infer = scan_infer_shape,
    .differentiable = LDNQ_ALL_INPUTS,
};
