/* fold.h: ldnq_pass_fold with a limit of the caller's, and what it shares with the
 * file that looks into bodies (subgraphs.c).
 *
 * Owns    nothing; results live in the graph's arena
 * Errors  as ldnq_pass_fold
 */
#ifndef LDNQ_PASSES_FOLD_H
#define LDNQ_PASSES_FOLD_H

#include "ir/ir.h"

#include "base/text.h"

/* budget: bytes that all results and their scratch may take together. What goes
 * beyond is left to run time. */
enum ldnq_status ldnq_fold_within(struct ldnq_graph *graph, size_t budget, struct ldnq_error *err);

/* One walk over a graph and its bodies. */
struct ldnq_folding {
    size_t budget;
    struct ldnq_text problems; /* nodes that can't be executed, and why */
    enum ldnq_status worst;
    size_t bodies;  /* that the walk is in */
    size_t loops;   /* of those the ones that are run more than once */
    bool rehearsal; /* all is put back afterwards: nothing is reported or moved */
};

/* Errors: NOMEM; others are noted. */
enum ldnq_status ldnq_fold_graph(struct ldnq_folding *folding, struct ldnq_graph *graph,
                                 struct ldnq_error *err);

#endif
