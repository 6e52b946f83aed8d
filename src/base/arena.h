/* SPDX-License-Identifier: Apache-2.0 */
/* arena.h: memory by lifetime: an arena is freed all at once.
 *
 * Threads  one arena, one thread
 */
#ifndef LDNQ_BASE_ARENA_H
#define LDNQ_BASE_ARENA_H

#include <stddef.h>

#include "base/error.h"

struct ldnq_arena;

/* Errors: NOMEM. The caller destroys it; destroy accepts NULL. */
enum ldnq_status ldnq_arena_create(struct ldnq_arena **out, struct ldnq_error *err);
void ldnq_arena_destroy(struct ldnq_arena *arena);

/* Zeroed memory for `count` objects of `size` bytes, aligned to 64 bytes. Returns NULL,
 * with NOMEM in err, when the product overflows or memory is out; a valid pointer for a
 * count of 0. */
void *ldnq_arena_alloc(struct ldnq_arena *arena, size_t count, size_t size, struct ldnq_error *err);

/* Copies of text, NUL-terminated; NULL with NOMEM in err. */
char *ldnq_arena_strdup(struct ldnq_arena *arena, const char *text, struct ldnq_error *err);
char *ldnq_arena_printf(struct ldnq_arena *arena, struct ldnq_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* From now on objects of 1 MiB and more that would raise the arena's memory above `bytes` are in
 * temporary files, where there is room: for arenas with what is seldom read (mapping.h). */
void ldnq_arena_limit_memory(struct ldnq_arena *arena, size_t bytes);
/* Maps a file, as ldnq_mapping_open does, until the arena is destroyed. Errors: IO, NOMEM. */
enum ldnq_status ldnq_arena_map_file(struct ldnq_arena *arena, const char *path, void **bytes,
                                     size_t *size, struct ldnq_error *err);

/* Bytes that the arena has allocated. */
size_t ldnq_arena_bytes(const struct ldnq_arena *arena);

#endif
