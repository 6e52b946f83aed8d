/* SPDX-License-Identifier: Apache-2.0 */
/* padding.c: merges a Pad with zeros into the convolution after it.
 *
 * Exporters write a Pad where the padding differs between the two sides. As a node of its
 * own it costs a pass over memory, and a larger value that is live between layers.
 */
#include "passes/passes.h"

#include <string.h>

#include "ops/op.h"

/* The inputs of Pad since opset 11. */
enum { X, PADS, VALUE, AXES };

/* More than any network needs, and no sum of two overflows. */
#define MAX_PADDING ((int64_t)1 << 20)

static const struct ldnq_tensor *find_constant_input(const struct ldnq_node *node, size_t input)
{
    const struct ldnq_value *value = input < node->input_count ? node->inputs[input] : NULL;
    return value ? value->constant : NULL;
}

static bool has_input(const struct ldnq_node *node, size_t input)
{
    return input < node->input_count && node->inputs[input];
}

static bool fills_with_zeros(const struct ldnq_node *pad)
{
    if (strcmp(ldnq_attr_string(pad, "mode", "constant"), "constant") != 0 ||
        ldnq_attr_float(pad, "value", 0.0f) != 0.0f || has_input(pad, AXES))
        return false;
    if (!has_input(pad, VALUE))
        return true;
    const struct ldnq_tensor *value = find_constant_input(pad, VALUE);
    return value && value->dtype == LDNQ_FLOAT && ldnq_tensor_count(value) == 1 &&
           *(const float *)value->data == 0.0f;
}

/* The pads of all axes: all begins, then all ends. NULL unless they are constant. */
static const int64_t *find_pads(const struct ldnq_node *pad, size_t *count)
{
    const struct ldnq_tensor *tensor = find_constant_input(pad, PADS);
    if (!tensor)
        return ldnq_attr_ints(pad, "pads", count);
    *count = ldnq_tensor_count(tensor);
    return tensor->dtype == LDNQ_INT64 ? tensor->data : NULL;
}

/* Whether batch and channels are not padded, and no pad is negative. */
static bool are_spatial_pads(const int64_t *pads, size_t rank)
{
    for (size_t i = 0; i < 2 * rank; i++)
        if (pads[i] < 0 || pads[i] > MAX_PADDING || (i % rank < 2 && pads[i] != 0))
            return false;
    return true;
}

/* Whether the convolution has explicit pads, for as many axes. */
static bool has_explicit_pads(const struct ldnq_node *conv, size_t axes)
{
    size_t count;
    if (ldnq_attr_ints(conv, "pads", &count) && count != 2 * axes)
        return false;
    return strcmp(ldnq_attr_string(conv, "auto_pad", "NOTSET"), "NOTSET") == 0;
}

/* Adds the pads of the Pad to those of the convolution. */
static enum ldnq_status add_pads_to_convolution(const struct ldnq_graph *graph,
                                                struct ldnq_node *conv, const int64_t *pads,
                                                size_t rank, struct ldnq_error *err)
{
    size_t axes = rank - 2, count, kept = 0;
    const int64_t *own = ldnq_attr_ints(conv, "pads", &count);
    int64_t *sums = ldnq_arena_alloc(graph->arena, 2 * axes, sizeof *sums, err);
    struct ldnq_attr *attrs =
        ldnq_arena_alloc(graph->arena, conv->attr_count + 1, sizeof *attrs, err);
    if (!sums || !attrs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < axes; i++) {
        sums[i] = pads[2 + i] + (own ? own[i] : 0);
        sums[axes + i] = pads[rank + 2 + i] + (own ? own[axes + i] : 0);
    }
    for (size_t i = 0; i < conv->attr_count; i++)
        if (strcmp(conv->attrs[i].name, "pads") != 0)
            attrs[kept++] = conv->attrs[i];
    attrs[kept++] = (struct ldnq_attr){
        .name = "pads", .kind = LDNQ_ATTR_INTS, .count = 2 * axes, .ints = sums
    };
    conv->attrs = attrs;
    conv->attr_count = kept;
    return LDNQ_OK;
}

static enum ldnq_status merge_pad(const struct ldnq_graph *graph, struct ldnq_node *conv,
                                  struct ldnq_error *err)
{
    const struct ldnq_node *pad = conv->inputs[0] ? conv->inputs[0]->producer : NULL;
    size_t count = 0, rank;
    if (!pad || !pad->op || strcmp(pad->op->type, "Pad") != 0 || !has_input(pad, X) ||
        pad->inputs[X]->shape.rank < 3)
        return LDNQ_OK;
    rank = (size_t)pad->inputs[X]->shape.rank;
    const int64_t *pads = find_pads(pad, &count);
    if (!pads || count != 2 * rank || !are_spatial_pads(pads, rank) || !fills_with_zeros(pad) ||
        !has_explicit_pads(conv, rank - 2))
        return LDNQ_OK;
    LDNQ_TRY(add_pads_to_convolution(graph, conv, pads, rank, err));
    conv->inputs[0] = pad->inputs[X];
    return ldnq_ops_bind_node(graph, conv, err);
}

enum ldnq_status ldnq_pass_merge_pads(struct ldnq_graph *graph, struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->node_count; i++) {
        struct ldnq_node *node = graph->nodes[i];
        if (node->op && strcmp(node->op->type, "Conv") == 0)
            LDNQ_TRY(merge_pad(graph, node, err));
    }
    return LDNQ_OK;
}
