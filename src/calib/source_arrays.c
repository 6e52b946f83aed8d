/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays: a .npy file, the members of a .npz file, or arrays in memory. */
#include "calib/source.h"

#include <string.h>

#include "calib/folder.h"
#include "calib/named_arrays.h"

struct array_source {
    struct ldnq_npz npz; /* the archive's arrays; for a .npy file its one array, without a name */
    struct ldnq_named_arrays named;
};

/* ---- opening --------------------------------------------------------------------- */

static enum ldnq_status create_array_source(struct ldnq_samples *samples, struct array_source **out,
                                            struct ldnq_error *err)
{
    samples->state = *out = ldnq_arena_alloc(samples->arena, 1, sizeof **out, err);
    return *out ? LDNQ_OK : LDNQ_NOMEM;
}

static bool detect_npy(const struct ldnq_probe *probe)
{
    bool magic = probe->magic_size >= LDNQ_NPY_MAGIC_SIZE &&
                 memcmp(probe->magic, LDNQ_NPY_MAGIC, LDNQ_NPY_MAGIC_SIZE) == 0;
    return !probe->is_folder && (magic || ldnq_name_ends(probe->path, ".npy"));
}

static enum ldnq_status open_npy(struct ldnq_samples *samples, struct ldnq_error *err)
{
    struct array_source *arrays;
    LDNQ_TRY(create_array_source(samples, &arrays, err));
    arrays->npz.arrays = ldnq_arena_alloc(samples->arena, 1, sizeof *arrays->npz.arrays, err);
    if (!arrays->npz.arrays)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_array_open(samples->path, samples->arena, arrays->npz.arrays, err));
    arrays->npz.count = 1;
    LDNQ_TRY(ldnq_named_arrays_match_single(samples, samples->path, arrays->npz.arrays,
                                            samples->arena, &arrays->named, err));
    samples->item_count = arrays->named.count;
    return LDNQ_OK;
}

static bool detect_npz(const struct ldnq_probe *probe)
{
    bool magic = probe->magic_size >= 4 && (memcmp(probe->magic, "PK\x03\x04", 4) == 0 ||
                                            memcmp(probe->magic, "PK\x05\x06", 4) == 0);
    return !probe->is_folder && (magic || ldnq_name_ends(probe->path, ".npz"));
}

static enum ldnq_status open_named_arrays(struct ldnq_samples *samples, struct array_source *arrays,
                                          struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_named_arrays_match(samples, samples->path, &arrays->npz, samples->arena,
                                     &arrays->named, err));
    samples->item_count = arrays->named.count;
    samples->has_labels = arrays->named.labels != NULL;
    return LDNQ_OK;
}

static enum ldnq_status open_npz(struct ldnq_samples *samples, struct ldnq_error *err)
{
    struct array_source *arrays;
    LDNQ_TRY(create_array_source(samples, &arrays, err));
    LDNQ_TRY(ldnq_npz_open(samples->path, samples->arena, &arrays->npz, err));
    return open_named_arrays(samples, arrays, err);
}

static enum ldnq_status open_memory_arrays(struct ldnq_samples *samples, struct ldnq_error *err)
{
    const struct ldnq_samples_memory *memory = samples->memory;
    struct array_source *arrays;
    LDNQ_TRY(create_array_source(samples, &arrays, err));
    struct ldnq_npz *npz = &arrays->npz;
    npz->arrays = ldnq_arena_alloc(samples->arena, memory->array_count, sizeof *npz->arrays, err);
    npz->keys = ldnq_arena_alloc(samples->arena, memory->array_count, sizeof *npz->keys, err);
    if (!npz->arrays || !npz->keys)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < memory->array_count; i++) {
        const struct ldnq_memory_array *from = &memory->arrays[i];
        const char *name = ldnq_arena_printf(samples->arena, err, "%s[%s]", samples->path,
                                             *from->input ? from->input : "array");
        if (!name)
            return LDNQ_NOMEM;
        npz->keys[i] = from->input;
        npz->arrays[npz->count++] = (struct ldnq_array){
            .name = name,
            .dtype = from->tensor.dtype,
            .shape = from->tensor.shape,
            .data = from->tensor.data,
            .fd = -1,
        };
    }
    return open_named_arrays(samples, arrays, err);
}

