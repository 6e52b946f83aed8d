/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/wire.h"

#include <string.h>
#include <stdbool.h>

enum { VARINT = 0, FIXED64 = 1, LENGTH_PREFIXED = 2, FIXED32 = 5 };

struct wire_cursor {
    const uint8_t *begin, *at, *end;
};

static enum ldnq_status fail_damaged(const struct wire_cursor *cursor, struct ldnq_error *err,
                                     const char *reason)
{
    return ldnq_fail(err, LDNQ_MODEL, "at byte %zu: %s", (size_t)(cursor->at - cursor->begin),
                     reason);
}

static size_t count_bytes_left(const struct wire_cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

static enum ldnq_status read_varint(struct wire_cursor *cursor, uint64_t *value,
                                    struct ldnq_error *err)
{
    *value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (cursor->at == cursor->end)
            return fail_damaged(cursor, err, "it ends in the middle of a number");
        uint8_t byte = *cursor->at++;
        *value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if (!(byte & 0x80))
            return LDNQ_OK;
    }
    return fail_damaged(cursor, err, "a number is longer than ten bytes");
}

static enum ldnq_status skip_bytes(struct wire_cursor *cursor, uint64_t size,
                                   struct ldnq_error *err)
{
    if (size > count_bytes_left(cursor))
        return fail_damaged(cursor, err, "a field is longer than what is left of its message");
    cursor->at += size;
    return LDNQ_OK;
}

static enum ldnq_status check_message(const ProtobufCMessageDescriptor *descriptor,
                                      struct wire_cursor cursor, unsigned depth,
                                      struct ldnq_error *err);

/* Checks the body of a length-prefixed field and moves the cursor past it. */
static enum ldnq_status check_length_prefixed_field(const ProtobufCFieldDescriptor *field,
                                                    const ProtobufCMessageDescriptor *message,
                                                    struct wire_cursor *cursor, unsigned depth,
                                                    struct ldnq_error *err)
{
    uint64_t size;
    LDNQ_TRY(read_varint(cursor, &size, err));
    struct wire_cursor body = { cursor->begin, cursor->at, cursor->at };
    LDNQ_TRY(skip_bytes(cursor, size, err));
    body.end = cursor->at;
    if (!field)
        return LDNQ_OK;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return check_message(field->descriptor, body, depth + 1, err);
    if (field->type == PROTOBUF_C_TYPE_STRING && memchr(body.at, '\0', size))
        return ldnq_fail(err, LDNQ_MODEL, "at byte %zu: field '%s' of %s holds a NUL character",
                         (size_t)(body.at - body.begin), field->name, message->short_name);
    return LDNQ_OK;
}

static enum ldnq_status check_field(const ProtobufCFieldDescriptor *field,
                                    const ProtobufCMessageDescriptor *message, unsigned wire_type,
                                    struct wire_cursor *cursor, unsigned depth,
                                    struct ldnq_error *err)
{
    uint64_t ignored;
    switch (wire_type) {
    case VARINT:
        return read_varint(cursor, &ignored, err);
    case FIXED64:
        return skip_bytes(cursor, 8, err);
    case FIXED32:
        return skip_bytes(cursor, 4, err);
    case LENGTH_PREFIXED:
        return check_length_prefixed_field(field, message, cursor, depth, err);
    default:
        return fail_damaged(cursor, err, "a field has an unknown wire type");
    }
}

/* Merging is legal protobuf, but no exporter writes it, and protobuf-c's memory
 * for it grows with the square of the file. */
static enum ldnq_status check_field_not_repeated(const ProtobufCMessageDescriptor *message,
                                                 const ProtobufCFieldDescriptor *field,
                                                 uint64_t *seen, const struct wire_cursor *cursor,
                                                 struct ldnq_error *err)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label == PROTOBUF_C_LABEL_REPEATED)
        return LDNQ_OK;
    uint64_t bit = (uint64_t)1 << ((size_t)(field - message->fields) % 64);
    if (*seen & bit)
        return ldnq_fail(err, LDNQ_MODEL, "at byte %zu: field '%s' of %s comes twice",
                         (size_t)(cursor->at - cursor->begin), field->name, message->short_name);
    *seen |= bit;
    return LDNQ_OK;
}

static enum ldnq_status check_message(const ProtobufCMessageDescriptor *descriptor,
                                      struct wire_cursor cursor, unsigned depth,
                                      struct ldnq_error *err)
{
    uint64_t seen = 0;
    if (depth > LDNQ_WIRE_DEPTH)
        return fail_damaged(&cursor, err, "messages are nested more than 100 deep");
    while (cursor.at < cursor.end) {
        uint64_t tag;
        LDNQ_TRY(read_varint(&cursor, &tag, err));
        if (tag >> 3 == 0 || tag > UINT32_MAX)
            return fail_damaged(&cursor, err, "a field has an impossible number");
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(descriptor, (unsigned)(tag >> 3));
        if (field)
            LDNQ_TRY(check_field_not_repeated(descriptor, field, &seen, &cursor, err));
        LDNQ_TRY(check_field(field, descriptor, tag & 7, &cursor, depth, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_wire_check(const ProtobufCMessageDescriptor *descriptor, const void *bytes,
                                 size_t size, struct ldnq_error *err)
{
    const uint8_t *begin = bytes;
    return check_message(descriptor, (struct wire_cursor){ begin, begin, begin + size }, 1, err);
}

/* ---- unpacking ------------------------------------------------------------------ */

/* protobuf-c asks for many small pieces, which the arena would round up to 64 bytes
 * each. Large ones are allocated in the arena, whose alignment lets tensors be used in
 * place. */
#define PIECE_LIMIT 256
#define PIECES_SIZE ((size_t)64 << 10)

struct unpack_memory {
    struct ldnq_arena *arena;
    struct ldnq_error *err;
    char *pieces;
    size_t left;
    bool failed;
};

static void *unpack_alloc(void *allocator_data, size_t size)
{
    struct unpack_memory *memory = allocator_data;
    void *piece;
    size_t rounded = size ? (size + 15) & ~(size_t)15 : 16;
    if (size > PIECE_LIMIT) {
        piece = ldnq_arena_alloc(memory->arena, size, 1, memory->err);
    } else {
        if (rounded > memory->left) {
            memory->pieces = ldnq_arena_alloc(memory->arena, PIECES_SIZE, 1, memory->err);
            memory->left = memory->pieces ? PIECES_SIZE : 0;
        }
        piece = memory->pieces;
        if (piece) {
            memory->pieces += rounded;
            memory->left -= rounded;
        }
    }
    memory->failed |= !piece;
    return piece;
}

static void unpack_free(void *allocator_data, void *piece)
{
    (void)allocator_data;
    (void)piece;
}

enum ldnq_status ldnq_wire_unpack(const ProtobufCMessageDescriptor *descriptor, const void *bytes,
                                  size_t size, struct ldnq_arena *arena, ProtobufCMessage **out,
                                  struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_wire_check(descriptor, bytes, size, err));
    struct unpack_memory memory = { .arena = arena, .err = err };
    ProtobufCAllocator allocator = { unpack_alloc, unpack_free, &memory };
    *out = protobuf_c_message_unpack(descriptor, &allocator, size, bytes);
    if (*out)
        return LDNQ_OK;
    if (memory.failed)
        return LDNQ_NOMEM;
    return ldnq_fail(err, LDNQ_MODEL, "a field's value doesn't fit its type");
}
