/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/activation_store.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/size.h"

/* Of each tensor in its batch's memory. */
#define ALIGNMENT 64
/* Sizes of pieces. A process has some 65,000 mappings at most. */
#define LEAST_PIECE ((size_t)1 << 20)
#define LARGEST_PIECE ((size_t)64 << 20)
#define PIECES_OF_CEILING ((size_t)8192)
/* A batch of at most this part of a piece is in one of them. */
#define WHOLE_BATCHES_PER_PIECE 8
/* Free pieces that are left for the next generation, at most this part of the ceiling. */
#define MOST_FREE_BYTES ((size_t)16 << 20)
#define FREE_PARTS 8

/* Pages of one size, which begin with this. Batches are stored and released in order, one after the
 * other over the pieces, so that those of one generation serve the next one whatever its sizes are:
 * in a heap, larger batches would not fit where smaller ones were, and both sizes would be held.
 * New pages for each generation take longer than to copy a batch when it is read: the system zeroes
 * them, one fault for each. */
struct stored_piece {
    struct stored_piece *next_free;
    size_t users; /* batches with bytes in it that have not been released or loaded */
};

#define HEADER ((sizeof(struct stored_piece) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT)

struct stored_batch {
    size_t count;
    struct ldnq_tensor *tensors;  /* data NULL until the batch is loaded */
    struct stored_piece **pieces; /* (piece_count) that have its bytes in this order */
    size_t piece_count;
    size_t start; /* of its bytes in the first piece */
    void *loaded; /* pages with its bytes in one piece; NULL: none */
    size_t loaded_size;
    off_t offset; /* of its tensors in the file, where they are contiguous; -1: not in it */
    size_t bytes;
};

struct stored_generation {
    struct stored_batch *batches;
    struct stored_piece *open; /* that takes the next batch; NULL: none */
    size_t open_used;          /* its bytes that are taken, header included */
    int fd;                    /* -1 until something is spilled */
    off_t end;
};

struct ldnq_activation_store {
    size_t batch_count, max_bytes, in_memory, spilled;
    struct stored_generation generations[2];
    int current;
    size_t piece_size;
    struct stored_piece *free; /* a list */
    size_t free_count;
    void *spare; /* pages of the batch that was released last; NULL: none */
    size_t spare_size;
};

static struct stored_generation *current_generation(struct ldnq_activation_store *store)
{
    return &store->generations[store->current];
}

static struct stored_generation *next_generation(struct ldnq_activation_store *store)
{
    return &store->generations[!store->current];
}

enum ldnq_status ldnq_activation_store_create(size_t batches, size_t max_bytes,
                                              struct ldnq_activation_store **out,
                                              struct ldnq_error *err)
{
    struct ldnq_activation_store *store = ldnq_calloc(1, sizeof *store);
    *out = NULL;
    if (!store)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    store->batch_count = batches;
    store->max_bytes = max_bytes;
    store->piece_size =
        ldnq_size_max(ldnq_size_min(max_bytes / PIECES_OF_CEILING, LARGEST_PIECE), LEAST_PIECE) /
        ALIGNMENT * ALIGNMENT;
    for (int i = 0; i < 2; i++) {
        store->generations[i].fd = -1;
        store->generations[i].batches = ldnq_calloc(batches, sizeof(struct stored_batch));
    }
    if (!store->generations[0].batches || !store->generations[1].batches) {
        ldnq_activation_store_destroy(store);
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    }
    *out = store;
    return LDNQ_OK;
}

/* ---- memory ------------------------------------------------------------------------- */

static enum ldnq_status fail_without_memory(size_t bytes, struct ldnq_error *err)
{
    return ldnq_fail(err, LDNQ_NOMEM,
                     "out of memory: %zu bytes of activations; "
                     "lower max-mem, or use fewer samples",
                     bytes);
}

static struct stored_piece *allocate_piece(struct ldnq_activation_store *store)
{
    struct stored_piece *piece = store->free;
    if (!piece)
        return ldnq_pages_alloc(store->piece_size);
    store->free = piece->next_free;
    store->free_count--;
    return piece;
}

