/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/onnx.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_STATIC_LINKING_ONLY /* the state's size */
#include <xxhash.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/file_id.h"
#include "base/growing_list.h"
#include "base/mapping.h"
#include "onnx/model.h"
#include "onnx/visit.h"

/* Smaller tensors are stored in the model itself. */
#define EXTERNAL_LEAST 1024
/* Recommended by ONNX, for readers that map the file into memory. */
#define EXTERNAL_ALIGNMENT 4096
/* protobuf's limit for one message. */
#define FILE_LIMIT ((size_t)INT32_MAX)

/* The original fields of a tensor that is changed while the model is written. */
struct changed_tensor {
    Onnx__TensorProto *tensor;
    Onnx__TensorProto before;
};

/* While the model is written, external tensors are changed to name their new location:
 * a new data file, or the model itself. */
struct model_saver {
    struct ldnq_arena *arena;
    struct changed_tensor *changed;
    size_t changed_count, changed_capacity;
    const char *path;              /* path of the model; NULL: all data go into the model */
    struct ldnq_file_writer *data; /* opened with the first tensor that goes there */
    size_t offset;
    XXH3_state_t hash; /* hash of the data file */
    /* "location", shared by all tensors. Its value is known after the last one. */
    Onnx__StringStringEntryProto *location;
};

/* ---- external tensors ----------------------------------------------------------------- */

static enum ldnq_status save_original(struct model_saver *saver, Onnx__TensorProto *tensor,
                                      struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_list_reserve(saver->arena, &saver->changed, saver->changed_count,
                               &saver->changed_capacity, sizeof *saver->changed, err));
    saver->changed[saver->changed_count++] = (struct changed_tensor){ tensor, *tensor };
    return LDNQ_OK;
}

static void restore_changed_tensors(struct model_saver *saver)
{
    for (size_t i = 0; i < saver->changed_count; i++)
        *saver->changed[i].tensor = saver->changed[i].before;
}

static void store_data_inline(Onnx__TensorProto *tensor)
{
    tensor->n_external_data = 0;
    tensor->has_data_location = 0;
    tensor->has_raw_data = 1;
}

static enum ldnq_status write_external_bytes(struct model_saver *saver, const void *bytes,
                                             size_t size, struct ldnq_error *err)
{
    XXH3_64bits_update(&saver->hash, bytes, size);
    return ldnq_file_writer_write(saver->data, bytes, size, err);
}

static enum ldnq_status append_tensor_to_data_file(struct model_saver *saver,
                                                   const Onnx__TensorProto *tensor, size_t *offset,
                                                   struct ldnq_error *err)
{
    static const char zeros[EXTERNAL_ALIGNMENT];
    if (!saver->data->stream)
        LDNQ_TRY(ldnq_file_writer_init(saver->data, saver->path, err));
    size_t gap = (EXTERNAL_ALIGNMENT - saver->offset % EXTERNAL_ALIGNMENT) % EXTERNAL_ALIGNMENT;
    LDNQ_TRY(write_external_bytes(saver, zeros, gap, err));
    *offset = saver->offset + gap;
    saver->offset = *offset + tensor->raw_data.len;
    LDNQ_TRY(write_external_bytes(saver, tensor->raw_data.data, tensor->raw_data.len, err));
    ldnq_mapping_release_pages(tensor->raw_data.data, tensor->raw_data.len);
    return LDNQ_OK;
}

static Onnx__StringStringEntryProto *create_string_entry(struct model_saver *saver, const char *key,
                                                         const char *value, struct ldnq_error *err)
{
    Onnx__StringStringEntryProto *entry = ldnq_arena_alloc(saver->arena, 1, sizeof *entry, err);
    if (!entry)
        return NULL;
    onnx__string_string_entry_proto__init(entry);
    entry->key = ldnq_arena_strdup(saver->arena, key, err);
    entry->value = value ? ldnq_arena_strdup(saver->arena, value, err) : NULL;
    return entry->key && entry->value ? entry : NULL;
}

static bool is_location_key(const Onnx__StringStringEntryProto *entry)
{
    const char *key = ldnq_or_empty(entry->key);
    return strcmp(key, "location") == 0 || strcmp(key, "offset") == 0 || strcmp(key, "length") == 0;
}

