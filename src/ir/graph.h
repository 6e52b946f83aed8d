/* SPDX-License-Identifier: Apache-2.0 */
/* graph.h: attributes, values, nodes and graphs, free of any file format.
 *
 * Owns    everything here lives in the arena of its graph; nothing is freed one by one
 */
#ifndef LDNQ_IR_GRAPH_H
#define LDNQ_IR_GRAPH_H

#include "ir/tensor.h"

/* The opsets of ai.onnx whose operators ldnq knows. */
#define LDNQ_OPSET_FIRST 7
#define LDNQ_OPSET_LATEST 25

/* ---- attributes --------------------------------------------------------------- */

/* Which member of struct ldnq_attr is set. */
enum ldnq_attr_kind {
    LDNQ_ATTR_FLOAT,
    LDNQ_ATTR_INT,
    LDNQ_ATTR_STRING,
    LDNQ_ATTR_TENSOR,
    LDNQ_ATTR_FLOATS,
    LDNQ_ATTR_INTS,
    LDNQ_ATTR_STRINGS,
    LDNQ_ATTR_GRAPH, /* a body of If, Loop or Scan */
    LDNQ_ATTR_OTHER, /* any other graph, a type, a sparse tensor: not imported */
};

struct ldnq_attr {
    const char *name;
    enum ldnq_attr_kind kind;
    float f;
    int64_t i;
    const char *s; /* NUL-terminated copy */
    const struct ldnq_tensor *t;
    struct ldnq_graph *g;
    size_t count; /* length of floats, ints or strings */
    const float *floats;
    const int64_t *ints;
    const char *const *strings;
};

/* ---- values and nodes ----------------------------------------------------------- */

struct ldnq_value {
    const char *name; /* name in the file; unique in the graph */
    size_t index;     /* index in graph->values */
    enum ldnq_dtype dtype;
    struct ldnq_shape shape;
    /* Data that are known before any sample is read: an initializer, or the result
     * of constant folding. NULL for all other values. */
    const struct ldnq_tensor *constant;
    /* Elements of a small int64 tensor of which only some are known, such as the Shape
     * of a value with a symbolic batch: one int64_t per element, a number or a symbol.
     * NULL for all other values. */
    const int64_t *partial;
    struct ldnq_node *producer; /* NULL for inputs and constants */
    /* The node that folding computed this constant from; it is no longer in the
     * graph. NULL for initializers and for values that are not constant. */
    const struct ldnq_node *folded_from;
    bool from_codes; /* computed from a DequantizeLinear of constants */
    /* float16 or bfloat16: the type that the file has where the graph computes in float32
     * (ldnq_pass_widen_halves); undefined for all other values. */
    enum ldnq_dtype half;
    bool is_input, is_output;
    bool is_no_tensor;   /* declared as a sequence, an optional or a map */
    bool is_initializer; /* an initializer of the file that no graph input overrides */
};

struct ldnq_op; /* a record of the operator table, ops/op.h */

struct ldnq_node {
    const char *name;  /* name in the file; may be "" or not unique */
    const char *label; /* for messages and for selecting nodes: the name, else
                          "Conv#12"; unique: a repeated name gets "#12" appended */
    const char *op_type;
    const char *domain; /* "" is ai.onnx */
    int opset;          /* the version of `domain` that the file imports; 0 if none */
    size_t index;       /* position in the file's list of nodes */
    size_t input_count, output_count;
    struct ldnq_value **inputs;  /* NULL for an optional input that is omitted */
    struct ldnq_value **outputs; /* NULL for an optional output that is omitted */
    /* Values of this node's graph that its subgraphs read. Where the subgraphs were
     * imported as graphs, the captures are also the node's last inputs. */
    size_t capture_count;
    struct ldnq_value **captures;
    size_t attr_count;
    const struct ldnq_attr *attrs;
    const struct ldnq_op *op; /* NULL until ldnq_ops_bind */
    const void *op_attrs;     /* the attributes as op->read parsed them */
    /* Opaque handle of the loader, preserved by passes. NULL for a node that is not in
     * the file's main graph and therefore can't be changed there; `within` then names
     * what the node is part of: "function 'com.x.Block'", "a branch of If 'cond'". */
    const void *origin;
    const char *within;
    /* The same handle for a node of a body of If, Loop or Scan that is not part of a function. */
    const void *body_origin;
    /* The output is matrices that a product alone reads as its right operand
     * (ldnq_pass_move_lookups). */
    bool feeds_product;
    bool is_added; /* a pass added it: the file has no such node */
    /* Nodes of the file that passes merged into this one (a BatchNormalization
     * folded into a convolution), in the order of the merges. */
    size_t merged_count;
    struct ldnq_node **merged;
};

/* ---- graphs ----------------------------------------------------------------------- */

/* A value of the enclosing graph, and the value that represents it in the subgraph. */
struct ldnq_capture {
    struct ldnq_value *outer, *inner;
};

/* The graph of a file, or a subgraph: the body of an If, Loop or Scan. Each graph has
 * its own nodes and values; all symbols belong to the outermost graph. */
