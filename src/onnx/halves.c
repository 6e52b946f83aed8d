/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "onnx/model.h"
#include "onnx/visit.h"

/* The names of tensors of 16-bit floats, and whether something computes with one. */
struct half_search {
    struct ldnq_names names;
    bool *found;
};

static bool is_half(int64_t dtype)
{
    return dtype == LDNQ_FLOAT16 || dtype == LDNQ_BFLOAT16;
}

static enum ldnq_status add_half_tensor(void *ctx, void *message, struct ldnq_error *err)
{
    const Onnx__TensorProto *tensor = message;
    struct half_search *search = ctx;
    struct ldnq_name *entry;
    if (!is_half(tensor->data_type) || !tensor->name || !*tensor->name)
        return LDNQ_OK;
    return ldnq_names_insert(&search->names, tensor->name, &entry, err);
}

/* The output of a Constant has the name of a tensor, too. */
static enum ldnq_status add_half_constant(void *ctx, void *message, struct ldnq_error *err)
{
    const Onnx__NodeProto *node = message;
    struct half_search *search = ctx;
    struct ldnq_name *entry;
    if (strcmp(ldnq_or_empty(node->op_type), "Constant") != 0 || node->n_output != 1)
        return LDNQ_OK;
    for (size_t i = 0; i < node->n_attribute; i++)
        if (node->attribute[i]->t && is_half(node->attribute[i]->t->data_type))
            return ldnq_names_insert(&search->names, node->output[0], &entry, err);
    return LDNQ_OK;
}

static enum ldnq_status find_half_reader(void *ctx, void *message, struct ldnq_error *err)
{
    const Onnx__NodeProto *node = message;
    struct half_search *search = ctx;
    (void)err;
    const bool is_cast = strcmp(ldnq_or_empty(node->op_type), "Cast") == 0;
    for (size_t i = 0; is_cast && i < node->n_attribute; i++)
        if (strcmp(ldnq_or_empty(node->attribute[i]->name), "to") == 0 &&
            is_half(node->attribute[i]->i))
            *search->found = true;
    for (size_t i = 0; !is_cast && i < node->n_input; i++)
        if (ldnq_names_find(&search->names, node->input[i]))
            *search->found = true;
    return LDNQ_OK;
}

enum ldnq_status ldnq_model_find_halves(const struct ldnq_model *model, bool *found,
                                        struct ldnq_error *err)
{
    struct half_search search = { .found = found };
    struct ldnq_arena *scratch;
    ProtobufCMessage *root = &model->proto->base;
    *found = false;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    ldnq_names_init(&search.names, scratch);
    enum ldnq_status status =
        ldnq_visit(root, &onnx__tensor_proto__descriptor, add_half_tensor, &search, err);
    if (status == LDNQ_OK)
        status = ldnq_visit(root, &onnx__node_proto__descriptor, add_half_constant, &search, err);
    if (status == LDNQ_OK)
        status = ldnq_visit(root, &onnx__node_proto__descriptor, find_half_reader, &search, err);
    ldnq_arena_destroy(scratch);
    return status;
}
