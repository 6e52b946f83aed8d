/* SPDX-License-Identifier: Apache-2.0 */
/* source_protos.c: TensorProto .pb files: input_0.pb, input_1.pb ... in the folder or
 * in its subfolders; for a model with one input, any .pb file except output_*.pb. A
 * file with several rows along the batch axis holds one sample per row, but in ONNX's folders
 * test_data_set_N, and where the files of a folder differ in their rows, a folder is one sample. */
#include "calib/source.h"

#include <stdio.h>
#include <string.h>

#include "onnx/onnx.h"

#include "base/file.h"
#include "base/growing_list.h"
#include "calib/array_store.h"
#include "calib/folder.h"

/* The files of one sample, or of several along the batch axis. */
struct proto_set {
    const char **paths;       /* (inputs) */
    const char *name;         /* the folder; the file when the model has one input */
    size_t first, rows;       /* index of the first sample, and number of samples */
    struct ldnq_shape *shape; /* (inputs) the shape of one sample */
    struct ldnq_array *held;  /* (inputs) the decoded files; NULL for one sample */
};

struct proto_source {
    bool wants_whole; /* a folder of a data set was found whose tensors are one sample */
    size_t count, capacity;
    struct proto_set *list;
    struct ldnq_array_store store; /* the decoded files of several samples */
};

static bool detect_protos(const struct ldnq_probe *probe)
{
    return probe->is_folder ? probe->holds_protos : ldnq_name_ends(probe->path, ".pb");
}

/* ---- reading ------------------------------------------------------------------------ */

static enum ldnq_status read_tensor(const char *path, struct ldnq_arena *arena,
                                    struct ldnq_tensor **out, struct ldnq_error *err)
{
    void *bytes;
    size_t size;
    const char *name;
    LDNQ_TRY(ldnq_file_read(path, arena, &bytes, &size, err));
    if (size == 0)
        return ldnq_fail(err, LDNQ_DATA, "%s: is empty", path);
    enum ldnq_status status = ldnq_tensorproto_decode(bytes, size, arena, out, &name, err);
    if (status == LDNQ_OK)
        return LDNQ_OK;
    return ldnq_fail_within(err, status == LDNQ_NOMEM ? LDNQ_NOMEM : LDNQ_DATA, "%s", path);
}

static enum ldnq_status store_decoded_set(struct ldnq_samples *samples, struct proto_set *set,
                                          struct ldnq_tensor *const *tensors,
                                          struct ldnq_error *err)
{
    struct proto_source *protos = samples->state;
    set->held = ldnq_arena_alloc(samples->arena, samples->input_count, sizeof *set->held, err);
    if (!set->held)
        return LDNQ_NOMEM;
    bool has_elements = false;
    for (size_t i = 0; i < samples->input_count; i++)
        has_elements |= ldnq_sample_has_elements(&set->shape[i]);
    if (!has_elements)
        return ldnq_fail(err, LDNQ_DATA, "%s: announces %zu samples and holds no elements",
                         set->paths[0], set->rows);
    for (size_t i = 0; i < samples->input_count; i++) {
        const struct ldnq_array decoded = { .name = set->paths[i],
                                            .dtype = tensors[i]->dtype,
                                            .shape = tensors[i]->shape,
                                            .data = tensors[i]->data,
                                            .fd = -1 };
        LDNQ_TRY(
            ldnq_array_store_add(&protos->store, &decoded, samples->arena, &set->held[i], err));
    }
    return LDNQ_OK;
}

/* Whether the file is in one of ONNX's folders test_data_set_N. */
static bool is_in_data_set(const char *path)
{
    const char *end = strrchr(path, '/'), *start = end;
    while (start && start > path && start[-1] != '/')
        start--;
    return end && strncmp(start, "test_data_set", strlen("test_data_set")) == 0;
}

/* Whether the tensors of a set are one sample as they are: always in ONNX's folders
 * test_data_set_N, and where their first axes count different things. */
