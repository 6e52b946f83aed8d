/* SPDX-License-Identifier: Apache-2.0 */
/* layer.h: the layers of a graph: nodes with a weight, seen as matrices.
 *
 * Shapes  weights (G, M, K) and biases (G, M) in matrix order, row-major: G groups of M
 *         rows (output channels) and K cols (inputs of the group)
 * Owns    nothing; results live in the arena, and point into the graph
 */
#ifndef LDNQ_LAYER_H
#define LDNQ_LAYER_H

#include "ir/ir.h"
#include "ops/op_layer.h"

/* A node with a weight. A node whose operator reads several has a layer for each. */
struct ldnq_layer {
    struct ldnq_node *node;
    const char *label; /* the node's; with ".W" or ".R", say, where the node has several layers */
    const struct ldnq_op_layer *op;
    const struct ldnq_node *product; /* of matrices that are looked up; NULL for other layers */
    size_t node_index; /* index in graph->nodes; in a body, that of the node that runs the body */
    /* The graph of the node. In a body (which is NULL in the main graph): the handle of the main
     * graph's node that runs it, and whether it is, or is in, a loop. */
    struct ldnq_graph *body;
    const void *outer_origin;
    bool is_in_loop;
    struct ldnq_layer_geometry geometry;
    size_t weight_input;
    const struct ldnq_tensor *weight; /* NULL when it is not constant */
    enum ldnq_dtype dtype;            /* of weight and bias in the file: float32 or a half */
    const char *weight_name;
    /* The tensor of the file that has the weight's elements or its codes; NULL: the weight. */
    const struct ldnq_tensor *stored;
    /* The bias that is solved for with the weight; NULL when there is none, or none that
     * can be changed. */
    size_t bias_input;
    const struct ldnq_tensor *bias;
    const char *bias_name;
    const char *refusal; /* why it can't be quantized; NULL when it can */
};

/* Lists all nodes of the graph that have a weight, in order. The graph is folded at least; graphs
 * that can be executed went through ldnq_passes_run. Errors: NOMEM. */
enum ldnq_status ldnq_layers_list(const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                  struct ldnq_layer **layers, size_t *count,
                                  struct ldnq_error *err);

/* Whether layer i of the list owns its weight: layers that share a weight store it once, and
 * the owner is the one that a sum over all layers counts it for. This is the first of them that
 * can be quantized, or else the first. False for a layer whose weight is not constant. */
bool ldnq_layer_owns_weight(const struct ldnq_layer *layers, size_t count, size_t i);

/* Multiplications with the weight in one run of the graph; false when the layer's shapes
 * are not known. */
bool ldnq_layer_count_macs(const struct ldnq_layer *layer, uint64_t *macs);

/* The same for one sample: dimensions that are not known, such as the batch, count as 1. */
double ldnq_layer_macs_per_sample(const struct ldnq_layer *layer);

/* Rows of all groups together: G M. */
static inline size_t ldnq_layer_rows(const struct ldnq_layer *layer)
{
    return layer->geometry.groups * layer->geometry.rows;
}

/* Elements of the weight: G M K. */
static inline size_t ldnq_layer_elements(const struct ldnq_layer *layer)
{
    return ldnq_layer_rows(layer) * layer->geometry.cols;
}

/* Whether rows of the weight are looked up (op_layer.h), so that there is no product. */
static inline bool ldnq_layer_is_table(const struct ldnq_layer *layer)
{
    return layer->op->is_table;
}

/* The axis of a table, or of matrices that are looked up, along which two codes of 4 bits share a
 * byte: the last, or the first of a table whose last axis ids count. */
static inline int ldnq_layer_packed_axis(const struct ldnq_layer *layer)
{
    const int last = layer->weight->shape.rank - 1;
    return layer->op->is_table && layer->geometry.channel_axis == last ? 0 : last;
}

static inline size_t ldnq_layer_packed_size(const struct ldnq_layer *layer)
{
    return (size_t)layer->weight->shape.dim[ldnq_layer_packed_axis(layer)];
}

/* Whether codes are looked up, then dequantized (op_layer.h). */
static inline bool ldnq_layer_is_lookup(const struct ldnq_layer *layer)
{
    return layer->op->is_lookup;
}

/* Whether two float weights are one matrix, whatever their layouts are. */
bool ldnq_layers_have_same_elements(const struct ldnq_layer *a, const struct ldnq_layer *b);

/* Copies the float weight into matrix order (G, M, K). */
void ldnq_layer_read_weight(const struct ldnq_layer *layer, float *weight);

/* Copies the bias as the layer adds it, bias_factor included; zeros without one. (G, M). */
void ldnq_layer_read_bias(const struct ldnq_layer *layer, float *bias);

#endif
