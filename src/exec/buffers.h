/* buffers.h: memory of values, handed back for the next one that fits.
 *
 * There are never more buffers than values were held at one time: a request
 * that none fits makes the largest free one larger. Under a ceiling a buffer serves
 * only values of its own size, and free ones are given back where the sum would go
 * past it: then no more is held than values take, or the ceiling where that is more.
 */
#ifndef LDNQ_EXEC_BUFFERS_H
#define LDNQ_EXEC_BUFFERS_H

#include "base/base.h"

struct ldnq_exec_buffer {
    void *data; /* aligned to 64 */
    size_t size;
    size_t users;
    struct ldnq_exec_buffer *next; /* in the list of free ones */
};

struct ldnq_buffer_pool {
    struct ldnq_exec_buffer *free;
    size_t held, peak; /* bytes in buffers, free ones included */
    size_t ceiling;    /* 0: none */
    bool counts;       /* sizes are counted, and data are NULL: a rehearsal */
};

/* One user; errors: NOMEM. */
enum ldnq_status ldnq_buffer_pool_acquire(struct ldnq_buffer_pool *buffers, size_t size,
                                          struct ldnq_exec_buffer **out, struct ldnq_error *err);
/* One user less; with none the buffer is free. Accepts NULL. */
void ldnq_buffer_pool_release(struct ldnq_buffer_pool *buffers, struct ldnq_exec_buffer *buffer);
/* Frees the free ones; all must have been released. */
void ldnq_buffer_pool_finish(struct ldnq_buffer_pool *buffers);

#endif