static bool set_is_one_sample(const struct ldnq_samples *samples, const struct proto_set *set,
                              struct ldnq_tensor *const *tensors)
{
    bool is_data_set = is_in_data_set(set->paths[0]), has_rows = false;
    for (size_t i = 0; i < samples->input_count; i++) {
        struct ldnq_input whole = samples->inputs[i];
        const struct ldnq_shape *shape = &tensors[i]->shape, *first = &tensors[0]->shape;
        whole.batched = false;
        if (whole.shape.rank < 1 || !ldnq_input_accepts_shape(&whole, shape))
            return false;
        if (whole.shape.dim[0] == samples->inputs[0].shape.dim[0] && shape->dim[0] != first->dim[0])
            return false; /* the same symbol */
        has_rows |= shape->dim[0] != 1;
        is_data_set |= shape->dim[0] != first->dim[0];
    }
    return is_data_set && has_rows;
}

/* Decodes a set of files, counts their samples, and stores them when there are several. */
static enum ldnq_status decode_file_set(struct ldnq_samples *samples, struct proto_set *set,
                                        struct ldnq_arena *scratch, struct ldnq_error *err)
{
    struct ldnq_tensor **tensors =
        ldnq_arena_alloc(scratch, samples->input_count, sizeof *tensors, err);
    set->shape = ldnq_arena_alloc(samples->arena, samples->input_count, sizeof *set->shape, err);
    if (!tensors || !set->shape)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < samples->input_count; i++)
        LDNQ_TRY(read_tensor(set->paths[i], scratch, &tensors[i], err));
    if (ldnq_samples_can_stack(samples) && set_is_one_sample(samples, set, tensors)) {
        ((struct proto_source *)samples->state)->wants_whole = true;
        return LDNQ_OK;
    }
    for (size_t i = 0; i < samples->input_count; i++) {
        size_t rows;
        LDNQ_TRY(ldnq_input_match_array(&samples->inputs[i], set->paths[i], &tensors[i]->shape,
                                        &rows, &set->shape[i], err));
        if (i == 0)
            set->rows = rows;
        if (rows != set->rows)
            return ldnq_fail(err, LDNQ_DATA, "%s: holds %zu samples where %s holds %zu",
                             set->paths[i], rows, set->paths[0], set->rows);
    }
    return set->rows > 1 ? store_decoded_set(samples, set, tensors, err) : LDNQ_OK;
}

/* ---- the list ----------------------------------------------------------------------- */

static enum ldnq_status append_file_set(struct ldnq_samples *samples, const char *name,
                                        const char **paths, struct ldnq_error *err)
{
    struct proto_source *protos = samples->state;
    struct proto_set set = { .paths = paths, .name = name, .first = samples->item_count };
    struct ldnq_arena *scratch;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    enum ldnq_status status = decode_file_set(samples, &set, scratch, err);
    ldnq_arena_destroy(scratch);
    LDNQ_TRY(status);
    if (set.rows == 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_list_reserve(samples->arena, &protos->list, protos->count, &protos->capacity,
                               sizeof set, err));
    protos->list[protos->count++] = set;
    samples->item_count += set.rows;
    return LDNQ_OK;
}

static enum ldnq_status add_single_file(struct ldnq_samples *samples, const char *path,
                                        struct ldnq_error *err)
{
    const char **paths = ldnq_arena_alloc(samples->arena, 1, sizeof *paths, err);
    if (!paths)
        return LDNQ_NOMEM;
    paths[0] = path;
    return append_file_set(samples, path, paths, err);
}

/* Reads the number in a name like "input_12.pb"; false for any other name. */
static bool parse_input_number(const char *name, size_t *number)
{
    int end = 0;
    unsigned value;
    if (sscanf(name, "input_%4u.pb%n", &value, &end) != 1 || end == 0 || name[end])
        return false;
    *number = value;
    return true;
}

/* Adds every .pb file as samples of the only input. */
static enum ldnq_status add_single_files(struct ldnq_samples *samples,
                                         const struct ldnq_folder *folder, struct ldnq_error *err)
{
    for (size_t i = 0; i < folder->count; i++) {
        const struct ldnq_entry *entry = &folder->entries[i];
        if (!entry->is_folder && ldnq_name_ends(entry->name, ".pb") &&
            strncmp(entry->name, "output_", 7) != 0)
            LDNQ_TRY(add_single_file(samples, entry->path, err));
    }
    return LDNQ_OK;
}

