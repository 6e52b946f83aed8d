/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "onnx/attrs.h"
#include "onnx/build.h"
#include "onnx/opset_convert.h"

static enum ldnq_status set_op_type(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                    const char *op_type, struct ldnq_error *err)
{
    node->op_type = ldnq_arena_strdup(raise->model->arena, op_type, err);
    return node->op_type ? LDNQ_OK : LDNQ_NOMEM;
}

/* Reduce*, Squeeze and Unsqueeze. */
CONVERT(axes_to_input)
{
    return ldnq_raise_move_attr_to_input(raise, node, "axes", 1, err);
}

/* ---- BatchNormalization ------------------------------------------------------------- */

CHECK(batch_normalization_9)
{
    (void)raise;
    if (ldnq_raise_read_int(node, "spatial", 1))
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "spatial=0 is gone since opset 9");
}

CONVERT(batch_normalization_9)
{
    (void)raise;
    (void)err;
    ldnq_build_remove_attr(node, "spatial");
    return LDNQ_OK;
}

/* Before opset 14, more than one output meant training mode. */
CHECK(batch_normalization_14)
{
    (void)raise;
    for (size_t i = 1; i < node->n_output; i++)
        if (ldnq_raise_has_output(node, i))
            return ldnq_fail(err, LDNQ_UNSUPPORTED, "it is in training mode, with %zu outputs",
                             node->n_output);
    return LDNQ_OK;
}

CONVERT(batch_normalization_14)
{
    (void)raise;
    (void)err;
    node->n_output = node->n_output ? 1 : 0;
    return LDNQ_OK;
}

/* ---- Clip ---------------------------------------------------------------------------- */

CHECK(clip_11)
{
    if (!ldnq_attr_find(node, "min") && !ldnq_attr_find(node, "max"))
        return LDNQ_OK;
    return ldnq_raise_check_input_like(raise, node, err);
}

static enum ldnq_status convert_clip_limit(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                           const char *name, size_t input, struct ldnq_error *err)
{
    const Onnx__AttributeProto *attr = ldnq_attr_find(node, name);
    if (!attr)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_raise_input_like(raise, node, input, name, attr->f, err));
    ldnq_build_remove_attr(node, name);
    return LDNQ_OK;
}

CONVERT(clip_11)
{
    LDNQ_TRY(convert_clip_limit(raise, node, "min", 1, err));
    return convert_clip_limit(raise, node, "max", 2, err);
}

/* ---- Dropout ------------------------------------------------------------------------- */

/* The mask's type changed, and runtimes disagree on what it held before. */
CHECK(dropout_12)
{
    if (ldnq_raise_has_output(node, 1) && ldnq_names_find(&raise->reads, node->output[1]))
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its mask is used");
    return LDNQ_OK;
}

/* Without training_mode the node returns its input, whatever the ratio. */
CONVERT(dropout_12)
{
    (void)raise;
    (void)err;
    ldnq_build_remove_attr(node, "ratio");
    node->n_output = node->n_output ? 1 : 0;
    return LDNQ_OK;
}

/* ---- Pad ----------------------------------------------------------------------------- */

static float read_constant_pad_value(const Onnx__NodeProto *node)
{
    const Onnx__AttributeProto *value = ldnq_attr_find(node, "value");
    bool is_constant =
        !ldnq_attr_find(node, "mode") || ldnq_raise_attr_is(node, "mode", "constant");
    return value && is_constant ? value->f : 0;
}

CHECK(pad_11)
{
    if (!ldnq_attr_find(node, "pads"))
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "it has no pads");
    return read_constant_pad_value(node) == 0 ? LDNQ_OK
                                              : ldnq_raise_check_input_like(raise, node, err);
}

CONVERT(pad_11)
{
    float value = read_constant_pad_value(node);
    LDNQ_TRY(ldnq_raise_move_attr_to_input(raise, node, "pads", 1, err));
    ldnq_build_remove_attr(node, "value");
    if (value == 0)
        return LDNQ_OK;
    return ldnq_raise_input_like(raise, node, 2, "pad_value", value, err);
}

/* ---- Slice, Split, TopK -------------------------------------------------------------- */

CONVERT(slice_10)
{
    const Onnx__AttributeProto *starts = ldnq_attr_find(node, "starts");
    size_t count = starts ? starts->n_ints : 0;
    LDNQ_TRY(ldnq_raise_move_attr_to_input(raise, node, "starts", 1, err));
    LDNQ_TRY(ldnq_raise_move_attr_to_input(raise, node, "ends", 2, err));
    if (ldnq_attr_find(node, "axes"))
        return ldnq_raise_move_attr_to_input(raise, node, "axes", 3, err);
    int64_t *axes = ldnq_arena_alloc(raise->scratch, count, sizeof *axes, err);
    if (!axes)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        axes[i] = (int64_t)i;
    return ldnq_raise_input_ints(raise, node, 3, "axes", axes, count, err);
}

CONVERT(split_13)
{
    return ldnq_raise_move_attr_to_input(raise, node, "split", 1, err);
}

CONVERT(split_18)
{
    if (ldnq_raise_has_input(node, 1))
        return LDNQ_OK;
    return ldnq_build_int_attr(raise->model->arena, node, "num_outputs", (int64_t)node->n_output,
                               err);
}

CONVERT(top_k_10)
{
    int64_t k = ldnq_raise_read_int(node, "k", 0);
    ldnq_build_remove_attr(node, "k");
    return ldnq_raise_input_ints(raise, node, 1, "k", &k, 1, err);
}

/* ---- defaults and names ---------------------------------------------------------------- */

CONVERT(dft_20)
{
    int64_t axis = ldnq_raise_read_int(node, "axis", 1);
    ldnq_build_remove_attr(node, "axis");
    return ldnq_raise_input_int(raise, node, 2, "axis", axis, err);
}

CONVERT(grid_sample_20)
{
    if (ldnq_raise_attr_is(node, "mode", "bilinear"))
        return ldnq_build_string_attr(raise->model->arena, node, "mode", "linear", err);
    if (ldnq_raise_attr_is(node, "mode", "bicubic"))
        return ldnq_build_string_attr(raise->model->arena, node, "mode", "cubic", err);
    return LDNQ_OK;
}

CONVERT(roi_align_16)
{
    return ldnq_build_string_attr(raise->model->arena, node, "coordinate_transformation_mode",
                                  "output_half_pixel", err);
}

CONVERT(scatter_11)
{
    return set_op_type(raise, node, "ScatterElements", err);
}

CHECK(scan_9)
{
    (void)raise;
    (void)node;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "the Scan of opset 8, over a batch, is not converted");
}
