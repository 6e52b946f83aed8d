/* SPDX-License-Identifier: Apache-2.0 */
/* foreign.h: cut off what can't be executed, so that the layers upstream of it can be fitted. */
#ifndef LDNQ_PASSES_FOREIGN_H
#define LDNQ_PASSES_FOREIGN_H

#include "passes/passes.h"

/* What was cut off; names are those of the graph. */
struct ldnq_foreign {
    const struct ldnq_node *first; /* the first node without an operator; NULL: there is none */
    size_t count;                  /* nodes without an operator */
    const char **outputs;          /* (output_count) outputs that depend on them */
    size_t output_count;
    const char **layers; /* (layer_count) nodes with weights that depend on them */
    size_t layer_count;
    size_t layers_left; /* nodes that stay and can have weights */
};

/* Removes the nodes that no operator can be bound to, and all that depend on them. Values that they
 * read become outputs of the graph, so that the nodes upstream stay; inputs that they alone read
 * are no inputs of it any more. Nothing happens where binding fails otherwise, which
 * ldnq_passes_run reports. The file keeps all nodes. Errors: NOMEM. */
enum ldnq_status ldnq_pass_cut_foreign(struct ldnq_graph *graph, struct ldnq_foreign *foreign,
                                       struct ldnq_error *err);

#endif