/* Adds the folder's input_N.pb files as one set; a folder without any is skipped. */
static enum ldnq_status add_input_files(struct ldnq_samples *samples, const char *path,
                                        const struct ldnq_folder *folder, struct ldnq_error *err)
{
    size_t found = 0, number;
    const char **paths = ldnq_arena_alloc(samples->arena, samples->input_count, sizeof *paths, err);
    if (!paths)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < folder->count; i++) {
        if (folder->entries[i].is_folder || !parse_input_number(folder->entries[i].name, &number))
            continue;
        if (number >= samples->input_count)
            return ldnq_fail(err, LDNQ_DATA, "%s: the model has only %zu inputs",
                             folder->entries[i].path, samples->input_count);
        found += !paths[number];
        paths[number] = folder->entries[i].path;
    }
    for (size_t i = 0; found && i < samples->input_count; i++)
        if (!paths[i])
            return ldnq_fail(err, LDNQ_DATA, "%s: has no input_%zu.pb for input '%s'", path, i,
                             samples->inputs[i].name);
    return found ? append_file_set(samples, path, paths, err) : LDNQ_OK;
}

static enum ldnq_status append_folder_samples(struct ldnq_samples *samples, const char *path,
                                              bool go_down, struct ldnq_error *err)
{
    struct ldnq_folder folder;
    LDNQ_TRY(ldnq_folder_list(path, samples->arena, &folder, err));
    if (samples->input_count == 1)
        LDNQ_TRY(add_single_files(samples, &folder, err));
    else
        LDNQ_TRY(add_input_files(samples, path, &folder, err));
    for (size_t i = 0; go_down && i < folder.count; i++)
        if (folder.entries[i].is_folder)
            LDNQ_TRY(append_folder_samples(samples, folder.entries[i].path, false, err));
    return LDNQ_OK;
}

/* ---- the source ----------------------------------------------------------------------- */

/* Lists the folder, again with whole tensors as samples where the first pass asks for it. */
static enum ldnq_status list_folder_samples(struct ldnq_samples *samples, struct ldnq_error *err)
{
    struct proto_source *protos = samples->state;
    LDNQ_TRY(append_folder_samples(samples, samples->path, true, err));
    if (!protos->wants_whole)
        return LDNQ_OK;
    for (size_t i = 0; i < samples->input_count; i++)
        samples->inputs[i].batched = false;
    protos->count = samples->item_count = 0;
    return append_folder_samples(samples, samples->path, true, err);
}

static enum ldnq_status open_protos(struct ldnq_samples *samples, struct ldnq_error *err)
{
    struct proto_source *protos = ldnq_arena_alloc(samples->arena, 1, sizeof *protos, err);
    samples->state = protos;
    if (!protos)
        return LDNQ_NOMEM;
    ldnq_array_store_init(&protos->store);
    if (ldnq_is_folder_or_pattern(samples->path))
        LDNQ_TRY(list_folder_samples(samples, err));
    else if (samples->input_count == 1)
        LDNQ_TRY(add_single_file(samples, samples->path, err));
    else
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: is one tensor, but the model has %zu inputs; give a folder with "
                         "input_0.pb and on",
                         samples->path, samples->input_count);
    return LDNQ_OK;
}

static void close_protos(struct ldnq_samples *samples)
{
    ldnq_array_store_close(&((struct proto_source *)samples->state)->store);
}

/* Finds the set that an item is in; *row is its index there. */
static const struct proto_set *find_set_of_item(const struct ldnq_samples *samples, size_t item,
                                                size_t *row)
{
    const struct proto_source *protos = samples->state;
    size_t low = 0, high = protos->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (protos->list[middle].first <= item)
            low = middle;
        else
            high = middle;
    }
    *row = item - protos->list[low].first;
    return &protos->list[low];
}

