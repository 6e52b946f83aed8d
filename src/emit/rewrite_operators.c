/* SPDX-License-Identifier: Apache-2.0 */
#include "emit/rewrite_operators.h"

#include <math.h>
#include <string.h>

#include "onnx/edit.h"
#include "ops/norm/batchnormalization_training.h"
#include "ops/op.h"

struct operator_rewriter {
    struct ldnq_model *model;
    const struct ldnq_graph *graph;
    struct ldnq_arena *arena;
    size_t *readers; /* by value: number of readers; being a graph output counts as one */
    const struct ldnq_node **reader; /* by value: the last node that reads it */
    bool changed;
};

/* ---- what is in the graph ----------------------------------------------------------------- */

static enum ldnq_status record_readers(struct operator_rewriter *rewriter, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = rewriter->graph;
    rewriter->readers =
        ldnq_arena_alloc(rewriter->arena, graph->value_count, sizeof *rewriter->readers, err);
    rewriter->reader =
        ldnq_arena_alloc(rewriter->arena, graph->value_count, sizeof *rewriter->reader, err);
    if (!rewriter->readers || !rewriter->reader)
        return LDNQ_NOMEM;
    for (size_t v = 0; v < graph->value_count; v++)
        rewriter->readers[v] = graph->values[v]->is_output;
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        for (size_t i = 0; i < node->input_count; i++)
            if (node->inputs[i]) {
                rewriter->readers[node->inputs[i]->index]++;
                rewriter->reader[node->inputs[i]->index] = node;
            }
        for (size_t c = 0; c < node->capture_count; c++)
            rewriter->readers[node->captures[c]->index]++;
    }
    return LDNQ_OK;
}

/* Whether nodes of the main graph can read the value by its name. */
static bool is_in_main_graph(const struct ldnq_value *value)
{
    return !value->constant && (!value->producer || value->producer->origin);
}

static const struct ldnq_tensor *find_constant(const struct ldnq_node *node, size_t input)
{
    const struct ldnq_value *value = input < node->input_count ? node->inputs[input] : NULL;
    const bool is_float =
        value && value->constant && value->constant->dtype == LDNQ_FLOAT && !value->half;
    return is_float ? value->constant : NULL;
}

/* The node that alone reads the first output of the node, and nothing was merged into it. */
static const struct ldnq_node *find_only_reader(const struct operator_rewriter *rewriter,
                                                const struct ldnq_node *node)
{
    const size_t v = node->outputs[0]->index;
    return rewriter->readers[v] == 1 && !node->outputs[0]->is_output ? rewriter->reader[v] : NULL;
}

/* The constant that an Add adds to its other input, with one element for each of `channels`
 * entries of the output's axis `axis` (negative: from the end) or one for all of them. */
static const struct ldnq_tensor *find_added_channels(const struct ldnq_node *add, int64_t channels,
                                                     int axis)
{
    const size_t input = find_constant(add, 0) ? 0 : 1;
    const struct ldnq_tensor *added = find_constant(add, input);
    const struct ldnq_shape *shape = &add->outputs[0]->shape;
    if (!added || find_constant(add, 1 - input) || shape->rank < 1 ||
        added->shape.rank > shape->rank)
        return NULL;
    axis = axis < 0 ? shape->rank + axis : axis;
    const size_t count = ldnq_tensor_count(added);
    const int at = axis - (shape->rank - added->shape.rank);
    if (count == 1)
        return added;
    return count == (size_t)channels && at >= 0 && added->shape.dim[at] == channels ? added : NULL;
}

static enum ldnq_status add_floats(struct operator_rewriter *rewriter, const char *base,
                                   const char *suffix, const struct ldnq_shape *shape, float *data,
                                   const char **name, struct ldnq_error *err)
{
    const struct ldnq_tensor tensor = { .dtype = LDNQ_FLOAT, .shape = *shape, .data = data };
    return ldnq_edit_add_named(rewriter->model, base, suffix, &tensor, name, err);
}

/* ---- an Add that is a bias ------------------------------------------------------------------ */

