/* SPDX-License-Identifier: Apache-2.0 */
/* squeeze.c: Squeeze and Unsqueeze. Their axes are an attribute up to opset 12 and an input
 * since 13. */
#include "ops/op.h"

#include <inttypes.h>

/* The axes that Squeeze removes. Without a list these are all axes of size 1, so that no size
 * may be a symbol. */
static enum ldnq_status find_squeezed_axes(struct ldnq_op_call *call, const int64_t *axes,
                                           size_t count, bool given, unsigned *set,
                                           struct ldnq_error *err)
{
    const struct ldnq_shape *from = &call->in[0]->shape;
    if (given)
        return ldnq_op_resolve_axes(axes, count, from->rank, set, err);
    *set = 0;
    for (int i = 0; i < from->rank; i++)
        *set |= from->dim[i] == 1 ? 1u << i : 0;
    return LDNQ_OK;
}

static enum ldnq_status infer_squeezed(struct ldnq_op_call *call, const int64_t *axes, size_t count,
                                       bool given, struct ldnq_error *err)
{
    const struct ldnq_shape *from = &call->in[0]->shape;
    struct ldnq_shape *to = &call->out[0].shape;
    unsigned set;
    if (from->rank < 0 || (!given && !ldnq_shape_is_known(from)))
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(find_squeezed_axes(call, axes, count, given, &set, err));
    to->rank = 0;
    for (int i = 0; i < from->rank; i++) {
        if (!(set & (1u << i)))
            to->dim[to->rank++] = from->dim[i];
        else if (from->dim[i] != 1 && !ldnq_is_symbol(from->dim[i]))
            return ldnq_fail(err, LDNQ_MODEL, "axis %d has %" PRId64 " elements, not 1", i,
                             from->dim[i]);
    }
    return LDNQ_OK;
}

static enum ldnq_status infer_unsqueezed(struct ldnq_op_call *call, const int64_t *axes,
                                         size_t count, bool given, struct ldnq_error *err)
{
    const struct ldnq_shape *from = &call->in[0]->shape;
    struct ldnq_shape *to = &call->out[0].shape;
    unsigned set;
    (void)given;
    if (from->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if (count > (size_t)(LDNQ_MAX_RANK - from->rank))
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "more than %d axes are not supported",
                         LDNQ_MAX_RANK);
    to->rank = from->rank + (int)count;
    LDNQ_TRY(ldnq_op_resolve_axes(axes, count, to->rank, &set, err));
    for (int i = 0, k = 0; i < to->rank; i++)
        to->dim[i] = set & (1u << i) ? 1 : from->dim[k++];
    return LDNQ_OK;
}

typedef enum ldnq_status with_axes_fn(struct ldnq_op_call *call, const int64_t *axes, size_t count,
                                      bool given, struct ldnq_error *err);

static enum ldnq_status infer_from_attribute(struct ldnq_op_call *call, with_axes_fn *infer,
                                             struct ldnq_error *err)
{
    size_t count;
    const int64_t *axes = ldnq_attr_ints(call->node, "axes", &count);
    call->out[0].dtype = call->in[0]->dtype;
    return infer(call, axes, count, axes != NULL, err);
}

static enum ldnq_status infer_from_input(struct ldnq_op_call *call, with_axes_fn *infer,
                                         struct ldnq_error *err)
{
    int64_t axes[LDNQ_MAX_RANK];
    size_t count = 0;
    bool known = true, given = ldnq_op_input(call, 1) != NULL;
    call->out[0].dtype = call->in[0]->dtype;
    if (given)
        LDNQ_TRY(ldnq_op_read_ints(call, 1, axes, LDNQ_MAX_RANK, &count, &known, err));
    if (!known)
        return ldnq_op_make_unknown_shape(call, 0, err);
    return infer(call, axes, count, given, err);
}

/* The record ldnq_op_NAME, whose axes are read by infer_from_SOURCE and used by INFER. */
#define AXES_RECORD(NAME, TYPE, SINCE, UNTIL, LEAST_INPUTS, MOST_INPUTS, SOURCE, INFER)            \
    static enum ldnq_status NAME##_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)  \
    {                                                                                              \
        return infer_from_##SOURCE(call, INFER, err);                                              \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##NAME = {                                                        \
        .type = TYPE,                                                                              \
        .since = SINCE,                                                                            \
        .until = UNTIL,                                                                            \
        .flags = LDNQ_OP_VIEW,                                                                     \
        .inputs_min = LEAST_INPUTS,                                                                \
        .inputs_max = MOST_INPUTS,                                                                 \
        .outputs_max = 1,                                                                          \
        .infer = NAME##_infer_shape,                                                               \
    };

AXES_RECORD(squeeze_1, "Squeeze", 1, 12, 1, 1, attribute, infer_squeezed)
AXES_RECORD(squeeze, "Squeeze", 13, LDNQ_OPSET_LATEST, 1, 2, input, infer_squeezed)
AXES_RECORD(unsqueeze_1, "Unsqueeze", 1, 12, 1, 1, attribute, infer_unsqueezed)
AXES_RECORD(unsqueeze, "Unsqueeze", 13, LDNQ_OPSET_LATEST, 2, 2, input, infer_unsqueezed)
