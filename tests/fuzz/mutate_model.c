/* SPDX-License-Identifier: Apache-2.0 */
/* mutate_model.c: libFuzzer's mutator for inputs that hold a ModelProto.
 *
 * A change of bytes at random mostly breaks the wire format, which hides everything behind the
 * parser. Here a field of a random message is changed, removed, duplicated, or replaced by one of
 * the same kind from elsewhere in the model, or from another model; descriptors of protobuf-c say
 * what fields there are. One in eight changes is of bytes all the same.
 */
#include "mutate_model.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/rng.h"
#include "onnx.pb-c.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

#define MOST_MESSAGES ((size_t)4096)
#define MOST_CHANGES ((size_t)4)

/* ---- memory: one block, freed as a whole -------------------------------------------------- */

static char block[32 << 20] __attribute__((aligned(16)));
static size_t used;

static void *block_alloc(void *ctx, size_t size)
{
    (void)ctx;
    size = (size + 15) & ~(size_t)15;
    if (size > sizeof block - used)
        return NULL;
    used += size;
    return block + used - size;
}

static void block_free(void *ctx, void *memory)
{
    (void)ctx;
    (void)memory;
}

static ProtobufCAllocator allocator = { block_alloc, block_free, NULL };

/* ---- messages of a model ------------------------------------------------------------------ */

struct messages {
    ProtobufCMessage *list[MOST_MESSAGES];
    size_t count;
};

static bool has_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *base = (const char *)message;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(base + field->quantifier_offset) == field->id;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING)
        return *(void *const *)(base + field->offset) != NULL;
    return *(const protobuf_c_boolean *)(base + field->quantifier_offset);
}

static void collect(struct messages *messages, ProtobufCMessage *message)
{
    if (messages->count == MOST_MESSAGES)
        return;
    messages->list[messages->count++] = message;
    for (unsigned f = 0; f < message->descriptor->n_fields; f++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[f];
        char *member = (char *)message + field->offset;
        if (field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            const size_t count = *(size_t *)((char *)message + field->quantifier_offset);
            for (size_t i = 0; i < count; i++)
                collect(messages, (*(ProtobufCMessage ***)member)[i]);
        } else if (has_field(message, field)) {
            collect(messages, *(ProtobufCMessage **)member);
        }
    }
}

static ProtobufCMessage *copy_message(const ProtobufCMessage *message)
{
    const size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = block_alloc(NULL, size);
    if (!bytes)
        return NULL;
    protobuf_c_message_pack(message, bytes);
    return protobuf_c_message_unpack(message->descriptor, &allocator, size, bytes);
}

/* ---- elements ----------------------------------------------------------------------------- */

static size_t size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4; /* protobuf_c_boolean is an int */
    }
}

static int64_t draw_integer(struct ldnq_rng *rng)
{
    static const int64_t limits[] = { INT64_MAX,
                                      INT64_MIN,
                                      INT32_MAX,
                                      INT32_MIN,
                                      (int64_t)1 << 32,
                                      65536,
                                      255,
                                      256,
                                      -128,
                                      1 << 24,
                                      1000,
                                      INT64_MIN / 2,
                                      INT64_MAX / 2,
                                      1 << 16,
                                      4096,
                                      -((int64_t)1 << 40) };
    const size_t choice = ldnq_rng_below(rng, 8);
    if (choice == 0)
        return limits[ldnq_rng_below(rng, sizeof limits / sizeof *limits)];
    return (int64_t)ldnq_rng_below(rng, choice < 6 ? 8 : 32) - (choice & 1);
}

static double draw_double(struct ldnq_rng *rng)
{
    static const double values[] = { 0, -0.0, 1, -1, .5, 2, 1e-30, 1e30, 1e-45, 3.5e38, 1e308 };
    const size_t choice = ldnq_rng_below(rng, 16);
    if (choice < sizeof values / sizeof *values)
        return values[choice];
    return choice == 15 ? (double)NAN : 8 * ldnq_rng_uniform(rng) - 4;
}

