/* SPDX-License-Identifier: Apache-2.0 */
/* compute_view.h: a graph reduced to the nodes that compute, so that a float network and its
 * quantized copy have the same structure.
 *
 * Left out are the Q/DQ nodes: QuantizeLinear, DequantizeLinear, Identity, Dropout, and a Clip
 * of codes. A node of the view reads the values upstream of them. Quantized tables are as in
 * table_form.h. Of bodies the view has the layers alone, at its end and without edges.
 *
 * The view is made after folding and before any pass that merges nodes. It keeps that wiring
 * when the graph changes afterwards.
 *
 * Owns    nothing: arrays live in the arena, nodes and values in the graph
 */
#ifndef LDNQ_COMPARE_COMPUTE_VIEW_H
#define LDNQ_COMPARE_COMPUTE_VIEW_H

#include "layer/layer.h"

#define LDNQ_NO_NODE SIZE_MAX

/* An input of a node, traced upstream through the Q/DQ nodes. */
struct ldnq_compute_source {
    const struct ldnq_value *value; /* NULL for an optional input that is left out */
    /* The DequantizeLinear nearest to the reader, or NULL without one. For a constant: the
     * DequantizeLinear it was folded from. */
    const struct ldnq_node *dequantize;
    size_t producer; /* index in the view; LDNQ_NO_NODE for graph inputs and constants */
};

struct ldnq_compute_node {
    struct ldnq_node *node;
    const char *kind; /* one name for operators that replace each other, as Gemm and MatMul */
    size_t input_count, output_count, consumer_count;
    struct ldnq_compute_source *inputs;
    const struct ldnq_value **outputs;
    size_t *consumers;        /* indices in the view, ascending, each once */
    struct ldnq_layer *layer; /* the layer before any merge; NULL for nodes without a weight */
};

struct ldnq_compute_view {
    struct ldnq_graph *graph;
    size_t count;
    struct ldnq_compute_node *nodes;     /* nodes in order of execution */
    struct ldnq_compute_source *outputs; /* sources of the graph's outputs */
    struct ldnq_layer *layers;           /* in order; also those of bodies */
    size_t layer_count;
    /* All nodes of the file: constant ones and Q/DQ nodes too. */
    size_t file_node_count, qdq_node_count;
    struct ldnq_node **file_nodes;
    size_t body_dequantize_count;
    struct ldnq_node **body_dequantize; /* the DequantizeLinear nodes of bodies */
};

/* Binds and folds the graph, and makes its view. *refusal is NULL, or the message that says
 * why the graph can't be executed: its view is made all the same. Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_compute_view_init(struct ldnq_compute_view *view, struct ldnq_graph *graph,
                                        struct ldnq_arena *arena, const char **refusal,
                                        struct ldnq_error *err);

/* The value upstream of the Q/DQ nodes that `value` comes from; `producer` is not set. */
struct ldnq_compute_source ldnq_compute_view_trace_source(const struct ldnq_value *value);

/* The node's index in the view; LDNQ_NO_NODE where the view does not have it. */
size_t ldnq_compute_view_find(const struct ldnq_compute_view *view, const struct ldnq_node *node);

#endif
