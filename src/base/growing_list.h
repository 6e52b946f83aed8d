/* SPDX-License-Identifier: Apache-2.0 */
/* growing_list.h: makes room at the end of an array that grows one element at a time. */
#ifndef LDNQ_BASE_GROWING_LIST_H
#define LDNQ_BASE_GROWING_LIST_H

#include "base/arena.h"

/* Makes room for one more element after the first `count`; the capacity at least doubles where
 * it has to grow. `list` is the address of the array's pointer, which may be NULL with a count
 * of 0. The array lives in the arena, where a smaller one that it replaces stays; without an
 * arena it is on the heap, and the caller frees it with ldnq_free. Errors: NOMEM, which leaves
 * list and capacity as they were. */
enum ldnq_status ldnq_list_reserve(struct ldnq_arena *arena, void *list, size_t count,
                                   size_t *capacity, size_t element_size, struct ldnq_error *err);

#endif
