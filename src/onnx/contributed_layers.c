/* SPDX-License-Identifier: Apache-2.0 */
/* contributed_layers.c: operators of ONNX Runtime that have weights, with operators that can be
 * layers in their place. */
#include <string.h>

#include "onnx/attrs.h"
#include "onnx/build.h"
#include "onnx/contributed.h"
#include "onnx/function_text.h"

/* The first opset that has all nodes of the forms. */
#define FORM_OPSET 13

/* The weight that decides whether the operator has a layer. */
#define ATTENTION_WEIGHT 1
#define EMBEDDING_TABLE 2

static bool is_operator(const Onnx__NodeProto *node, const char *type)
{
    return strcmp(ldnq_or_empty(node->op_type), type) == 0;
}

/* Adds the widths of queries, keys and values, which are a third of the weight's each where the
 * call has none. *known says whether they are the weight's. */
static enum ldnq_status add_sizes(struct ldnq_arena *arena, Onnx__NodeProto *node,
                                  const Onnx__TensorProto *weight, bool *known,
                                  struct ldnq_error *err)
{
    const int64_t width = weight->n_dims == 2 ? weight->dims[1] : 0;
    *known = width > 0;
    if (!*known || ldnq_attr_find(node, "qkv_hidden_sizes"))
        return LDNQ_OK;
    *known = width % 3 == 0;
    const int64_t sizes[] = { width / 3, width / 3, width / 3 };
    return *known ? ldnq_build_ints_attr(arena, node, "qkv_hidden_sizes", sizes, 3, err) : LDNQ_OK;
}

static const Onnx__TensorProto *find_initializer(const Onnx__GraphProto *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (strcmp(ldnq_or_empty(graph->initializer[i]->name), name) == 0)
            return graph->initializer[i];
    return NULL;
}

enum ldnq_status ldnq_contributed_find_layers(const struct ldnq_model *model,
                                              struct ldnq_arena *arena, Onnx__NodeProto *node,
                                              Onnx__FunctionProto **out, struct ldnq_error *err)
{
    const bool is_attention = is_operator(node, "Attention");
    const size_t input = is_attention ? ATTENTION_WEIGHT : EMBEDDING_TABLE;
    *out = NULL;
    if (strcmp(ldnq_or_empty(node->domain), "com.microsoft") != 0 ||
        (!is_attention && !is_operator(node, "EmbedLayerNormalization")) ||
        node->n_input <= input || ldnq_model_opset(model) < FORM_OPSET)
        return LDNQ_OK;
    const Onnx__TensorProto *weight = find_initializer(model->proto->graph, node->input[input]);
    bool known = weight != NULL;
    if (known && is_attention)
        LDNQ_TRY(add_sizes(model->arena, node, weight, &known, err));
    if (!known)
        return LDNQ_OK;
    const char *text =
        ldnq_contributed_text(ldnq_contributed_layers_txt, node->domain, node->op_type);
    Onnx__FunctionProto *function;
    LDNQ_TRY(ldnq_function_parse(arena, text, FORM_OPSET, node, &function, err));
    *out = function->n_node ? function : NULL;
    return LDNQ_OK;
}
