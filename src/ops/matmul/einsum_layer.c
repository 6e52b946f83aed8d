/* SPDX-License-Identifier: Apache-2.0 */
/* einsum_layer.c: one of two operands of an Einsum as the weight of a layer.
 *
 * A letter of the weight counts groups where the input and the output have it, columns where the
 * input alone has it, and rows where the output alone has it. All other letters of the input count
 * positions. Letters of one kind are in the order of the weight, where those that follow each other
 * are one axis.
 */
#include "base/size.h"
#include "ops/matmul/einsum.h"

/* ---- the weight ------------------------------------------------------------------------ */

static bool has_label(const struct ldnq_einsum_term *term, uint8_t label)
{
    for (int i = 0; i < term->count; i++)
        if (term->label[i] == label)
            return true;
    return false;
}

static bool has_label_twice(const struct ldnq_einsum_term *term)
{
    for (int i = 0; i < term->count; i++)
        for (int k = 0; k < i; k++)
            if (term->label[i] == term->label[k])
                return true;
    return false;
}

static bool sums_over_own_axis(const struct ldnq_einsum_term *term,
                               const struct ldnq_einsum_term *other,
                               const struct ldnq_einsum_term *out)
{
    if (term->ellipsis != LDNQ_EINSUM_NO_ELLIPSIS && out->ellipsis == LDNQ_EINSUM_NO_ELLIPSIS)
        return true;
    for (int i = 0; i < term->count; i++)
        if (!has_label(other, term->label[i]) && !has_label(out, term->label[i]))
            return true;
    return false;
}

enum axis_kind { GROUPS, ROWS, COLS, AXIS_KINDS };

static enum axis_kind find_axis_kind(const struct ldnq_einsum_term *input,
                                     const struct ldnq_einsum_term *out, uint8_t label)
{
    if (!has_label(input, label))
        return ROWS;
    return has_label(out, label) ? GROUPS : COLS;
}

/* Axes of one kind, the last one fastest. */
struct einsum_axes {
    int count;
    size_t size[LDNQ_MAX_RANK], stride[LDNQ_MAX_RANK];
};

static void append_axis(struct einsum_axes *axes, size_t size, size_t stride)
{
    axes->size[axes->count] = size;
    axes->stride[axes->count++] = stride;
}

/* Appends an axis of the weight, or makes it a part of the one before it. */
static void append_weight_axis(struct einsum_axes *axes, size_t size, size_t stride)
{
    const int last = axes->count - 1;
    if (last >= 0 && axes->stride[last] == size * stride) {
        axes->size[last] *= size;
        axes->stride[last] = stride;
        return;
    }
    append_axis(axes, size, stride);
}

/* Errors: UNSUPPORTED. */
static enum ldnq_status check_equation(const struct ldnq_einsum_attrs *a, size_t weight_input,
                                       const struct ldnq_tensor *weight, struct ldnq_error *err)
{
    if (a->operands != 2)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "it multiplies %zu operands, not 2", a->operands);
    const struct ldnq_einsum_term *term = &a->in[weight_input], *input = &a->in[1 - weight_input];
    if (weight->shape.rank != term->count)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "axes of its weight are part of an ellipsis");
    if (has_label_twice(term) || has_label_twice(input))
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its equation has a letter twice in one operand");
    if (sums_over_own_axis(term, input, &a->out) || sums_over_own_axis(input, term, &a->out))
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "its equation sums over an axis that one operand alone has");
    for (int i = 0; i < term->count; i++)
        if (has_label(input, term->label[i]) && weight->shape.dim[i] == 1)
            return ldnq_fail(err, LDNQ_UNSUPPORTED, "its weight broadcasts along an axis");
    return LDNQ_OK;
}

static enum ldnq_status describe_weight(const struct ldnq_node *node, size_t weight_input,
                                        const struct ldnq_tensor *weight,
                                        struct ldnq_layer_geometry *geometry,
                                        struct ldnq_error *err)
{
    const struct ldnq_einsum_attrs *a = node->op_attrs;
    struct einsum_axes axes[AXIS_KINDS] = { { 0 } };
    size_t stride = 1;
    LDNQ_TRY(check_equation(a, weight_input, weight, err));
    ldnq_shape_count(&weight->shape, &stride);
    for (int i = 0; i < weight->shape.rank; i++) {
        const size_t size = (size_t)weight->shape.dim[i];
        stride /= size;
        append_weight_axis(
            &axes[find_axis_kind(&a->in[1 - weight_input], &a->out, a->in[weight_input].label[i])],
            size, stride);
    }
    const struct einsum_axes *groups = &axes[GROUPS], *rows = &axes[ROWS], *cols = &axes[COLS];
    if (cols->count == 0)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its equation sums over no axis of its weight");
    if (groups->count > 1 || rows->count > 2 || cols->count > 2)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "the axes of its weight alternate too often to be a matrix");
    *geometry = (struct ldnq_layer_geometry){ .groups = 1,
                                              .rows = 1,
                                              .kernel = cols->count > 1 ? cols->size[1] : 1,
                                              .minor_rows = 1,
                                              .layout = LDNQ_WEIGHT_PERMUTED,
                                              .mixes_samples = true };
    if (groups->count) {
        geometry->groups = groups->size[0];
        geometry->strides.group = groups->stride[0];
    }
    for (int i = 0; i < rows->count; i++) {
        geometry->rows *= rows->size[i];
        geometry->minor_rows = rows->size[i];
        geometry->strides.major = geometry->strides.minor;
        geometry->strides.minor = rows->stride[i];
    }
    geometry->cols = cols->size[0] * geometry->kernel;
    geometry->strides.channel = cols->stride[0];
    geometry->strides.kernel = cols->count > 1 ? cols->stride[1] : 0;
    if (weight->shape.rank == 2 && rows->count == 1) {
        geometry->channel_axis = rows->stride[0] == 1;
        geometry->layout = geometry->channel_axis ? LDNQ_WEIGHT_IN_OUT : LDNQ_WEIGHT_OUT_IN;
    }
    return LDNQ_OK;
}