/* The bias of the layer, if it has one, plus what the Add adds. */
static enum ldnq_status add_bias(struct operator_rewriter *rewriter, const struct ldnq_node *layer,
                                 const struct ldnq_tensor *old, const struct ldnq_tensor *added,
                                 int64_t channels, const char **name, struct ldnq_error *err)
{
    const struct ldnq_shape shape = { .rank = 1, .dim = { channels } };
    float *bias = ldnq_arena_alloc(rewriter->arena, (size_t)channels, sizeof *bias, err);
    if (!bias)
        return LDNQ_NOMEM;
    const float *to_add = added->data;
    const bool is_scalar = ldnq_tensor_count(added) == 1;
    for (int64_t c = 0; c < channels; c++)
        bias[c] = (old ? ((const float *)old->data)[c] : 0.0f) + to_add[is_scalar ? 0 : c];
    return add_floats(rewriter, layer->label, "_bias", &shape, bias, name, err);
}

/* The layer computes what its only reader did. */
static enum ldnq_status replace_reader(struct operator_rewriter *rewriter,
                                       const struct ldnq_node *layer,
                                       const struct ldnq_node *reader, struct ldnq_error *err)
{
    ldnq_edit_remove_node(rewriter->model, reader->origin);
    rewriter->changed = true;
    return ldnq_edit_set_output(rewriter->model, layer->origin, 0, reader->outputs[0]->name, err);
}

static enum ldnq_status rewrite_conv_bias(struct operator_rewriter *rewriter,
                                          const struct ldnq_node *conv, struct ldnq_error *err)
{
    const struct ldnq_node *add = find_only_reader(rewriter, conv);
    const struct ldnq_tensor *weight = find_constant(conv, 1), *old = find_constant(conv, 2);
    const bool has_bias = conv->input_count > 2 && conv->inputs[2];
    const char *name;
    if (!ldnq_is_file_node(add, "Add") || add->merged_count || conv->merged_count || !weight ||
        (has_bias && !old))
        return LDNQ_OK;
    const int64_t channels = weight->shape.dim[0];
    const struct ldnq_tensor *added = find_added_channels(add, channels, 1);
    if (!added)
        return LDNQ_OK;
    LDNQ_TRY(add_bias(rewriter, conv, old, added, channels, &name, err));
    LDNQ_TRY(ldnq_edit_set_input(rewriter->model, conv->origin, 2, name, err));
    return replace_reader(rewriter, conv, add, err);
}

/* The target of the Reshape after a Gemm: the leading axes of the product's input, at most one
 * of them unknown, and the channels. */
static bool find_product_shape(const struct ldnq_shape *input, int64_t channels, int64_t *shape)
{
    size_t unknown = 0;
    for (int axis = 0; axis < input->rank - 1; axis++) {
        const bool is_known = !ldnq_is_symbol(input->dim[axis]);
        shape[axis] = is_known ? input->dim[axis] : -1;
        unknown += !is_known;
        /* 0 would copy an axis. */
        if (is_known && input->dim[axis] < 1)
            return false;
    }
    shape[input->rank - 1] = channels;
    return unknown <= 1;
}

/* Inserts a node that computes `output` from `input`, after the node `after`; before the node
 * `of` where that is NULL. Its name begins with that of `of`. */
static enum ldnq_status insert_rewritten_node(struct operator_rewriter *rewriter,
                                              const struct ldnq_node *of, const void *after,
                                              const char *op_type, const char *const *inputs,
                                              size_t input_count, const char *output,
                                              const struct ldnq_edit_int_attr *attr,
                                              struct ldnq_error *err)
{
    const char *name, *suffix = ldnq_arena_printf(rewriter->arena, err, "_%s", op_type);
    if (!suffix)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_edit_unique_name(rewriter->model, of->label, suffix, &name, err));
    return after ? ldnq_edit_append_node(rewriter->model, after, op_type, name, inputs, input_count,
                                         output, attr, attr != NULL, err)
                 : ldnq_edit_insert_node(rewriter->model, of->origin, op_type, name, inputs,
                                         input_count, output, attr, attr != NULL, err);
}

static enum ldnq_status insert_reshape(struct operator_rewriter *rewriter,
                                       const struct ldnq_node *of, const void *after,
                                       const char *input, const char *output, int64_t *dims,
                                       int rank, struct ldnq_error *err)
{
    const struct ldnq_tensor shape = { .dtype = LDNQ_INT64,
                                       .shape = { .rank = 1, .dim = { rank } },
                                       .data = dims };
    const char *inputs[2] = { input, NULL };
    LDNQ_TRY(ldnq_edit_add_named(rewriter->model, of->label, "_shape", &shape, &inputs[1], err));
    return insert_rewritten_node(rewriter, of, after, "Reshape", inputs, 2, output, NULL, err);
}

