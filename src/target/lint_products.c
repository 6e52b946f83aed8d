/* SPDX-License-Identifier: Apache-2.0 */
/* lint_products.c: rules of layers whose weight alone has codes. */
#include "target/lint_check.h"

#include <string.h>

#include "ops/op.h"
#include "ops/op_layer.h"
#include "target/fused_product.h"

/* The bits that every such kernel takes, to ask for the kernel apart from the type. */
#define USUAL_BITS 4u

/* Source: ONNX Runtime 1.32's optimized graphs. From this opset on it applies a Transpose after a
 * DequantizeLinear to the codes instead, where they have 8 bits and a single scale. */
#define OPSET_THAT_MOVES_TRANSPOSES 21

static struct ldnq_layer_geometry describe_weight(const struct ldnq_node *node)
{
    const struct ldnq_shape *shape = &node->inputs[1]->constant->shape;
    const bool is_transposed = ldnq_attr_int(node, "transB", 0) != 0;
    return (struct ldnq_layer_geometry){
        .groups = 1,
        .rows = shape->rank == 2 ? (size_t)shape->dim[is_transposed ? 0 : 1] : 0,
        .layout = is_transposed ? LDNQ_WEIGHT_OUT_IN : LDNQ_WEIGHT_IN_OUT,
    };
}

/* Whether the node reads the codes as (K, M), or the runtime brings them into this order. */
static bool reads_codes_in_order(const struct ldnq_linter *linter, const struct ldnq_node *node,
                                 const struct ldnq_node *source)
{
    const struct ldnq_tensor *scales = ldnq_lint_find_scale(source);
    if (ldnq_attr_int(node, "transB", 0) != 0)
        return false;
    if (node->inputs[1]->folded_from == source)
        return true;
    return strcmp(node->inputs[1]->folded_from->op_type, "Transpose") == 0 &&
           strcmp(node->op_type, "MatMul") == 0 && linter->opset >= OPSET_THAT_MOVES_TRANSPOSES &&
           ldnq_dtype_bits(source->inputs[0]->dtype) == 8 && scales &&
           ldnq_tensor_count(scales) == 1;
}

/* Whether another layer reads the codes or the scales. */
static bool is_shared(const struct ldnq_linter *linter, const struct ldnq_node *node,
                      const struct ldnq_node *source)
{
    for (size_t n = 0; n < linter->graph->node_count; n++) {
        const struct ldnq_node *other = linter->graph->nodes[n];
        const struct ldnq_value *weight = other->input_count > 1 ? other->inputs[1] : NULL;
        const struct ldnq_node *from = weight && weight->constant ? weight->folded_from : NULL;
        if (other != node && ldnq_lint_is_dequantize(from) &&
            (from->inputs[0] == source->inputs[0] || from->inputs[1] == source->inputs[1]))
            return true;
    }
    return false;
}

/* The Relu, Clip or QuantizeLinear after the layer, past the bias that an Add adds; NULL: what
 * follows does not keep it from the kernel. */
static const struct ldnq_node *find_hindrance(const struct ldnq_linter *linter,
                                              const struct ldnq_node *node)
{
    const struct ldnq_value *value = node->outputs[0];
    const struct ldnq_node *reader = linter->reader[value->index];
    if (!linter->target->separates_products || linter->readers[value->index] != 1)
        return NULL;
    if (strcmp(node->op_type, "MatMul") == 0 && strcmp(reader->op_type, "Add") == 0) {
        value = reader->outputs[0];
        reader = linter->reader[value->index];
        if (linter->readers[value->index] != 1)
            return NULL;
    }
    if (value->is_output)
        return NULL;
    if (ldnq_lint_is_quantize(reader))
        return reader;
    const bool is_clamp =
        strcmp(reader->op_type, "Relu") == 0 || strcmp(reader->op_type, "Clip") == 0;
    const struct ldnq_value *clamped = reader->outputs[0];
    return is_clamp && linter->readers[clamped->index] == 1 && !clamped->is_output ? reader : NULL;
}

/* Why no kernel of the target reads the codes beside floats; NULL: one does. */
static const char *find_obstacle(const struct ldnq_linter *linter, const struct ldnq_node *node,
                                 const struct ldnq_node *source)
{
    const struct ldnq_layer_geometry geometry = describe_weight(node);
    const unsigned bits = ldnq_dtype_bits(source->inputs[0]->dtype);
    if (!(linter->target->product_bits >> bits & 1) ||
        !ldnq_target_has_product(linter->target, node, &geometry, USUAL_BITS) ||
        !reads_codes_in_order(linter, node, source))
        return "";
    if (is_shared(linter, node, source))
        return " (another layer reads the same codes or scales)";
    return find_hindrance(linter, node)
               ? " (what follows it, a clamp or a QuantizeLinear, keeps the kernel away)"
               : NULL;
}

bool ldnq_check_product_rows(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *source = ldnq_lint_find_weight(linter, node);
    const size_t multiple = linter->target->product_rows_of_2_bits;
    if (!source || ldnq_lint_list_activations(linter, node).quantized > 0 || multiple == 0 ||
        ldnq_dtype_bits(source->inputs[0]->dtype) != 2 || find_obstacle(linter, node, source))
        return true;
    const size_t rows = describe_weight(node).rows;
    if (rows % multiple == 0)
        return true;
    ldnq_lint_report(linter, node, LDNQ_BROKEN,
                     "store the weight as (M, K) with a Transpose after it, or in 4 bits",
                     "its weight has 2 bits and %zu outputs, which is no multiple of %zu: the "
                     "kernel that runs it computes wrong results",
                     rows, multiple);
    return false;
}

bool ldnq_check_rounded_input(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *source = ldnq_lint_find_weight(linter, node);
    if (source && ldnq_lint_list_activations(linter, node).quantized == 0 &&
        !find_obstacle(linter, node, source))
        ldnq_lint_report(linter, node, LDNQ_NOTE, "compare its accuracy there",
                         "its weight alone has codes: one kernel reads them and rounds the input "
                         "to 8 bits");
    return true;
}

bool ldnq_check_weights_only(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *source = ldnq_lint_find_weight(linter, node);
    if (!source || ldnq_lint_list_activations(linter, node).quantized > 0)
        return true;
    const char *obstacle = find_obstacle(linter, node, source);
    ldnq_lint_report(linter, node, LDNQ_SLOWER,
                     "quantize the activations too, or turn Q/DQ fusion off where the model runs",
                     "its weight has codes and its input has none: the weight is dequantized on "
                     "every run%s",
                     obstacle ? obstacle : "");
    return false;
}

/* ---- tables ----------------------------------------------------------------------------------
 */

/* A table that is dequantized before rows are looked up in it. Where a QuantizeLinear follows, the
 * runtime looks up codes. */
bool ldnq_check_table_not_dequantized(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *clamp;
    if (!linter->target->dequantize_once || !ldnq_op_reads_table(node) ||
        !ldnq_lint_find_dequantize(node->inputs[0]) ||
        ldnq_lint_find_quantize(linter, node->outputs[0], &clamp))
        return true;
    ldnq_lint_report(linter, node, LDNQ_SLOWER,
                     "look up codes and scales, and dequantize the rows that were found",
                     "its table of %zu elements is dequantized before rows are looked up in it",
                     ldnq_tensor_count(node->inputs[0]->constant));
    return false;
}
