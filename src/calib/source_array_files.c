/* SPDX-License-Identifier: Apache-2.0 */
/* source_array_files.c: a folder of .npy and .npz files, flat or in subfolders. Each file has one
 * sample or several, of shapes of its own.
 *
 * A .npy file is opened for each read, as there may be more files than a process may hold open. The
 * arrays of a .npz file are unpacked once. */
#include "calib/source.h"

#include <string.h>

#include "base/file.h"
#include "base/growing_list.h"
#include "calib/array_store.h"
#include "calib/folder.h"
#include "calib/named_arrays.h"

struct array_file {
    const char *path;
    size_t first; /* index of the first sample */
    bool is_held; /* the arrays were unpacked; else `data` is read from the file */
    struct ldnq_named_arrays named;
    struct ldnq_array *arrays; /* (inputs) the arrays that `named` points to */
};

struct array_files_source {
    size_t count, capacity;
    struct array_file *list;
    struct ldnq_array_store store;
};

static bool detect_array_files(const struct ldnq_probe *probe)
{
    return probe->is_folder && probe->holds_arrays;
}

/* ---- opening --------------------------------------------------------------------- */

/* Closes the array: what remains is where its data are. */
static enum ldnq_status open_npy_file(struct ldnq_samples *samples, struct array_file *file,
                                      struct ldnq_error *err)
{
    file->arrays = ldnq_arena_alloc(samples->arena, 1, sizeof *file->arrays, err);
    if (!file->arrays)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_array_open(file->path, samples->arena, file->arrays, err));
    ldnq_array_close(file->arrays);
    file->is_held = file->arrays->data != NULL;
    return ldnq_named_arrays_match_single(samples, file->path, file->arrays, samples->arena,
                                          &file->named, err);
}

static enum ldnq_status store_npz_arrays(struct ldnq_samples *samples, struct array_file *file,
                                         struct ldnq_error *err)
{
    struct array_files_source *files = samples->state;
    for (size_t i = 0; i < samples->input_count; i++) {
        LDNQ_TRY(ldnq_array_store_add(&files->store, file->named.data[i], samples->arena,
                                      &file->arrays[i], err));
        file->arrays[i].name = file->path;
        file->named.data[i] = &file->arrays[i];
    }
    return LDNQ_OK;
}

static enum ldnq_status open_npz_file(struct ldnq_samples *samples, struct array_file *file,
                                      struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    struct ldnq_npz npz;
    file->is_held = true;
    file->arrays =
        ldnq_arena_alloc(samples->arena, samples->input_count, sizeof *file->arrays, err);
    if (!file->arrays)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    enum ldnq_status status = ldnq_npz_open(file->path, scratch, &npz, err);
    if (status == LDNQ_OK) {
        status =
            ldnq_named_arrays_match(samples, file->path, &npz, samples->arena, &file->named, err);
        if (status == LDNQ_OK)
            status = store_npz_arrays(samples, file, err);
        ldnq_npz_close(&npz);
    }
    ldnq_arena_destroy(scratch);
    return status;
}

static enum ldnq_status append_file(struct ldnq_samples *samples, const char *path, bool is_npz,
                                    struct ldnq_error *err)
{
    struct array_files_source *files = samples->state;
    struct array_file file = { .path = path, .first = samples->item_count };
    LDNQ_TRY(is_npz ? open_npz_file(samples, &file, err) : open_npy_file(samples, &file, err));
    if (file.named.count == 0)
        return LDNQ_OK;
    if (files->count > 0 && samples->has_labels != (file.named.labels != NULL))
        return ldnq_fail(err, LDNQ_DATA, "%s: has %s, other files of %s have %s", path,
                         file.named.labels ? "classes" : "no classes", samples->path,
                         file.named.labels ? "none" : "them");
    samples->has_labels = file.named.labels != NULL;
    LDNQ_TRY(ldnq_list_reserve(samples->arena, &files->list, files->count, &files->capacity,
                               sizeof file, err));
    files->list[files->count++] = file;
    samples->item_count += file.named.count;
    return LDNQ_OK;
}