static enum ldnq_status insert_transpose(struct operator_rewriter *rewriter,
                                         const struct ldnq_node *of, const void *after,
                                         const char *input, const char *output, const int64_t *perm,
                                         size_t rank, struct ldnq_error *err)
{
    const struct ldnq_edit_int_attr attr = { .name = "perm", .values = perm, .count = rank };
    return insert_rewritten_node(rewriter, of, after, "Transpose", &input, 1, output, &attr, err);
}

/* The layer writes *value in place of what `written` wrote, and its elements will be moved to
 * where that was. A clamp that alone reads it stays right after the layer, which it joins later.
 * *last is the node to move elements after, and *value what it writes. */
static enum ldnq_status move_clamp_to_layer(struct operator_rewriter *rewriter,
                                            const struct ldnq_node *layer,
                                            const struct ldnq_node *written,
                                            const struct ldnq_node **last, const char **value,
                                            const char **output, struct ldnq_error *err)
{
    const struct ldnq_node *clamp = find_only_reader(rewriter, written);
    const char *clamped;
    *last = layer;
    *output = written->outputs[0]->name;
    if ((!ldnq_is_file_node(clamp, "Relu") && !ldnq_is_file_node(clamp, "Clip")) ||
        clamp->inputs[0] != written->outputs[0])
        return LDNQ_OK;
    LDNQ_TRY(ldnq_edit_unique_name(rewriter->model, clamp->label, "_moved", &clamped, err));
    LDNQ_TRY(ldnq_edit_set_input(rewriter->model, clamp->origin, 0, *value, err));
    LDNQ_TRY(ldnq_edit_set_output(rewriter->model, clamp->origin, 0, clamped, err));
    *last = clamp;
    *value = clamped;
    *output = clamp->outputs[0]->name;
    return LDNQ_OK;
}

static enum ldnq_status rewrite_product_bias(struct operator_rewriter *rewriter,
                                             const struct ldnq_node *product,
                                             struct ldnq_error *err)
{
    const struct ldnq_node *add = find_only_reader(rewriter, product);
    const struct ldnq_tensor *weight = find_constant(product, 1);
    const struct ldnq_shape *x = &product->inputs[0]->shape;
    int64_t rows[2] = { -1, 0 }, dims[LDNQ_MAX_RANK];
    const char *inputs[3] = { NULL, NULL, NULL }, *moved, *output;
    const struct ldnq_node *last;
    if (!ldnq_is_file_node(add, "Add") || add->merged_count ||
        !is_in_main_graph(product->inputs[0]) || !weight || weight->shape.rank != 2 ||
        x->rank < 2 || add->outputs[0]->shape.rank != x->rank)
        return LDNQ_OK;
    rows[1] = weight->shape.dim[0];
    const int64_t channels = weight->shape.dim[1];
    const struct ldnq_tensor *added = find_added_channels(add, channels, -1);
    if (!added || !find_product_shape(x, channels, dims))
        return LDNQ_OK;
    LDNQ_TRY(add_bias(rewriter, product, NULL, added, channels, &inputs[2], err));
    if (x->rank == 2) {
        LDNQ_TRY(ldnq_edit_replace_node(rewriter->model, product->origin, "Gemm", inputs, 3, NULL,
                                        0, err));
        return replace_reader(rewriter, product, add, err);
    }
    LDNQ_TRY(ldnq_edit_unique_name(rewriter->model, product->label, "_rows", &inputs[0], err));
    LDNQ_TRY(ldnq_edit_unique_name(rewriter->model, product->label, "_product", &moved, err));
    LDNQ_TRY(
        insert_reshape(rewriter, product, NULL, product->inputs[0]->name, inputs[0], rows, 2, err));
    LDNQ_TRY(
        ldnq_edit_replace_node(rewriter->model, product->origin, "Gemm", inputs, 3, NULL, 0, err));
    ldnq_edit_remove_node(rewriter->model, add->origin);
    LDNQ_TRY(ldnq_edit_set_output(rewriter->model, product->origin, 0, moved, err));
    LDNQ_TRY(move_clamp_to_layer(rewriter, product, add, &last, &moved, &output, err));
    rewriter->changed = true;
    return insert_reshape(rewriter, product, last->origin, moved, output, dims, x->rank, err);
}

/* ---- means ---------------------------------------------------------------------------------- */

