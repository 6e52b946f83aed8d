/* import.h: the state of one import, shared by the files that do it. */
#ifndef LDNQ_ONNX_IMPORT_H
#define LDNQ_ONNX_IMPORT_H

#include "onnx/model.h"

struct ldnq_import {
    const struct ldnq_model *model;
    struct ldnq_graph *graph;
    struct ldnq_arena *scratch; /* gone after the import */
    struct ldnq_names values;   /* name to struct ldnq_value */
};

/* A new value under its name, which must be free. `maker` is for the message:
 * "an initializer", "a graph input", NULL for a node. */
enum ldnq_status ldnq_import_value(struct ldnq_import *import, const char *name, const char *maker,
                                   struct ldnq_value **out, struct ldnq_error *err);

/* NULL when nothing of that name has been made. */
struct ldnq_value *ldnq_import_find(const struct ldnq_import *import, const char *name);

/* Initializers, then inputs (those that are initializers are none). */
enum ldnq_status ldnq_import_initializers(struct ldnq_import *import, struct ldnq_error *err);
enum ldnq_status ldnq_import_inputs(struct ldnq_import *import, struct ldnq_error *err);

/* Nodes and the values that they make; Constant nodes become constants. Then
 * their inputs, and what their subgraphs read. err must not be NULL. */
enum ldnq_status ldnq_import_nodes(struct ldnq_import *import, struct ldnq_error *err);
enum ldnq_status ldnq_import_edges(struct ldnq_import *import, struct ldnq_error *err);

/* What a Constant node holds; NULL in *out when it must stay a node. Its
 * attributes have been read. */
enum ldnq_status ldnq_import_constant(struct ldnq_import *import, const struct ldnq_node *node,
                                      const struct ldnq_tensor **out, struct ldnq_error *err);

/* ldnq_node_fail before labels are given. */
enum ldnq_status ldnq_import_fail(const struct ldnq_import *import, struct ldnq_node *node,
                                  enum ldnq_status status, struct ldnq_error *err,
                                  const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
