/* SPDX-License-Identifier: Apache-2.0 */
/* import.h: the state of one import, shared by the files that do it.
 *
 * A scope, in which names are resolved, is the main graph, a subgraph, or the body of a
 * function. Each is imported in two steps, as its nodes may be in any order: first the
 * nodes and their outputs, then their inputs. A call of a function is replaced by the
 * function's nodes, in the graph of the call; subgraphs become graphs of their own.
 */
#ifndef LDNQ_ONNX_IMPORT_H
#define LDNQ_ONNX_IMPORT_H

#include "onnx/attrs.h"
#include "onnx/model.h"

/* Limit of nested calls and subgraphs. */
#define LDNQ_IMPORT_DEPTH 32
/* Limit of nodes added by calls: functions that each call the next one twice grow
 * exponentially. */
#define LDNQ_IMPORT_NODES ((size_t)1 << 16)

/* State that all scopes of one import share. */
struct ldnq_import_all {
    const struct ldnq_model *model;
    struct ldnq_arena *arena, *scratch; /* `scratch` lives as long as the import */
    enum ldnq_operator_form form;
    struct ldnq_names functions; /* "domain:name:overload" to Onnx__FunctionProto */
    struct ldnq_names taken;     /* names given to values of inner scopes */
    size_t serial, inlined;
};

struct ldnq_import;

/* A node whose inputs are not connected yet; or, with node NULL, a call whose
 * function's inputs are not bound yet. */
struct ldnq_import_pending {
    struct ldnq_import_pending *next;
    struct ldnq_import *scope; /* scope of its inputs; for a call, the body */
    struct ldnq_node *node;
    const Onnx__NodeProto *proto;
    const struct ldnq_attr_source *attrs;
    size_t attr_count;
};

/* The nodes of one graph, including those of inlined functions. */
struct ldnq_import_list {
    struct ldnq_import_pending *first, **end;
    size_t next_index; /* index of the next node that is not in the file's list */
};

/* A call of a function, with its attributes resolved in the caller's scope. */
struct ldnq_import_call {
    struct ldnq_import *caller;
    const Onnx__NodeProto *proto;
    const Onnx__FunctionProto *function;
    const struct ldnq_attr_source *attrs;
    size_t attr_count;
    /* Maps an output's name in the body to the caller's value. */
    struct ldnq_names outputs;
};

struct ldnq_import {
    struct ldnq_import_all *all;
    struct ldnq_graph *graph;
    struct ldnq_names values;            /* name to struct ldnq_value; NULL for an input left out */
    struct ldnq_import *outer;           /* the scope around a subgraph, else NULL */
    const Onnx__GraphProto *proto;       /* NULL in a function */
    const struct ldnq_import_call *call; /* NULL outside of functions */
    Onnx__OperatorSetIdProto *const *opsets;
    size_t opset_count;
    struct ldnq_import_list *list;
    const char *prefix; /* prefix of names: "" in the main graph */
    const char *within; /* `within` of struct ldnq_node */
    size_t depth;
};

/* False in a subgraph of a function's body, where `call` is set to resolve attributes. */
static inline bool ldnq_import_is_body(const struct ldnq_import *import)
{
    return import->call && !import->proto;
}

/* Adds a value under a name that the scope does not have yet. `producer` is for the
 * message: "an initializer", "a graph input", NULL for a node. */
enum ldnq_status ldnq_import_add_value(struct ldnq_import *import, const char *name,
                                       const char *producer, struct ldnq_value **out,
                                       struct ldnq_error *err);

/* NULL when the scope has no value of that name. */
struct ldnq_value *ldnq_import_find(const struct ldnq_import *import, const char *name);
bool ldnq_import_has(const struct ldnq_import *import, const char *name);

/* Resolves a name: a value of the scope, or of an outer scope, which is then captured.
 * *value is NULL for a function's input that the call leaves out. */
enum ldnq_status ldnq_import_resolve_name(struct ldnq_import *import, const char *name, bool *found,
                                          struct ldnq_value **value, struct ldnq_error *err);

/* To be called in this order, the last one after the nodes. An input that is also an
 * initializer does not become a graph input. */