/* Whether the axes of a ReduceMean are all but the first two. */
static bool reduces_spatial_axes(const struct ldnq_node *node, int rank)
{
    size_t count = 0;
    const int64_t *axes = ldnq_attr_ints(node, "axes", &count);
    const struct ldnq_value *value = node->input_count > 1 ? node->inputs[1] : NULL;
    if (value) {
        if (!value->constant || value->constant->dtype != LDNQ_INT64)
            return false;
        axes = value->constant->data;
        count = ldnq_tensor_count(value->constant);
    }
    if (!axes || rank < 3 || count != (size_t)rank - 2)
        return false;
    unsigned seen = 0;
    for (size_t i = 0; i < count; i++) {
        const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (axis < 2 || axis >= rank)
            return false;
        seen |= 1u << axis;
    }
    return seen == (1u << rank) - 4u;
}

static enum ldnq_status rewrite_mean(struct operator_rewriter *rewriter,
                                     const struct ldnq_node *mean, struct ldnq_error *err)
{
    const struct ldnq_edit_int_attr axis = { .name = "axis", .value = 1 };
    const char *input = NULL, *output;
    if (mean->inputs[0]->dtype != LDNQ_FLOAT || mean->inputs[0]->constant ||
        !reduces_spatial_axes(mean, mean->inputs[0]->shape.rank))
        return LDNQ_OK;
    const bool keeps = ldnq_attr_int(mean, "keepdims", 1) != 0;
    LDNQ_TRY(ldnq_edit_replace_node(rewriter->model, mean->origin, "GlobalAveragePool", &input, 1,
                                    NULL, 0, err));
    rewriter->changed = true;
    if (keeps)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_edit_unique_name(rewriter->model, mean->label, "_pooled", &output, err));
    LDNQ_TRY(ldnq_edit_set_output(rewriter->model, mean->origin, 0, output, err));
    const char *const flattened[] = { output };
    return insert_rewritten_node(rewriter, mean, mean->origin, "Flatten", flattened, 1,
                                 mean->outputs[0]->name, &axis, err);
}

/* ---- transposed convolutions ------------------------------------------------------------------
 */

static bool has_ints(const struct ldnq_node *node, const char *name, int64_t value)
{
    size_t count;
    const int64_t *ints = ldnq_attr_ints(node, name, &count);
    for (size_t i = 0; ints && i < count; i++)
        if (ints[i] != value)
            return false;
    return true;
}

/* k where the node is a plain ConvTranspose over two axes with a kernel of k x k and stride k, so
 * that no two output windows overlap; 0: it is another. */
static int64_t find_window_side(const struct ldnq_node *node, const struct ldnq_tensor *weight)
{
    size_t count;
    const int64_t side = weight->shape.rank == 4 ? weight->shape.dim[2] : 0;
    const int64_t *strides = ldnq_attr_ints(node, "strides", &count);
    const bool is_plain = ldnq_attr_int(node, "group", 1) == 1 && has_ints(node, "pads", 0) &&
                          has_ints(node, "output_padding", 0) && has_ints(node, "dilations", 1) &&
                          !ldnq_node_find_attr(node, "output_shape") &&
                          strcmp(ldnq_attr_string(node, "auto_pad", "NOTSET"), "NOTSET") == 0;
    return is_plain && side > 1 && weight->shape.dim[3] == side && strides && count == 2 &&
                   strides[0] == side && strides[1] == side
               ? side
               : 0;
}

/* The weight (k k M, C, 1, 1) of the Conv for a ConvTranspose of (C, M, k, k), and the bias. */
static enum ldnq_status add_window_weights(struct operator_rewriter *rewriter,
                                           const struct ldnq_node *node,
                                           const struct ldnq_tensor *weight,
                                           const struct ldnq_tensor *bias, const char **names,
                                           struct ldnq_error *err)
{
    const size_t inputs = (size_t)weight->shape.dim[0], outputs = (size_t)weight->shape.dim[1];
    const size_t window = (size_t)(weight->shape.dim[2] * weight->shape.dim[3]);
    const struct ldnq_shape shape = {
        .rank = 4, .dim = { (int64_t)(outputs * window), (int64_t)inputs, 1, 1 }
    };
    const struct ldnq_shape bias_shape = { .rank = 1, .dim = { (int64_t)(outputs * window) } };
    float *to = ldnq_arena_alloc(rewriter->arena, inputs * outputs * window, sizeof *to, err);
    float *repeated = ldnq_arena_alloc(rewriter->arena, outputs * window, sizeof *repeated, err);
    if (!to || !repeated)
        return LDNQ_NOMEM;
    const float *from = weight->data;
    for (size_t c = 0; c < inputs; c++)
        for (size_t m = 0; m < outputs; m++)
            for (size_t tap = 0; tap < window; tap++)
                to[(tap * outputs + m) * inputs + c] = from[(c * outputs + m) * window + tap];
    for (size_t row = 0; row < outputs * window; row++)
        repeated[row] = bias ? ((const float *)bias->data)[row % outputs] : 0.0f;
    LDNQ_TRY(add_floats(rewriter, node->inputs[1]->name, "_windows", &shape, to, &names[0], err));
    return add_floats(rewriter, node->label, "_bias", &bias_shape, repeated, &names[1], err);
}