/* Other keys, such as a checksum, remain valid. */
static enum ldnq_status set_external_location(struct model_saver *saver, Onnx__TensorProto *tensor,
                                              size_t offset, struct ldnq_error *err)
{
    size_t old = tensor->n_external_data, count = 0;
    Onnx__StringStringEntryProto **list =
        ldnq_arena_alloc(saver->arena, old + 3, sizeof *list, err);
    if (!list)
        return LDNQ_NOMEM;
    char number[2][24];
    snprintf(number[0], sizeof number[0], "%zu", offset);
    snprintf(number[1], sizeof number[1], "%zu", tensor->raw_data.len);
    if (!saver->location)
        saver->location = create_string_entry(saver, "location", "", err);
    list[count++] = saver->location;
    list[count++] = create_string_entry(saver, "offset", number[0], err);
    list[count++] = create_string_entry(saver, "length", number[1], err);
    if (!list[0] || !list[1] || !list[2])
        return LDNQ_NOMEM;
    for (size_t i = 0; i < old; i++)
        if (!is_location_key(tensor->external_data[i]))
            list[count++] = tensor->external_data[i];
    tensor->external_data = list;
    tensor->n_external_data = count;
    return LDNQ_OK;
}

static enum ldnq_status store_tensor_inline_or_external(void *ctx, void *message,
                                                        struct ldnq_error *err)
{
    struct model_saver *saver = ctx;
    Onnx__TensorProto *tensor = message;
    size_t offset;
    if (!ldnq_is_external(tensor))
        return LDNQ_OK;
    LDNQ_TRY(save_original(saver, tensor, err));
    if (!saver->path || tensor->raw_data.len < EXTERNAL_LEAST) {
        store_data_inline(tensor);
        return LDNQ_OK;
    }
    LDNQ_TRY(append_tensor_to_data_file(saver, tensor, &offset, err));
    return set_external_location(saver, tensor, offset, err);
}

static enum ldnq_status move_tensors(const struct ldnq_model *model, struct model_saver *saver,
                                     struct ldnq_error *err)
{
    return ldnq_visit(&model->proto->base, &onnx__tensor_proto__descriptor,
                      store_tensor_inline_or_external, saver, err);
}

/* ---- the model -------------------------------------------------------------------------- */

static enum ldnq_status check_model_size(const char *path, size_t size, struct ldnq_error *err)
{
    if (size <= FILE_LIMIT)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED,
                     "%s: would be larger than 2 GB, more than an ONNX file may be; store the "
                     "input model's weights as external data first",
                     path);
}

static enum ldnq_status serialize_model(const struct ldnq_model *model, const char *path,
                                        void **bytes, size_t *size, struct ldnq_error *err)
{
    *size = onnx__model_proto__get_packed_size(model->proto);
    LDNQ_TRY(check_model_size(path, *size, err));
    *bytes = ldnq_malloc(*size);
    if (!*bytes)
        return ldnq_fail(err, LDNQ_NOMEM, "%s: out of memory: %zu bytes could not be had", path,
                         *size);
    onnx__model_proto__pack(model->proto, *bytes);
    return LDNQ_OK;
}

/* ---- files ------------------------------------------------------------------------------ */

/* The name of a data file is the model's, the hash of its content, and this. An earlier model of
 * the same path refers to another file, and stays whole until the new one replaces it. */
#define DATA_EXTENSION ".data"
#define HASH_DIGITS ((size_t)16)
_Static_assert(1 + HASH_DIGITS + sizeof DATA_EXTENSION - 1 == LDNQ_DATA_SUFFIX_LENGTH,
               "the header has the length of the suffix");
/* The bytes of an old file that are in memory while it is searched. */
#define SEARCHED_PIECE ((size_t)4 << 20)

struct ldnq_model_writer {
    struct ldnq_arena *arena;
    struct ldnq_file_writer file, data; /* data zeroed without external data */
    const char *path, *name;            /* path of the model; its name in its folder */
    const char **read;                  /* data files of the loaded model */
    size_t read_count;
    size_t size, data_size; /* bytes of the model; 0 for a device; of its data */
};

static enum ldnq_status name_data_file(struct model_saver *saver, struct ldnq_model_writer *writer,
                                       struct ldnq_error *err)
{
    const uint64_t hash = XXH3_64bits_digest(&saver->hash);
    char *path =
        ldnq_arena_printf(writer->arena, err, "%s.%016" PRIx64 DATA_EXTENSION, writer->path, hash);
    if (!path)
        return LDNQ_NOMEM;
    saver->location->value = path + (writer->name - writer->path);
    return ldnq_file_writer_set_path(&writer->data, path, err);
}

/* Where protobuf-c writes the parts of a message. After a failure it goes on, and nothing more
 * is written. */
struct file_buffer {
    ProtobufCBuffer base;
    struct ldnq_file_writer *file;
    enum ldnq_status status;
    struct ldnq_error *err;
};

