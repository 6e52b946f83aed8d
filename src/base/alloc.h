/* alloc.h: the one door to the heap, which a test can make fail on demand.
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

/* Lets the next `count` allocations through and makes all later ones fail;
 * a negative count turns that off. For tests. */
void ldnq_alloc_fail_after(long count);
/* Counts one allocation and returns whether it may succeed; for allocators on top of
 * these, so that a test reaches each of their allocations. */
bool ldnq_alloc_count_one(void);
/* Allocations asked for since the last ldnq_alloc_fail_after. */
long ldnq_alloc_count(void);

#endif
