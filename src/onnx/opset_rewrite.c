/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "onnx/attrs.h"
#include "onnx/build.h"
#include "onnx/codec.h"
#include "onnx/opset_convert.h"

static enum ldnq_status set_node_input(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                       size_t input, const char *name, struct ldnq_error *err)
{
    return ldnq_build_set_name(raise->model->arena, &node->input, &node->n_input, input, name, err);
}

/* ---- Softmax, LogSoftmax, Hardmax ------------------------------------------------------- */

/* Some exporters declare only the shape after a final Identity. */
static int find_rank_after_identity(const struct ldnq_raise *raise, const char *name)
{
    const struct ldnq_name *entry = ldnq_names_find(&raise->reads, name);
    const Onnx__NodeProto *reader = entry ? entry->pointer : NULL;
    if (!reader || !ldnq_is_onnx_domain(reader->domain) || !ldnq_raise_has_output(reader, 0) ||
        strcmp(ldnq_or_empty(reader->op_type), "Identity") != 0)
        return LDNQ_RANK_UNKNOWN;
    return ldnq_scope_rank(raise->scope, reader->output[0]);
}

static int find_node_rank(const struct ldnq_raise *raise, const Onnx__NodeProto *node)
{
    int rank = ldnq_scope_rank(raise->scope, node->input[0]);
    if (rank < 0)
        rank = ldnq_scope_rank(raise->scope, node->output[0]);
    return rank < 0 ? find_rank_after_identity(raise, node->output[0]) : rank;
}

/* Works for any rank: Flatten, Softmax over the rows, Reshape back. */
static enum ldnq_status rewrite_as_matrix(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                          int64_t axis, struct ldnq_error *err)
{
    struct ldnq_arena *arena = raise->model->arena;
    Onnx__NodeProto *shape, *flat;
    const char *input = node->input[0], *result, *name;
    LDNQ_TRY(ldnq_raise_insert(raise, node, "Shape", "shape", input, NULL, &shape, err));
    LDNQ_TRY(ldnq_raise_insert(raise, node, "Flatten", "matrix", input, NULL, &flat, err));
    LDNQ_TRY(ldnq_build_int_attr(arena, flat, "axis", axis, err));
    LDNQ_TRY(set_node_input(raise, node, 0, flat->output[0], err));
    LDNQ_TRY(ldnq_build_int_attr(arena, node, "axis", -1, err));
    LDNQ_TRY(ldnq_raise_make_name(raise, node, "rows", &result, err));
    LDNQ_TRY(ldnq_raise_make_name(raise, node, "back", &name, err));
    const char *inputs[] = { result, shape->output[0] }, *output = node->output[0];
    Onnx__NodeProto *back = ldnq_build_node(arena, "Reshape", name, inputs, 2, &output, 1, err);
    if (!back)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_build_set_name(arena, &node->output, &node->n_output, 0, result, err));
    return ldnq_raise_add_after(raise, back, err);
}

/* Before opset 13 they flattened the input to a matrix whose rows hold all dimensions
 * from `axis` on. For the last axis both meanings are the same. */
CONVERT(softmax_13)
{
    int64_t axis = ldnq_raise_read_int(node, "axis", 1);
    if (!ldnq_raise_has_input(node, 0) || !ldnq_raise_has_output(node, 0))
        return LDNQ_OK;
    int rank = find_node_rank(raise, node);
    if (axis == -1 || (rank > 0 && axis == rank - 1))
        return ldnq_build_int_attr(raise->model->arena, node, "axis", axis, err);
    return rewrite_as_matrix(raise, node, axis, err);
}

/* ---- Upsample and Resize ---------------------------------------------------------------- */

CONVERT(upsample_9)
{
    const Onnx__AttributeProto *scales = ldnq_attr_find(node, "scales");
    if (!scales)
        return LDNQ_OK;
    LDNQ_TRY(
        ldnq_raise_input_floats(raise, node, 1, "scales", scales->floats, scales->n_floats, err));
    ldnq_build_remove_attr(node, "scales");
    return LDNQ_OK;
}

/* Resize of opset 11 has one more input before the scales, and names the coordinate
 * mode and the rounding that were implied before. */
static enum ldnq_status make_resize_11(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                       const char *nearest_mode, struct ldnq_error *err)
{
    struct ldnq_arena *arena = raise->model->arena;
    if (!ldnq_raise_has_input(node, 1))
        return LDNQ_OK;
    LDNQ_TRY(set_node_input(raise, node, 2, node->input[1], err));
    if (raise->target < 13) /* the region is optional from there on */
        LDNQ_TRY(ldnq_raise_input_floats(raise, node, 1, "roi", NULL, 0, err));
    else
        LDNQ_TRY(set_node_input(raise, node, 1, "", err));
    LDNQ_TRY(
        ldnq_build_string_attr(arena, node, "coordinate_transformation_mode", "asymmetric", err));
    return ldnq_build_string_attr(arena, node, "nearest_mode", nearest_mode, err);
}

/* An Upsample never scales down, so runtimes round down. */
CONVERT(upsample_10)
{
    node->op_type = ldnq_arena_strdup(raise->model->arena, "Resize", err);
    if (!node->op_type)
        return LDNQ_NOMEM;
    return raise->target >= 11 ? make_resize_11(raise, node, "floor", err) : LDNQ_OK;
}

struct resize_directions {
    bool known, up, down;
};

