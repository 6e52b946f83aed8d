/* SPDX-License-Identifier: Apache-2.0 */
/* uses.h: the names of a model, and their readers. */
#ifndef LDNQ_ONNX_USES_H
#define LDNQ_ONNX_USES_H

#include "onnx/model.h"

/* Fills model->names with all names in use, and flags the values of the main graph that
 * have no reader. Called once, after loading. */
enum ldnq_status ldnq_uses_init(struct ldnq_model *model, struct ldnq_error *err);

/* Counts the readers of each value of the main graph: nodes, their subgraphs, graph
 * outputs, training graphs, and annotations that name it as scale or zero point. */
enum ldnq_status ldnq_uses_count(const struct ldnq_model *model, struct ldnq_names *reads,
                                 struct ldnq_error *err);

/* Calls visit for each name that one node reads, in its subgraphs too. */
enum ldnq_status ldnq_uses_visit_node(const Onnx__NodeProto *node, struct ldnq_arena *scratch,
                                      enum ldnq_status (*visit)(void *, const char *,
                                                                struct ldnq_error *),
                                      void *ctx, struct ldnq_error *err);

#endif
