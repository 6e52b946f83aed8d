/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/blocks.h"

/* Sorts the columns by block, by counting. */
enum ldnq_status ldnq_blocks_init(const struct ldnq_layer_problem *problem,
                                  struct ldnq_blocks *blocks, struct ldnq_arena *arena,
                                  struct ldnq_error *err)
{
    const size_t k = problem->cols, block_count = problem->block_count;
    *blocks = (struct ldnq_blocks){ NULL, NULL };
    if (!problem->block_index)
        return LDNQ_OK;
    blocks->order = ldnq_arena_alloc(arena, k, sizeof *blocks->order, err);
    blocks->first = ldnq_arena_alloc(arena, block_count + 1, sizeof *blocks->first, err);
    if (!blocks->order || !blocks->first)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < k; i++)
        blocks->first[problem->block_index[i]]++;
    for (size_t s = 0, at = 0; s <= block_count; s++) {
        const size_t count = blocks->first[s];
        blocks->first[s] = at;
        at += count;
    }
    for (size_t i = 0; i < k; i++)
        blocks->order[blocks->first[problem->block_index[i]]++] = (uint32_t)i;
    for (size_t s = block_count; s > 0; s--)
        blocks->first[s] = blocks->first[s - 1];
    blocks->first[0] = 0;
    return LDNQ_OK;
}
