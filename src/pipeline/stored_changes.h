/* SPDX-License-Identifier: Apache-2.0 */
/* stored_changes.h: the matrices Z of input_error.h, stored for other layers with the same input.
 *
 * Layers that read one input have the same sums, and try the same dampings: Z, which takes a
 * factorization and K^3 operations, is the same. It is found by the contents of the sums, by a hash
 * of 128 bits, so that results do not depend on whether it was found.
 *
 * Memory  matrices of 1 MiB and more are in temporary files, where there is room
 * Owns    the matrices, until clear
 * Errors  none: where nothing can be stored, nothing is found
 * Threads one thread at a time
 */
#ifndef LDNQ_PIPELINE_STORED_CHANGES_H
#define LDNQ_PIPELINE_STORED_CHANGES_H

#include <xxhash.h>

#include "base/arena.h"
#include "pipeline/statistics.h"

/* Of one input: each damping on the fitted part, and two of them on all samples. */
#define LDNQ_STORED_CHANGES ((size_t)6)

struct ldnq_input_error;

/* What Z depends on. */
struct ldnq_change_key {
    XXH128_hash_t gram, mean, cross, sum; /* hashes */
    double damping;
    size_t positions;
    bool centred;
};

struct ldnq_stored_changes {
    struct ldnq_arena *arena; /* NULL: nothing is stored */
    struct {
        struct ldnq_change_key key;
        double *z; /* (K, K) */
    } changes[LDNQ_STORED_CHANGES];
    size_t count;
};

struct ldnq_change_key ldnq_make_change_key(const struct ldnq_input_error *error,
                                            const struct ldnq_statistics *statistics, bool centred,
                                            double damping);
/* Copies the Z of the key to `z`; false when it is not stored. `changes` may be NULL. */
bool ldnq_stored_changes_read(const struct ldnq_stored_changes *changes,
                              const struct ldnq_change_key *key, size_t cols, double *z);
void ldnq_stored_changes_add(struct ldnq_stored_changes *changes, const struct ldnq_change_key *key,
                             size_t cols, const double *z);
/* Frees all of them. */
void ldnq_stored_changes_clear(struct ldnq_stored_changes *changes);

#endif