/* Rearranges (N, k k M, H, W) to (N, M, H k, W k). With the channels last, rows of k M elements
 * stay together, which is four times as fast as ONNX Runtime's DepthToSpace; it cancels the outer
 * two transposes with those around its convolutions. */
static enum ldnq_status insert_depth_to_space(struct operator_rewriter *rewriter,
                                              const struct ldnq_node *node, const void *after,
                                              const char *input, const char *output, int64_t side,
                                              struct ldnq_error *err)
{
    static const int64_t channels_last[] = { 0, 2, 3, 1 }, channels_first[] = { 0, 3, 1, 2 };
    static const int64_t rows_together[] = { 0, 1, 3, 2, 4 };
    const struct ldnq_shape *x = &node->inputs[0]->shape;
    const int64_t outputs = node->outputs[0]->shape.dim[1];
    int64_t windows[] = { -1, x->dim[2], x->dim[3], side, side * outputs };
    int64_t plane[] = { -1, x->dim[2] * side, x->dim[3] * side, outputs };
    const char *last, *split, *joined, *enlarged;
    LDNQ_TRY(ldnq_edit_unique_name(rewriter->model, node->label, "_last", &last, err));
    LDNQ_TRY(ldnq_edit_unique_name(rewriter->model, node->label, "_split", &split, err));
    LDNQ_TRY(ldnq_edit_unique_name(rewriter->model, node->label, "_joined", &joined, err));
    LDNQ_TRY(ldnq_edit_unique_name(rewriter->model, node->label, "_enlarged", &enlarged, err));
    /* Each goes right after the same node: the last one comes first. */
    LDNQ_TRY(insert_transpose(rewriter, node, after, enlarged, output, channels_first, 4, err));
    LDNQ_TRY(insert_reshape(rewriter, node, after, joined, enlarged, plane, 4, err));
    LDNQ_TRY(insert_transpose(rewriter, node, after, split, joined, rows_together, 5, err));
    LDNQ_TRY(insert_reshape(rewriter, node, after, last, split, windows, 5, err));
    return insert_transpose(rewriter, node, after, input, last, channels_last, 4, err);
}

static bool has_known_plane(const struct ldnq_shape *x)
{
    return x->rank == 4 && !ldnq_is_symbol(x->dim[2]) && !ldnq_is_symbol(x->dim[3]) &&
           x->dim[2] > 0 && x->dim[3] > 0;
}

static enum ldnq_status rewrite_transposed_conv(struct operator_rewriter *rewriter,
                                                const struct ldnq_node *node,
                                                struct ldnq_error *err)
{
    const struct ldnq_tensor *weight = find_constant(node, 1), *bias = find_constant(node, 2);
    const bool has_bias = node->input_count > 2 && node->inputs[2];
    const char *inputs[3] = { NULL, NULL, NULL }, *moved, *output;
    const struct ldnq_node *last;
    if (!weight || (has_bias && !bias) || node->inputs[0]->constant ||
        !has_known_plane(&node->inputs[0]->shape) || !find_window_side(node, weight))
        return LDNQ_OK;
    const int64_t side = find_window_side(node, weight);
    LDNQ_TRY(add_window_weights(rewriter, node, weight, bias, &inputs[1], err));
    LDNQ_TRY(ldnq_edit_unique_name(rewriter->model, node->label, "_windows", &moved, err));
    LDNQ_TRY(
        ldnq_edit_replace_node(rewriter->model, node->origin, "Conv", inputs, 3, NULL, 0, err));
    for (size_t i = 0; i < node->merged_count; i++)
        ldnq_edit_remove_node(rewriter->model, node->merged[i]->origin);
    LDNQ_TRY(ldnq_edit_set_output(rewriter->model, node->origin, 0, moved, err));
    LDNQ_TRY(move_clamp_to_layer(rewriter, node, node, &last, &moved, &output, err));
    rewriter->changed = true;
    return insert_depth_to_space(rewriter, node, last->origin, moved, output, side, err);
}