/* Unmaps all free pieces but the first `count`. */
static void limit_free_pieces(struct ldnq_activation_store *store, size_t count)
{
    while (store->free_count > count) {
        struct stored_piece *piece = store->free;
        store->free = piece->next_free;
        store->free_count--;
        ldnq_pages_free(piece, store->piece_size);
    }
}

/* Frees the pieces that no batch is in any more. */
static void leave_pieces(struct ldnq_activation_store *store, struct stored_generation *generation,
                         struct stored_batch *batch)
{
    for (size_t i = 0; i < batch->piece_count; i++) {
        struct stored_piece *piece = batch->pieces[i];
        if (--piece->users > 0)
            continue;
        if (generation->open == piece)
            generation->open = NULL;
        piece->next_free = store->free;
        store->free = piece;
        store->free_count++;
    }
    batch->piece_count = 0;
    ldnq_free(batch->pieces);
    batch->pieces = NULL;
}

static void free_spare(struct ldnq_activation_store *store)
{
    ldnq_pages_free(store->spare, store->spare_size);
    store->spare = NULL;
}

static void free_loaded(struct ldnq_activation_store *store, struct stored_batch *batch)
{
    if (!batch->loaded)
        return;
    free_spare(store);
    store->spare = batch->loaded;
    store->spare_size = batch->loaded_size;
    batch->loaded = NULL;
}

static bool is_in_memory(const struct stored_batch *batch)
{
    return batch->loaded || batch->piece_count > 0;
}

static void free_data(struct ldnq_activation_store *store, struct stored_generation *generation,
                      struct stored_batch *batch)
{
    if (is_in_memory(batch))
        store->in_memory -= batch->bytes;
    for (size_t i = 0; i < batch->count; i++)
        batch->tensors[i].data = NULL;
    leave_pieces(store, generation, batch);
    free_loaded(store, batch);
}

static void free_stored_batch(struct ldnq_activation_store *store,
                              struct stored_generation *generation, struct stored_batch *batch)
{
    free_data(store, generation, batch);
    ldnq_free(batch->tensors);
    *batch = (struct stored_batch){ 0 };
}

