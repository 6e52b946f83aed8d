/* SPDX-License-Identifier: Apache-2.0 */
/* names.h: a map from names to a pointer, a count and flags, in an arena.
 *
 * Owns    the table, in the arena; keys are the caller's and must outlive it.
 * Errors  NOMEM
 */
#ifndef LDNQ_ONNX_NAMES_H
#define LDNQ_ONNX_NAMES_H

#include "base/arena.h"

struct ldnq_name {
    const char *key; /* NULL in a free slot */
    void *pointer;
    size_t count;
    unsigned flags;
};

struct ldnq_names {
    struct ldnq_arena *arena;
    struct ldnq_name *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

static inline void ldnq_names_init(struct ldnq_names *names, struct ldnq_arena *arena)
{
    *names = (struct ldnq_names){ .arena = arena };
}

/* NULL when there is no such key. Entries move when another one is inserted. */
struct ldnq_name *ldnq_names_find(const struct ldnq_names *names, const char *key);

/* The key's entry, new and zeroed when there was none. */
enum ldnq_status ldnq_names_insert(struct ldnq_names *names, const char *key,
                                   struct ldnq_name **out, struct ldnq_error *err);

#endif
