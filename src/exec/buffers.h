/* SPDX-License-Identifier: Apache-2.0 */
/* buffers.h: a pool of memory buffers for values, reused from one value to the next.
 *
 * Owns    the buffers; each is reference-counted and becomes free at count 0
 * Memory  without a ceiling a request takes the smallest free buffer that is large
 *         enough, else the largest free one is reallocated: there are never more
 *         buffers than values lived at one time. With a ceiling a buffer is reused
 *         only for its exact size, and free buffers are released before the total
 *         would exceed the ceiling: at most the bytes of live values are held, or the
 *         ceiling where that is more.
 */
#ifndef LDNQ_EXEC_BUFFERS_H
#define LDNQ_EXEC_BUFFERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct ldnq_exec_buffer {
    void *data; /* aligned to 64 */
    size_t size;
    size_t users;
    struct ldnq_exec_buffer *next; /* next buffer in the list of free buffers */
};

struct ldnq_buffer_pool {
    struct ldnq_exec_buffer *free;
    size_t held, peak; /* bytes of all buffers, free ones included */
    size_t ceiling;    /* bytes; 0 for none */
    bool counts_only;  /* dry run: sizes are counted, data are NULL */
};

/* Returns a buffer of at least `size` bytes with one user. Errors: NOMEM, also when all buffers
 * together would exceed the memory that there is. */
enum ldnq_status ldnq_buffer_pool_acquire(struct ldnq_buffer_pool *pool, size_t size,
                                          struct ldnq_exec_buffer **out, struct ldnq_error *err);
/* Removes one user; a buffer without users is free. Accepts NULL. */
void ldnq_buffer_pool_remove_user(struct ldnq_buffer_pool *pool, struct ldnq_exec_buffer *buffer);
/* Frees the buffers without users. */
void ldnq_buffer_pool_release_unused(struct ldnq_buffer_pool *pool);
/* Frees all memory; every buffer must have been released. */
void ldnq_buffer_pool_finish(struct ldnq_buffer_pool *pool);

#endif
