/* source_protos.c: TensorProto .pb files: input_0.pb, input_1.pb ... in the folder or
 * in its subfolders; for a model with one input, any .pb file except output_*.pb. A
 * file with several rows along the batch axis holds one sample per row. */
#include "calib/source.h"

#include <stdio.h>
#include <string.h>

#include "onnx/onnx.h"

#include "base/file.h"
#include "base/growing_list.h"
#include "calib/folder.h"

struct proto_item {
    const char **paths; /* (inputs) */
    const char *name;   /* the folder; the file when the model has one input */
    size_t row, rows;   /* index of this sample, and number of samples, in the files */
};

struct proto_source {
    size_t count, capacity;
    struct proto_item *list;
};

static bool protos_detect(const struct ldnq_probe *probe)
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

/* Decodes a set of files to count their samples. */
static enum ldnq_status count_rows(const struct ldnq_samples *samples, struct proto_item *proto,
                                   struct ldnq_arena *scratch, struct ldnq_error *err)
{
    for (size_t i = 0; i < samples->input_count; i++) {
        struct ldnq_tensor *tensor;
        struct ldnq_shape row;
        size_t rows;
        LDNQ_TRY(read_tensor(proto->paths[i], scratch, &tensor, err));
        LDNQ_TRY(ldnq_input_match_array(&samples->inputs[i], proto->paths[i], &tensor->shape, &rows,
                                        &row, err));
        if (i == 0)
            proto->rows = rows;
        if (rows != proto->rows)
            return ldnq_fail(err, LDNQ_DATA, "%s: holds %zu samples where %s holds %zu",
                             proto->paths[i], rows, proto->paths[0], proto->rows);
    }
    return LDNQ_OK;
}

/* ---- the list ----------------------------------------------------------------------- */

static enum ldnq_status append_items(struct ldnq_samples *samples, const char *name,
                                     const char **paths, struct ldnq_error *err)
{
    struct proto_source *protos = samples->state;
    struct proto_item proto = { .paths = paths, .name = name };
    struct ldnq_arena *scratch;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    enum ldnq_status status = count_rows(samples, &proto, scratch, err);
    ldnq_arena_destroy(scratch);
    LDNQ_TRY(status);
    for (; proto.row < proto.rows; proto.row++) {
        LDNQ_TRY(ldnq_list_reserve(samples->arena, &protos->list, protos->count, &protos->capacity,
                                   sizeof proto, err));
        protos->list[protos->count++] = proto;
    }
    return LDNQ_OK;
}

static enum ldnq_status add_file(struct ldnq_samples *samples, const char *path,
                                 struct ldnq_error *err)
{
    const char **paths = ldnq_arena_alloc(samples->arena, 1, sizeof *paths, err);
    if (!paths)
        return LDNQ_NOMEM;
    paths[0] = path;
    return append_items(samples, path, paths, err);
}

/* The number in "input_12.pb"; false for any other name. */
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
            LDNQ_TRY(add_file(samples, entry->path, err));
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
    return found ? append_items(samples, path, paths, err) : LDNQ_OK;
}

static enum ldnq_status add_folder(struct ldnq_samples *samples, const char *path, bool go_down,
                                   struct ldnq_error *err)
{
    struct ldnq_folder folder;
    LDNQ_TRY(ldnq_folder_list(path, samples->arena, &folder, err));
    if (samples->input_count == 1)
        LDNQ_TRY(add_single_files(samples, &folder, err));
    else
        LDNQ_TRY(add_input_files(samples, path, &folder, err));
    for (size_t i = 0; go_down && i < folder.count; i++)
        if (folder.entries[i].is_folder)
            LDNQ_TRY(add_folder(samples, folder.entries[i].path, false, err));
    return LDNQ_OK;
}

/* ---- the source ----------------------------------------------------------------------- */

static enum ldnq_status protos_open(struct ldnq_samples *samples, struct ldnq_error *err)
{
    struct proto_source *protos = ldnq_arena_alloc(samples->arena, 1, sizeof *protos, err);
    samples->state = protos;
    if (!protos)
        return LDNQ_NOMEM;
    if (!ldnq_name_ends(samples->path, ".pb"))
        LDNQ_TRY(add_folder(samples, samples->path, true, err));
    else if (samples->input_count == 1)
        LDNQ_TRY(add_file(samples, samples->path, err));
    else
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: is one tensor, but the model has %zu inputs; give a folder with "
                         "input_0.pb and on",
                         samples->path, samples->input_count);
    samples->item_count = protos->count;
    return LDNQ_OK;
}

static const struct proto_item *item_at(const struct ldnq_samples *samples, size_t item)
{
    return &((const struct proto_source *)samples->state)->list[item];
}

static const char *protos_name(struct ldnq_samples *samples, size_t item, struct ldnq_error *err)
{
    const struct proto_item *proto = item_at(samples, item);
    if (proto->rows == 1)
        return proto->name;
    return ldnq_arena_printf(samples->arena, err, "%s[%zu]", proto->name, proto->row);
}

static const char *protos_path(const struct ldnq_samples *samples, size_t item, size_t input)
{
    return item_at(samples, item)->paths[input];
}

static enum ldnq_status protos_read(const struct ldnq_samples *samples, size_t item, size_t input,
                                    struct ldnq_arena *arena, const struct ldnq_tensor **out,
                                    struct ldnq_error *err)
{
    const struct proto_item *proto = item_at(samples, item);
    const char *path = proto->paths[input];
    struct ldnq_tensor *tensor;
    size_t rows, bytes;
    LDNQ_TRY(read_tensor(path, arena, &tensor, err));
    LDNQ_TRY(ldnq_input_match_array(&samples->inputs[input], path, &tensor->shape, &rows,
                                    &tensor->shape, err));
    *out = tensor;
    if (rows != proto->rows)
        return ldnq_fail(err, LDNQ_DATA, "%s: has changed since it was opened", path);
    if (ldnq_tensor_bytes(tensor, &bytes) && bytes)
        tensor->data = (char *)tensor->data + proto->row * bytes;
    return LDNQ_OK;
}

static enum ldnq_status protos_hash(const struct ldnq_samples *samples, size_t item,
                                    struct ldnq_arena *arena, XXH3_state_t *state,
                                    struct ldnq_error *err)
{
    const struct proto_item *proto = item_at(samples, item);
    uint64_t row = proto->row;
    ldnq_hash_bytes(state, &row, sizeof row);
    for (size_t i = 0; i < samples->input_count; i++)
        LDNQ_TRY(ldnq_hash_file(proto->paths[i], arena, state, err));
    return LDNQ_OK;
}

const struct ldnq_source ldnq_source_protos = {
    .stage = "",
    .advice = "",
    .detect = protos_detect,
    .open = protos_open,
    .name = protos_name,
    .path = protos_path,
    .read = protos_read,
    .hash = protos_hash,
};
