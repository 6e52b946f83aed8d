/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/build.h"

#include <string.h>

#include "base/size.h"

/* The empty name of an optional input or output; protobuf-c's strings are not const. */
static char nothing[1];

static char **copy_names(struct ldnq_arena *arena, const char *const *names, size_t count,
                         struct ldnq_error *err)
{
    char **copy = ldnq_arena_alloc(arena, count, sizeof *copy, err);
    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = ldnq_arena_strdup(arena, names[i], err);
        if (!copy[i])
            return NULL;
    }
    return copy;
}

Onnx__NodeProto *ldnq_build_node(struct ldnq_arena *arena, const char *op_type, const char *name,
                                 const char *const *inputs, size_t input_count,
                                 const char *const *outputs, size_t output_count,
                                 struct ldnq_error *err)
{
    Onnx__NodeProto *node = ldnq_arena_alloc(arena, 1, sizeof *node, err);
    if (!node)
        return NULL;
    onnx__node_proto__init(node);
    node->op_type = ldnq_arena_strdup(arena, op_type, err);
    node->name = ldnq_arena_strdup(arena, name, err);
    node->input = copy_names(arena, inputs, input_count, err);
    node->n_input = input_count;
    node->output = copy_names(arena, outputs, output_count, err);
    node->n_output = output_count;
    return node->op_type && node->name && node->input && node->output ? node : NULL;
}

static enum ldnq_status append_attr(struct ldnq_arena *arena, Onnx__NodeProto *node,
                                    Onnx__AttributeProto *attr, struct ldnq_error *err)
{
    size_t count = node->n_attribute;
    Onnx__AttributeProto **list = ldnq_arena_alloc(arena, count + 1, sizeof *list, err);
    if (!list)
        return LDNQ_NOMEM;
    if (count)
        memcpy(list, node->attribute, count * sizeof *list);
    list[count] = attr;
    node->attribute = list;
    node->n_attribute = count + 1;
    return LDNQ_OK;
}

Onnx__AttributeProto *ldnq_build_attr(struct ldnq_arena *arena, Onnx__NodeProto *node,
                                      const char *name, struct ldnq_error *err)
{
    for (size_t i = 0; i < node->n_attribute; i++) {
        Onnx__AttributeProto *attr = node->attribute[i];
        if (strcmp(ldnq_or_empty(attr->name), name) == 0) {
            char *kept = attr->name;
            onnx__attribute_proto__init(attr);
            attr->name = kept;
            return attr;
        }
    }
    Onnx__AttributeProto *attr = ldnq_arena_alloc(arena, 1, sizeof *attr, err);
    if (!attr)
        return NULL;
    onnx__attribute_proto__init(attr);
    attr->name = ldnq_arena_strdup(arena, name, err);
    if (!attr->name || append_attr(arena, node, attr, err) != LDNQ_OK)
        return NULL;
    return attr;
}

static Onnx__AttributeProto *create_typed_attr(struct ldnq_arena *arena, Onnx__NodeProto *node,
                                               const char *name,
                                               Onnx__AttributeProto__AttributeType type,
                                               struct ldnq_error *err)
{
    Onnx__AttributeProto *attr = ldnq_build_attr(arena, node, name, err);
    if (attr) {
        attr->has_type = 1;
        attr->type = type;
    }
    return attr;
}

enum ldnq_status ldnq_build_int_attr(struct ldnq_arena *arena, Onnx__NodeProto *node,
                                     const char *name, int64_t value, struct ldnq_error *err)
{
    Onnx__AttributeProto *attr =
        create_typed_attr(arena, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT, err);
    if (!attr)
        return LDNQ_NOMEM;
    attr->has_i = 1;
    attr->i = value;
    return LDNQ_OK;
}

enum ldnq_status ldnq_build_ints_attr(struct ldnq_arena *arena, Onnx__NodeProto *node,
                                      const char *name, const int64_t *values, size_t count,
                                      struct ldnq_error *err)
{
    int64_t *copy = ldnq_arena_alloc(arena, count, sizeof *copy, err);
    Onnx__AttributeProto *attr =
        create_typed_attr(arena, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS, err);
    if (!copy || !attr)
        return LDNQ_NOMEM;
    if (count)
        memcpy(copy, values, count * sizeof *copy);
    attr->ints = copy;
    attr->n_ints = count;
    return LDNQ_OK;
}

enum ldnq_status ldnq_build_string_attr(struct ldnq_arena *arena, Onnx__NodeProto *node,
                                        const char *name, const char *value, struct ldnq_error *err)
{
    char *copy = ldnq_arena_strdup(arena, value, err);
    Onnx__AttributeProto *attr =
        create_typed_attr(arena, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING, err);
    if (!copy || !attr)
        return LDNQ_NOMEM;
    attr->has_s = 1;
    attr->s.data = (uint8_t *)copy;
    attr->s.len = strlen(copy);
    return LDNQ_OK;
}

void ldnq_build_remove_attr(Onnx__NodeProto *node, const char *name)
{
    size_t kept = 0;
    for (size_t i = 0; i < node->n_attribute; i++)
        if (strcmp(ldnq_or_empty(node->attribute[i]->name), name) != 0)
            node->attribute[kept++] = node->attribute[i];
    node->n_attribute = kept;
}

enum ldnq_status ldnq_build_set_name(struct ldnq_arena *arena, char ***list, size_t *count,
                                     size_t index, const char *name, struct ldnq_error *err)
{
    size_t larger = ldnq_size_max(*count, index + 1);
    char **copy = ldnq_arena_alloc(arena, larger, sizeof *copy, err);
    if (!copy)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < larger; i++)
        copy[i] = i < *count ? (*list)[i] : nothing;
    copy[index] = ldnq_arena_strdup(arena, name, err);
    if (!copy[index])
        return LDNQ_NOMEM;
    *list = copy;
    *count = larger;
    return LDNQ_OK;
}