static struct resize_directions read_resize_directions(const struct ldnq_raise *raise,
                                                       const Onnx__NodeProto *node)
{
    struct resize_directions directions = { .known = false };
    struct ldnq_tensor *scales;
    const Onnx__TensorProto *proto =
        ldnq_raise_has_input(node, 1) ? ldnq_scope_constant(raise->scope, node->input[1]) : NULL;
    if (!proto || ldnq_codec_decode(proto, raise->scratch, &scales, NULL) != LDNQ_OK ||
        scales->dtype != LDNQ_FLOAT)
        return directions;
    directions.known = true;
    for (size_t i = 0; i < ldnq_tensor_count(scales); i++) {
        directions.up |= ((const float *)scales->data)[i] > 1;
        directions.down |= ((const float *)scales->data)[i] < 1;
    }
    return directions;
}

static bool is_nearest(const Onnx__NodeProto *node)
{
    return !ldnq_attr_find(node, "mode") || ldnq_raise_attr_is(node, "mode", "nearest");
}

/* Opset 10 leaves the rounding open. Runtimes round down when a scale enlarges and up
 * when it shrinks; opset 11 has one rounding for all axes. */
CHECK(resize_11)
{
    if (!is_nearest(node) || strcmp(node->op_type, "Upsample") == 0)
        return LDNQ_OK;
    struct resize_directions directions = read_resize_directions(raise, node);
    if (!directions.known)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "its scales are not constant, so that its rounding can't be told");
    if (directions.up && directions.down)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "it scales up and down at once, with two kinds of rounding");
    return LDNQ_OK;
}

CONVERT(resize_11)
{
    if (ldnq_attr_find(node, "coordinate_transformation_mode"))
        return LDNQ_OK;
    struct resize_directions directions = read_resize_directions(raise, node);
    return make_resize_11(raise, node, directions.down ? "ceil" : "floor", err);
}

CHECK(resize_13)
{
    (void)raise;
    if (!ldnq_raise_attr_is(node, "coordinate_transformation_mode", "tf_half_pixel_for_nn"))
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED,
                     "coordinate_transformation_mode=tf_half_pixel_for_nn is gone since opset 13");
}

/* Before opset 13 a Resize with sizes had an empty tensor of scales; now the input must
 * be left out. */
CONVERT(resize_13)
{
    return ldnq_raise_has_input(node, 3) ? set_node_input(raise, node, 2, "", err) : LDNQ_OK;
}

/* ---- GroupNormalization ------------------------------------------------------------------ */

/* values (G) -> (G,1) -> (G,C/G) -> (C) */
static enum ldnq_status repeat_per_channel(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                           size_t input, const char *sizes, struct ldnq_error *err)
{
    const int64_t one = 1, any = -1;
    const struct ldnq_shape list = { .rank = 1, .dim = { 1 } };
    const struct ldnq_tensor axes = { LDNQ_INT64, list, (void *)(uintptr_t)&one };
    const struct ldnq_tensor flat = { LDNQ_INT64, list, (void *)(uintptr_t)&any };
    const char *name;
    Onnx__NodeProto *last;
    LDNQ_TRY(ldnq_raise_add_constant(raise, node, "axes", &axes, &name, err));
    LDNQ_TRY(ldnq_raise_insert(raise, node, "Unsqueeze", "column", node->input[input], name, &last,
                               err));
    LDNQ_TRY(ldnq_raise_insert(raise, node, "Expand", "rows", last->output[0], sizes, &last, err));
    LDNQ_TRY(ldnq_raise_add_constant(raise, node, "flat", &flat, &name, err));
    LDNQ_TRY(
        ldnq_raise_insert(raise, node, "Reshape", "channels", last->output[0], name, &last, err));
    return set_node_input(raise, node, input, last->output[0], err);
}

/* Inserts nodes that compute [1, C/G] at run time, as the channels need not be declared. */
static enum ldnq_status insert_group_shape_nodes(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                                 const char **sizes, struct ldnq_error *err)
{
    struct ldnq_arena *arena = raise->model->arena;
    const int64_t one = 1, groups = ldnq_raise_read_int(node, "num_groups", 1);
    const struct ldnq_shape list = { .rank = 1, .dim = { 1 } };
    const struct ldnq_tensor first = { LDNQ_INT64, list, (void *)(uintptr_t)&one };
    const struct ldnq_tensor divisor = { LDNQ_INT64, list, (void *)(uintptr_t)&groups };
    const char *name;
    Onnx__NodeProto *channels, *each, *both;
    LDNQ_TRY(
        ldnq_raise_insert(raise, node, "Shape", "shape", node->input[0], NULL, &channels, err));
    LDNQ_TRY(ldnq_build_int_attr(arena, channels, "start", 1, err));
    LDNQ_TRY(ldnq_build_int_attr(arena, channels, "end", 2, err));
    LDNQ_TRY(ldnq_raise_add_constant(raise, node, "groups", &divisor, &name, err));
    LDNQ_TRY(ldnq_raise_insert(raise, node, "Div", "each", channels->output[0], name, &each, err));
    LDNQ_TRY(ldnq_raise_add_constant(raise, node, "one", &first, &name, err));
    LDNQ_TRY(ldnq_raise_insert(raise, node, "Concat", "sizes", name, each->output[0], &both, err));
    LDNQ_TRY(ldnq_build_int_attr(arena, both, "axis", 0, err));
    *sizes = both->output[0];
    return LDNQ_OK;
}

/* Scale and bias had one value per group before opset 21, and have one per channel since. */
CONVERT(group_normalization_21)
{
    const char *sizes;
    if (!ldnq_raise_has_input(node, 0) || !ldnq_raise_has_input(node, 1) ||
        !ldnq_raise_has_input(node, 2))
        return LDNQ_OK;
    LDNQ_TRY(insert_group_shape_nodes(raise, node, &sizes, err));
    LDNQ_TRY(repeat_per_channel(raise, node, 1, sizes, err));
    return repeat_per_channel(raise, node, 2, sizes, err);
}
