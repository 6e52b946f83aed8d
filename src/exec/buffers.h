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

struct ldnq_buffer {
    void *data; /* aligned to 64 */
    size_t size;
    size_t users;
    struct ldnq_buffer *next; /* in the list of free ones */
};

struct ldnq_buffers {
    struct ldnq_buffer *free;
    size_t held, peak; /* bytes in buffers, free ones included */
    size_t ceiling;    /* 0: none */
    bool counts;       /* sizes are counted, and data are NULL: a rehearsal */
};

/* One user; errors: NOMEM. */
enum ldnq_status ldnq_buffers_take(struct ldnq_buffers *buffers, size_t size,
                                   struct ldnq_buffer **out, struct ldnq_error *err);
/* One user less; with none the buffer is free. Accepts NULL. */
void ldnq_buffers_release(struct ldnq_buffers *buffers, struct ldnq_buffer *buffer);
/* Frees the free ones; all must have been released. */
void ldnq_buffers_finish(struct ldnq_buffers *buffers);

#endif