/* A field of the same kind somewhere in the model, or else NULL. */
static const char *find_text(struct ldnq_rng *rng, const struct messages *messages,
                             const ProtobufCFieldDescriptor *wanted)
{
    for (size_t attempt = 0; attempt < 32; attempt++) {
        const ProtobufCMessage *message = messages->list[ldnq_rng_below(rng, messages->count)];
        if (!message->descriptor->n_fields)
            continue;
        const ProtobufCFieldDescriptor *field =
            &message->descriptor->fields[ldnq_rng_below(rng, message->descriptor->n_fields)];
        /* Names of values are in fields of other messages, too. */
        if (field->type != PROTOBUF_C_TYPE_STRING ||
            (field != wanted && attempt < 16 && ldnq_rng_below(rng, 2)))
            continue;
        const char *member = (const char *)message + field->offset;
        if (field->label != PROTOBUF_C_LABEL_REPEATED && has_field(message, field))
            return *(char *const *)member;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            const size_t count =
                *(const size_t *)((const char *)message + field->quantifier_offset);
            if (count)
                return (*(char **const *)member)[ldnq_rng_below(rng, count)];
        }
    }
    return NULL;
}

static char *change_text(struct ldnq_rng *rng, const char *text)
{
    size_t length = text ? strlen(text) : 0;
    const size_t room = length + 8;
    char *copy = block_alloc(NULL, room + 1);
    if (!copy)
        return (char *)(uintptr_t) "";
    if (length)
        memcpy(copy, text, length);
    length = LLVMFuzzerMutate((uint8_t *)copy, length, room);
    copy[length] = '\0';
    (void)rng;
    return copy;
}

/* Changes one element in place. */
static void change_element(struct ldnq_rng *rng, const struct messages *messages,
                           const ProtobufCFieldDescriptor *field, char *element)
{
    int64_t integer;
    double real;
    float single;
    switch (field->type) {
    case PROTOBUF_C_TYPE_FLOAT:
        single = (float)draw_double(rng);
        memcpy(element, &single, sizeof single);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        real = draw_double(rng);
        memcpy(element, &real, sizeof real);
        break;
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = find_text(rng, messages, field);
        const bool as_found = text && ldnq_rng_below(rng, 8) > 0;
        *(char **)element = as_found ? (char *)(uintptr_t)text : change_text(rng, text);
        break;
    }
    case PROTOBUF_C_TYPE_BYTES: {
        ProtobufCBinaryData *bytes = (ProtobufCBinaryData *)element;
        uint8_t *copy = block_alloc(NULL, bytes->len + 16);
        if (!copy)
            break;
        if (bytes->len)
            memcpy(copy, bytes->data, bytes->len);
        /* The same number of bytes, mostly: it belongs to a shape. */
        const size_t most = bytes->len + (ldnq_rng_below(rng, 8) ? 0 : 16);
        const size_t size = bytes->len || most ? LLVMFuzzerMutate(copy, bytes->len, most) : 0;
        bytes->data = copy;
        bytes->len = ldnq_rng_below(rng, 8) && bytes->len ? bytes->len : size;
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    default:
        integer = draw_integer(rng);
        if (field->type == PROTOBUF_C_TYPE_BOOL)
            integer &= 1;
        if (ldnq_rng_below(rng, 3) == 0 && size_of(field->type) == 8) {
            int64_t old;
            memcpy(&old, element, sizeof old);
            integer = (int64_t)((uint64_t)old + ldnq_rng_below(rng, 3) - 1);
        }
        memcpy(element, &integer, size_of(field->type));
    }
}

/* ---- fields ------------------------------------------------------------------------------- */

/* A message of this kind from elsewhere; NULL where there is none. */
static ProtobufCMessage *find_message(struct ldnq_rng *rng, const struct messages *messages,
                                      const ProtobufCMessageDescriptor *kind)
{
    for (size_t attempt = 0; attempt < 64 && messages->count; attempt++) {
        ProtobufCMessage *message = messages->list[ldnq_rng_below(rng, messages->count)];
        if (message->descriptor == kind)
            return copy_message(message);
    }
    return NULL;
}