static void append_to_file(ProtobufCBuffer *base, size_t size, const uint8_t *bytes)
{
    struct file_buffer *buffer = (struct file_buffer *)base;
    if (buffer->status == LDNQ_OK)
        buffer->status = ldnq_file_writer_write(buffer->file, bytes, size, buffer->err);
    ldnq_mapping_release_pages(bytes, size);
}

/* Writes the message part by part: its bytes are never in memory as a whole. */
static enum ldnq_status write_file(const struct ldnq_model *model, struct ldnq_model_writer *writer,
                                   struct ldnq_error *err)
{
    const size_t size = onnx__model_proto__get_packed_size(model->proto);
    LDNQ_TRY(check_model_size(writer->path, size, err));
    LDNQ_TRY(ldnq_file_writer_init(&writer->file, writer->path, err));
    struct file_buffer buffer = { { append_to_file }, &writer->file, LDNQ_OK, err };
    onnx__model_proto__pack_to_buffer(model->proto, &buffer.base);
    LDNQ_TRY(buffer.status);
    LDNQ_TRY(ldnq_file_writer_close(&writer->file, err));
    writer->size = writer->file.temporary ? size : 0;
    return LDNQ_OK;
}

static bool is_device_or_pipe(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode);
}

static enum ldnq_status check_data_unchanged(const struct ldnq_model *model, struct ldnq_error *err)
{
    for (size_t i = 0; i < model->data_file_count; i++)
        LDNQ_TRY(ldnq_mapping_check_unchanged(model->data_files[i].bytes, model->data_files[i].path,
                                              err));
    return LDNQ_OK;
}

static enum ldnq_status write_files(const struct ldnq_model *model,
                                    struct ldnq_model_writer *writer, struct ldnq_error *err)
{
    struct model_saver saver = { .arena = writer->arena, .data = &writer->data };
    saver.path =
        is_device_or_pipe(writer->path) ? NULL : writer->path; /* nothing is beside a device */
    XXH3_INITSTATE(&saver.hash);
    XXH3_64bits_reset(&saver.hash);
    enum ldnq_status status = move_tensors(model, &saver, err);
    if (status == LDNQ_OK && saver.location)
        status = name_data_file(&saver, writer, err);
    if (status == LDNQ_OK && saver.location)
        status = ldnq_file_writer_close(&writer->data, err);
    writer->data_size = saver.offset;
    if (status == LDNQ_OK)
        status = write_file(model, writer, err);
    restore_changed_tensors(&saver);
    return status == LDNQ_OK ? check_data_unchanged(model, err) : status;
}

static enum ldnq_status copy_file_paths(const struct ldnq_model *model, const char *path,
                                        struct ldnq_model_writer *writer, struct ldnq_error *err)
{
    const char *file;
    while (ldnq_model_data_file(model, writer->read_count))
        writer->read_count++;
    writer->path = ldnq_arena_strdup(writer->arena, path, err);
    writer->read = ldnq_arena_alloc(writer->arena, writer->read_count, sizeof *writer->read, err);
    if (!writer->path || !writer->read)
        return LDNQ_NOMEM;
    for (size_t i = 0; (file = ldnq_model_data_file(model, i)) != NULL; i++)
        if (!(writer->read[i] = ldnq_arena_strdup(writer->arena, file, err)))
            return LDNQ_NOMEM;
    const char *slash = strrchr(writer->path, '/');
    writer->name = slash ? slash + 1 : writer->path;
    return LDNQ_OK;
}

/* ---- the data file of the model that is replaced ------------------------------------------ */

/* Whether the text starts with the name of a data file of the model with this name. */
static bool is_data_file_name(const char *text, const char *name, size_t length)
{
    const char *hash = text + length + 1, *end = hash + HASH_DIGITS;
    if (memcmp(text, name, length) != 0 || text[length] != '.' ||
        memcmp(end, DATA_EXTENSION, strlen(DATA_EXTENSION)) != 0)
        return false;
    while (hash < end && isxdigit((unsigned char)*hash))
        hash++;
    return hash == end;
}

/* The path of the data file that the present file of this path refers to, by a name of ours; NULL
 * when there is none. The file may be anything, so that its bytes are searched. */