/* ---- normalizations -----------------------------------------------------------------------------
 */

static enum ldnq_status rewrite_norm(struct operator_rewriter *rewriter,
                                     const struct ldnq_node *norm, struct ldnq_error *err)
{
    const struct ldnq_tensor *parameters[4];
    const struct ldnq_shape *x = &norm->inputs[0]->shape;
    const char *inputs[3] = { NULL, NULL, NULL };
    if (x->rank < 3 || x->rank > 5 || ldnq_is_symbol(x->dim[1]) || norm->inputs[0]->constant ||
        ldnq_batchnorm_is_training(norm))
        return LDNQ_OK;
    const size_t channels = (size_t)x->dim[1];
    for (size_t i = 0; i < 4; i++) {
        parameters[i] = find_constant(norm, i + 1);
        if (!parameters[i] || ldnq_tensor_count(parameters[i]) != channels)
            return LDNQ_OK;
    }
    float *weight = ldnq_arena_alloc(rewriter->arena, channels, sizeof *weight, err);
    float *bias = ldnq_arena_alloc(rewriter->arena, channels, sizeof *bias, err);
    if (!weight || !bias)
        return LDNQ_NOMEM;
    const float *scale = parameters[0]->data, *shift = parameters[1]->data;
    const float *mean = parameters[2]->data, *variance = parameters[3]->data;
    const double epsilon = (double)ldnq_attr_float(norm, "epsilon", 1e-5f);
    for (size_t c = 0; c < channels; c++) {
        const double factor = (double)scale[c] / sqrt((double)variance[c] + epsilon);
        weight[c] = (float)factor;
        bias[c] = (float)((double)shift[c] - (double)mean[c] * factor);
        if (!isfinite(weight[c]) || !isfinite(bias[c]))
            return LDNQ_OK;
    }
    const struct ldnq_shape bias_shape = { .rank = 1, .dim = { (int64_t)channels } };
    struct ldnq_shape shape = { .rank = x->rank, .dim = { (int64_t)channels } };
    for (int axis = 1; axis < x->rank; axis++)
        shape.dim[axis] = 1;
    const struct ldnq_edit_int_attr group = { .name = "group", .value = (int64_t)channels };
    LDNQ_TRY(add_floats(rewriter, norm->label, "_weight", &shape, weight, &inputs[1], err));
    LDNQ_TRY(add_floats(rewriter, norm->label, "_bias", &bias_shape, bias, &inputs[2], err));
    rewriter->changed = true;
    return ldnq_edit_replace_node(rewriter->model, norm->origin, "Conv", inputs, 3, &group, 1, err);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static enum ldnq_status rewrite_nodes(struct operator_rewriter *rewriter, unsigned wanted,
                                      struct ldnq_error *err)
{
    static const struct {
        const char *op_type;
        unsigned rewrite;
        enum ldnq_status (*apply)(struct operator_rewriter *, const struct ldnq_node *,
                                  struct ldnq_error *);
    } table[] = {
        { "Conv", LDNQ_REWRITES_BIAS, rewrite_conv_bias },
        { "MatMul", LDNQ_REWRITES_BIAS, rewrite_product_bias },
        { "ReduceMean", LDNQ_REWRITES_MEAN, rewrite_mean },
        { "ConvTranspose", LDNQ_REWRITES_CONV_TRANSPOSE, rewrite_transposed_conv },
        { "BatchNormalization", LDNQ_REWRITES_NORM, rewrite_norm },
    };
    LDNQ_TRY(record_readers(rewriter, err));
    for (size_t n = 0; n < rewriter->graph->node_count; n++)
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            if ((wanted & table[i].rewrite) &&
                ldnq_is_file_node(rewriter->graph->nodes[n], table[i].op_type)) {
                LDNQ_TRY(table[i].apply(rewriter, rewriter->graph->nodes[n], err));
                break;
            }
    return LDNQ_OK;
}

enum ldnq_status ldnq_emit_rewrite_operators(struct ldnq_model *model,
                                             const struct ldnq_graph *graph,
                                             const struct ldnq_target *target, bool *changed,
                                             struct ldnq_error *err)
{
    struct operator_rewriter rewriter = { .model = model, .graph = graph };
    *changed = false;
    if (!target->rewrites)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&rewriter.arena, err));
    const enum ldnq_status status = rewrite_nodes(&rewriter, target->rewrites, err);
    ldnq_arena_destroy(rewriter.arena);
    *changed = rewriter.changed;
    return status;
}
