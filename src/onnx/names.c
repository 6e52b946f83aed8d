/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/names.h"

#include <string.h>
#include <xxhash.h>

#define FIRST_CAPACITY 64

/* The slot that holds the key, or the free slot where it would be inserted. */
static struct ldnq_name *find_slot(const struct ldnq_names *names, const char *key)
{
    size_t mask = names->capacity - 1;
    size_t at = (size_t)XXH3_64bits(key, strlen(key)) & mask;
    while (names->slots[at].key && strcmp(names->slots[at].key, key) != 0)
        at = (at + 1) & mask;
    return &names->slots[at];
}

static enum ldnq_status double_table_capacity(struct ldnq_names *names, struct ldnq_error *err)
{
    struct ldnq_names larger = *names;
    larger.capacity = names->capacity ? 2 * names->capacity : FIRST_CAPACITY;
    larger.slots = ldnq_arena_alloc(names->arena, larger.capacity, sizeof *larger.slots, err);
    if (!larger.slots)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < names->capacity; i++)
        if (names->slots[i].key)
            *find_slot(&larger, names->slots[i].key) = names->slots[i];
    *names = larger;
    return LDNQ_OK;
}

struct ldnq_name *ldnq_names_find(const struct ldnq_names *names, const char *key)
{
    if (!names->capacity)
        return NULL;
    struct ldnq_name *slot = find_slot(names, key);
    return slot->key ? slot : NULL;
}

enum ldnq_status ldnq_names_insert(struct ldnq_names *names, const char *key,
                                   struct ldnq_name **out, struct ldnq_error *err)
{
    *out = ldnq_names_find(names, key);
    if (*out)
        return LDNQ_OK;
    if (4 * (names->count + 1) > 3 * names->capacity)
        LDNQ_TRY(double_table_capacity(names, err));
    *out = find_slot(names, key);
    (*out)->key = key;
    names->count++;
    return LDNQ_OK;
}