static size_t count_padded_bytes(const struct ldnq_tensor *tensor)
{
    size_t bytes = 0;
    ldnq_tensor_bytes(tensor, &bytes);
    return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* The tensors of a batch lie one after the other. */
static void place_tensors(struct stored_batch *batch, char *data)
{
    for (size_t i = 0; i < batch->count; i++) {
        batch->tensors[i].data = data;
        data += count_padded_bytes(&batch->tensors[i]);
    }
}

/* Finds the pieces for the bytes of a batch, behind those of the one before. */
static enum ldnq_status allocate_pieces(struct ldnq_activation_store *store,
                                        struct stored_generation *generation,
                                        struct stored_batch *batch, struct ldnq_error *err)
{
    const size_t room = store->piece_size - HEADER;
    const size_t left = generation->open ? store->piece_size - generation->open_used : 0;
    const bool is_whole = batch->bytes <= room / WHOLE_BATCHES_PER_PIECE;
    const bool starts_new = left == 0 || (is_whole && left < batch->bytes);
    size_t missing = batch->bytes;
    batch->pieces = ldnq_calloc(2 + batch->bytes / room, sizeof(void *));
    if (!batch->pieces)
        return fail_without_memory(batch->bytes, err);
    batch->start = starts_new ? HEADER : generation->open_used;
    for (bool is_first = true; is_first || missing > 0; is_first = false) {
        if (starts_new || !is_first) {
            struct stored_piece *piece = allocate_piece(store);
            if (!piece) {
                leave_pieces(store, generation, batch);
                return fail_without_memory(batch->bytes, err);
            }
            piece->users = 0;
            generation->open = piece;
            generation->open_used = HEADER;
        }
        const size_t part = ldnq_size_min(missing, store->piece_size - generation->open_used);
        generation->open->users++;
        batch->pieces[batch->piece_count++] = generation->open;
        generation->open_used += part;
        missing -= part;
    }
    store->in_memory += batch->bytes;
    return LDNQ_OK;
}

/* Copies bytes of the batch, from `offset` on, from its pieces or to them. */
static void copy_pieces(const struct ldnq_activation_store *store, const struct stored_batch *batch,
                        size_t offset, char *data, size_t size, bool to_pieces)
{
    const size_t room = store->piece_size - HEADER;
    size_t at = batch->start - HEADER + offset; /* from the first piece's room on */
    while (size > 0) {
        char *inside = (char *)batch->pieces[at / room] + HEADER + at % room;
        const size_t part = ldnq_size_min(size, room - at % room);
        memcpy(to_pieces ? inside : data, to_pieces ? data : inside, part);
        at += part;
        data += part;
        size -= part;
    }
}

/* The pages of a batch serve the next one of its size: the system would zero new ones. */
static enum ldnq_status allocate_loaded(struct ldnq_activation_store *store,
                                        struct stored_batch *batch, struct ldnq_error *err)
{
    const size_t size = ldnq_size_max(batch->bytes, 1), unused = store->spare_size - size;
    if (store->spare && store->spare_size >= size && unused <= size / 16) {
        batch->loaded = store->spare;
        batch->loaded_size = store->spare_size;
        store->spare = NULL;
    } else {
        batch->loaded = ldnq_pages_alloc(size);
        batch->loaded_size = size;
    }
    return batch->loaded ? LDNQ_OK : fail_without_memory(batch->bytes, err);
}

/* ---- the file ------------------------------------------------------------------------- */

static enum ldnq_status open_file(struct stored_generation *generation, struct ldnq_error *err)
{
    const char *folder = ldnq_temporary_folder();
    if (generation->fd >= 0)
        return LDNQ_OK;
    generation->fd = ldnq_file_create_unnamed(folder);
    if (generation->fd < 0)
        return ldnq_fail(err, LDNQ_IO,
                         "%s: no temporary file can be made there: %s; set TMPDIR "
                         "or raise max-mem",
                         folder, strerror(errno));
    return LDNQ_OK;
}

static enum ldnq_status transfer_file_bytes(int fd, bool write, char *data, size_t size,
                                            off_t offset, struct ldnq_error *err)
{
    while (size > 0) {
        ssize_t moved = write ? pwrite(fd, data, size, offset) : pread(fd, data, size, offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved <= 0)
            return ldnq_fail(err, LDNQ_IO, "%s: the temporary file of activations can't be %s: %s",
                             ldnq_temporary_folder(), write ? "written" : "read",
                             moved < 0 ? strerror(errno) : "too short");
        data += moved;
        offset += moved;
        size -= (size_t)moved;
    }
    return LDNQ_OK;
}

/* Writes the tensors as they are in memory. */
static enum ldnq_status write_tensors_to_file(struct ldnq_activation_store *store,
                                              struct stored_generation *generation,
                                              struct stored_batch *batch,
                                              const struct ldnq_tensor *const *tensors,
                                              struct ldnq_error *err)
{
    char padding[ALIGNMENT] = { 0 };
    off_t offset = generation->end;
    LDNQ_TRY(open_file(generation, err));
    for (size_t i = 0; i < batch->count; i++) {
        const size_t padded = count_padded_bytes(tensors[i]);
        size_t bytes = 0;
        ldnq_tensor_bytes(tensors[i], &bytes);
        LDNQ_TRY(transfer_file_bytes(generation->fd, true, tensors[i]->data, bytes, offset, err));
        LDNQ_TRY(transfer_file_bytes(generation->fd, true, padding, padded - bytes,
                                     offset + (off_t)bytes, err));
        offset += (off_t)padded;
    }
    batch->offset = generation->end;
    generation->end = offset;
    store->spilled += batch->bytes;
    return LDNQ_OK;
}

/* ---- saving and loading ---------------------------------------------------------------- */

enum ldnq_status ldnq_activation_store_save(struct ldnq_activation_store *store, size_t index,
                                            const struct ldnq_tensor *const *tensors, size_t count,
                                            struct ldnq_error *err)
{
    struct stored_generation *generation = next_generation(store);
    struct stored_batch *batch = &generation->batches[index];
    free_stored_batch(store, generation, batch);
    if (count == 0)
        return LDNQ_OK;
    batch->tensors = ldnq_calloc(count, sizeof *batch->tensors);
    if (!batch->tensors)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        batch->tensors[i] =
            (struct ldnq_tensor){ .dtype = tensors[i]->dtype, .shape = tensors[i]->shape };
        if (!ldnq_size_add(batch->bytes, count_padded_bytes(tensors[i]), &batch->bytes))
            return ldnq_fail(err, LDNQ_NOMEM, "the activations of a batch are too large");
    }
    batch->count = count;
    if (store->in_memory > store->max_bytes || batch->bytes > store->max_bytes - store->in_memory)
        return write_tensors_to_file(store, generation, batch, tensors, err);
    LDNQ_TRY(allocate_pieces(store, generation, batch, err));
    for (size_t i = 0, offset = 0; i < count; i++) {
        size_t bytes = 0;
        ldnq_tensor_bytes(tensors[i], &bytes);
        copy_pieces(store, batch, offset, tensors[i]->data, bytes, true);
        offset += count_padded_bytes(tensors[i]);
    }
    return LDNQ_OK;
}

