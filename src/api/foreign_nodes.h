/* SPDX-License-Identifier: Apache-2.0 */
/* foreign_nodes.h: models whose last nodes can't be executed, such as a plugin for TensorRT. */
#ifndef LDNQ_API_FOREIGN_NODES_H
#define LDNQ_API_FOREIGN_NODES_H

#include "base/sink.h"
#include "ir/ir.h"

/* Cuts off nodes that can't be executed, with all that depends on them, and warns of it; the inputs
 * that nothing else reads are cut off too. *is_empty: no layer is left. Errors: NOMEM. */
enum ldnq_status ldnq_cut_foreign_nodes(struct ldnq_graph *graph, const struct ldnq_sink *sink,
                                        bool *is_empty, struct ldnq_error *err);

#endif
