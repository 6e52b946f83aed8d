/* SPDX-License-Identifier: Apache-2.0 */
/* slice.c: Slice. Its ranges are attributes up to opset 9 and inputs since 10. */
#include "ops/shared/strided.h"

#include <inttypes.h>
#include <string.h>

/* One range per axis of the input. */
struct slice_ranges {
    int64_t start[LDNQ_MAX_RANK], step[LDNQ_MAX_RANK], count[LDNQ_MAX_RANK];
};

/* The ranges as the node lists them. */
struct slice_lists {
    size_t count;
    const int64_t *starts, *ends, *axes, *steps; /* axes, steps: NULL for the default */
};

static int64_t clamp_index(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* The number of elements of a range; *start becomes an index into the axis. Negative bounds
 * count from the end, and bounds are then clamped to the axis. This is numpy's rule with one
 * exception: with a negative step, a start before the axis is clamped to its first element. */
static int64_t count_sliced_elements(int64_t size, int64_t *start, int64_t end, int64_t step)
{
    int64_t high = step > 0 ? size : size - 1;
    if (size == 0) {
        *start = 0;
        return 0;
    }
    *start = clamp_index(*start < 0 ? *start + size : *start, 0, high);
    end = clamp_index(end < 0 ? end + size : end, step > 0 ? 0 : -1, high);
    if (step > 0)
        return end > *start ? (end - *start - 1) / step + 1 : 0;
    if (step == INT64_MIN)
        return *start > end;
    return *start > end ? (*start - end - 1) / -step + 1 : 0;
}

/* The same for an axis whose size is a symbol: unknown, unless the range is the whole axis. */
static enum ldnq_status count_symbolic(struct ldnq_op_call *call, int64_t size, int64_t start,
                                       int64_t end, int64_t step, int64_t *count,
                                       struct ldnq_error *err)
{
    bool forward = start == 0 && step == 1 && end >= INT32_MAX;
    bool backward = start == -1 && step == -1 && end <= INT32_MIN;
    if (!forward && !backward)
        return ldnq_op_make_unknown_dim(call, count, err);
    *count = size;
    return LDNQ_OK;
}

static enum ldnq_status resolve_range(struct ldnq_op_call *infer, const struct slice_lists *ranges,
                                      size_t i, int64_t size, int axis, struct slice_ranges *slice,
                                      struct ldnq_error *err)
{
    int64_t step = ranges->steps ? ranges->steps[i] : 1, start = ranges->starts[i];
    if (step == 0)
        return ldnq_fail(err, LDNQ_MODEL, "its step is 0");
    slice->step[axis] = step;
    slice->start[axis] = start;
    if (ldnq_is_symbol(size))
        return count_symbolic(infer, size, start, ranges->ends[i], step, &slice->count[axis], err);
    slice->count[axis] = count_sliced_elements(size, &slice->start[axis], ranges->ends[i], step);
    return LDNQ_OK;
}

/* Computes the range of every axis; axes that are not listed have their full range. infer is
 * the call during inference; NULL in forward, where no size is a symbol. */
static enum ldnq_status resolve_ranges(struct ldnq_op_call *infer, const struct ldnq_shape *shape,
                                       const struct slice_lists *ranges, struct slice_ranges *slice,
                                       struct ldnq_error *err)
{
    unsigned seen = 0;
    for (int i = 0; i < shape->rank; i++) {
        slice->start[i] = 0;
        slice->step[i] = 1;
        slice->count[i] = shape->dim[i];
    }
    for (size_t i = 0; i < ranges->count; i++) {
        int axis;
        int64_t named = ranges->axes ? ranges->axes[i] : (int64_t)i;
        LDNQ_TRY(ldnq_op_resolve_axis(named, shape->rank, &axis, err));
        if (seen & (1u << axis))
            return ldnq_fail(err, LDNQ_MODEL, "axis %d is sliced twice", axis);
        seen |= 1u << axis;
        LDNQ_TRY(resolve_range(infer, ranges, i, shape->dim[axis], axis, slice, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status set_sliced_shape(struct ldnq_op_call *call,
                                         const struct slice_lists *ranges, struct ldnq_error *err)
{
    struct slice_ranges slice;
    const struct ldnq_shape *shape = &call->in[0]->shape;
    LDNQ_TRY(resolve_ranges(call, shape, ranges, &slice, err));
    call->out[0].shape.rank = shape->rank;
    for (int i = 0; i < shape->rank; i++)
        call->out[0].shape.dim[i] = slice.count[i];
    return LDNQ_OK;
}

/* The slice as a region of the input, which starts at element *first. */
static enum ldnq_status describe_slice_as_strides(const struct ldnq_op_call *call,
                                                  const struct slice_lists *ranges,
                                                  struct ldnq_strided *region, ptrdiff_t *first,
                                                  struct ldnq_error *err)
{
    const struct ldnq_tensor *in = call->in[0], *out = &call->out[0];
    struct slice_ranges slice;
    ptrdiff_t from[LDNQ_MAX_RANK], to[LDNQ_MAX_RANK];
    *region = (struct ldnq_strided){ 0 };
    *first = 0;
    LDNQ_TRY(resolve_ranges(NULL, &in->shape, ranges, &slice, err));
    ldnq_row_major_strides(&in->shape, from);
    ldnq_row_major_strides(&out->shape, to);
    for (int i = 0; i < out->shape.rank; i++) {
        /* With one element the step is not used; it may be too large to multiply. */
        ptrdiff_t step = slice.count[i] == 1 ? 1 : (ptrdiff_t)slice.step[i];
        *first += (ptrdiff_t)slice.start[i] * from[i];
        ldnq_strided_add_axis(region, (size_t)slice.count[i], from[i] * step, to[i]);
    }
    return LDNQ_OK;
}

static enum ldnq_status copy_slice(const struct ldnq_op_call *call,
                                   const struct slice_lists *ranges, struct ldnq_error *err)
{
    const struct ldnq_tensor *in = call->in[0], *out = &call->out[0];
    struct ldnq_strided region;
    ptrdiff_t first;
    if (ldnq_tensor_count(out) == 0)
        return LDNQ_OK;
    LDNQ_TRY(describe_slice_as_strides(call, ranges, &region, &first, err));
    size_t size = ldnq_dtype_size(in->dtype);
    ldnq_strided_copy(call, &region, size, (const char *)in->data + first * (ptrdiff_t)size,
                      out->data);
    return LDNQ_OK;
}

/* Copies the gradient to where the elements came from; zeros elsewhere. */
static enum ldnq_status scatter_slice(const struct ldnq_op_grad *grad,
                                      const struct slice_lists *ranges, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    size_t all = ldnq_tensor_count(&grad->in[0]);
    float *gradient = grad->in[0].data;
    struct ldnq_strided region;
    ptrdiff_t first;
    if (!gradient || all == 0)
        return LDNQ_OK;
    memset(gradient, 0, all * sizeof(float));
    if (ldnq_tensor_count(&call->out[0]) == 0)
        return LDNQ_OK;
    LDNQ_TRY(describe_slice_as_strides(call, ranges, &region, &first, err));
    for (int i = 0; i < region.rank; i++) {
        ptrdiff_t from = region.from[i];
        region.from[i] = region.to[i];
        region.to[i] = from;
    }
    ldnq_strided_copy(call, &region, sizeof(float), grad->out[0]->data, gradient + first);
    return LDNQ_OK;
}

/* ---- ranges as attributes ------------------------------------------------------- */

static enum ldnq_status read_ranges_attr(const struct ldnq_op_call *call,
                                         struct slice_lists *ranges, struct ldnq_error *err)
{
    size_t starts, ends, axes;
    *ranges = (struct slice_lists){ .starts = ldnq_attr_ints(call->node, "starts", &starts),
                                    .ends = ldnq_attr_ints(call->node, "ends", &ends),
                                    .axes = ldnq_attr_ints(call->node, "axes", &axes) };
    ranges->count = starts;
    if (starts != ends || (ranges->axes && axes != starts))
        return ldnq_fail(err, LDNQ_MODEL, "starts, ends and axes have different lengths");
    return LDNQ_OK;
}

static enum ldnq_status slice_1_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct slice_lists ranges;
    call->out[0].dtype = call->in[0]->dtype;
    if (call->in[0]->shape.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(read_ranges_attr(call, &ranges, err));
    return set_sliced_shape(call, &ranges, err);
}

static enum ldnq_status slice_1_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct slice_lists ranges;
    LDNQ_TRY(read_ranges_attr(call, &ranges, err));
    return copy_slice(call, &ranges, err);
}

static enum ldnq_status slice_1_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    struct slice_lists ranges;
    LDNQ_TRY(read_ranges_attr(grad->call, &ranges, err));
    return scatter_slice(grad, &ranges, err);
}

const struct ldnq_op ldnq_op_slice_1 = {
    .type = "Slice",
    .since = 1,
    .until = 9,
    .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = slice_1_infer_shape,
    .forward = slice_1_forward,
    .differentiable = 1,
    .backward = slice_1_backward,
};

/* ---- ranges as inputs ------------------------------------------------------------- */

struct slice_inputs {
    int64_t values[4][LDNQ_MAX_RANK];
    struct slice_lists ranges;
    bool axes_known, all_known;
};

static enum ldnq_status read_inputs(const struct ldnq_op_call *call, struct slice_inputs *inputs,
                                    struct ldnq_error *err)
{
    size_t count[4] = { 0 };
    bool known[4] = { true, true, true, true };
    *inputs = (struct slice_inputs){ .ranges.starts = inputs->values[0],
                                     .ranges.ends = inputs->values[1] };
    for (size_t i = 0; i < 4; i++)
        if (ldnq_op_input(call, i + 1))
            LDNQ_TRY(ldnq_op_read_ints(call, i + 1, inputs->values[i], LDNQ_MAX_RANK, &count[i],
                                       &known[i], err));
    inputs->ranges.axes = ldnq_op_input(call, 3) ? inputs->values[2] : NULL;
    inputs->ranges.steps = ldnq_op_input(call, 4) ? inputs->values[3] : NULL;
    inputs->ranges.count = count[0];
    inputs->axes_known = known[2];
    inputs->all_known = known[0] && known[1] && known[2] && known[3];
    bool agree = count[0] == count[1] && (!inputs->ranges.axes || count[2] == count[0]) &&
                 (!inputs->ranges.steps || count[3] == count[0]);
    if (inputs->all_known && !agree)
        return ldnq_fail(err, LDNQ_MODEL, "starts, ends, axes and steps have different lengths");
    return LDNQ_OK;
}

/* With unknown bounds, the sizes of the sliced axes are unknown. */
static enum ldnq_status make_unknown_sizes(struct ldnq_op_call *call,
                                           const struct slice_inputs *inputs,
                                           struct ldnq_error *err)
{
    struct ldnq_shape *shape = &call->out[0].shape;
    const struct ldnq_shape *from = &call->in[0]->shape;
    unsigned set = ~0u;
    if (inputs->ranges.axes && inputs->axes_known)
        LDNQ_TRY(
            ldnq_op_resolve_axes(inputs->ranges.axes, inputs->ranges.count, from->rank, &set, err));
    *shape = *from;
    for (int i = 0; i < from->rank; i++)
        if (set & (1u << i))
            LDNQ_TRY(ldnq_op_make_unknown_dim(call, &shape->dim[i], err));
    return LDNQ_OK;
}

static enum ldnq_status slice_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct slice_inputs inputs;
    call->out[0].dtype = call->in[0]->dtype;
    if (call->in[0]->shape.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(read_inputs(call, &inputs, err));
    if (!inputs.all_known)
        return make_unknown_sizes(call, &inputs, err);
    return set_sliced_shape(call, &inputs.ranges, err);
}

static enum ldnq_status slice_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct slice_inputs inputs;
    LDNQ_TRY(read_inputs(call, &inputs, err));
    return copy_slice(call, &inputs.ranges, err);
}

static enum ldnq_status slice_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    struct slice_inputs inputs;
    LDNQ_TRY(read_inputs(grad->call, &inputs, err));
    return scatter_slice(grad, &inputs.ranges, err);
}

const struct ldnq_op ldnq_op_slice = {
    .type = "Slice",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 3,
    .inputs_max = 5,
    .outputs_max = 1,
    .infer = slice_infer_shape,
    .forward = slice_forward,
    .differentiable = 1,
    .saved_inputs = 0x1e,
    .backward = slice_backward,
};
