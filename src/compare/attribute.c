/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/attribute.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void print_list(const struct ldnq_attr *attr, struct ldnq_text *text)
{
    for (size_t i = 0; i < attr->count; i++) {
        if (attr->kind == LDNQ_ATTR_INTS)
            ldnq_text_append_item(text, ",", "%" PRId64, attr->ints[i]);
        else if (attr->kind == LDNQ_ATTR_FLOATS)
            ldnq_text_append_item(text, ",", "%.6g", (double)attr->floats[i]);
        else
            ldnq_text_append_item(text, ",", "%s", attr->strings[i]);
    }
    ldnq_text_append_omitted_count(text);
}

char *ldnq_attribute_print(const struct ldnq_attr *attr, char out[LDNQ_ATTRIBUTE_TEXT])
{
    struct ldnq_text text;
    ldnq_text_init(&text, out, LDNQ_ATTRIBUTE_TEXT);
    switch (attr->kind) {
    case LDNQ_ATTR_INT:
        snprintf(out, LDNQ_ATTRIBUTE_TEXT, "%" PRId64, attr->i);
        break;
    case LDNQ_ATTR_FLOAT:
        snprintf(out, LDNQ_ATTRIBUTE_TEXT, "%.6g", (double)attr->f);
        break;
    case LDNQ_ATTR_STRING:
        snprintf(out, LDNQ_ATTRIBUTE_TEXT, "%s", attr->s);
        break;
    case LDNQ_ATTR_INTS:
    case LDNQ_ATTR_FLOATS:
    case LDNQ_ATTR_STRINGS:
        print_list(attr, &text);
        break;
    case LDNQ_ATTR_TENSOR:
        snprintf(out, LDNQ_ATTRIBUTE_TEXT, "(a tensor)");
        break;
    case LDNQ_ATTR_GRAPH:
        snprintf(out, LDNQ_ATTRIBUTE_TEXT, "(a graph)");
        break;
    default:
        snprintf(out, LDNQ_ATTRIBUTE_TEXT, "(another kind)");
        break;
    }
    ldnq_text_replace_invisible(out);
    return out;
}

/* Defaults of attributes that some exporters write and others leave out. A default of a list is
 * that of each element. */
static const struct {
    const char *op; /* NULL: any operator with the attribute */
    const char *name, *value;
} defaults[] = {
    { NULL, "auto_pad", "NOTSET" },
    { NULL, "group", "1" },
    { NULL, "dilations", "1" },
    { NULL, "strides", "1" },
    { NULL, "pads", "0" },
    { NULL, "output_padding", "0" },
    { NULL, "transA", "0" },
    { NULL, "transB", "0" },
    { NULL, "ceil_mode", "0" },
    { NULL, "count_include_pad", "0" },
    { NULL, "storage_order", "0" },
    { NULL, "keepdims", "1" },
    { NULL, "allowzero", "0" },
    { NULL, "noop_with_empty_axes", "0" },
    { NULL, "training_mode", "0" },
    { NULL, "select_last_index", "0" },
    { NULL, "epsilon", "1e-05" },
    { NULL, "momentum", "0.9" },
    { NULL, "spatial", "1" },
    { NULL, "beta", "1" },
    { NULL, "approximate", "none" },
    { NULL, "stash_type", "1" },
    { NULL, "antialias", "0" },
    { NULL, "exclude_outside", "0" },
    { NULL, "saturate", "1" },
    { "Gemm", "alpha", "1" },
    { "Elu", "alpha", "1" },
    { "LeakyRelu", "alpha", "0.01" },
    { "HardSigmoid", "alpha", "0.2" },
    { "Concat", "axis", "" },
    { "Flatten", "axis", "1" },
    { "Gather", "axis", "0" },
    { "Split", "axis", "0" },
    { "Softmax", "axis", "-1" },
    { "LogSoftmax", "axis", "-1" },
    { "Pad", "mode", "constant" },
};

static bool all_ints_equal_text(const struct ldnq_attr *attr, const char *value)
{
    for (size_t i = 0; i < attr->count; i++) {
        char text[LDNQ_ATTRIBUTE_TEXT];
        const struct ldnq_attr one = { .kind = LDNQ_ATTR_INT, .i = attr->ints[i] };
        if (strcmp(ldnq_attribute_print(&one, text), value) != 0)
            return false;
    }
    return true;
}

bool ldnq_attribute_is_default(const struct ldnq_node *node, const struct ldnq_attr *attr)
{
    char text[LDNQ_ATTRIBUTE_TEXT];
    /* A convolution takes it from its weight. */
    if (strcmp(attr->name, "kernel_shape") == 0 && strncmp(node->op_type, "Conv", 4) == 0)
        return true;
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        if (strcmp(defaults[i].name, attr->name) != 0 ||
            (defaults[i].op && strcmp(defaults[i].op, node->op_type) != 0))
            continue;
        return attr->kind == LDNQ_ATTR_INTS
                   ? all_ints_equal_text(attr, defaults[i].value)
                   : strcmp(ldnq_attribute_print(attr, text), defaults[i].value) == 0;
    }
    return false;
}

static bool tensors_equal(const struct ldnq_tensor *a, const struct ldnq_tensor *b)
{
    size_t bytes;
    return a->dtype == b->dtype && ldnq_shapes_are_equal(&a->shape, &b->shape) && a->data &&
           b->data && ldnq_tensor_bytes(a, &bytes) && memcmp(a->data, b->data, bytes) == 0;
}

static bool lists_equal(const struct ldnq_attr *a, const struct ldnq_attr *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (a->kind == LDNQ_ATTR_INTS && a->ints[i] != b->ints[i])
            return false;
        if (a->kind == LDNQ_ATTR_FLOATS && a->floats[i] != b->floats[i])
            return false;
        if (a->kind == LDNQ_ATTR_STRINGS && strcmp(a->strings[i], b->strings[i]) != 0)
            return false;
    }
    return true;
}

bool ldnq_attribute_equal(const struct ldnq_attr *a, const struct ldnq_attr *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case LDNQ_ATTR_INT:
        return a->i == b->i;
    case LDNQ_ATTR_FLOAT:
        return a->f == b->f;
    case LDNQ_ATTR_STRING:
        return strcmp(a->s, b->s) == 0;
    case LDNQ_ATTR_TENSOR:
        return tensors_equal(a->t, b->t);
    case LDNQ_ATTR_INTS:
    case LDNQ_ATTR_FLOATS:
    case LDNQ_ATTR_STRINGS:
        return lists_equal(a, b);
    default:
        return true; /* bodies and kinds that are not read can't be compared */
    }
}
