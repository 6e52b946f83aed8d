/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* sysinfo, MAP_ANONYMOUS */
#include "base/alloc.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

static atomic_long allocations;
static atomic_long allowed = -1;

bool ldnq_alloc_count_one(void)
{
    long nth = atomic_fetch_add(&allocations, 1);
    long limit = atomic_load(&allowed);
    return limit < 0 || nth < limit;
}

/* The limit of the container that the process runs in; SIZE_MAX when there is none ("max"). */
static size_t read_container_limit(void)
{
    char text[32] = "";
    int fd = open("/sys/fs/cgroup/memory.max", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return SIZE_MAX;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0 || *text < '0' || *text > '9')
        return SIZE_MAX;
    return strtoull(text, NULL, 10);
}

static atomic_size_t memory_size; /* 0 until it is known */

size_t ldnq_memory_size(void)
{
    size_t size = atomic_load_explicit(&memory_size, memory_order_relaxed);
    if (size)
        return size;
    struct sysinfo info;
    size = read_container_limit();
    if (sysinfo(&info) == 0) {
        const size_t machine = (size_t)(info.totalram + info.totalswap) * info.mem_unit;
        size = machine < size ? machine : size;
    }
    size = size ? size : SIZE_MAX;
    atomic_store_explicit(&memory_size, size, memory_order_relaxed);
    return size;
}

void ldnq_memory_set_limit(size_t size)
{
    if (size < ldnq_memory_size())
        atomic_store_explicit(&memory_size, size, memory_order_relaxed);
}

void *ldnq_malloc(size_t size)
{
    if (size > ldnq_memory_size() || !ldnq_alloc_count_one())
        return NULL;
    return malloc(size ? size : 1);
}

void *ldnq_calloc(size_t count, size_t size)
{
    if ((size && count > ldnq_memory_size() / size) || !ldnq_alloc_count_one())
        return NULL;
    return calloc(count ? count : 1, size ? size : 1);
}

void *ldnq_realloc(void *old, size_t size)
{
    if (size > ldnq_memory_size() || !ldnq_alloc_count_one())
        return NULL;
    return realloc(old, size ? size : 1);
}

void *ldnq_malloc_aligned(size_t size)
{
    if (size > SIZE_MAX - 63 || size > ldnq_memory_size() || !ldnq_alloc_count_one())
        return NULL;
    size_t rounded = (size + 63) & ~(size_t)63;
    return aligned_alloc(64, rounded ? rounded : 64);
}

void ldnq_free(void *memory)
{
    free(memory);
}

void *ldnq_pages_alloc(size_t size)
{
    if (size > ldnq_memory_size() || !ldnq_alloc_count_one())
        return NULL;
    void *pages =
        mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

void ldnq_pages_free(void *pages, size_t size)
{
    if (pages)
        munmap(pages, size ? size : 1);
}

void ldnq_heap_return_freed(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
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
