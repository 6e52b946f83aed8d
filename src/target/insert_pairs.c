/* SPDX-License-Identifier: Apache-2.0 */
/* insert_pairs.c: the Q/DQ nodes of a placement, as nodes of the graph. */
#include "target/placement.h"

#include <string.h>

#include "ops/op.h"

/* The inputs of Pad. */
enum { PAD_DATA, PAD_PADS, PAD_VALUE };

struct insertion {
    struct ldnq_graph *graph;
    struct ldnq_placement *placement;
    struct ldnq_placed_activation **by_value; /* by value index; NULL: no pair */
    struct ldnq_node **nodes;                 /* the new order */
    size_t count;
    int opset; /* opset of ai.onnx */
};

static enum ldnq_status add_constant(struct insertion *insertion, enum ldnq_dtype dtype,
                                     const struct ldnq_shape *shape, struct ldnq_value **value,
                                     struct ldnq_error *err)
{
    struct ldnq_tensor *tensor;
    LDNQ_TRY(ldnq_tensor_create(insertion->graph->arena, dtype, shape, &tensor, err));
    return ldnq_graph_add_constant(insertion->graph, "", tensor, value, err);
}

static enum ldnq_status append_node(struct insertion *insertion, const char *op_type,
                                    struct ldnq_value *input,
                                    struct ldnq_placed_activation *activation,
                                    enum ldnq_dtype dtype, struct ldnq_value **output,
                                    struct ldnq_error *err)
{
    struct ldnq_graph *graph = insertion->graph;
    struct ldnq_node *node = ldnq_arena_alloc(graph->arena, 1, sizeof *node, err);
    struct ldnq_value **inputs = ldnq_arena_alloc(graph->arena, 3, sizeof *inputs, err);
    struct ldnq_value **outputs = ldnq_arena_alloc(graph->arena, 1, sizeof *outputs, err);
    char *label =
        ldnq_arena_printf(graph->arena, err, "%s of '%s'", op_type, activation->value->name);
    if (!node || !inputs || !outputs || !label)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_graph_add_value(graph, "", output, err));
    (*output)->dtype = dtype;
    (*output)->shape = input->shape;
    (*output)->producer = node;
    inputs[0] = input;
    inputs[1] = activation->scale;
    inputs[2] = activation->zero_point;
    outputs[0] = *output;
    *node = (struct ldnq_node){ .name = "",
                                .label = label,
                                .op_type = op_type,
                                .domain = "",
                                .opset = insertion->opset,
                                .input_count = 3,
                                .output_count = 1,
                                .inputs = inputs,
                                .outputs = outputs };
    LDNQ_TRY(ldnq_ops_bind_node(graph, node, err));
    insertion->nodes[insertion->count++] = node;
    return LDNQ_OK;
}

/* A graph output with a pair is what the DequantizeLinear writes, under its name. */
static enum ldnq_status replace_graph_output(struct insertion *insertion,
                                             struct ldnq_placed_activation *activation,
                                             struct ldnq_error *err)
{
    struct ldnq_graph *graph = insertion->graph;
    struct ldnq_value *value = activation->value, *dequantized = activation->dequantized;
    for (size_t o = 0; o < graph->output_count; o++)
        if (graph->outputs[o] == value)
            graph->outputs[o] = dequantized;
    dequantized->name = value->name;
    value->name = ldnq_arena_printf(graph->arena, err, "%s_float", value->name);
    dequantized->is_output = true;
    value->is_output = false;
    return value->name ? LDNQ_OK : LDNQ_NOMEM;
}

static enum ldnq_status insert_pair(struct insertion *insertion,
                                    struct ldnq_placed_activation *activation,
                                    struct ldnq_error *err)
{
    const struct ldnq_shape scalar = { .rank = 0 };
    LDNQ_TRY(add_constant(insertion, LDNQ_FLOAT, &scalar, &activation->scale, err));
    LDNQ_TRY(add_constant(insertion, activation->dtype, &scalar, &activation->zero_point, err));
    *(float *)activation->scale->constant->data = 1.0f;
    if (activation->is_constant)
        return add_constant(insertion, LDNQ_FLOAT, &activation->value->shape,
                            &activation->dequantized, err);
    struct ldnq_value *input = ldnq_activation_is_second(activation)
                                   ? insertion->by_value[activation->value->index]->dequantized
                                   : activation->value;
    if (input->dtype == LDNQ_FLOAT) {
        LDNQ_TRY(append_node(insertion, "QuantizeLinear", input, activation, activation->dtype,
                             &activation->codes, err));
        activation->quantize = activation->codes->producer;
    } else /* the operator before it moves codes */
        activation->codes = input;
    LDNQ_TRY(append_node(insertion, "DequantizeLinear", activation->codes, activation, LDNQ_FLOAT,
                         &activation->dequantized, err));
    return activation->replaces_graph_output ? replace_graph_output(insertion, activation, err)
                                             : LDNQ_OK;
}

/* The shape of the codes is that of the value. */
static bool reads_shape(const struct ldnq_node *node)
{
    return strcmp(node->op_type, "Shape") == 0 || strcmp(node->op_type, "Size") == 0;
}

/* `index` is the node's index before the insertion. */
static void redirect_inputs(struct insertion *insertion, struct ldnq_node *node, size_t index)
{
    const struct ldnq_placement *placement = insertion->placement;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_value *value = node->inputs[i];
        struct ldnq_placed_activation *first = value ? insertion->by_value[value->index] : NULL;
        if (!first || !(placement->reads_codes[index] >> (i < 31 ? i : 31) & 1))
            continue;
        const struct ldnq_placed_activation *pair =
            ldnq_placement_find_pair(placement, first, node, index);
        node->inputs[i] = reads_shape(node) ? pair->codes : pair->dequantized;
    }
}