static enum ldnq_status load_batch(struct ldnq_activation_store *store,
                                   struct stored_generation *generation, struct stored_batch *batch,
                                   struct ldnq_error *err)
{
    if (batch->piece_count == 1) {
        place_tensors(batch, (char *)batch->pieces[0] + batch->start);
        return LDNQ_OK;
    }
    LDNQ_TRY(allocate_loaded(store, batch, err));
    if (batch->piece_count > 1) {
        copy_pieces(store, batch, 0, batch->loaded, batch->bytes, false);
        leave_pieces(store, generation, batch);
    } else {
        const enum ldnq_status status = transfer_file_bytes(generation->fd, false, batch->loaded,
                                                            batch->bytes, batch->offset, err);
        if (status != LDNQ_OK) {
            free_loaded(store, batch);
            return status;
        }
        store->in_memory += batch->bytes;
    }
    place_tensors(batch, batch->loaded);
    return LDNQ_OK;
}

enum ldnq_status ldnq_activation_store_load(struct ldnq_activation_store *store, size_t index,
                                            const struct ldnq_tensor **tensors, size_t *count,
                                            struct ldnq_error *err)
{
    struct stored_generation *generation = current_generation(store);
    struct stored_batch *batch = &generation->batches[index];
    if (batch->count && !batch->tensors[0].data)
        LDNQ_TRY(load_batch(store, generation, batch, err));
    *tensors = batch->tensors;
    *count = batch->count;
    return LDNQ_OK;
}

void ldnq_activation_store_release(struct ldnq_activation_store *store, size_t index)
{
    struct stored_generation *generation = current_generation(store);
    free_stored_batch(store, generation, &generation->batches[index]);
}

static void empty_generation(struct ldnq_activation_store *store,
                             struct stored_generation *generation)
{
    for (size_t i = 0; generation->batches && i < store->batch_count; i++)
        free_stored_batch(store, generation, &generation->batches[i]);
    generation->end = 0;
    /* Frees the space on disk. If that fails, the file is overwritten from its start. */
    if (generation->fd >= 0 && ftruncate(generation->fd, 0) != 0)
        generation->end = 0;
}

void ldnq_activation_store_advance(struct ldnq_activation_store *store)
{
    empty_generation(store, current_generation(store));
    limit_free_pieces(store, ldnq_size_min(store->max_bytes / FREE_PARTS, MOST_FREE_BYTES) /
                                 store->piece_size);
    free_spare(store);
    store->current = !store->current;
}

bool ldnq_activation_store_fits(const struct ldnq_activation_store *store, size_t bytes)
{
    return bytes <= store->max_bytes;
}

size_t ldnq_activation_store_count_bytes(const struct ldnq_activation_store *store)
{
    const struct stored_generation *generation = &store->generations[store->current];
    size_t bytes = 0;
    for (size_t i = 0; i < store->batch_count; i++)
        bytes += generation->batches[i].bytes;
    return bytes;
}

size_t ldnq_activation_store_spilled_bytes(const struct ldnq_activation_store *store)
{
    return store->spilled;
}

void ldnq_activation_store_destroy(struct ldnq_activation_store *store)
{
    if (!store)
        return;
    for (int i = 0; i < 2; i++) {
        empty_generation(store, &store->generations[i]);
        ldnq_free(store->generations[i].batches);
        if (store->generations[i].fd >= 0)
            close(store->generations[i].fd);
    }
    limit_free_pieces(store, 0);
    free_spare(store);
    ldnq_free(store);
}
