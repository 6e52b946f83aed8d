/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/stored_changes.h"

#include <string.h>

#include "base/mapping.h"
#include "pipeline/input_error.h"

struct ldnq_change_key ldnq_make_change_key(const struct ldnq_input_error *error,
                                            const struct ldnq_statistics *statistics, bool centred,
                                            double damping)
{
    const size_t row = error->cols * sizeof(double), matrix = error->cols * row;
    return (struct ldnq_change_key){
        .gram = XXH3_128bits(statistics->gram, matrix),
        .mean = XXH3_128bits(statistics->mean, row),
        .cross = XXH3_128bits(error->cross, matrix),
        .sum = XXH3_128bits(error->sum, row),
        .damping = damping,
        .positions = statistics->positions,
        .centred = centred,
    };
}

static bool are_equal(const struct ldnq_change_key *a, const struct ldnq_change_key *b)
{
    return XXH128_isEqual(a->gram, b->gram) && XXH128_isEqual(a->mean, b->mean) &&
           XXH128_isEqual(a->cross, b->cross) && XXH128_isEqual(a->sum, b->sum) &&
           a->damping == b->damping && a->positions == b->positions && a->centred == b->centred;
}

bool ldnq_stored_changes_read(const struct ldnq_stored_changes *changes,
                              const struct ldnq_change_key *key, size_t cols, double *z)
{
    const size_t bytes = cols * cols * sizeof *z;
    for (size_t i = 0; changes && i < changes->count; i++) {
        if (!are_equal(&changes->changes[i].key, key))
            continue;
        memcpy(z, changes->changes[i].z, bytes);
        ldnq_mapping_release_pages(changes->changes[i].z, bytes);
        return true;
    }
    return false;
}

void ldnq_stored_changes_add(struct ldnq_stored_changes *changes, const struct ldnq_change_key *key,
                             size_t cols, const double *z)
{
    const size_t bytes = cols * cols * sizeof *z;
    struct ldnq_error ignored;
    if (!changes || changes->count == LDNQ_STORED_CHANGES)
        return;
    if (!changes->arena) {
        if (ldnq_arena_create(&changes->arena, &ignored) != LDNQ_OK)
            return;
        ldnq_arena_limit_memory(changes->arena, 0);
    }
    double *copy = ldnq_arena_alloc(changes->arena, 1, bytes, &ignored);
    if (!copy)
        return;
    memcpy(copy, z, bytes);
    ldnq_mapping_release_pages(copy, bytes);
    changes->changes[changes->count].key = *key;
    changes->changes[changes->count++].z = copy;
}

void ldnq_stored_changes_clear(struct ldnq_stored_changes *changes)
{
    ldnq_arena_destroy(changes->arena);
    *changes = (struct ldnq_stored_changes){ .arena = NULL };
}
