/* import.h: the state of one import, shared by the files that do it.
 *
 * Names mean something in a scope: the main graph, a subgraph, or the body of a
 * function. Each is imported in two steps, as nodes may stand in any order: first
 * nodes and the values that they make, then what they read. A function's nodes
 * come where its call stands, in the call's graph; subgraphs become graphs.
 */
#ifndef LDNQ_ONNX_IMPORT_H
#define LDNQ_ONNX_IMPORT_H

#include "onnx/attrs.h"
#include "onnx/model.h"

/* Functions called in functions, and subgraphs in subgraphs. */
#define LDNQ_IMPORT_DEPTH 32
/* Nodes that calls of functions may become: a few that call each other twice make
 * as many as there are atoms. */
#define LDNQ_IMPORT_NODES ((size_t)1 << 16)

/* What all scopes of an import share. */
struct ldnq_import_all {
    const struct ldnq_model *model;
    struct ldnq_arena *arena, *scratch; /* the latter is gone after the import */
    struct ldnq_names functions;        /* "domain:name:overload" to Onnx__FunctionProto */
    struct ldnq_names taken;            /* names of values that inner scopes make */
    size_t serial, inlined;
};

struct ldnq_import;

/* A node whose inputs are still to be found; or, without node, a call whose
 * function's inputs are. */
struct ldnq_import_use {
    struct ldnq_import_use *next;
    struct ldnq_import *scope; /* where its inputs are; of a call, the body */
    struct ldnq_node *node;
    const Onnx__NodeProto *proto;
    const struct ldnq_attr_source *attrs;
    size_t attr_count;
};

/* The nodes of one graph, those of functions that it calls among them. */
struct ldnq_import_list {
    struct ldnq_import_use *first, **end;
    size_t next_index; /* of a node that does not stand in the graph's own list */
};

/* A call of a function, with its attributes resolved in the caller's scope. */
struct ldnq_import_call {
    struct ldnq_import *caller;
    const Onnx__NodeProto *proto;
    const Onnx__FunctionProto *function;
    const struct ldnq_attr_source *attrs;
    size_t attr_count;
    /* By name in the body: the value of the caller's that it makes. */
    struct ldnq_names outputs;
};

struct ldnq_import {
    struct ldnq_import_all *all;
    struct ldnq_graph *graph;
    struct ldnq_names values;      /* name to struct ldnq_value; NULL for an input left out */
    struct ldnq_import *outer;     /* around a subgraph; NULL for the main graph and functions */
    const Onnx__GraphProto *proto; /* NULL in a function */
    const struct ldnq_import_call *call; /* NULL outside of functions */
    Onnx__OperatorSetIdProto *const *opsets;
    size_t opset_count;
    struct ldnq_import_list *list;
    const char *prefix; /* of names: "" in the main graph */
    const char *within; /* as in struct ldnq_node */
    size_t depth;
};

/* Not so in a subgraph of a function's body, where `call` is there for attributes. */
static inline bool ldnq_import_is_body(const struct ldnq_import *import)
{
    return import->call && !import->proto;
}

/* A new value under its name, which must be free. `maker` is for the message:
 * "an initializer", "a graph input", NULL for a node. */
enum ldnq_status ldnq_import_value(struct ldnq_import *import, const char *name, const char *maker,
                                   struct ldnq_value **out, struct ldnq_error *err);

/* NULL when nothing of that name has been made in this scope. */
struct ldnq_value *ldnq_import_find(const struct ldnq_import *import, const char *name);
bool ldnq_import_has(const struct ldnq_import *import, const char *name);

/* The value that a name means here, captured from around a subgraph where it comes
 * from there; NULL for an input that a call leaves out. */
enum ldnq_status ldnq_import_read(struct ldnq_import *import, const char *name, bool *found,
                                  struct ldnq_value **value, struct ldnq_error *err);

/* Initializers, then inputs (those that are initializers are none), then, when
 * there are nodes, outputs. */
enum ldnq_status ldnq_import_initializers(struct ldnq_import *import, struct ldnq_error *err);
enum ldnq_status ldnq_import_inputs(struct ldnq_import *import, struct ldnq_error *err);
enum ldnq_status ldnq_import_outputs(struct ldnq_import *import, struct ldnq_error *err);

/* Nodes and the values that they make; Constant nodes become constants. Then
 * their inputs, and what their subgraphs read. err must not be NULL. */
enum ldnq_status ldnq_import_nodes(struct ldnq_import *import, Onnx__NodeProto *const *nodes,
                                   size_t count, struct ldnq_error *err);
enum ldnq_status ldnq_import_edges(struct ldnq_import *import, struct ldnq_error *err);

/* What a node of the scope makes under that name. */
enum ldnq_status ldnq_import_output(struct ldnq_import *import, struct ldnq_node *node,
                                    const char *name, struct ldnq_value **out,
                                    struct ldnq_error *err);

/* A node without attributes in the scope's graph, to be connected. */
enum ldnq_status ldnq_import_new_node(struct ldnq_import *import, const char *op_type,
                                      const char *domain, size_t inputs, size_t outputs,
                                      struct ldnq_node **out, struct ldnq_error *err);
enum ldnq_status ldnq_import_add_use(struct ldnq_import *import, struct ldnq_node *node,
                                     const Onnx__NodeProto *proto,
                                     const struct ldnq_attr_source *attrs, size_t attr_count,
                                     struct ldnq_error *err);

/* All of a graph whose scope has been set up: of the main graph or of a subgraph. */
enum ldnq_status ldnq_import_graph(struct ldnq_import *import, struct ldnq_error *err);

/* The bodies of If, Loop and Scan, whose captures are found then. */
enum ldnq_status ldnq_import_subgraphs(struct ldnq_import *import,
                                       const struct ldnq_import_use *use, struct ldnq_error *err);

/* Functions. The one that a node calls, or NULL; its body in the place of the call;
 * and, when all that the caller's scope makes is there, what the body's inputs are. */
enum ldnq_status ldnq_import_functions(struct ldnq_import_all *all, struct ldnq_error *err);
enum ldnq_status ldnq_import_find_function(const struct ldnq_import *import,
                                           const Onnx__NodeProto *proto,
                                           const Onnx__FunctionProto **out, struct ldnq_error *err);
enum ldnq_status ldnq_import_call(struct ldnq_import *import, const Onnx__FunctionProto *function,
                                  struct ldnq_node *node, const Onnx__NodeProto *proto,
                                  const struct ldnq_attr_source *attrs, size_t attr_count,
                                  struct ldnq_error *err);
enum ldnq_status ldnq_import_arguments(const struct ldnq_import_use *use, struct ldnq_error *err);

/* A node's attributes with those of the call that they name put in; those that the
 * call does not give and that have no default are left out. */
enum ldnq_status ldnq_import_resolve(const struct ldnq_import *import, const Onnx__NodeProto *proto,
                                     const struct ldnq_attr_source **out, size_t *count,
                                     struct ldnq_error *err);

/* What a Constant node holds; NULL in *out when it must stay a node. Its
 * attributes have been read. */
enum ldnq_status ldnq_import_constant(struct ldnq_import *import, const struct ldnq_node *node,
                                      const struct ldnq_attr_source *attrs,
                                      const struct ldnq_tensor **out, struct ldnq_error *err);

/* ldnq_node_fail before labels are given. */
enum ldnq_status ldnq_import_fail(const struct ldnq_import *import, struct ldnq_node *node,
                                  enum ldnq_status status, struct ldnq_error *err,
                                  const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
