/* alloc.h: the heap. All allocations of the library are made here, and a test can make
 * any of them fail.
 *
 * Threads  safe. Errors: NULL, as malloc's.
 */
#ifndef LDNQ_BASE_ALLOC_H
#define LDNQ_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

void *ldnq_malloc(size_t size);
void *ldnq_calloc(size_t count, size_t size);
void *ldnq_realloc(void *old, size_t size);
/* Aligned to 64 bytes, not zeroed; release with ldnq_free. */
void *ldnq_malloc_aligned(size_t size);
void ldnq_free(void *memory);

/* For tests: the next `count` allocations succeed and all later ones fail; a negative
 * count ends that. */
void ldnq_alloc_fail_after(long count);
/* Counts one allocation and returns whether it may succeed; for allocators on top of
 * these, so that a test reaches each of their allocations. */
bool ldnq_alloc_count_one(void);
/* Number of allocations requested since the last ldnq_alloc_fail_after. */
long ldnq_alloc_count(void);

#endif