static enum ldnq_status append_folder_files(struct ldnq_samples *samples, const char *path,
                                            bool go_down, struct ldnq_error *err)
{
    struct ldnq_folder folder;
    LDNQ_TRY(ldnq_folder_list(path, samples->arena, &folder, err));
    for (size_t i = 0; i < folder.count; i++) {
        const struct ldnq_entry *entry = &folder.entries[i];
        const bool is_npz = ldnq_name_ends(entry->name, ".npz");
        if (entry->is_folder && go_down)
            LDNQ_TRY(append_folder_files(samples, entry->path, false, err));
        else if (!entry->is_folder && (is_npz || ldnq_name_ends(entry->name, ".npy")))
            LDNQ_TRY(append_file(samples, entry->path, is_npz, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status open_array_files(struct ldnq_samples *samples, struct ldnq_error *err)
{
    struct array_files_source *files = ldnq_arena_alloc(samples->arena, 1, sizeof *files, err);
    samples->state = files;
    if (!files)
        return LDNQ_NOMEM;
    ldnq_array_store_init(&files->store);
    return append_folder_files(samples, samples->path, true, err);
}

static void close_array_files(struct ldnq_samples *samples)
{
    ldnq_array_store_close(&((struct array_files_source *)samples->state)->store);
}

/* ---- items ------------------------------------------------------------------------- */

/* Finds the file that an item is in; *row is its index there. */
static const struct array_file *find_file_of_item(const struct ldnq_samples *samples, size_t item,
                                                  size_t *row)
{
    const struct array_files_source *files = samples->state;
    size_t low = 0, high = files->count;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (files->list[middle].first <= item)
            low = middle;
        else
            high = middle;
    }
    *row = item - files->list[low].first;
    return &files->list[low];
}

static const char *make_array_file_sample_name(struct ldnq_samples *samples, size_t item,
                                               struct ldnq_error *err)
{
    size_t row;
    const struct array_file *file = find_file_of_item(samples, item, &row);
    if (file->named.count == 1)
        return file->path;
    return ldnq_arena_printf(samples->arena, err, "%s[%zu]", file->path, row);
}

static int64_t find_array_file_label(const struct ldnq_samples *samples, size_t item)
{
    size_t row;
    return find_file_of_item(samples, item, &row)->named.labels[row];
}

static const char *find_array_file_path(const struct ldnq_samples *samples, size_t item,
                                        size_t input)
{
    size_t row;
    (void)input;
    return find_file_of_item(samples, item, &row)->path;
}

static enum ldnq_sample_storage examine_array_file(const struct ldnq_samples *samples, size_t item,
                                                   size_t input, struct stat *info)
{
    size_t row;
    const struct array_file *file = find_file_of_item(samples, item, &row);
    (void)input;
    if (file->is_held)
        return LDNQ_SAMPLE_HELD;
    return stat(file->path, info) == 0 ? LDNQ_SAMPLE_READ_AGAIN : LDNQ_SAMPLE_VANISHED;
}

static enum ldnq_status get_array_file_shape(const struct ldnq_samples *samples, size_t item,
                                             size_t input, struct ldnq_shape *shape,
                                             struct ldnq_error *err)
{
    size_t row;
    (void)err;
    *shape = find_file_of_item(samples, item, &row)->named.rows[input];
    return LDNQ_OK;
}

/* A file that is read for each use: a copy of its array, with a descriptor. */
static enum ldnq_status read_from_file(const struct ldnq_array *array, const char *path, size_t at,
                                       const struct ldnq_shape *shape, struct ldnq_arena *arena,
                                       struct ldnq_tensor **out, struct ldnq_error *err)
{
    struct ldnq_array opened = *array;
    size_t size;
    LDNQ_TRY(ldnq_file_open(path, &opened.fd, &size, err));
    const enum ldnq_status status = ldnq_array_read_tensor(&opened, at, shape, arena, out, err);
    ldnq_array_close(&opened);
    return status;
}

static enum ldnq_status read_array_file_sample(const struct ldnq_samples *samples, size_t item,
                                               size_t input, struct ldnq_arena *arena,
                                               const struct ldnq_tensor **out,
                                               struct ldnq_error *err)
{
    size_t row;
    const struct array_file *file = find_file_of_item(samples, item, &row);
    const struct ldnq_shape *shape = &file->named.rows[input];
    const size_t at = ldnq_named_arrays_find_sample(&file->named, input, row);
    struct ldnq_tensor *tensor;
    LDNQ_TRY(
        file->is_held
            ? ldnq_array_read_tensor(file->named.data[input], at, shape, arena, &tensor, err)
            : read_from_file(file->named.data[input], file->path, at, shape, arena, &tensor, err));
    *out = tensor;
    return LDNQ_OK;
}

static enum ldnq_status hash_array_file_sample(const struct ldnq_samples *samples, size_t item,
                                               struct ldnq_arena *arena, XXH3_state_t *state,
                                               struct ldnq_error *err)
{
    for (size_t i = 0; i < samples->input_count; i++) {
        const struct ldnq_tensor *tensor;
        LDNQ_TRY(read_array_file_sample(samples, item, i, arena, &tensor, err));
        ldnq_hash_tensor(state, tensor);
    }
    return LDNQ_OK;
}

const struct ldnq_source ldnq_source_array_files = {
    .stage = "",
    .advice = "",
    .detect = detect_array_files,
    .open = open_array_files,
    .close = close_array_files,
    .name = make_array_file_sample_name,
    .label = find_array_file_label,
    .path = find_array_file_path,
    .examine = examine_array_file,
    .read = read_array_file_sample,
    .shape = get_array_file_shape,
    .hash = hash_array_file_sample,
};