static const char *make_proto_sample_name(struct ldnq_samples *samples, size_t item,
                                          struct ldnq_error *err)
{
    size_t row;
    const struct proto_set *set = find_set_of_item(samples, item, &row);
    if (set->rows == 1)
        return set->name;
    return ldnq_arena_printf(samples->arena, err, "%s[%zu]", set->name, row);
}

/* Reads a file of one sample, again for each use: many such files need not fit in memory. */
static enum ldnq_status read_single_sample_file(const struct ldnq_input *input, const char *path,
                                                struct ldnq_arena *arena,
                                                const struct ldnq_tensor **out,
                                                struct ldnq_error *err)
{
    struct ldnq_tensor *tensor;
    size_t rows;
    LDNQ_TRY(read_tensor(path, arena, &tensor, err));
    LDNQ_TRY(ldnq_input_match_array(input, path, &tensor->shape, &rows, &tensor->shape, err));
    *out = tensor;
    if (rows != 1)
        return ldnq_fail(err, LDNQ_DATA, "%s: has changed since it was opened", path);
    return LDNQ_OK;
}

static const char *find_proto_sample_path(const struct ldnq_samples *samples, size_t item,
                                          size_t input)
{
    size_t row;
    return find_set_of_item(samples, item, &row)->paths[input];
}

static enum ldnq_sample_storage examine_proto_sample(const struct ldnq_samples *samples,
                                                     size_t item, size_t input, struct stat *info)
{
    size_t row;
    const struct proto_set *set = find_set_of_item(samples, item, &row);
    if (set->held)
        return LDNQ_SAMPLE_HELD;
    return stat(set->paths[input], info) == 0 ? LDNQ_SAMPLE_READ_AGAIN : LDNQ_SAMPLE_VANISHED;
}

static enum ldnq_status read_proto_sample(const struct ldnq_samples *samples, size_t item,
                                          size_t input, struct ldnq_arena *arena,
                                          const struct ldnq_tensor **out, struct ldnq_error *err)
{
    size_t row, count = 0;
    const struct proto_set *set = find_set_of_item(samples, item, &row);
    if (!set->held)
        return read_single_sample_file(&samples->inputs[input], set->paths[input], arena, out, err);
    const struct ldnq_shape *shape = &set->shape[input];
    struct ldnq_tensor *tensor;
    ldnq_shape_count(shape, &count); /* part of a checked size */
    LDNQ_TRY(ldnq_array_read_tensor(&set->held[input], row * count, shape, arena, &tensor, err));
    *out = tensor;
    return LDNQ_OK;
}

static enum ldnq_status get_proto_shape(const struct ldnq_samples *samples, size_t item,
                                        size_t input, struct ldnq_shape *shape,
                                        struct ldnq_error *err)
{
    size_t row;
    (void)err;
    *shape = find_set_of_item(samples, item, &row)->shape[input];
    return LDNQ_OK;
}

static enum ldnq_status hash_proto_sample(const struct ldnq_samples *samples, size_t item,
                                          struct ldnq_arena *arena, XXH3_state_t *state,
                                          struct ldnq_error *err)
{
    size_t row;
    const struct proto_set *set = find_set_of_item(samples, item, &row);
    uint64_t index = row;
    ldnq_hash_bytes(state, &index, sizeof index);
    for (size_t i = 0; i < samples->input_count; i++) {
        if (!set->held) {
            LDNQ_TRY(ldnq_hash_file(set->paths[i], arena, state, err));
            continue;
        }
        const struct ldnq_tensor *tensor;
        LDNQ_TRY(read_proto_sample(samples, item, i, arena, &tensor, err));
        ldnq_hash_tensor(state, tensor);
    }
    return LDNQ_OK;
}

const struct ldnq_source ldnq_source_protos = {
    .stage = "",
    .advice = "",
    .detect = detect_protos,
    .open = open_protos,
    .close = close_protos,
    .name = make_proto_sample_name,
    .path = find_proto_sample_path,
    .examine = examine_proto_sample,
    .read = read_proto_sample,
    .shape = get_proto_shape,
    .hash = hash_proto_sample,
};
