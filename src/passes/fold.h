/* fold.h: ldnq_pass_fold with a limit of the caller's.
 *
 * Owns    nothing; results live in the graph's arena
 * Errors  as ldnq_pass_fold
 */
#ifndef LDNQ_PASSES_FOLD_H
#define LDNQ_PASSES_FOLD_H

#include <ldnq/ir.h>

/* budget: bytes that all results and their scratch may take together. What goes
 * beyond is left to run time. */
enum ldnq_status ldnq_fold_within(struct ldnq_graph *graph, size_t budget, struct ldnq_error *err);

#endif
