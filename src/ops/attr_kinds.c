/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/attr_kinds.h"

#include <string.h>

/* The kind of every attribute that ldnq reads, sorted by kind and name. A name is enough:
 * in ai.onnx, all attributes of one name have the same kind, with the exception of "value"
 * (Constant and ConstantOfShape). In com.microsoft, the parameters of one activation are numbers,
 * not lists. */
static const struct attr_kind {
    const char *name;
    enum ldnq_attr_kind kind;
} kinds[] = {
    { "align_corners", LDNQ_ATTR_INT },
    { "allowzero", LDNQ_ATTR_INT },
    { "antialias", LDNQ_ATTR_INT },
    { "axis", LDNQ_ATTR_INT },
    { "batch_axis", LDNQ_ATTR_INT },
    { "batch_dims", LDNQ_ATTR_INT },
    { "block_size", LDNQ_ATTR_INT },
    { "blocksize", LDNQ_ATTR_INT },
    { "ceil_mode", LDNQ_ATTR_INT },
    { "center_point_box", LDNQ_ATTR_INT },
    { "count_include_pad", LDNQ_ATTR_INT },
    { "detect_negative", LDNQ_ATTR_INT },
    { "detect_positive", LDNQ_ATTR_INT },
    { "dtype", LDNQ_ATTR_INT },
    { "end", LDNQ_ATTR_INT },
    { "exclude_outside", LDNQ_ATTR_INT },
    { "exclusive", LDNQ_ATTR_INT },
    { "fmod", LDNQ_ATTR_INT },
    { "group", LDNQ_ATTR_INT },
    { "hidden_size", LDNQ_ATTR_INT },
    { "ignore_index", LDNQ_ATTR_INT },
    { "input_forget", LDNQ_ATTR_INT },
    { "interleaved", LDNQ_ATTR_INT },
    { "is_causal", LDNQ_ATTR_INT },
    { "k", LDNQ_ATTR_INT },
    { "keepdims", LDNQ_ATTR_INT },
    { "kv_num_heads", LDNQ_ATTR_INT },
    { "largest", LDNQ_ATTR_INT },
    { "layout", LDNQ_ATTR_INT },
    { "linear_before_reset", LDNQ_ATTR_INT },
    { "noop_with_empty_axes", LDNQ_ATTR_INT },
    { "num_groups", LDNQ_ATTR_INT },
    { "num_heads", LDNQ_ATTR_INT },
    { "num_outputs", LDNQ_ATTR_INT },
    { "num_scan_inputs", LDNQ_ATTR_INT },
    { "output_datatype", LDNQ_ATTR_INT },
    { "output_dtype", LDNQ_ATTR_INT },
    { "output_height", LDNQ_ATTR_INT },
    { "output_width", LDNQ_ATTR_INT },
    { "p", LDNQ_ATTR_INT },
    { "periodic", LDNQ_ATTR_INT },
    { "q_num_heads", LDNQ_ATTR_INT },
    { "qk_matmul_output_mode", LDNQ_ATTR_INT },
    { "reverse", LDNQ_ATTR_INT },
    { "rotary_embedding_dim", LDNQ_ATTR_INT },
    { "sampling_ratio", LDNQ_ATTR_INT },
    { "saturate", LDNQ_ATTR_INT },
    { "select_last_index", LDNQ_ATTR_INT },
    { "size", LDNQ_ATTR_INT },
    { "softmax_precision", LDNQ_ATTR_INT },
    { "sorted", LDNQ_ATTR_INT },
    { "spatial", LDNQ_ATTR_INT },
    { "start", LDNQ_ATTR_INT },
    { "storage_order", LDNQ_ATTR_INT },
    { "time_axis", LDNQ_ATTR_INT },
    { "to", LDNQ_ATTR_INT },
    { "training_mode", LDNQ_ATTR_INT },
    { "transA", LDNQ_ATTR_INT },
    { "transB", LDNQ_ATTR_INT },
    { "transBatchA", LDNQ_ATTR_INT },
    { "transBatchB", LDNQ_ATTR_INT },
    { "upper", LDNQ_ATTR_INT },
    { "alpha", LDNQ_ATTR_FLOAT },
    { "beta", LDNQ_ATTR_FLOAT },
    { "bias", LDNQ_ATTR_FLOAT },
    { "clip", LDNQ_ATTR_FLOAT },
    { "cubic_coeff_a", LDNQ_ATTR_FLOAT },
    { "epsilon", LDNQ_ATTR_FLOAT },
    { "extrapolation_value", LDNQ_ATTR_FLOAT },
    { "gamma", LDNQ_ATTR_FLOAT },
    { "lambd", LDNQ_ATTR_FLOAT },
    { "max", LDNQ_ATTR_FLOAT },
    { "min", LDNQ_ATTR_FLOAT },
    { "momentum", LDNQ_ATTR_FLOAT },
    { "scale", LDNQ_ATTR_FLOAT },
    { "softcap", LDNQ_ATTR_FLOAT },
    { "spatial_scale", LDNQ_ATTR_FLOAT },
    { "activation", LDNQ_ATTR_STRING },
    { "approximate", LDNQ_ATTR_STRING },
    { "auto_pad", LDNQ_ATTR_STRING },
    { "coordinate_transformation_mode", LDNQ_ATTR_STRING },
    { "direction", LDNQ_ATTR_STRING },
    { "equation", LDNQ_ATTR_STRING },
    { "mode", LDNQ_ATTR_STRING },
    { "nearest_mode", LDNQ_ATTR_STRING },
    { "padding_mode", LDNQ_ATTR_STRING },
    { "reduction", LDNQ_ATTR_STRING },
    { "axes", LDNQ_ATTR_INTS },
    { "dilations", LDNQ_ATTR_INTS },
    { "ends", LDNQ_ATTR_INTS },
    { "kernel_shape", LDNQ_ATTR_INTS },
    { "output_padding", LDNQ_ATTR_INTS },
    { "output_shape", LDNQ_ATTR_INTS },
    { "pads", LDNQ_ATTR_INTS },
    { "perm", LDNQ_ATTR_INTS },
    { "scan_input_axes", LDNQ_ATTR_INTS },
    { "scan_input_directions", LDNQ_ATTR_INTS },
    { "scan_output_axes", LDNQ_ATTR_INTS },
    { "scan_output_directions", LDNQ_ATTR_INTS },
    { "split", LDNQ_ATTR_INTS },
    { "starts", LDNQ_ATTR_INTS },
    { "strides", LDNQ_ATTR_INTS },
    { "activation_alpha", LDNQ_ATTR_FLOATS },
    { "activation_params", LDNQ_ATTR_FLOATS },
    { "activation_beta", LDNQ_ATTR_FLOATS },
    { "scales", LDNQ_ATTR_FLOATS },
    { "activations", LDNQ_ATTR_STRINGS },
    { "body", LDNQ_ATTR_GRAPH },
    { "else_branch", LDNQ_ATTR_GRAPH },
    { "then_branch", LDNQ_ATTR_GRAPH },
};