enum ldnq_status ldnq_import_initializers(struct ldnq_import *import, struct ldnq_error *err);
enum ldnq_status ldnq_import_inputs(struct ldnq_import *import, struct ldnq_error *err);
enum ldnq_status ldnq_import_outputs(struct ldnq_import *import, struct ldnq_error *err);

/* The two steps: nodes and their outputs (Constant nodes become constants), then their
 * inputs and the captures of their subgraphs. err must not be NULL. */
enum ldnq_status ldnq_import_nodes(struct ldnq_import *import, Onnx__NodeProto *const *nodes,
                                   size_t count, struct ldnq_error *err);
enum ldnq_status ldnq_import_edges(struct ldnq_import *import, struct ldnq_error *err);

/* Adds the value that a node of the scope outputs under that name. */
enum ldnq_status ldnq_import_output(struct ldnq_import *import, struct ldnq_node *node,
                                    const char *name, struct ldnq_value **out,
                                    struct ldnq_error *err);

/* Creates a node without attributes, whose inputs and outputs are not connected yet. */
enum ldnq_status ldnq_import_new_node(struct ldnq_import *import, const char *op_type,
                                      const char *domain, size_t inputs, size_t outputs,
                                      struct ldnq_node **out, struct ldnq_error *err);
enum ldnq_status ldnq_import_add_pending_node(struct ldnq_import *import, struct ldnq_node *node,
                                              const Onnx__NodeProto *proto,
                                              const struct ldnq_attr_source *attrs,
                                              size_t attr_count, struct ldnq_error *err);

/* Imports the main graph or a subgraph into a scope that has been set up. */
enum ldnq_status ldnq_import_graph(struct ldnq_import *import, struct ldnq_error *err);

/* Imports the bodies of If, Loop and Scan and collects their captures. */
enum ldnq_status ldnq_import_subgraphs(struct ldnq_import *import,
                                       const struct ldnq_import_pending *use,
                                       struct ldnq_error *err);

/* Functions, in this order: index all of the model; find the one that a node calls, or
 * NULL; replace the call by its body; and, when all outputs of the caller's scope
 * exist, bind the body's inputs. */
enum ldnq_status ldnq_import_functions(struct ldnq_import_all *all, struct ldnq_error *err);
enum ldnq_status ldnq_import_find_function(const struct ldnq_import *import,
                                           const Onnx__NodeProto *proto,
                                           const Onnx__FunctionProto **out, struct ldnq_error *err);
enum ldnq_status ldnq_import_inline_call(struct ldnq_import *import,
                                         const Onnx__FunctionProto *function,
                                         struct ldnq_node *node, const Onnx__NodeProto *proto,
                                         const struct ldnq_attr_source *attrs, size_t attr_count,
                                         struct ldnq_error *err);
enum ldnq_status ldnq_import_bind_inputs(const struct ldnq_import_pending *use,
                                         struct ldnq_error *err);

/* Reads a node's attributes and replaces references by the call's attribute, or by the
 * function's default. A reference that has neither is left out. */
enum ldnq_status ldnq_import_resolve_attrs(const struct ldnq_import *import,
                                           const Onnx__NodeProto *proto,
                                           const struct ldnq_attr_source **out, size_t *count,
                                           struct ldnq_error *err);

/* The value of a Constant node whose attributes have been read; *out is NULL when it
 * must stay a node. */
enum ldnq_status ldnq_import_constant(struct ldnq_import *import, const struct ldnq_node *node,
                                      const struct ldnq_attr_source *attrs,
                                      const struct ldnq_tensor **out, struct ldnq_error *err);

/* "call/", or "If#3/" for a node without a name: the names of its body begin with that. NULL with
 * NOMEM in err. */
const char *ldnq_import_make_prefix(struct ldnq_arena *arena, const char *name, const char *op_type,
                                    size_t index, struct ldnq_error *err);

/* ldnq_node_fail for a node that has no label yet. */
enum ldnq_status ldnq_import_fail(const struct ldnq_import *import, struct ldnq_node *node,
                                  enum ldnq_status status, struct ldnq_error *err,
                                  const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
