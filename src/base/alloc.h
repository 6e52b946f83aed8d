/* SPDX-License-Identifier: Apache-2.0 */
/* alloc.h: the heap. All allocations of the library are made here, and a test can make
 * any of them fail.
 *
 * Threads  safe. Errors: NULL, as malloc's.
 */
#ifndef LDNQ_BASE_ALLOC_H
#define LDNQ_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that the process can use at most: the machine's memory and swap, or its container's
 * limit where that is less. The system grants more than it has and ends the process when it is
 * used; what can't fit is refused instead. */
size_t ldnq_memory_size(void);
/* For tests: ldnq_memory_size is at most `size` from now on. */
void ldnq_memory_set_limit(size_t size);

/* All refuse a size above ldnq_memory_size. */
void *ldnq_malloc(size_t size);
void *ldnq_calloc(size_t count, size_t size);
void *ldnq_realloc(void *old, size_t size);
/* Aligned to 64 bytes, not zeroed; release with ldnq_free. */
void *ldnq_malloc_aligned(size_t size);
void ldnq_free(void *memory);

/* Zeroed pages of their own, for large blocks whose sizes differ: freed blocks of a heap leave
 * holes that larger ones don't fit into. Release with ldnq_pages_free and the same size. */
void *ldnq_pages_alloc(size_t size);
/* Accepts NULL. */
void ldnq_pages_free(void *pages, size_t size);

/* Returns freed blocks to the system, also those between blocks in use: for a limited process,
 * before it allocates blocks of other sizes. The system zeroes what is used again. */
void ldnq_heap_return_freed(void);

/* For tests: the next `count` allocations succeed and all later ones fail; a negative
 * count ends that. */
void ldnq_alloc_fail_after(long count);
/* Counts one allocation and returns whether it may succeed; for allocators on top of
 * these, so that a test reaches each of their allocations. */
bool ldnq_alloc_count_one(void);
/* Number of allocations requested since the last ldnq_alloc_fail_after. */
long ldnq_alloc_count(void);

#endif
