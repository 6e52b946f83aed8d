/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mapping.h"
#include "base/size.h"

#define ALIGNMENT 64
#define FIRST_BLOCK ((size_t)16 << 10)
#define LARGEST_BLOCK ((size_t)1 << 20)
#define LEAST_MAPPED ((size_t)1 << 20)

struct arena_block {
    struct arena_block *next;
    size_t size, used; /* bytes after this header, and bytes in use */
    size_t is_mapped;  /* in a temporary file */
    char pad[ALIGNMENT - sizeof(struct arena_block *) - 3 * sizeof(size_t)];
};

struct ldnq_arena {
    struct arena_block *blocks; /* newest first; only the first is filled further */
    size_t next_size, bytes;
    size_t most_bytes; /* beyond which large objects are in temporary files */
    struct mapped_file *files;
};

struct mapped_file {
    struct mapped_file *next;
    void *bytes;
};

enum ldnq_status ldnq_arena_create(struct ldnq_arena **out, struct ldnq_error *err)
{
    struct ldnq_arena *arena = ldnq_calloc(1, sizeof *arena);
    *out = arena;
    if (!arena)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    arena->next_size = FIRST_BLOCK;
    arena->most_bytes = SIZE_MAX;
    return LDNQ_OK;
}

void ldnq_arena_destroy(struct ldnq_arena *arena)
{
    if (!arena)
        return;
    for (const struct mapped_file *file = arena->files; file; file = file->next)
        ldnq_mapping_destroy(file->bytes);
    for (struct arena_block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        if (block->is_mapped)
            ldnq_mapping_destroy(block);
        else
            ldnq_free(block);
    }
    ldnq_free(arena);
}

static struct arena_block *append_arena_block(struct ldnq_arena *arena, size_t size)
{
    struct arena_block *block = ldnq_malloc_aligned(sizeof *block + size);
    if (!block)
        return NULL;
    *block = (struct arena_block){ .size = size };
    arena->bytes += sizeof *block + size;
    return block;
}

/* NULL when it is to be on the heap, or there is no room for a file. */
static struct arena_block *append_mapped_block(struct ldnq_arena *arena, size_t size)
{
    if (size < LEAST_MAPPED || arena->bytes + size <= arena->most_bytes)
        return NULL;
    struct arena_block *block = ldnq_mapping_create(sizeof *block + size);
    if (block)
        *block = (struct arena_block){ .size = size, .is_mapped = true };
    return block;
}

/* A large object gets a block of its own, inserted after the newest block, whose free
 * space stays in use. */
static void *alloc_in_own_block(struct ldnq_arena *arena, size_t size)
{
    struct arena_block *block = append_mapped_block(arena, size);
    block = block ? block : append_arena_block(arena, size);
    if (!block)
        return NULL;
    block->used = size;
    if (arena->blocks) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        arena->blocks = block;
    }
    return block + 1;
}

static void *alloc_in_shared_block(struct ldnq_arena *arena, size_t size)
{
    struct arena_block *block = arena->blocks;
    if (!block || block->size - block->used < size) {
        block = append_arena_block(arena, arena->next_size);
        if (!block)
            return NULL;
        block->next = arena->blocks;
        arena->blocks = block;
        arena->next_size = ldnq_size_min(2 * arena->next_size, LARGEST_BLOCK);
    }
    void *memory = (char *)(block + 1) + block->used;
    block->used += size;
    return memory;
}

/* Such an object has a block of its own, zeroed as a file is; zeros written to it would take
 * memory. */
static bool is_mapped_object(const void *memory)
{
    return ((const struct arena_block *)memory - 1)->is_mapped;
}

void *ldnq_arena_alloc(struct ldnq_arena *arena, size_t count, size_t size, struct ldnq_error *err)
{
    size_t bytes, rounded;
    if (!ldnq_size_mul(count, size, &bytes) || !ldnq_size_add(bytes, ALIGNMENT, &rounded) ||
        rounded > SIZE_MAX / 2) {
        ldnq_fail(err, LDNQ_NOMEM, "a size of %zu times %zu bytes is too large", count, size);
        return NULL;
    }
    rounded = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    void *memory = NULL;
    if (ldnq_alloc_count_one())
        memory = rounded > FIRST_BLOCK / 4 ? alloc_in_own_block(arena, rounded)
                                           : alloc_in_shared_block(arena, rounded);
    if (!memory) {
        ldnq_fail(err, LDNQ_NOMEM, "out of memory: %zu bytes could not be had", bytes);
        return NULL;
    }
    return rounded >= LEAST_MAPPED && is_mapped_object(memory) ? memory
                                                               : memset(memory, 0, rounded);
}

char *ldnq_arena_strdup(struct ldnq_arena *arena, const char *text, struct ldnq_error *err)
{
    size_t size = strlen(text) + 1;
    char *copy = ldnq_arena_alloc(arena, size, 1, err);
    return copy ? memcpy(copy, text, size) : NULL;
}

char *ldnq_arena_printf(struct ldnq_arena *arena, struct ldnq_error *err, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = NULL;
    if (length < 0)
        ldnq_fail(err, LDNQ_NOMEM, "a text is too long");
    else
        text = ldnq_arena_alloc(arena, (size_t)length + 1, 1, err);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

void ldnq_arena_limit_memory(struct ldnq_arena *arena, size_t bytes)
{
    arena->most_bytes = bytes;
}

enum ldnq_status ldnq_arena_map_file(struct ldnq_arena *arena, const char *path, void **bytes,
                                     size_t *size, struct ldnq_error *err)
{
    struct mapped_file *file = ldnq_arena_alloc(arena, 1, sizeof *file, err);
    if (!file)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_mapping_open(path, bytes, size, err));
    *file = (struct mapped_file){ arena->files, *bytes };
    arena->files = file;
    return LDNQ_OK;
}

size_t ldnq_arena_bytes(const struct ldnq_arena *arena)
{
    return arena->bytes;
}
