/* pair.h: which node of one network is which of another. */
#ifndef LDNQ_COMPARE_PAIR_H
#define LDNQ_COMPARE_PAIR_H

#include "compare/comparison.h"

#include "compare/view.h"

struct ldnq_pairs {
    const struct ldnq_view *a, *b;
    size_t *of_a, *of_b; /* by node: the partner's place, or LDNQ_VIEW_NONE */
};

/* Layers first, by what their weights hold, and by names; then what lies between them, along
 * the wires from nodes that are paired already; then what is left, by name. A pair is of one
 * kind, and its weights have one shape. The same files always give the same pairs.
 * Errors: NOMEM. */
enum ldnq_status ldnq_pairs_init(struct ldnq_pairs *pairs, const struct ldnq_view *a,
                                 const struct ldnq_view *b, struct ldnq_arena *arena,
                                 struct ldnq_error *err);

/* What two partners were recognized by. */
enum ldnq_pairing ldnq_pairs_reason(const struct ldnq_pairs *pairs, size_t a);

/* How alike two layers' weights are, 0 to 1: the mean over channels of the size of the cosine
 * between their rows, so that scales, signs and a folded BatchNormalization don't matter.
 * Looks at up to 64 x 64 elements. NAN when they can't be compared. */
double ldnq_weights_alike(const struct ldnq_layer *a, const struct ldnq_layer *b);

#endif
