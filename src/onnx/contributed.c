/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/contributed.h"

#include <string.h>

#include "onnx/function_text.h"
#include "onnx/opset.h"

/* The opset of the functions' nodes: the first one in which codes have 2 bits. */
#define FUNCTION_OPSET 25

const char *ldnq_contributed_text(const char *functions, const char *domain, const char *type)
{
    const size_t domain_length = strlen(domain), type_length = strlen(type);
    const char *at = functions;
    for (; (at = strchr(at, '\n')); at++)
        if (strncmp(at + 1, domain, domain_length) == 0 && at[1 + domain_length] == '.' &&
            strncmp(at + 2 + domain_length, type, type_length) == 0 &&
            at[2 + domain_length + type_length] == ' ')
            return at + 2 + domain_length;
    return NULL;
}

/* The integer operators have kernels of their own, and become functions where their codes are to be
 * seen. ONNX Runtime knows LayerNormalization and a relative of it in opsets before 17, when ONNX
 * got it. */
static bool is_replaced_in_onnx_domain(const struct ldnq_import *import, const char *type)
{
    if (strncmp(type, "QLinear", 7) == 0)
        return import->all->form == LDNQ_FORM_PAIRS;
    return !ldnq_opset_find(type) || ldnq_find_onnx_opset(import->opsets, import->opset_count) < 17;
}

/* Whether the function has all inputs and outputs that the node uses. */
static bool has_inputs_and_outputs(const Onnx__FunctionProto *function, const Onnx__NodeProto *node)
{
    size_t inputs = node->n_input, outputs = node->n_output;
    while (inputs > 0 && !ldnq_contributed_has_input(node, inputs - 1))
        inputs--;
    while (outputs > 0 && !node->output[outputs - 1][0])
        outputs--;
    return inputs <= function->n_input && outputs <= function->n_output;
}

enum ldnq_status ldnq_contributed_find(const struct ldnq_import *import,
                                       const Onnx__NodeProto *node, const Onnx__FunctionProto **out,
                                       struct ldnq_error *err)
{
    const char *type = ldnq_or_empty(node->op_type), *text = NULL;
    Onnx__FunctionProto *function;
    *out = NULL;
    if (import->all->form == LDNQ_FORM_FILE)
        return LDNQ_OK;
    if (ldnq_is_onnx_domain(node->domain)) {
        if (is_replaced_in_onnx_domain(import, type))
            text = ldnq_contributed_text(ldnq_contributed_functions_txt, "ai.onnx", type);
    } else if (strcmp(node->domain, "com.microsoft") == 0) {
        text = ldnq_contributed_text(ldnq_contributed_functions_txt, node->domain, type);
        if (!text)
            LDNQ_TRY(ldnq_contributed_write(import, node, &text, err));
    }
    if (!text)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_function_parse(import->all->arena, text, FUNCTION_OPSET, node, &function, err));
    function->domain = node->domain;
    /* A form that the function leaves out is not supported. */
    *out = function->n_node && has_inputs_and_outputs(function, node) ? function : NULL;
    return LDNQ_OK;
}
