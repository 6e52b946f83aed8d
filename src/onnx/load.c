/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/onnx.h"

#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/file_format.h"
#include "onnx/external.h"
#include "onnx/model.h"
#include "onnx/uses.h"
#include "onnx/wire.h"

/* protobuf's own limit for one message; larger models keep their weights in
 * external data. */
#define FILE_LIMIT ((size_t)INT32_MAX)

/* A tensor alone, as test data are written: the commonest other message of ONNX. */
static bool is_serialized_tensor(const void *bytes, size_t size, struct ldnq_arena *arena)
{
    struct ldnq_tensor *tensor;
    struct ldnq_error ignored;
    const char *name;
    return ldnq_tensorproto_decode(bytes, size, arena, &tensor, &name, &ignored) == LDNQ_OK;
}

/* `reason` is what the parser found, for a file of no known format. */
static enum ldnq_status refuse_file(const struct ldnq_model *model, const void *bytes, size_t size,
                                    const char *reason, struct ldnq_error *err)
{
    const char *format = ldnq_describe_format(bytes, size);
    if (!format && is_serialized_tensor(bytes, size, model->arena))
        format = "is a tensor (TensorProto)";
    if (format)
        return ldnq_fail(err, LDNQ_MODEL, "%s: is not an ONNX model: it %s", model->path, format);
    return ldnq_fail(err, LDNQ_MODEL, "%s: is not an ONNX model or is damaged (%s)", model->path,
                     reason);
}

static enum ldnq_status parse_model_proto(struct ldnq_model *model, const void *bytes, size_t size,
                                          struct ldnq_error *err)
{
    struct ldnq_error inner;
    ProtobufCMessage *message;
    enum ldnq_status status = ldnq_wire_unpack(&onnx__model_proto__descriptor, bytes, size,
                                               model->arena, &message, &inner);
    if (status == LDNQ_MODEL)
        return refuse_file(model, bytes, size, inner.message, err);
    if (status != LDNQ_OK)
        return ldnq_fail(err, status, "%s: %s", model->path, inner.message);
    model->proto = (Onnx__ModelProto *)message;
    return LDNQ_OK;
}

/* Random bytes are often valid protobuf of unknown fields. */
static enum ldnq_status check_required_parts(const struct ldnq_model *model, const void *bytes,
                                             size_t size, struct ldnq_error *err)
{
    const Onnx__ModelProto *proto = model->proto;
    const char *missing = !proto->graph            ? "it has no graph"
                          : !proto->has_ir_version ? "it has no ir_version"
                          : !proto->n_opset_import ? "it has no opset_import"
                                                   : NULL;
    return missing ? refuse_file(model, bytes, size, missing, err) : LDNQ_OK;
}

static enum ldnq_status parse_and_load_data(struct ldnq_model *model, const void *bytes,
                                            size_t size, const char *folder, struct ldnq_error *err)
{
    if (size == 0)
        return ldnq_fail(err, LDNQ_MODEL, "%s: is empty", model->path);
    if (size > FILE_LIMIT)
        return ldnq_fail(err, LDNQ_MODEL,
                         "%s: is larger than 2 GB, more than an ONNX file may be; such a model's "
                         "weights belong into external data",
                         model->path);
    LDNQ_TRY(parse_model_proto(model, bytes, size, err));
    LDNQ_TRY(check_required_parts(model, bytes, size, err));
    model->bytes = model->file_bytes = size;
    model->hash = XXH3_64bits(bytes, size);
    enum ldnq_status status = ldnq_external_load(model, folder, err);
    if (status != LDNQ_OK)
        return ldnq_fail_within(err, status, "%s", model->path);
    return ldnq_uses_init(model, err);
}

static enum ldnq_status create_empty_model(const char *path, struct ldnq_model **out,
                                           struct ldnq_error *err)
{
    struct ldnq_model *model = ldnq_calloc(1, sizeof *model);
    *out = model;
    if (!model)
        return ldnq_fail(err, LDNQ_NOMEM, "%s: out of memory", path);
    LDNQ_TRY(ldnq_arena_create(&model->arena, err));
    model->path = ldnq_arena_strdup(model->arena, path, err);
    return model->path ? LDNQ_OK : LDNQ_NOMEM;
}

void ldnq_model_destroy(struct ldnq_model *model)
{
    if (!model)
        return;
    ldnq_arena_destroy(model->arena);
    ldnq_free(model);
}

/* Destroys a model that could not be loaded completely. */
static enum ldnq_status destroy_model_after_failure(enum ldnq_status status,
                                                    struct ldnq_model **model)
{
    if (status != LDNQ_OK) {
        ldnq_model_destroy(*model);
        *model = NULL;
    }
    return status;
}

enum ldnq_status ldnq_model_load_memory(const void *bytes, size_t size, const char *name,
                                        struct ldnq_model **out, struct ldnq_error *err)
{
    enum ldnq_status status = create_empty_model(name, out, err);
    if (status == LDNQ_OK)
        status = parse_and_load_data(*out, bytes, size, NULL, err);
    return destroy_model_after_failure(status, out);
}

static const char *find_parent_folder(const char *path, struct ldnq_arena *arena,
                                      struct ldnq_error *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return ".";
    if (slash == path)
        return "/";
    return ldnq_arena_printf(arena, err, "%.*s", (int)(slash - path), path);
}

/* The file's bytes live only until they are unpacked. */
static enum ldnq_status load_model_from_file(struct ldnq_model *model, struct ldnq_arena *scratch,
                                             struct ldnq_error *err)
{
    void *bytes;
    size_t size;
    LDNQ_TRY(ldnq_file_read(model->path, scratch, &bytes, &size, err));
    const char *folder = find_parent_folder(model->path, model->arena, err);
    return folder ? parse_and_load_data(model, bytes, size, folder, err) : LDNQ_NOMEM;
}

enum ldnq_status ldnq_model_load(const char *path, struct ldnq_model **out, struct ldnq_error *err)
{
    struct ldnq_arena *scratch = NULL;
    enum ldnq_status status = create_empty_model(path, out, err);
    if (status == LDNQ_OK)
        status = ldnq_arena_create(&scratch, err);
    if (status == LDNQ_OK)
        status = load_model_from_file(*out, scratch, err);
    ldnq_arena_destroy(scratch);
    return destroy_model_after_failure(status, out);
}