static void change_list(struct ldnq_rng *rng, const struct messages *own,
                        const struct messages *other, ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *field)
{
    size_t *count = (size_t *)((char *)message + field->quantifier_offset);
    char **list = (char **)((char *)message + field->offset);
    const size_t size = size_of(field->type), choice = ldnq_rng_below(rng, 6);
    char *copy = block_alloc(NULL, (*count + 1) * size);
    if (!copy)
        return;
    if (*count)
        memcpy(copy, *list, *count * size);
    *list = copy;
    const size_t at = *count ? ldnq_rng_below(rng, *count) : 0;
    if (*count && choice == 0) { /* remove */
        memmove(copy + at * size, copy + (at + 1) * size, (*count - at - 1) * size);
        --*count;
    } else if (*count > 1 && choice == 1) { /* exchange two */
        char swap[sizeof(ProtobufCBinaryData)];
        const size_t with = ldnq_rng_below(rng, *count);
        memcpy(swap, copy + at * size, size);
        memmove(copy + at * size, copy + with * size, size);
        memcpy(copy + with * size, swap, size);
    } else if (*count && choice < 5 && field->type != PROTOBUF_C_TYPE_MESSAGE) {
        change_element(rng, own, field, copy + at * size);
    } else { /* add one, or replace one by another */
        const bool replaces = *count && choice == 4;
        char *to = copy + (replaces ? at : *count) * size;
        memset(to, 0, replaces ? 0 : size);
        if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
            ProtobufCMessage *found =
                find_message(rng, other, (const ProtobufCMessageDescriptor *)field->descriptor);
            if (!found)
                return;
            memcpy(to, &found, sizeof found);
        } else {
            change_element(rng, own, field, to);
        }
        *count += !replaces;
    }
}

static void remove_field(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    char *base = (char *)message;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        *(uint32_t *)(base + field->quantifier_offset) = 0;
    else if (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING)
        *(void **)(base + field->offset) = NULL;
    else
        *(protobuf_c_boolean *)(base + field->quantifier_offset) = 0;
}

static void change_single(struct ldnq_rng *rng, const struct messages *own,
                          const struct messages *other, ProtobufCMessage *message,
                          const ProtobufCFieldDescriptor *field)
{
    char *base = (char *)message, *member = base + field->offset;
    if (has_field(message, field) && ldnq_rng_below(rng, 8) == 0) {
        remove_field(message, field);
        return;
    }
    ProtobufCMessage *found = NULL;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        found = find_message(rng, other, (const ProtobufCMessageDescriptor *)field->descriptor);
        if (!found)
            return;
    }
    if (!has_field(message, field) && field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        memset(member, 0, size_of(field->type)); /* it held another member */
    if (found)
        memcpy(member, &found, sizeof found);
    else
        change_element(rng, own, field, member);
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        *(uint32_t *)(base + field->quantifier_offset) = field->id;
    else if (field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_STRING)
        *(protobuf_c_boolean *)(base + field->quantifier_offset) = 1;
}

/* Messages come from `other`, which may be `own`. */
static void change_model(struct ldnq_rng *rng, const struct messages *own,
                         const struct messages *other)
{
    ProtobufCMessage *message = own->list[ldnq_rng_below(rng, own->count)];
    if (!message->descriptor->n_fields)
        return;
    for (size_t attempt = 0; attempt < 4; attempt++) {
        const ProtobufCFieldDescriptor *field =
            &message->descriptor->fields[ldnq_rng_below(rng, message->descriptor->n_fields)];
        const bool is_list = field->label == PROTOBUF_C_LABEL_REPEATED;
        const bool is_empty =
            is_list ? !*(const size_t *)((const char *)message + field->quantifier_offset)
                    : !has_field(message, field);
        if (is_empty && ldnq_rng_below(rng, 4)) /* most fields are rightly absent */
            continue;
        if (is_list)
            change_list(rng, own, other, message, field);
        else
            change_single(rng, own, other, message, field);
        return;
    }
}

/* ---- what the targets call ---------------------------------------------------------------- */

static ProtobufCMessage *unpack(const uint8_t *data, size_t size)
{
    return protobuf_c_message_unpack(&onnx__model_proto__descriptor, &allocator, size, data);
}

static struct messages own, other;

size_t mutate_model(uint8_t *data, size_t size, size_t most, const uint8_t *from, size_t from_size,
                    unsigned seed)
{
    struct ldnq_rng rng = { seed };
    used = own.count = other.count = 0;
    ProtobufCMessage *model = ldnq_rng_below(&rng, 8) ? unpack(data, size) : NULL;
    if (!model)
        return LLVMFuzzerMutate(data, size, most);
    ProtobufCMessage *source = from ? unpack(from, from_size) : NULL;
    collect(&own, model);
    if (source)
        collect(&other, source);
    for (size_t i = 0, count = 1 + ldnq_rng_below(&rng, MOST_CHANGES); i < count; i++) {
        change_model(&rng, &own, source ? &other : &own);
        own.count = 0;
        collect(&own, model);
    }
    const size_t packed = protobuf_c_message_get_packed_size(model);
    if (packed > most)
        return LLVMFuzzerMutate(data, size, most);
    return protobuf_c_message_pack(model, data);
}
