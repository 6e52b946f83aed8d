/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/sampling/resize_sizes.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- attributes -------------------------------------------------------------------- */

static enum ldnq_status read_enum_attr(const struct ldnq_node *node, const char *attr,
                                       const char *otherwise, const char *const *names, int count,
                                       int *out, struct ldnq_error *err)
{
    const char *name = ldnq_attr_string(node, attr, otherwise);
    for (*out = 0; *out < count; ++*out)
        if (strcmp(name, names[*out]) == 0)
            return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "%s=%s is not supported", attr, name);
}

static const char *const modes[] = { "nearest", "linear", "cubic", "bilinear" };
static const char *const coordinates[] = { "half_pixel",         "half_pixel_symmetric",
                                           "pytorch_half_pixel", "align_corners",
                                           "asymmetric",         "tf_half_pixel_for_nn",
                                           "tf_crop_and_resize" };
static const char *const nearests[] = { "round_prefer_floor", "round_prefer_ceil", "floor",
                                        "ceil" };
static const char *const policies[] = { "stretch", "not_larger", "not_smaller" };

/* Upsample and Resize of opset 10: asymmetric coordinates, rounded down. */
enum ldnq_status ldnq_upsample_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                          const void **attrs, struct ldnq_error *err)
{
    struct ldnq_resize_attrs *resize = ldnq_arena_alloc(arena, 1, sizeof *resize, err);
    int mode;
    if (!resize)
        return LDNQ_NOMEM;
    *attrs = resize;
    LDNQ_TRY(read_enum_attr(node, "mode", "nearest", modes, 4, &mode, err));
    resize->how = (struct ldnq_picture_resize){
        .mode = mode == 3 ? LDNQ_LINEAR : (enum ldnq_resize_mode)mode,
        .coordinate = LDNQ_ASYMMETRIC,
        .nearest = LDNQ_FLOOR,
        .cubic_a = -0.75f,
    };
    return LDNQ_OK;
}

enum ldnq_status ldnq_resize_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                        const void **attrs, struct ldnq_error *err)
{
    struct ldnq_resize_attrs *resize = ldnq_arena_alloc(arena, 1, sizeof *resize, err);
    int mode, coordinate, nearest, policy;
    if (!resize)
        return LDNQ_NOMEM;
    *attrs = resize;
    LDNQ_TRY(read_enum_attr(node, "mode", "nearest", modes, 3, &mode, err));
    LDNQ_TRY(read_enum_attr(node, "coordinate_transformation_mode", "half_pixel", coordinates, 7,
                            &coordinate, err));
    LDNQ_TRY(
        read_enum_attr(node, "nearest_mode", "round_prefer_floor", nearests, 4, &nearest, err));
    LDNQ_TRY(
        read_enum_attr(node, "keep_aspect_ratio_policy", "stretch", policies, 3, &policy, err));
    resize->policy = (enum ldnq_resize_policy)policy;
    resize->outside = ldnq_attr_float(node, "extrapolation_value", 0.0f);
    resize->how = (struct ldnq_picture_resize){
        .mode = (enum ldnq_resize_mode)mode,
        .coordinate = (enum ldnq_resize_coordinate)coordinate,
        .nearest = (enum ldnq_resize_nearest)nearest,
        .cubic_a = ldnq_attr_float(node, "cubic_coeff_a", -0.75f),
        .exclude_outside = ldnq_attr_int(node, "exclude_outside", 0) != 0,
        .antialias = ldnq_attr_int(node, "antialias", 0) != 0 && mode != LDNQ_NEAREST,
    };
    return LDNQ_OK;
}

/* ---- sizes --------------------------------------------------------------------------- */

/* The axes that the `count` scales, sizes or region bounds are for: the attribute `axes`, or
 * all axes. */
static enum ldnq_status find_axes(const struct ldnq_op_call *call, size_t count,
                                  int chosen[LDNQ_MAX_RANK], struct ldnq_error *err)
{
    size_t given;
    int rank = call->in[0]->shape.rank;
    const int64_t *axes = ldnq_attr_ints(call->node, "axes", &given);
    if (count != (axes ? given : (size_t)rank))
        return ldnq_fail(err, LDNQ_MODEL, "has scales, sizes or a region of %zu axes for %zu",
                         count, axes ? given : (size_t)rank);
    for (size_t i = 0; i < count; i++) {
        chosen[i] = (int)i;
        if (axes)
            LDNQ_TRY(ldnq_op_resolve_axis(axes[i], rank, &chosen[i], err));
    }
    return LDNQ_OK;
}

