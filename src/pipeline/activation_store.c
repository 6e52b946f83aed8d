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
/* Sizes of slabs. A process has some 65,000 mappings at most. */
#define LEAST_SLAB ((size_t)1 << 20)
#define LARGEST_SLAB ((size_t)64 << 20)
#define SLABS_OF_CEILING ((size_t)8192)

/* Pages that hold batches one after the other, and begin with this. Batches are stored and released
 * in order, so that the pages of one generation leave as those of the next come: in the heap,
 * larger batches would not fit where smaller ones were, and both sizes would be held. */
struct stored_slab {
    size_t size, used;
    size_t users; /* batches that have not been released */
};

struct stored_batch {
    size_t count;
    struct ldnq_tensor *tensors; /* data NULL while the batch is only in the file */
    struct stored_slab *slab;    /* that has its data */
    off_t offset; /* of its tensors in the file, where they are contiguous; -1: not in it */
    size_t bytes;
};

struct stored_generation {
    struct stored_batch *batches;
    struct stored_slab *open; /* that takes the next batch; NULL: none */
    int fd;                   /* -1 until something is spilled */
    off_t end;
};

struct ldnq_activation_store {
    size_t batch_count, max_bytes, in_memory, spilled;
    struct stored_generation generations[2];
    int current;
    struct stored_slab *spare; /* freed last, for the next one of its size; NULL: none */
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

static void free_spare(struct ldnq_activation_store *store)
{
    if (store->spare)
        ldnq_pages_free(store->spare, store->spare->size);
    store->spare = NULL;
}

/* A slab of one large batch is taken again: the system would zero new pages for each batch that is
 * read from the file. Where small ones left a part unused, new pages are less. */
static struct stored_slab *allocate_slab(struct ldnq_activation_store *store, size_t size)
{
    struct stored_slab *spare = store->spare;
    if (spare && spare->size >= size && spare->size - size <= size / 16) {
        store->spare = NULL;
        return spare;
    }
    struct stored_slab *slab = ldnq_pages_alloc(size);
    if (slab)
        slab->size = size;
    return slab;
}

/* Opens a slab with room for the bytes. The last user of the one before frees it. */
static bool open_slab(struct ldnq_activation_store *store, struct stored_generation *generation,
                      size_t bytes)
{
    const size_t header = (sizeof(struct stored_slab) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    size_t size;
    if (!ldnq_size_add(header, bytes, &size))
        return false;
    const size_t part = ldnq_size_min(store->max_bytes / SLABS_OF_CEILING, LARGEST_SLAB);
    size = ldnq_size_max(size, ldnq_size_max(part, LEAST_SLAB));
    struct stored_slab *slab = allocate_slab(store, size);
    if (!slab)
        return false;
    slab->used = header;
    generation->open = slab;
    return true;
}

static void free_data(struct ldnq_activation_store *store, struct stored_generation *generation,
                      struct stored_batch *batch)
{
    struct stored_slab *slab = batch->slab;
    for (size_t i = 0; i < batch->count; i++)
        batch->tensors[i].data = NULL;
    if (!slab)
        return;
    batch->slab = NULL;
    store->in_memory -= batch->bytes;
    if (--slab->users > 0)
        return;
    if (generation->open == slab)
        generation->open = NULL;
    free_spare(store);
    if (slab->used == slab->size)
        store->spare = slab;
    else
        ldnq_pages_free(slab, slab->size);
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
static enum ldnq_status allocate_data(struct ldnq_activation_store *store,
                                      struct stored_generation *generation,
                                      struct stored_batch *batch, struct ldnq_error *err)
{
    struct stored_slab *slab = generation->open;
    if ((!slab || slab->size - slab->used < batch->bytes) &&
        !open_slab(store, generation, batch->bytes))
        return ldnq_fail(err, LDNQ_NOMEM,
                         "out of memory: %zu bytes of activations; "
                         "lower max-mem, or use fewer samples",
                         batch->bytes);
    slab = generation->open;
    char *data = (char *)slab + slab->used;
    slab->used += batch->bytes;
    slab->users++;
    batch->slab = slab;
    store->in_memory += batch->bytes;
    for (size_t i = 0; i < batch->count; i++) {
        batch->tensors[i].data = data;
        data += count_padded_bytes(&batch->tensors[i]);
    }
    return LDNQ_OK;
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

/* Writes the tensors as allocate_data() would lay them out in memory. */
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
    LDNQ_TRY(allocate_data(store, generation, batch, err));
    for (size_t i = 0; i < count; i++) {
        size_t bytes = 0;
        ldnq_tensor_bytes(tensors[i], &bytes);
        if (bytes)
            memcpy(batch->tensors[i].data, tensors[i]->data, bytes);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_activation_store_load(struct ldnq_activation_store *store, size_t index,
                                            const struct ldnq_tensor **tensors, size_t *count,
                                            struct ldnq_error *err)
{
    struct stored_generation *generation = current_generation(store);
    struct stored_batch *batch = &generation->batches[index];
    if (batch->count && !batch->slab) {
        LDNQ_TRY(allocate_data(store, generation, batch, err));
        enum ldnq_status status = transfer_file_bytes(generation->fd, false, batch->tensors[0].data,
                                                      batch->bytes, batch->offset, err);
        if (status != LDNQ_OK) {
            free_data(store, generation, batch);
            return status;
        }
    }
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
    free_spare(store);
    ldnq_free(store);
}