/* ---- the input ------------------------------------------------------------------------- */

static size_t find_offset(const struct einsum_axes *axes, size_t index)
{
    size_t offset = 0;
    for (int i = axes->count - 1; i >= 0; i--) {
        offset += index % axes->size[i] * axes->stride[i];
        index /= axes->size[i];
    }
    return offset;
}

struct einsum_input {
    struct einsum_axes groups, cols, positions;
};

static struct einsum_input describe_input(const struct ldnq_op_call *call, size_t weight_input)
{
    const struct ldnq_einsum_attrs *a = call->attrs;
    const struct ldnq_einsum_term *term = &a->in[weight_input];
    const struct ldnq_shape *weight = &call->in[weight_input]->shape;
    const struct ldnq_shape *shape = &call->in[1 - weight_input]->shape;
    struct einsum_input input = { .groups.count = 0 };
    uint8_t label[LDNQ_MAX_RANK];
    size_t strides[LDNQ_MAX_RANK], stride = 1;
    ldnq_einsum_label_axes(&a->in[1 - weight_input], shape->rank, label);
    for (int i = shape->rank - 1; i >= 0; i--) {
        strides[i] = shape->dim[i] == 1 ? 0 : stride;
        stride *= (size_t)shape->dim[i];
    }
    for (int i = 0; i < shape->rank; i++)
        if (!has_label(term, label[i]))
            append_axis(&input.positions, (size_t)shape->dim[i], strides[i]);
    for (int k = 0; k < weight->rank; k++)
        for (int i = 0; i < shape->rank; i++)
            if (label[i] == term->label[k])
                append_axis(has_label(&a->out, label[i]) ? &input.groups : &input.cols,
                            (size_t)weight->dim[k], strides[i]);
    return input;
}

static size_t count_positions(const struct ldnq_op_call *call, size_t weight_input)
{
    const struct einsum_input input = describe_input(call, weight_input);
    size_t count = 1;
    for (int i = 0; i < input.positions.count; i++)
        count *= input.positions.size[i];
    return count;
}

/* Positions whose offsets are computed once for all columns. */
#define PART ((size_t)64)

static void fill_columns(const struct ldnq_op_call *call, size_t weight_input, size_t group,
                         size_t first, size_t count, float *columns, size_t ld)
{
    const struct einsum_input input = describe_input(call, weight_input);
    const float *data = (const float *)call->in[1 - weight_input]->data;
    size_t offsets[PART], cols = 1;
    data += find_offset(&input.groups, group);
    for (int i = 0; i < input.cols.count; i++)
        cols *= input.cols.size[i];
    for (size_t at = 0; at < count; at += PART) {
        const size_t part = ldnq_size_min(PART, count - at);
        for (size_t p = 0; p < part; p++)
            offsets[p] = find_offset(&input.positions, first + at + p);
        for (size_t k = 0; k < cols; k++) {
            const float *x = data + find_offset(&input.cols, k);
            for (size_t p = 0; p < part; p++)
                columns[k * ld + at + p] = x[offsets[p]];
        }
    }
}

/* ---- the records ----------------------------------------------------------------------- */

static enum ldnq_status describe_left_weight(const struct ldnq_node *node,
                                             const struct ldnq_tensor *weight,
                                             const struct ldnq_tensor *bias,
                                             struct ldnq_layer_geometry *geometry,
                                             struct ldnq_error *err)
{
    (void)bias;
    return describe_weight(node, 0, weight, geometry, err);
}

static size_t count_right_positions(const struct ldnq_op_call *call)
{
    return count_positions(call, 0);
}

static void fill_right_columns(const struct ldnq_op_call *call, size_t group, size_t first,
                               size_t count, float *columns, size_t ld)
{
    fill_columns(call, 0, group, first, count, columns, ld);
}

static enum ldnq_status describe_right_weight(const struct ldnq_node *node,
                                              const struct ldnq_tensor *weight,
                                              const struct ldnq_tensor *bias,
                                              struct ldnq_layer_geometry *geometry,
                                              struct ldnq_error *err)
{
    (void)bias;
    return describe_weight(node, 1, weight, geometry, err);
}

static size_t count_left_positions(const struct ldnq_op_call *call)
{
    return count_positions(call, 1);
}

static void fill_left_columns(const struct ldnq_op_call *call, size_t group, size_t first,
                              size_t count, float *columns, size_t ld)
{
    fill_columns(call, 1, group, first, count, columns, ld);
}

static const struct ldnq_op_layer left_weight_layer = {
    .weight_input = 0,
    .bias_input = -1,
    .weight_label = "A",
    .data_input = 1,
    .describe_weight = describe_left_weight,
    .count_positions = count_right_positions,
    .fill_columns = fill_right_columns,
};

const struct ldnq_op_layer ldnq_einsum_layer = {
    .weight_input = 1,
    .bias_input = -1,
    .weight_label = "B",
    .other = &left_weight_layer,
    .describe_weight = describe_right_weight,
    .count_positions = count_left_positions,
    .fill_columns = fill_left_columns,
};