/* ---- the sources ------------------------------------------------------------------- */

static void close_arrays(struct ldnq_samples *samples)
{
    ldnq_npz_close(&((struct array_source *)samples->state)->npz);
}

static const char *make_array_sample_name(struct ldnq_samples *samples, size_t item,
                                          struct ldnq_error *err)
{
    return ldnq_arena_printf(samples->arena, err, "%s[%zu]", samples->path, item);
}

static const char *find_array_sample_path(const struct ldnq_samples *samples, size_t item,
                                          size_t input)
{
    (void)item;
    (void)input;
    return samples->memory ? NULL : samples->path;
}

/* The file stays open: it can change, but not vanish. */
static enum ldnq_sample_storage examine_npy(const struct ldnq_samples *samples, size_t item,
                                            size_t input, struct stat *info)
{
    const struct ldnq_array *array =
        ((const struct array_source *)samples->state)->named.data[input];
    (void)item;
    return !array->data && fstat(array->fd, info) == 0 ? LDNQ_SAMPLE_READ_AGAIN : LDNQ_SAMPLE_HELD;
}

static int64_t find_array_sample_label(const struct ldnq_samples *samples, size_t item)
{
    return ((const struct array_source *)samples->state)->named.labels[item];
}

static enum ldnq_status read_array_sample(const struct ldnq_samples *samples, size_t item,
                                          size_t input, struct ldnq_arena *arena,
                                          const struct ldnq_tensor **out, struct ldnq_error *err)
{
    const struct array_source *arrays = samples->state;
    const struct ldnq_shape *row = &arrays->named.rows[input];
    struct ldnq_tensor *tensor;
    const size_t at = ldnq_named_arrays_find_sample(&arrays->named, input, item);
    LDNQ_TRY(ldnq_array_read_tensor(arrays->named.data[input], at, row, arena, &tensor, err));
    *out = tensor;
    return LDNQ_OK;
}

static enum ldnq_status hash_array_sample(const struct ldnq_samples *samples, size_t item,
                                          struct ldnq_arena *arena, XXH3_state_t *state,
                                          struct ldnq_error *err)
{
    for (size_t i = 0; i < samples->input_count; i++) {
        const struct ldnq_tensor *tensor;
        LDNQ_TRY(read_array_sample(samples, item, i, arena, &tensor, err));
        ldnq_hash_tensor(state, tensor);
    }
    return LDNQ_OK;
}

const struct ldnq_source ldnq_source_npy = {
    .stage = "",
    .advice = "",
    .detect = detect_npy,
    .open = open_npy,
    .close = close_arrays,
    .name = make_array_sample_name,
    .label = find_array_sample_label,
    .path = find_array_sample_path,
    .examine = examine_npy,
    .read = read_array_sample,
    .hash = hash_array_sample,
};

const struct ldnq_source ldnq_source_npz = {
    .stage = "",
    .advice = "",
    .detect = detect_npz,
    .open = open_npz,
    .close = close_arrays,
    .name = make_array_sample_name,
    .label = find_array_sample_label,
    .path = find_array_sample_path,
    .read = read_array_sample,
    .hash = hash_array_sample,
};

const struct ldnq_source ldnq_source_memory = {
    .stage = "",
    .advice = "",
    .open = open_memory_arrays,
    .close = close_arrays,
    .name = make_array_sample_name,
    .label = find_array_sample_label,
    .path = find_array_sample_path,
    .read = read_array_sample,
    .hash = hash_array_sample,
};