static const char *const kind_names[] = {
    [LDNQ_ATTR_FLOAT] = "a float",         [LDNQ_ATTR_INT] = "an int",
    [LDNQ_ATTR_STRING] = "a string",       [LDNQ_ATTR_TENSOR] = "a tensor",
    [LDNQ_ATTR_FLOATS] = "floats",         [LDNQ_ATTR_INTS] = "ints",
    [LDNQ_ATTR_STRINGS] = "strings",       [LDNQ_ATTR_GRAPH] = "a graph",
    [LDNQ_ATTR_OTHER] = "of another kind",
};

static enum ldnq_attr_kind find_kind(const struct ldnq_node *node, const struct attr_kind *row)
{
    const bool is_parameter =
        strcmp(row->name, "activation_alpha") == 0 || strcmp(row->name, "activation_beta") == 0;
    return is_parameter && strcmp(node->domain, "com.microsoft") == 0 ? LDNQ_ATTR_FLOAT : row->kind;
}

enum ldnq_status ldnq_op_check_attr_kinds(const struct ldnq_node *node, struct ldnq_error *err)
{
    for (size_t i = 0; i < node->attr_count; i++) {
        const struct ldnq_attr *attr = &node->attrs[i];
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            if (strcmp(attr->name, kinds[k].name) == 0 && attr->kind != find_kind(node, &kinds[k]))
                return ldnq_fail(err, LDNQ_MODEL, "its attribute '%s' is %s where it should be %s",
                                 attr->name, kind_names[attr->kind],
                                 kind_names[find_kind(node, &kinds[k])]);
    }
    return LDNQ_OK;
}