/* Sets the value that a Pad fills with. */
static enum ldnq_status set_pad_value(struct ldnq_graph *graph, struct ldnq_node *node,
                                      struct ldnq_value *fill, struct ldnq_error *err)
{
    struct ldnq_value **inputs = ldnq_arena_alloc(
        graph->arena, node->input_count > PAD_VALUE ? node->input_count : PAD_VALUE + 1,
        sizeof *inputs, err);
    if (!inputs)
        return LDNQ_NOMEM;
    memcpy(inputs, node->inputs, node->input_count * sizeof *inputs);
    inputs[PAD_VALUE] = fill;
    node->inputs = inputs;
    if (node->input_count <= PAD_VALUE)
        node->input_count = PAD_VALUE + 1;
    return LDNQ_OK;
}

/* Makes an operator that moves elements read and write codes. A Pad fills with the code of 0. */
static enum ldnq_status move_codes(struct insertion *insertion, struct ldnq_node *node,
                                   struct ldnq_error *err)
{
    struct ldnq_placed_activation *activation = insertion->by_value[node->inputs[0]->index];
    node->inputs[0] = activation->codes;
    node->outputs[0]->dtype = activation->dtype;
    return strcmp(node->op_type, "Pad") == 0
               ? set_pad_value(insertion->graph, node, activation->zero_point, err)
               : LDNQ_OK;
}

static bool moves_codes(const struct ldnq_placement *placement, const struct ldnq_node *node,
                        size_t index)
{
    const struct ldnq_operator_rule *rule = ldnq_target_rule(placement->target, node);
    return placement->runs[index] == LDNQ_NODE_MOVES && rule->on_codes;
}

enum ldnq_status ldnq_placement_insert(struct ldnq_placement *placement, struct ldnq_graph *graph,
                                       struct ldnq_error *err)
{
    struct insertion insertion = { .graph = graph, .placement = placement };
    const size_t values = graph->value_count;
    insertion.by_value = ldnq_arena_alloc(graph->arena, values, sizeof *insertion.by_value, err);
    insertion.nodes = ldnq_arena_alloc(graph->arena, graph->node_count + 2 * placement->count,
                                       sizeof *insertion.nodes, err);
    if (!insertion.by_value || !insertion.nodes)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < graph->node_count; n++)
        if (*graph->nodes[n]->domain == '\0' && graph->nodes[n]->opset > insertion.opset)
            insertion.opset = graph->nodes[n]->opset;
    size_t next = 0;
    for (; next < placement->count && !placement->activations[next].value->producer; next++) {
        struct ldnq_placed_activation *activation = &placement->activations[next];
        LDNQ_TRY(insert_pair(&insertion, activation, err));
        if (!ldnq_activation_is_second(activation))
            insertion.by_value[activation->value->index] = activation;
    }
    for (size_t n = 0; n < graph->node_count; n++) {
        struct ldnq_node *node = graph->nodes[n];
        if (moves_codes(placement, node, n))
            LDNQ_TRY(move_codes(&insertion, node, err));
        else
            redirect_inputs(&insertion, node, n);
        insertion.nodes[insertion.count++] = node;
        for (; next < placement->count && placement->activations[next].value->producer == node;
             next++) {
            struct ldnq_placed_activation *activation = &placement->activations[next];
            LDNQ_TRY(insert_pair(&insertion, activation, err));
            if (!ldnq_activation_is_second(activation))
                insertion.by_value[activation->value->index] = activation;
        }
    }
    placement->graph = graph;
    graph->nodes = insertion.nodes;
    graph->node_count = insertion.count;
    return LDNQ_OK;
}

static enum ldnq_status turn_into_identity(struct ldnq_graph *clone, struct ldnq_node *node,
                                           struct ldnq_error *err)
{
    node->op_type = "Identity";
    node->input_count = 1;
    node->outputs[0]->dtype = LDNQ_FLOAT;
    return ldnq_ops_bind_node(clone, node, err);
}

/* Makes an operator that moves codes move floats again. */
static enum ldnq_status move_floats(struct ldnq_graph *clone, struct ldnq_node *node,
                                    struct ldnq_error *err)
{
    const struct ldnq_shape scalar = { .rank = 0 };
    struct ldnq_tensor *zero;
    struct ldnq_value *fill;
    node->outputs[0]->dtype = LDNQ_FLOAT;
    if (strcmp(node->op_type, "Pad") != 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_tensor_create(clone->arena, LDNQ_FLOAT, &scalar, &zero, err));
    LDNQ_TRY(ldnq_graph_add_constant(clone, "", zero, &fill, err));
    return set_pad_value(clone, node, fill, err);
}

enum ldnq_status ldnq_placement_bypass_pairs(const struct ldnq_placement *placement,
                                             const struct ldnq_graph *graph,
                                             struct ldnq_graph *clone, struct ldnq_error *err)
{
    size_t n = 0;
    for (size_t a = 0; a < placement->count; a++) {
        const struct ldnq_placed_activation *activation = &placement->activations[a];
        if (activation->is_constant) {
            clone->values[activation->dequantized->index]->constant = activation->value->constant;
            continue;
        }
        /* Activations are in the order of the nodes that write their codes. */
        while (graph->nodes[n] != activation->codes->producer)
            n++;
        if (activation->quantize)
            LDNQ_TRY(turn_into_identity(clone, clone->nodes[n], err));
        else
            LDNQ_TRY(move_floats(clone, clone->nodes[n], err));
        LDNQ_TRY(turn_into_identity(clone, clone->nodes[n + 1], err));
    }
    return LDNQ_OK;
}