struct ldnq_graph {
    struct ldnq_graph *outer; /* the enclosing graph; NULL for the outermost */
    size_t capture_count, capture_capacity;
    struct ldnq_capture *captures; /* the values of `outer` that a subgraph reads */
    struct ldnq_arena *arena;
    const char *name;
    const char *file; /* file name for messages */
    size_t node_count;
    struct ldnq_node **nodes; /* nodes in topological order */
    size_t value_count, value_capacity;
    struct ldnq_value **values;
    size_t input_count, output_count;
    struct ldnq_value **inputs; /* inputs of the graph that are not initializers */
    struct ldnq_value **outputs;
    size_t symbol_count, symbol_capacity;
    const char **symbols; /* names; NULL for a symbol without a name */
    /* Constants that are in files (base/mapping.h) leave memory after each node that reads them:
     * for networks that are larger than the memory they may take. */
    bool releases_constants;
};

/* The graph lives in the arena. Errors: NOMEM. */
enum ldnq_status ldnq_graph_create(struct ldnq_arena *arena, const char *name, const char *file,
                                   struct ldnq_graph **out, struct ldnq_error *err);
/* A second graph of the same nodes and values, each with the same index: replacing a
 * constant of one graph leaves the other unchanged. Subgraphs are cloned too; what a node's
 * operator has parsed of them is not (ldnq_ops_clone_graph). Tensors and other attributes are
 * shared and must outlive the clone. Not for a subgraph. Errors: NOMEM. */
enum ldnq_status ldnq_graph_clone(const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                  struct ldnq_graph **out, struct ldnq_error *err);

/* Adds a value of unknown rank. The name is copied; "" is replaced by a generated name.
 * Errors: NOMEM. */
enum ldnq_status ldnq_graph_add_value(struct ldnq_graph *graph, const char *name,
                                      struct ldnq_value **out, struct ldnq_error *err);
/* Adds a value whose constant is `tensor`, which must outlive the graph. Errors: NOMEM. */
enum ldnq_status ldnq_graph_add_constant(struct ldnq_graph *graph, const char *name,
                                         const struct ldnq_tensor *tensor, struct ldnq_value **out,
                                         struct ldnq_error *err);
/* Adds a value to the subgraph `graph` that represents `outer` there, with everything
 * known about it. Errors: NOMEM. */
enum ldnq_status ldnq_graph_add_capture(struct ldnq_graph *graph, const char *name,
                                        struct ldnq_value *outer, struct ldnq_value **inner,
                                        struct ldnq_error *err);
/* Moves a value of another graph into this one, under a new index. Errors: NOMEM. */
enum ldnq_status ldnq_graph_adopt_value(struct ldnq_graph *graph, struct ldnq_value *value,
                                        struct ldnq_error *err);
/* The type that the file has for the value. */
static inline enum ldnq_dtype ldnq_value_file_dtype(const struct ldnq_value *value)
{
    return value->half ? value->half : value->dtype;
}
/* Copies type, shape, constant, and where the constant came from. */
void ldnq_value_copy_facts(struct ldnq_value *value, const struct ldnq_value *from);

/* Returns the symbol called `name`, created at its first use; NULL always creates a new
 * symbol. Errors: NOMEM. */
enum ldnq_status ldnq_graph_find_or_add_symbol(struct ldnq_graph *graph, const char *name,
                                               int64_t *symbol, struct ldnq_error *err);
/* NULL for a symbol without a name. */
const char *ldnq_graph_symbol_name(const struct ldnq_graph *graph, int64_t symbol);

struct ldnq_value *ldnq_graph_find_value(const struct ldnq_graph *graph, const char *name);
/* Finds a node by its label, or by its name where the name is unique. */
struct ldnq_node *ldnq_graph_find_node(const struct ldnq_graph *graph, const char *label);
const struct ldnq_attr *ldnq_node_find_attr(const struct ldnq_node *node, const char *name);

/* Sorts the nodes topologically, keeping the file's order where possible, and sets
 * their labels. Errors: MODEL (a cycle, named by one of its nodes), NOMEM. */
enum ldnq_status ldnq_graph_sort(struct ldnq_graph *graph, struct ldnq_error *err);
/* Checks the invariants that every pass must preserve: one producer per value,
 * topological order, indices, outputs that exist. Errors: MODEL, with the node and the
 * value; NOMEM. */
enum ldnq_status ldnq_graph_verify(const struct ldnq_graph *graph, struct ldnq_error *err);

/* ---- messages ---------------------------------------------------------------------- */

/* Fails with the message "FILE: node 'conv1' (Conv, opset 13): ...". */
enum ldnq_status ldnq_node_fail(const struct ldnq_graph *graph, const struct ldnq_node *node,
                                enum ldnq_status status, struct ldnq_error *err, const char *format,
                                ...) __attribute__((format(printf, 5, 6)));
/* The message without the "FILE: " at its start, for use inside another message that
 * names the file itself. Points into `message`. */
const char *ldnq_graph_strip_file(const struct ldnq_graph *graph, const char *message);

/* Whether it is a node of this type of ai.onnx in the file's main graph; false for NULL. */
bool ldnq_is_file_node(const struct ldnq_node *node, const char *op_type);
/* Whether the first `count` inputs are there. A node of a file may lack inputs that its operator
 * requires until the graph is bound, which checks them. */
bool ldnq_node_has_inputs(const struct ldnq_node *node, size_t count);

/* Whether the value is an input of the node, or read by its bodies. */
bool ldnq_node_reads(const struct ldnq_node *node, const struct ldnq_value *value);

/* Finds the first node that reads what this node looks up; the node itself if none does. */
size_t ldnq_find_product_of_lookup(const struct ldnq_graph *graph, size_t node_index);

#endif
