/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/attrs.h"

#include <string.h>

#include "onnx/codec.h"

#define TYPE(name) ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__##name

const Onnx__AttributeProto *ldnq_attr_find(const Onnx__NodeProto *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++)
        if (strcmp(ldnq_or_empty(node->attribute[i]->name), name) == 0)
            return node->attribute[i];
    return NULL;
}

Onnx__AttributeProto__AttributeType ldnq_attr_type(const Onnx__AttributeProto *attr)
{
    if (attr->has_type && attr->type != TYPE(UNDEFINED))
        return attr->type;
    return attr->has_f       ? TYPE(FLOAT)
           : attr->has_i     ? TYPE(INT)
           : attr->has_s     ? TYPE(STRING)
           : attr->t         ? TYPE(TENSOR)
           : attr->g         ? TYPE(GRAPH)
           : attr->n_floats  ? TYPE(FLOATS)
           : attr->n_ints    ? TYPE(INTS)
           : attr->n_strings ? TYPE(STRINGS)
                             : TYPE(UNDEFINED);
}

/* Returns NULL with *is_text false for bytes that are not text: some custom operators
 * store whole programs in a string attribute. */
static const char *copy_text(const ProtobufCBinaryData *bytes, struct ldnq_arena *arena,
                             bool *is_text, struct ldnq_error *err)
{
    *is_text = !bytes->len || !memchr(bytes->data, '\0', bytes->len);
    char *text = *is_text ? ldnq_arena_alloc(arena, bytes->len + 1, 1, err) : NULL;
    if (text && bytes->len)
        memcpy(text, bytes->data, bytes->len);
    return text;
}

static enum ldnq_status read_string(const Onnx__AttributeProto *proto, struct ldnq_arena *arena,
                                    struct ldnq_attr *attr, struct ldnq_error *err)
{
    bool is_text;
    attr->s = copy_text(&proto->s, arena, &is_text, err);
    if (is_text)
        attr->kind = LDNQ_ATTR_STRING;
    return is_text && !attr->s ? LDNQ_NOMEM : LDNQ_OK;
}

static enum ldnq_status read_strings(const Onnx__AttributeProto *proto, struct ldnq_arena *arena,
                                     struct ldnq_attr *attr, struct ldnq_error *err)
{
    const char **strings = ldnq_arena_alloc(arena, proto->n_strings, sizeof *strings, err);
    if (!strings)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < proto->n_strings; i++) {
        bool is_text;
        strings[i] = copy_text(&proto->strings[i], arena, &is_text, err);
        if (!strings[i])
            return is_text ? LDNQ_NOMEM : LDNQ_OK;
    }
    attr->kind = LDNQ_ATTR_STRINGS;
    attr->strings = strings;
    attr->count = proto->n_strings;
    return LDNQ_OK;
}

static enum ldnq_status read_tensor(const Onnx__AttributeProto *proto, struct ldnq_arena *arena,
                                    struct ldnq_attr *attr, struct ldnq_error *err)
{
    struct ldnq_tensor *tensor;
    if (!proto->t)
        return ldnq_fail(err, LDNQ_MODEL, "it holds no tensor");
    LDNQ_TRY(ldnq_codec_decode(proto->t, arena, &tensor, err));
    attr->kind = LDNQ_ATTR_TENSOR;
    attr->t = tensor;
    return LDNQ_OK;
}

static enum ldnq_status read_attr_value(const Onnx__AttributeProto *proto, struct ldnq_arena *arena,
                                        struct ldnq_attr *attr, struct ldnq_error *err)
{
    switch (ldnq_attr_type(proto)) {
    case TYPE(FLOAT):
        attr->kind = LDNQ_ATTR_FLOAT;
        attr->f = proto->f;
        return LDNQ_OK;
    case TYPE(INT):
        attr->kind = LDNQ_ATTR_INT;
        attr->i = proto->i;
        return LDNQ_OK;
    case TYPE(FLOATS):
        attr->kind = LDNQ_ATTR_FLOATS;
        attr->floats = proto->floats;
        attr->count = proto->n_floats;
        return LDNQ_OK;
    case TYPE(INTS):
        attr->kind = LDNQ_ATTR_INTS;
        attr->ints = proto->ints;
        attr->count = proto->n_ints;
        return LDNQ_OK;
    case TYPE(STRING):
        return read_string(proto, arena, attr, err);
    case TYPE(STRINGS):
        return read_strings(proto, arena, attr, err);
    case TYPE(TENSOR):
        return read_tensor(proto, arena, attr, err);
    default:
        return LDNQ_OK;
    }
}

enum ldnq_status ldnq_attrs_read(const struct ldnq_attr_source *sources, size_t count,
                                 struct ldnq_arena *arena, struct ldnq_attr **out,
                                 struct ldnq_error *err)
{
    struct ldnq_attr *attrs = ldnq_arena_alloc(arena, count, sizeof *attrs, err);
    *out = attrs;
    if (!attrs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const Onnx__AttributeProto *proto = sources[i].proto;
        attrs[i].name = sources[i].name;
        attrs[i].kind = LDNQ_ATTR_OTHER;
        if (proto->ref_attr_name && *proto->ref_attr_name)
            continue;
        enum ldnq_status status = read_attr_value(proto, arena, &attrs[i], err);
        if (status != LDNQ_OK)
            return ldnq_fail_within(err, status, "attribute '%s'", attrs[i].name);
    }
    return LDNQ_OK;
}

int64_t ldnq_attr_read_int(const Onnx__NodeProto *node, const char *name, int64_t fallback)
{
    const Onnx__AttributeProto *attr = ldnq_attr_find(node, name);
    return attr && ldnq_attr_type(attr) == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT ? attr->i
                                                                                      : fallback;
}