static enum ldnq_status apply_scales(const struct ldnq_op_call *call, const float *scales,
                                     size_t count, struct ldnq_resize_axes *axes,
                                     struct ldnq_error *err)
{
    int chosen[LDNQ_MAX_RANK];
    LDNQ_TRY(find_axes(call, count, chosen, err));
    for (size_t i = 0; i < count; i++) {
        struct ldnq_resize_axis *axis = &axes->axis[chosen[i]];
        double out = floor((double)axis->in * (double)scales[i]);
        if (!(scales[i] > 0.0f) || !isfinite(scales[i]))
            return ldnq_fail(err, LDNQ_MODEL, "a scale of %g is not possible", (double)scales[i]);
        if (!(out <= 0x1p40))
            return ldnq_fail(err, LDNQ_MODEL,
                             "axis %d of its input has %" PRId64 " elements, and would have %g: "
                             "the most are 2^40",
                             chosen[i], axis->in, out);
        axis->scale = scales[i];
        axis->out = (size_t)out;
    }
    return LDNQ_OK;
}

/* keep_aspect_ratio_policy: all axes get the smallest (not_larger) or largest (not_smaller)
 * of their scales. */
static enum ldnq_status apply_aspect_ratio_policy(enum ldnq_resize_policy policy, const int *chosen,
                                                  size_t count, struct ldnq_resize_axes *axes,
                                                  struct ldnq_error *err)
{
    float scale = policy == LDNQ_NOT_LARGER ? INFINITY : 0.0f;
    for (size_t i = 0; i < count && policy != LDNQ_STRETCH; i++) {
        float one = axes->axis[chosen[i]].scale;
        scale = (policy == LDNQ_NOT_LARGER) == (one < scale) ? one : scale;
    }
    for (size_t i = 0; i < count && policy != LDNQ_STRETCH; i++) {
        struct ldnq_resize_axis *axis = &axes->axis[chosen[i]];
        float out = floorf(scale * (float)axis->in + 0.5f);
        if (!(out <= 0x1p40f))
            return ldnq_fail(err, LDNQ_MODEL, "its keep_aspect_ratio_policy leads to %g elements",
                             (double)out);
        axis->scale = scale;
        axis->out = (size_t)out;
    }
    return LDNQ_OK;
}

static enum ldnq_status apply_sizes(const struct ldnq_op_call *call, const int64_t *sizes,
                                    size_t count, struct ldnq_resize_axes *axes,
                                    struct ldnq_error *err)
{
    const struct ldnq_resize_attrs *resize = call->attrs;
    int chosen[LDNQ_MAX_RANK];
    LDNQ_TRY(find_axes(call, count, chosen, err));
    for (size_t i = 0; i < count; i++) {
        struct ldnq_resize_axis *axis = &axes->axis[chosen[i]];
        if (sizes[i] < 0 || sizes[i] > (int64_t)1 << 40)
            return ldnq_fail(err, LDNQ_MODEL,
                             "a size of %" PRId64 " is not possible: it is 0 to 2^40", sizes[i]);
        axis->out = (size_t)sizes[i];
        axis->scale = axis->in ? (float)axis->out / (float)axis->in : 1.0f;
    }
    return apply_aspect_ratio_policy(resize->policy, chosen, count, axes, err);
}