static const char *find_old_data(const struct ldnq_model_writer *writer)
{
    const size_t length = strlen(writer->name);
    const size_t size = length + 1 + HASH_DIGITS + strlen(DATA_EXTENSION);
    const char *found = NULL;
    struct ldnq_arena *scratch;
    void *bytes;
    size_t count;
    if (ldnq_arena_create(&scratch, NULL) != LDNQ_OK)
        return NULL;
    if (ldnq_arena_map_file(scratch, writer->path, &bytes, &count, NULL) == LDNQ_OK)
        for (const char *at = bytes, *end = at + count; !found && (size_t)(end - at) >= size;
             at++) {
            if (is_data_file_name(at, writer->name, length))
                found = ldnq_arena_printf(writer->arena, NULL, "%.*s%.*s",
                                          (int)(writer->name - writer->path), writer->path,
                                          (int)size, at);
            if ((size_t)(at - (const char *)bytes) % SEARCHED_PIECE == SEARCHED_PIECE - 1)
                ldnq_mapping_release_pages(at + 1 - SEARCHED_PIECE, SEARCHED_PIECE);
        }
    ldnq_arena_destroy(scratch);
    return found;
}

/* The loaded model may be a copy that refers to the same file. */
static bool is_data_of_loaded_model(const struct ldnq_model_writer *writer, const char *path)
{
    struct ldnq_file_id id, other;
    ldnq_file_identify(path, &id);
    for (size_t i = 0; i < writer->read_count; i++) {
        ldnq_file_identify(writer->read[i], &other);
        if (ldnq_file_is_same(&id, &other))
            return true;
    }
    return false;
}

/* ---- in two steps --------------------------------------------------------------------------- */

enum ldnq_status ldnq_model_writer_create(const struct ldnq_model *model, const char *path,
                                          struct ldnq_model_writer **out, struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    *out = NULL;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    struct ldnq_model_writer *writer = ldnq_arena_alloc(arena, 1, sizeof *writer, err);
    if (!writer) {
        ldnq_arena_destroy(arena);
        return LDNQ_NOMEM;
    }
    *writer = (struct ldnq_model_writer){ .arena = arena };
    enum ldnq_status status = copy_file_paths(model, path, writer, err);
    if (status == LDNQ_OK)
        status = write_files(model, writer, err);
    if (status == LDNQ_OK)
        *out = writer;
    else
        ldnq_model_writer_destroy(writer);
    return status;
}

size_t ldnq_model_writer_size(const struct ldnq_model_writer *writer)
{
    return writer->size ? writer->size + writer->data_size : 0;
}

size_t ldnq_model_writer_data_size(const struct ldnq_model_writer *writer)
{
    return writer->data_size;
}

/* Renames the data file first, as a model must never refer to bytes that do not exist yet, and
 * removes the old one last. */
enum ldnq_status ldnq_model_writer_commit(struct ldnq_model_writer *writer, struct ldnq_error *err)
{
    const char *data = writer->data.path; /* NULL without external data */
    const char *old = find_old_data(writer);
    const bool is_new = data && access(data, F_OK) != 0;
    if (data)
        LDNQ_TRY(ldnq_file_writer_commit(&writer->data, err));
    const enum ldnq_status status = ldnq_file_writer_commit(&writer->file, err);
    if (status != LDNQ_OK && is_new)
        unlink(data);
    if (status == LDNQ_OK && old && (!data || strcmp(old, data) != 0) &&
        !is_data_of_loaded_model(writer, old))
        unlink(old);
    return status;
}

void ldnq_model_writer_destroy(struct ldnq_model_writer *writer)
{
    if (!writer)
        return;
    ldnq_file_writer_finish(&writer->file);
    ldnq_file_writer_finish(&writer->data);
    ldnq_arena_destroy(writer->arena);
}

enum ldnq_status ldnq_model_save(const struct ldnq_model *model, const char *path,
                                 struct ldnq_error *err)
{
    struct ldnq_model_writer *writer;
    LDNQ_TRY(ldnq_model_writer_create(model, path, &writer, err));
    const enum ldnq_status status = ldnq_model_writer_commit(writer, err);
    ldnq_model_writer_destroy(writer);
    return status;
}

enum ldnq_status ldnq_model_pack(const struct ldnq_model *model, void **bytes, size_t *size,
                                 struct ldnq_error *err)
{
    struct model_saver saver = { 0 };
    LDNQ_TRY(ldnq_arena_create(&saver.arena, err));
    enum ldnq_status status = move_tensors(model, &saver, err);
    if (status == LDNQ_OK)
        status = serialize_model(model, model->path, bytes, size, err);
    restore_changed_tensors(&saver);
    ldnq_arena_destroy(saver.arena);
    return status;
}

void ldnq_model_free_bytes(void *bytes)
{
    ldnq_free(bytes);
}
