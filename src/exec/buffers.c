/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/buffers.h"

#include "base/alloc.h"
#include "base/size.h"

static struct ldnq_exec_buffer *unlink_buffer(struct ldnq_exec_buffer **link)
{
    struct ldnq_exec_buffer *buffer = *link;
    *link = buffer->next;
    return buffer;
}

static void free_first_unused_buffer(struct ldnq_buffer_pool *pool)
{
    struct ldnq_exec_buffer *buffer = unlink_buffer(&pool->free);
    pool->held -= buffer->size;
    ldnq_free(buffer->data);
    ldnq_free(buffer);
}

/* A free buffer of exactly this size. When there is none, frees buffers until a new one
 * stays below the ceiling, and returns NULL. */
static struct ldnq_exec_buffer *find_free_buffer_of_size(struct ldnq_buffer_pool *pool, size_t size)
{
    for (struct ldnq_exec_buffer **link = &pool->free; *link; link = &(*link)->next)
        if ((*link)->size == size)
            return unlink_buffer(link);
    while (pool->free && (pool->held > pool->ceiling || size > pool->ceiling - pool->held))
        free_first_unused_buffer(pool);
    return NULL;
}

/* The smallest free buffer that is large enough, else the largest: growing that one adds
 * the fewest bytes. NULL when nothing is free. */
static struct ldnq_exec_buffer *find_best_free_buffer(struct ldnq_buffer_pool *pool, size_t size)
{
    struct ldnq_exec_buffer **best = NULL;
    for (struct ldnq_exec_buffer **link = &pool->free; *link; link = &(*link)->next) {
        bool fits = (*link)->size >= size, best_fits = best && (*best)->size >= size;
        if (!best || (fits && (!best_fits || (*link)->size < (*best)->size)) ||
            (!best_fits && (*link)->size > (*best)->size))
            best = link;
    }
    return best ? unlink_buffer(best) : NULL;
}

/* Replaces the memory; the contents are lost. */
static enum ldnq_status reallocate_buffer(struct ldnq_buffer_pool *pool,
                                          struct ldnq_exec_buffer *buffer, size_t size,
                                          struct ldnq_error *err)
{
    ldnq_free(buffer->data);
    pool->held -= buffer->size;
    buffer->size = 0;
    buffer->data = NULL;
    if (!pool->counts_only) {
        const size_t memory = ldnq_memory_size();
        if (pool->held > memory || size > memory - pool->held)
            return ldnq_fail(err, LDNQ_NOMEM,
                             "out of memory: %zu bytes for a value and %zu for others, of %zu that "
                             "there are in all",
                             size, pool->held, memory);
        buffer->data = ldnq_malloc_aligned(size);
        if (!buffer->data)
            return ldnq_fail(err, LDNQ_NOMEM, "out of memory: %zu bytes for a value", size);
    }
    buffer->size = size;
    pool->held += size;
    pool->peak = ldnq_size_max(pool->peak, pool->held);
    return LDNQ_OK;
}

enum ldnq_status ldnq_buffer_pool_acquire(struct ldnq_buffer_pool *pool, size_t size,
                                          struct ldnq_exec_buffer **out, struct ldnq_error *err)
{
    struct ldnq_exec_buffer *buffer = pool->ceiling > 0 ? find_free_buffer_of_size(pool, size)
                                                        : find_best_free_buffer(pool, size);
    *out = NULL;
    if (!buffer)
        buffer = ldnq_calloc(1, sizeof *buffer);
    if (!buffer)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    buffer->users = 1;
    bool is_new = !buffer->data && !pool->counts_only;
    if (is_new || buffer->size < size) {
        enum ldnq_status status = reallocate_buffer(pool, buffer, size, err);
        if (status != LDNQ_OK) {
            ldnq_buffer_pool_remove_user(pool, buffer);
            return status;
        }
    }
    *out = buffer;
    return LDNQ_OK;
}

void ldnq_buffer_pool_remove_user(struct ldnq_buffer_pool *pool, struct ldnq_exec_buffer *buffer)
{
    if (!buffer || --buffer->users > 0)
        return;
    buffer->next = pool->free;
    pool->free = buffer;
}

void ldnq_buffer_pool_release_unused(struct ldnq_buffer_pool *pool)
{
    while (pool->free)
        free_first_unused_buffer(pool);
}

void ldnq_buffer_pool_finish(struct ldnq_buffer_pool *pool)
{
    ldnq_buffer_pool_release_unused(pool);
    *pool = (struct ldnq_buffer_pool){ 0 };
}
