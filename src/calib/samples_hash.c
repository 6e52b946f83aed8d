/* SPDX-License-Identifier: Apache-2.0 */
/* The hash of a set's contents, and whether a sample is still what was hashed. */
#include "calib/source.h"

#include <errno.h>
#include <string.h>

#include "base/file.h"

void ldnq_hash_bytes(XXH3_state_t *state, const void *bytes, size_t size)
{
    uint64_t length = size;
    XXH3_64bits_update(state, &length, sizeof length);
    XXH3_64bits_update(state, bytes, size);
}

void ldnq_hash_tensor(XXH3_state_t *state, const struct ldnq_tensor *tensor)
{
    const int32_t dtype = (int32_t)tensor->dtype;
    size_t bytes = 0;
    ldnq_tensor_bytes(tensor, &bytes); /* a tensor that was read */
    ldnq_hash_bytes(state, &dtype, sizeof dtype);
    ldnq_hash_bytes(state, tensor->shape.dim,
                    (size_t)tensor->shape.rank * sizeof *tensor->shape.dim);
    ldnq_hash_bytes(state, tensor->data, bytes);
}

enum ldnq_status ldnq_hash_file(const char *path, struct ldnq_arena *arena, XXH3_state_t *state,
                                struct ldnq_error *err)
{
    void *bytes;
    size_t size;
    LDNQ_TRY(ldnq_file_read(path, arena, &bytes, &size, err));
    ldnq_hash_bytes(state, bytes, size);
    return LDNQ_OK;
}

/* ---- one sample -------------------------------------------------------------------------- */

static bool read_sample_stamp(const struct ldnq_samples *samples, size_t sample, size_t input,
                              struct ldnq_sample_stamp *stamp)
{
    struct stat info;
    *stamp = (struct ldnq_sample_stamp){ .is_known = false };
    if (!samples->source->examine)
        return true;
    const enum ldnq_sample_storage storage =
        samples->source->examine(samples, samples->items[sample], input, &info);
    if (storage == LDNQ_SAMPLE_READ_AGAIN)
        *stamp = (struct ldnq_sample_stamp){ true, info.st_dev, info.st_ino, info.st_size,
                                             info.st_mtim };
    return storage != LDNQ_SAMPLE_VANISHED;
}

static enum ldnq_status hash_sample(const struct ldnq_samples *samples, size_t sample,
                                    XXH3_state_t *state, struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status =
        samples->source->hash(samples, samples->items[sample], arena, state, err);
    ldnq_arena_destroy(arena);
    return status;
}

static enum ldnq_status hash_one_sample(const struct ldnq_samples *samples, size_t sample,
                                        uint64_t *hash, struct ldnq_error *err)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    LDNQ_TRY(hash_sample(samples, sample, &state, err));
    *hash = XXH3_64bits_digest(&state);
    return LDNQ_OK;
}

enum ldnq_status ldnq_samples_check_unchanged(const struct ldnq_samples *samples, size_t sample,
                                              size_t input, struct ldnq_error *err)
{
    struct ldnq_sample_stamp now;
    uint64_t hash = 0;
    if (!samples->stamps)
        return LDNQ_OK;
    const struct ldnq_sample_stamp *then = &samples->stamps[sample * samples->input_count + input];
    if (!then->is_known)
        return LDNQ_OK;
    if (!read_sample_stamp(samples, sample, input, &now))
        return ldnq_fail(err, LDNQ_IO,
                         "%s: has vanished since it was first read; samples must stay until the "
                         "end",
                         samples->names[sample]);
    if (now.device == then->device && now.inode == then->inode && now.size == then->size &&
        now.modified.tv_sec == then->modified.tv_sec &&
        now.modified.tv_nsec == then->modified.tv_nsec)
        return LDNQ_OK;
    /* A copy of the same content is as good. */
    if (hash_one_sample(samples, sample, &hash, NULL) == LDNQ_OK && hash == samples->hashes[sample])
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_DATA,
                     "%s: has changed since it was first read; samples must stay as they are until "
                     "the end",
                     samples->names[sample]);
}

/* ---- the set ------------------------------------------------------------------------------- */

enum ldnq_status ldnq_samples_hash(struct ldnq_samples *samples, uint64_t *hash,
                                   struct ldnq_error *err)
{
    const size_t inputs = samples->input_count;
    struct ldnq_sample_stamp *stamps =
        ldnq_arena_alloc(samples->arena, samples->count * inputs, sizeof *stamps, err);
    uint64_t *hashes = ldnq_arena_alloc(samples->arena, samples->count, sizeof *hashes, err);
    XXH3_state_t state;
    if (!stamps || !hashes)
        return LDNQ_NOMEM;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    for (size_t i = 0; i < samples->count; i++) {
        bool is_known = false;
        for (size_t k = 0; k < inputs; k++) {
            read_sample_stamp(samples, i, k,
                              &stamps[i * inputs + k]); /* the hash reports what is missing */
            is_known |= stamps[i * inputs + k].is_known;
        }
        LDNQ_TRY(hash_sample(samples, i, &state, err));
        if (is_known)
            LDNQ_TRY(hash_one_sample(samples, i, &hashes[i], err));
    }
    *hash = XXH3_64bits_digest(&state);
    samples->stamps = stamps;
    samples->hashes = hashes;
    return LDNQ_OK;
}
