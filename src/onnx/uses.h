/* uses.h: the names of a model, and who reads them. */
#ifndef LDNQ_ONNX_USES_H
#define LDNQ_ONNX_USES_H

#include "onnx/model.h"

/* Fills in model->names: all names in use, and which values of the main graph
 * nothing reads. To be called once, after loading. */
enum ldnq_status ldnq_uses_init(struct ldnq_model *model, struct ldnq_error *err);

/* How often each value of the main graph is read: by its nodes, their
 * subgraphs, its outputs, by the training graphs, and as the scale or zero
 * point of an annotated tensor. */
enum ldnq_status ldnq_uses_count(const struct ldnq_model *model, struct ldnq_names *reads,
                                 struct ldnq_error *err);

/* The same for what one node reads, through `visit`. */
enum ldnq_status ldnq_uses_visit_node(const Onnx__NodeProto *node, struct ldnq_arena *scratch,
                                      enum ldnq_status (*visit)(void *, const char *,
                                                                struct ldnq_error *),
                                      void *ctx, struct ldnq_error *err);

#endif
