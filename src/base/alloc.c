#include "base/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

static atomic_long allocations;
static atomic_long allowed = -1;

bool ldnq_alloc_count_one(void)
{
    long nth = atomic_fetch_add(&allocations, 1);
    long limit = atomic_load(&allowed);
    return limit < 0 || nth < limit;
}

void *ldnq_malloc(size_t size)
{
    return ldnq_alloc_count_one() ? malloc(size ? size : 1) : NULL;
}

void *ldnq_calloc(size_t count, size_t size)
{
    return ldnq_alloc_count_one() ? calloc(count ? count : 1, size ? size : 1) : NULL;
}

void *ldnq_realloc(void *old, size_t size)
{
    return ldnq_alloc_count_one() ? realloc(old, size ? size : 1) : NULL;
}

void *ldnq_malloc_aligned(size_t size)
{
    if (size > SIZE_MAX - 63 || !ldnq_alloc_count_one())
        return NULL;
    size_t rounded = (size + 63) & ~(size_t)63;
    return aligned_alloc(64, rounded ? rounded : 64);
}

void ldnq_free(void *memory)
{
    free(memory);
}

void ldnq_alloc_fail_after(long count)
{
    atomic_store(&allocations, 0);
    atomic_store(&allowed, count);
}

long ldnq_alloc_count(void)
{
    return atomic_load(&allocations);
}
