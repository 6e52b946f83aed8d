/* SPDX-License-Identifier: Apache-2.0 */
/* shape.c: Shape and Size. forward reads the input's shape, never its data. Shape copies
 * symbols. */
#include "ops/op.h"

/* Shape returns axes first .. last-1. The attributes start and end exist since opset 15. */
static void resolve_start_and_end(const struct ldnq_op_call *call, int *first, int *last)
{
    int64_t rank = call->in[0]->shape.rank;
    int64_t start = ldnq_attr_int(call->node, "start", 0);
    int64_t end = ldnq_attr_int(call->node, "end", rank);
    start = start < 0 ? start + rank : start;
    end = end < 0 ? end + rank : end;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < start ? start : end > rank ? rank : end;
    *first = (int)start;
    *last = (int)end;
}

static enum ldnq_status shape_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_tensor *out = &call->out[0];
    int first, last;
    out->dtype = LDNQ_INT64;
    out->shape.rank = 1;
    if (call->in[0]->shape.rank < 0)
        return ldnq_op_make_unknown_dim(call, &out->shape.dim[0], err);
    resolve_start_and_end(call, &first, &last);
    out->shape.dim[0] = last - first;
    return LDNQ_OK;
}

static enum ldnq_status shape_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    int first, last;
    int64_t *out = call->out[0].data;
    (void)err;
    resolve_start_and_end(call, &first, &last);
    for (int i = first; i < last; i++)
        out[i - first] = call->in[0]->shape.dim[i];
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_shape = {
    .type = "Shape",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_READS_SHAPE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = shape_infer_shape,
    .forward = shape_forward,
};

static enum ldnq_status size_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    call->out[0].dtype = LDNQ_INT64;
    call->out[0].shape.rank = 0;
    return LDNQ_OK;
}

static enum ldnq_status size_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    size_t count;
    if (!ldnq_shape_count(&call->in[0]->shape, &count))
        return ldnq_fail(err, LDNQ_MODEL, "its input's size is not known");
    *(int64_t *)call->out[0].data = (int64_t)count;
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_size = {
    .type = "Size",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_READS_SHAPE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = size_infer_shape,
    .forward = size_forward,
};
