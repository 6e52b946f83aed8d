/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "linalg/blas_buffers.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>

/* OpenBLAS has fewer buffers than this, by the number of processors that it is built for. */
#define MOST_BUFFERS ((size_t)4096)
/* For what other threads request between the question and OpenBLAS's own request. */
#define SPARE_BYTES ((size_t)4 << 20)

/* NULL in builds that do not export them. The argument of the first is ignored. */
extern void *blas_memory_alloc(int position) __attribute__((weak));
extern void blas_memory_free(void *buffer) __attribute__((weak));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* All under the lock. */
static void *buffers[MOST_BUFFERS]; /* those that OpenBLAS has mapped */
static size_t buffer_count;
static size_t reserved; /* threads */

static bool is_memory_left(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED && munmap(memory, size) == 0;
}

static void add_buffer(void *buffer)
{
    for (size_t i = 0; i < buffer_count; i++)
        if (buffers[i] == buffer)
            return;
    buffers[buffer_count++] = buffer;
}

/* Requests buffers without returning them, until as many are known as are needed. Calls that
 * run meanwhile have theirs. Returns the number requested. */
static size_t request_buffers(size_t needed, void **requested)
{
    size_t count = 0;
    while (buffer_count < needed && count < needed) {
        if (!is_memory_left(LDNQ_BLAS_BUFFER_BYTES + SPARE_BYTES))
            return count;
        requested[count] = blas_memory_alloc(0);
        if (!requested[count])
            return count;
        add_buffer(requested[count++]);
    }
    return count;
}

enum ldnq_status ldnq_blas_reserve(size_t threads, struct ldnq_error *err)
{
    static void *requested[MOST_BUFFERS]; /* under the lock */
    pthread_mutex_lock(&lock);
    const size_t needed = reserved + threads;
    bool is_enough = needed <= MOST_BUFFERS;
    if (is_enough && blas_memory_alloc && blas_memory_free) {
        const size_t count = request_buffers(needed, requested);
        for (size_t i = 0; i < count; i++)
            blas_memory_free(requested[i]);
        is_enough = buffer_count >= needed;
    } else if (is_enough) {
        is_enough = is_memory_left(needed * LDNQ_BLAS_BUFFER_BYTES + SPARE_BYTES);
    }
    reserved += is_enough ? threads : 0;
    pthread_mutex_unlock(&lock);
    if (is_enough)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_NOMEM,
                     "out of memory: matrix products in %zu %s need %zu MiB of address space; "
                     "fewer threads need less",
                     needed, needed == 1 ? "thread" : "threads",
                     needed * (LDNQ_BLAS_BUFFER_BYTES >> 20));
}

void ldnq_blas_unreserve(size_t threads)
{
    pthread_mutex_lock(&lock);
    reserved -= threads;
    pthread_mutex_unlock(&lock);
}
