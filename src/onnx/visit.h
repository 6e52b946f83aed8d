/* SPDX-License-Identifier: Apache-2.0 */
/* visit.h: visit every message of one kind in a model, at any depth. */
#ifndef LDNQ_ONNX_VISIT_H
#define LDNQ_ONNX_VISIT_H

#include "base/arena.h"

#include "onnx.pb-c.h"

typedef enum ldnq_status ldnq_visit_fn(void *ctx, void *message, struct ldnq_error *err);

/* Calls visit for each message of `kind` in `root` (and for root itself), outer
 * ones first, in the file's order; stops at the first failure. */
enum ldnq_status ldnq_visit(ProtobufCMessage *root, const ProtobufCMessageDescriptor *kind,
                            ldnq_visit_fn *visit, void *ctx, struct ldnq_error *err);

/* Call visit for each name that a node's subgraphs, or a graph, read from an outer
 * scope, once per read. `scratch` holds temporary scopes. */
typedef enum ldnq_status ldnq_capture_fn(void *ctx, const char *name, struct ldnq_error *err);
enum ldnq_status ldnq_visit_node_captures(const Onnx__NodeProto *node, struct ldnq_arena *scratch,
                                          ldnq_capture_fn *visit, void *ctx,
                                          struct ldnq_error *err);
enum ldnq_status ldnq_visit_graph_captures(const Onnx__GraphProto *graph,
                                           struct ldnq_arena *scratch, ldnq_capture_fn *visit,
                                           void *ctx, struct ldnq_error *err);

#endif
