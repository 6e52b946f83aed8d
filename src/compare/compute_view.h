/* view.h: a network as the nodes that compute, wired past the plumbing.
 *
 * Plumbing is what stands between two of them without being a step of the network:
 * QuantizeLinear, DequantizeLinear, Identity, Dropout, and a Clip of codes. A source
 * says what a node reads behind it.
 *
 * Made after folding and before any pass that merges nodes, and it keeps that wiring:
 * the graph may be changed afterwards.
 */
#ifndef LDNQ_COMPARE_COMPUTE_VIEW_H
#define LDNQ_COMPARE_COMPUTE_VIEW_H

#include "layer/layer.h"

#define LDNQ_NO_NODE SIZE_MAX

struct ldnq_compute_source {
    const struct ldnq_value *value; /* NULL where an input is left out */
    /* The DequantizeLinear nearest to the reader; NULL when there is none on the way. Of a
     * constant, one that it was computed from. */
    const struct ldnq_node *dequantize;
    size_t maker; /* the node that gives the value; NONE for inputs and constants */
};

struct ldnq_compute_node {
    struct ldnq_node *node;
    const char *kind; /* what it is compared by: MatMul and Gemm are one kind */
    size_t input_count, output_count, reader_count;
    struct ldnq_compute_source *inputs;
    const struct ldnq_value **outputs;
    size_t *readers;          /* in order; one that reads twice stands there once */
    struct ldnq_layer *layer; /* as it was before any merge; NULL for most */
};

struct ldnq_compute_view {
    struct ldnq_graph *graph;
    size_t count;
    struct ldnq_compute_node *nodes;     /* in the order in which they run */
    struct ldnq_compute_source *outputs; /* of the graph */
    /* All of the file's nodes, folded ones and plumbing too. */
    size_t file_node_count, qdq_node_count;
    struct ldnq_node **all;
};

/* Binds and folds the graph and looks at it. A graph with nodes that can't be executed is
 * seen all the same: `refused` is then the message that says why, else NULL.
 * Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_compute_view_init(struct ldnq_compute_view *view, struct ldnq_graph *graph,
                                        struct ldnq_arena *arena, const char **refused,
                                        struct ldnq_error *err);

/* What stands behind the plumbing in front of `value`; maker is not filled in. */
struct ldnq_compute_source ldnq_compute_view_trace(const struct ldnq_value *value);

/* LDNQ_NO_NODE where the node is none of the view's. */
size_t ldnq_compute_view_find(const struct ldnq_compute_view *view, const struct ldnq_node *node);

#endif
