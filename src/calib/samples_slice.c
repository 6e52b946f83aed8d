/* SPDX-License-Identifier: Apache-2.0 */
/* A part of a sample set, and how many samples are held out. */
#include "calib/source.h"

#include <assert.h>

#include "base/size.h"

#define MOST_HELD_OUT ((size_t)256)
/* That many decide between two networks as a rule: their errors differ by more than these
 * samples' spread. */
#define ENOUGH_HELD_OUT ((size_t)8)

size_t ldnq_samples_choose_held_out(size_t count)
{
    const size_t few = ldnq_size_min(count / 5, ENOUGH_HELD_OUT);
    return ldnq_size_min(ldnq_size_max(few, count / 10), MOST_HELD_OUT);
}

enum ldnq_status ldnq_samples_slice(const struct ldnq_samples *samples, size_t first, size_t count,
                                    struct ldnq_arena *arena, struct ldnq_samples **slice,
                                    struct ldnq_error *err)
{
    assert(first <= samples->count && count <= samples->count - first);
    struct ldnq_samples *part = ldnq_arena_alloc(arena, 1, sizeof *part, err);
    if (!part)
        return LDNQ_NOMEM;
    *part = *samples;
    part->count = count;
    part->items += first;
    part->names += first;
    if (part->mask.extents)
        part->mask.extents += first;
    if (part->stamps) {
        part->stamps += first * part->input_count;
        part->hashes += first;
    }
    *slice = part;
    return LDNQ_OK;
}
