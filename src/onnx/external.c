/* SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* realpath */
#include "onnx/external.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* the state's size */
#include <xxhash.h>

#include "base/file.h"
#include "base/file_format.h"
#include "base/growing_list.h"
#include "base/mapping.h"
#include "base/size.h"
#include "onnx/codec.h"
#include "onnx/visit.h"

#define HASH_PIECE ((size_t)4 << 20)

struct loader {
    struct ldnq_model *model;
    const char *folder;           /* the model's folder as the caller named it */
    char folder_real[PATH_MAX];   /* resolved path of `folder` */
    char target_folder[PATH_MAX]; /* folder of the file that the model's path leads to */
    struct ldnq_names files;      /* maps the resolved path to the bytes and their count */
    struct ldnq_names places;     /* maps the location in the proto to the key in `files` */
};

struct external_location {
    const char *location;
    uint64_t offset, length;
    bool has_length;
};

/* ---- where the bytes are ---------------------------------------------------------- */

static enum ldnq_status parse_external_data_number(const char *key, const char *text,
                                                   uint64_t *value, struct ldnq_error *err)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || number > SIZE_MAX / 2)
        return ldnq_fail(err, LDNQ_MODEL, "external data: '%s' is not a usable %s", text, key);
    *value = number;
    return LDNQ_OK;
}

static enum ldnq_status read_location(const Onnx__TensorProto *tensor,
                                      struct external_location *place, struct ldnq_error *err)
{
    *place = (struct external_location){ 0 };
    for (size_t i = 0; i < tensor->n_external_data; i++) {
        const char *key = ldnq_or_empty(tensor->external_data[i]->key);
        const char *value = ldnq_or_empty(tensor->external_data[i]->value);
        if (strcmp(key, "location") == 0) {
            place->location = value;
        } else if (strcmp(key, "offset") == 0) {
            LDNQ_TRY(parse_external_data_number(key, value, &place->offset, err));
        } else if (strcmp(key, "length") == 0) {
            LDNQ_TRY(parse_external_data_number(key, value, &place->length, err));
            place->has_length = true;
        }
    }
    if (!place->location || !*place->location)
        return ldnq_fail(err, LDNQ_MODEL, "external data: the location is missing");
    return LDNQ_OK;
}

static bool contains_parent_reference(const char *location)
{
    for (const char *at = location; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || !at[2]))
            return true;
    }
    return false;
}

/* ---- files ------------------------------------------------------------------------ */

static bool is_path_below_folder(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    if (length == 1) /* the root */
        return true;
    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

/* Hashes piece by piece, so that the file is never in memory as a whole. */
static uint64_t hash_and_release(const char *bytes, size_t size, uint64_t seed)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset_withSeed(&state, seed);
    for (size_t at = 0, piece; at < size; at += piece) {
        piece = ldnq_size_min(HASH_PIECE, size - at);
        XXH3_64bits_update(&state, bytes + at, piece);
        ldnq_mapping_release_pages(bytes + at, piece);
    }
    return XXH3_64bits_digest(&state);
}

static enum ldnq_status read_data_file(struct loader *loader, const char *path,
                                       struct ldnq_name **file, struct ldnq_error *err)
{
    struct ldnq_model *model = loader->model;
    void *bytes;
    size_t size;
    const char *key = ldnq_arena_strdup(model->arena, path, err);
    if (!key)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_names_insert(&loader->files, key, file, err));
    if ((*file)->pointer)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_map_file(model->arena, path, &bytes, &size, err));
    LDNQ_TRY(ldnq_list_reserve(model->arena, &model->data_files, model->data_file_count,
                               &model->data_file_capacity, sizeof *model->data_files, err));
    model->data_files[model->data_file_count++] = (struct ldnq_data_file){ key, bytes };
    (*file)->pointer = bytes;
    (*file)->count = size;
    model->bytes += size;
    model->hash = hash_and_release(bytes, size, model->hash);
    return LDNQ_OK;
}

/* In a cache that keeps files by their hash, the model and its data are links into a common
 * folder. Data that are not in the folder of the link may be in that of the link's target. */
static bool resolve_data_path(const struct loader *loader, const char *location, const char *path,
                              char *real)
{
    char in_target[2 * PATH_MAX];
    if (realpath(path, real))
        return true;
    if (errno != ENOENT || strcmp(loader->folder_real, loader->target_folder) == 0)
        return false;
    const int length =
        snprintf(in_target, sizeof in_target, "%s/%s", loader->target_folder, location);
    if (length < (int)sizeof in_target && realpath(in_target, real))
        return true;
    errno = ENOENT;
    return false;
}

