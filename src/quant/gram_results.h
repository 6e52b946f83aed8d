/* SPDX-License-Identifier: Apache-2.0 */
/* gram_results.h: what follows from a Gram matrix and its means alone, stored for other problems
 * that have the same ones: layers that read one input are fitted to the same matrices.
 *
 * Matrices are the same when their contents are, by a hash of 128 bits: results do not depend on
 * whether they were found here.
 *
 * Memory  inverses of 1 MiB and more are in temporary files, where there is room
 * Owns    the arena's results, until clear
 * Errors  none: where nothing can be stored, nothing is found
 * Threads one thread at a time
 */
#ifndef LDNQ_QUANT_GRAM_RESULTS_H
#define LDNQ_QUANT_GRAM_RESULTS_H

#include <xxhash.h>

#include "quant/inverse.h"

/* Of one input: three dampings that are tried, that of the fit, and the matrix without damping. */
#define LDNQ_GRAM_RESULTS ((size_t)6)

struct ldnq_gram_result {
    XXH128_hash_t gram, mean;    /* hashes */
    struct ldnq_inverse inverse; /* factor NULL: not computed */
    size_t varying, rank;        /* of ldnq_problem_compute_rank */
    bool has_rank;
};

/* Zeroed at the start. */
struct ldnq_gram_results {
    struct ldnq_arena *arena; /* of the inverses; NULL: nothing is stored */
    struct ldnq_gram_result results[LDNQ_GRAM_RESULTS];
    size_t count;
};

/* The results of the problem's matrix, at first empty ones; NULL: they can't be stored. */
struct ldnq_gram_result *ldnq_gram_results_find(const struct ldnq_layer_problem *problem);
/* Frees all results. */
void ldnq_gram_results_clear(struct ldnq_gram_results *results);

#endif
