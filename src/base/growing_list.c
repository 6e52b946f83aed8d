/* SPDX-License-Identifier: Apache-2.0 */
#include "base/growing_list.h"

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"

#define FIRST_CAPACITY ((size_t)16)

enum ldnq_status ldnq_list_reserve(struct ldnq_arena *arena, void *list, size_t count,
                                   size_t *capacity, size_t element_size, struct ldnq_error *err)
{
    if (count < *capacity)
        return LDNQ_OK;
    size_t larger, bytes;
    if (!ldnq_size_mul(count, 2, &larger))
        return ldnq_fail(err, LDNQ_NOMEM, "a list of %zu elements is too long", count);
    larger = ldnq_size_max(larger, FIRST_CAPACITY);
    if (!ldnq_size_mul(larger, element_size, &bytes))
        return ldnq_fail(err, LDNQ_NOMEM, "a list of %zu elements is too long", larger);
    /* Through memcpy: the pointer is one to the caller's element type. */
    void *old, *items;
    memcpy(&old, list, sizeof old);
    if (arena) {
        items = ldnq_arena_alloc(arena, larger, element_size, err);
        if (!items)
            return LDNQ_NOMEM;
        if (count)
            memcpy(items, old, count * element_size);
    } else {
        items = ldnq_realloc(old, bytes);
        if (!items)
            return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    }
    memcpy(list, &items, sizeof items);
    *capacity = larger;
    return LDNQ_OK;
}