static enum ldnq_status open_resolved(struct loader *loader, const char *location, const char *path,
                                      struct ldnq_name **file, struct ldnq_error *err)
{
    char real[PATH_MAX];
    if (!resolve_data_path(loader, location, path, real))
        return ldnq_fail(err, LDNQ_IO, "external data file '%s' can't be opened: %s", path,
                         strerror(errno));
    if (!is_path_below_folder(real, loader->folder_real) &&
        !is_path_below_folder(real, loader->target_folder))
        return ldnq_fail(err, LDNQ_MODEL, "external data: '%s' is a link out of the model's folder",
                         location);
    return read_data_file(loader, real, file, err);
}

static enum ldnq_status open_external_location(struct loader *loader, const char *location,
                                               struct ldnq_name **file, struct ldnq_error *err)
{
    struct ldnq_name *known;
    LDNQ_TRY(ldnq_names_insert(&loader->places, location, &known, err));
    if (known->pointer) {
        *file = ldnq_names_find(&loader->files, known->pointer);
        return LDNQ_OK;
    }
    if (*location == '/' || contains_parent_reference(location))
        return ldnq_fail(err, LDNQ_MODEL, "external data: '%s' is not below the model's folder",
                         location);
    char *path = ldnq_arena_printf(loader->model->arena, err, "%s/%s", loader->folder, location);
    if (!path)
        return LDNQ_NOMEM;
    LDNQ_TRY(open_resolved(loader, location, path, file, err));
    known->pointer = (void *)(uintptr_t)(*file)->key;
    return LDNQ_OK;
}

/* ---- tensors ---------------------------------------------------------------------- */

static enum ldnq_status set_tensor_bytes(Onnx__TensorProto *tensor,
                                         const struct external_location *place,
                                         const struct ldnq_name *file, struct ldnq_error *err)
{
    size_t want;
    LDNQ_TRY(ldnq_codec_packed_size(tensor, &want, err));
    size_t length = place->has_length ? (size_t)place->length : want;
    if (length != want)
        return ldnq_fail(err, LDNQ_MODEL,
                         "external data: length %zu, where the tensor's shape needs %zu bytes",
                         length, want);
    size_t end;
    bool fits = ldnq_size_add((size_t)place->offset, length, &end) && end <= file->count;
    /* A pointer or a page is short: the bytes of a file that is long enough are weights. */
    const char *format = fits ? NULL : ldnq_describe_format(file->pointer, file->count);
    if (format)
        return ldnq_fail(err, LDNQ_MODEL, "external data: '%s' %s", place->location, format);
    if (!fits)
        return ldnq_fail(err, LDNQ_MODEL,
                         "external data: bytes %zu to %zu of '%s', which has only %zu",
                         (size_t)place->offset, end, place->location, file->count);
    tensor->raw_data.data = (uint8_t *)file->pointer + place->offset;
    tensor->raw_data.len = length;
    return LDNQ_OK;
}

static enum ldnq_status load_external_tensor(struct loader *loader, Onnx__TensorProto *tensor,
                                             struct ldnq_error *err)
{
    struct external_location place;
    struct ldnq_name *file;
    if (!loader->folder)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "its data are in another file, which needs the model's folder");
    if (tensor->has_raw_data && tensor->raw_data.len)
        return ldnq_fail(err, LDNQ_MODEL, "has both raw_data and external data");
    LDNQ_TRY(read_location(tensor, &place, err));
    LDNQ_TRY(open_external_location(loader, place.location, &file, err));
    tensor->has_raw_data = 0;
    return set_tensor_bytes(tensor, &place, file, err);
}

static enum ldnq_status load_external_data_of(void *ctx, void *message, struct ldnq_error *err)
{
    Onnx__TensorProto *tensor = message;
    if (!ldnq_is_external(tensor))
        return LDNQ_OK;
    enum ldnq_status status = load_external_tensor(ctx, tensor, err);
    if (status != LDNQ_OK)
        ldnq_fail_within(err, status, "tensor '%s'", ldnq_or_empty(tensor->name));
    return status;
}

static enum ldnq_status resolve_folders(struct loader *loader, struct ldnq_error *err)
{
    const char *path = loader->model->path;
    if (!realpath(loader->folder, loader->folder_real))
        return ldnq_fail(err, LDNQ_IO, "folder %s: can't be opened: %s", loader->folder,
                         strerror(errno));
    if (!realpath(path, loader->target_folder))
        return ldnq_fail(err, LDNQ_IO, "can't be opened: %s", strerror(errno));
    char *slash = strrchr(loader->target_folder, '/');
    slash[slash == loader->target_folder] = '\0';
    return LDNQ_OK;
}

enum ldnq_status ldnq_external_load(struct ldnq_model *model, const char *folder,
                                    struct ldnq_error *err)
{
    struct loader loader = { .model = model, .folder = folder };
    ldnq_names_init(&loader.files, model->arena);
    ldnq_names_init(&loader.places, model->arena);
    if (folder)
        LDNQ_TRY(resolve_folders(&loader, err));
    return ldnq_visit(&model->proto->base, &onnx__tensor_proto__descriptor, load_external_data_of,
                      &loader, err);
}