/* Reads the scales from an input. */
static enum ldnq_status read_and_apply_scales(const struct ldnq_op_call *call, size_t input,
                                              struct ldnq_resize_axes *axes, bool *known,
                                              struct ldnq_error *err)
{
    const struct ldnq_tensor *scales = ldnq_op_input(call, input);
    LDNQ_TRY(ldnq_op_require_dtype(call, input, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    *known = scales && scales->data;
    if (!*known)
        return LDNQ_OK;
    size_t count = ldnq_tensor_count(scales);
    if (count > LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_MODEL, "has %zu scales", count);
    return apply_scales(call, scales->data, count, axes, err);
}

/* Reads sizes (input 3), or else scales (input 2); an empty tensor is an omitted input. */
static enum ldnq_status read_scales_or_sizes(const struct ldnq_op_call *call,
                                             struct ldnq_resize_axes *axes, bool *known,
                                             struct ldnq_error *err)
{
    const struct ldnq_tensor *sizes = ldnq_op_input(call, 3);
    int64_t values[LDNQ_MAX_RANK];
    size_t count = 0;
    if (!sizes || (ldnq_shape_count(&sizes->shape, &count) && count == 0))
        return read_and_apply_scales(call, 2, axes, known, err);
    LDNQ_TRY(ldnq_op_read_ints(call, 3, values, LDNQ_MAX_RANK, &count, known, err));
    return *known ? apply_sizes(call, values, count, axes, err) : LDNQ_OK;
}

/* roi holds all starts and then all ends. It does not change the output's size. */
static enum ldnq_status read_region(const struct ldnq_op_call *call, struct ldnq_resize_axes *axes,
                                    struct ldnq_error *err)
{
    const struct ldnq_tensor *region = ldnq_op_input(call, 1);
    int chosen[LDNQ_MAX_RANK];
    if (!ldnq_resize_crops(call->attrs))
        return LDNQ_OK;
    if (!region)
        return ldnq_fail(err, LDNQ_MODEL, "has no region to crop");
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    if (!region->data)
        return LDNQ_OK;
    const float *edge = region->data;
    size_t count = ldnq_tensor_count(region) / 2;
    LDNQ_TRY(find_axes(call, count, chosen, err));
    for (size_t i = 0; i < count; i++) {
        axes->axis[chosen[i]].start = edge[i];
        axes->axis[chosen[i]].end = edge[count + i];
    }
    return LDNQ_OK;
}

/* The numbers come from inputs 2 and 3 (Resize since 11), input 1 (Upsample 9, Resize 10) or
 * an attribute (Upsample 7). */
enum ldnq_status ldnq_resize_find_axes(const struct ldnq_op_call *call,
                                       struct ldnq_resize_axes *axes, bool *known,
                                       struct ldnq_error *err)
{
    const struct ldnq_shape *in = &call->in[0]->shape;
    const struct ldnq_attr *scales = ldnq_node_find_attr(call->node, "scales");
    axes->rank = in->rank;
    *known = true;
    for (int i = 0; i < in->rank; i++) {
        size_t size = ldnq_is_symbol(in->dim[i]) ? 1 : (size_t)in->dim[i];
        axes->axis[i] = (struct ldnq_resize_axis){ size, size, 1.0f, 0.0f, 1.0f };
    }
    LDNQ_TRY(read_region(call, axes, err));
    if (call->node->op->inputs_max == 4)
        return read_scales_or_sizes(call, axes, known, err);
    if (call->node->op->inputs_max == 2)
        return read_and_apply_scales(call, 1, axes, known, err);
    if (!scales || scales->kind != LDNQ_ATTR_FLOATS || scales->count > LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_MODEL, "has no scales");
    return apply_scales(call, scales->floats, scales->count, axes, err);
}

/* Whether the attribute `axes` permits an axis to change its size. */
static bool may_change_axis_size(const struct ldnq_node *node, int rank, int axis)
{
    size_t count;
    const int64_t *axes = ldnq_attr_ints(node, "axes", &count);
    for (size_t i = 0; axes && i < count; i++)
        if (axes[i] == axis || axes[i] == axis - rank)
            return true;
    return !axes;
}

/* Copies sizes (input 3) to the output's shape, symbols included. */
static enum ldnq_status apply_symbolic_sizes(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_resize_attrs *resize = call->attrs;
    const struct ldnq_tensor *tensor = ldnq_op_input(call, 3);
    struct ldnq_shape sizes;
    int chosen[LDNQ_MAX_RANK];
    if (!tensor || !tensor->data || ldnq_tensor_count(tensor) == 0 ||
        resize->policy != LDNQ_STRETCH)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_op_read_dims(call, 3, &sizes, err));
    LDNQ_TRY(find_axes(call, (size_t)sizes.rank, chosen, err));
    for (int i = 0; i < sizes.rank; i++)
        call->out[0].shape.dim[chosen[i]] = sizes.dim[i];
    return LDNQ_OK;
}

enum ldnq_status ldnq_resize_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *in = &call->in[0]->shape;
    struct ldnq_shape *out = &call->out[0].shape;
    struct ldnq_resize_axes axes;
    bool known;
    unsigned types = ldnq_resize_only_copies(call->attrs) ? ~0u : LDNQ_DTYPE_BIT(LDNQ_FLOAT);
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, types, err));
    if (in->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(ldnq_resize_find_axes(call, &axes, &known, err));
    for (int i = 0; i < in->rank; i++) {
        if (!known && !may_change_axis_size(call->node, in->rank, i))
            continue;
        bool open = !known || (ldnq_is_symbol(in->dim[i]) && axes.axis[i].scale != 1.0f);
        if (open)
            LDNQ_TRY(ldnq_op_make_unknown_dim(call, &out->dim[i], err));
        else if (!ldnq_is_symbol(in->dim[i]))
            out->dim[i] = (int64_t)axes.axis[i].out;
        if (known && axes.axis[i].in == 0 && axes.axis[i].out > 0)
            return ldnq_fail(err, LDNQ_MODEL, "axis %d is empty and can't grow", i);
    }
    return apply_symbolic_sizes(call, err);
}
