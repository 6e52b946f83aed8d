#include "exec/buffers.h"

#include "base/alloc.h"
#include "base/size.h"

static void free_buffer(struct ldnq_buffer_pool *buffers, struct ldnq_exec_buffer **at)
{
    struct ldnq_exec_buffer *buffer = *at;
    *at = buffer->next;
    buffers->held -= buffer->size;
    ldnq_free(buffer->data);
    ldnq_free(buffer);
}

/* Under a ceiling: one of that very size, and room for one where there is none. */
static struct ldnq_exec_buffer *take_same(struct ldnq_buffer_pool *buffers, size_t size)
{
    for (struct ldnq_exec_buffer **at = &buffers->free; *at; at = &(*at)->next) {
        if ((*at)->size == size) {
            struct ldnq_exec_buffer *buffer = *at;
            *at = buffer->next;
            return buffer;
        }
    }
    while (buffers->free &&
           (buffers->held > buffers->ceiling || size > buffers->ceiling - buffers->held))
        free_buffer(buffers, &buffers->free);
    return NULL;
}

/* The smallest that fits, else the largest: one of them serves with the least
 * memory. NULL when nothing is free. */
static struct ldnq_exec_buffer *take_free(struct ldnq_buffer_pool *buffers, size_t size)
{
    if (buffers->ceiling > 0)
        return take_same(buffers, size);
    struct ldnq_exec_buffer **best = NULL;
    for (struct ldnq_exec_buffer **at = &buffers->free; *at; at = &(*at)->next) {
        bool fits = (*at)->size >= size, best_fits = best && (*best)->size >= size;
        if (!best || (fits && (!best_fits || (*at)->size < (*best)->size)) ||
            (!best_fits && (*at)->size > (*best)->size))
            best = at;
    }
    if (!best)
        return NULL;
    struct ldnq_exec_buffer *buffer = *best;
    *best = buffer->next;
    return buffer;
}

static enum ldnq_status resize(struct ldnq_buffer_pool *buffers, struct ldnq_exec_buffer *buffer,
                               size_t size, struct ldnq_error *err)
{
    ldnq_free(buffer->data);
    buffers->held -= buffer->size;
    buffer->size = 0;
    buffer->data = buffers->counts ? NULL : ldnq_malloc_aligned(size);
    if (!buffer->data && !buffers->counts)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory: %zu bytes for a value", size);
    buffer->size = size;
    buffers->held += size;
    buffers->peak = ldnq_size_max(buffers->peak, buffers->held);
    return LDNQ_OK;
}

enum ldnq_status ldnq_buffer_pool_acquire(struct ldnq_buffer_pool *buffers, size_t size,
                                          struct ldnq_exec_buffer **out, struct ldnq_error *err)
{
    struct ldnq_exec_buffer *buffer = take_free(buffers, size);
    *out = NULL;
    if (!buffer)
        buffer = ldnq_calloc(1, sizeof *buffer);
    if (!buffer)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    buffer->users = 1;
    bool is_new = !buffer->data && !buffers->counts;
    if (is_new || buffer->size < size) {
        enum ldnq_status status = resize(buffers, buffer, size, err);
        if (status != LDNQ_OK) {
            ldnq_buffer_pool_release(buffers, buffer);
            return status;
        }
    }
    *out = buffer;
    return LDNQ_OK;
}

void ldnq_buffer_pool_release(struct ldnq_buffer_pool *buffers, struct ldnq_exec_buffer *buffer)
{
    if (!buffer || --buffer->users > 0)
        return;
    buffer->next = buffers->free;
    buffers->free = buffer;
}

void ldnq_buffer_pool_finish(struct ldnq_buffer_pool *buffers)
{
    while (buffers->free)
        free_buffer(buffers, &buffers->free);
    *buffers = (struct ldnq_buffer_pool){ 0 };
}
