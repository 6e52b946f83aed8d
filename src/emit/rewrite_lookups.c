/* SPDX-License-Identifier: Apache-2.0 */
#include "emit/rewrite_lookups.h"

#include <string.h>

#include "onnx/edit.h"
#include "ops/op.h"

static bool looks_up_rows(const struct ldnq_node *node)
{
    if (!ldnq_is_file_node(node, "GatherND") || !ldnq_node_has_inputs(node, 2) ||
        ldnq_attr_int(node, "batch_dims", 0) != 0)
        return false;
    const struct ldnq_tensor *table = node->inputs[0]->constant;
    const struct ldnq_shape *indices = &node->inputs[1]->shape;
    const bool is_float = table && (table->dtype == LDNQ_FLOAT || table->dtype == LDNQ_FLOAT16 ||
                                    table->dtype == LDNQ_BFLOAT16);
    return is_float && table->shape.rank >= 2 && indices->rank >= 1 &&
           indices->dim[indices->rank - 1] == 1;
}

/* The name of what an Unsqueeze has added the last axis to; NULL: it is another node. */
static const char *find_without_last_axis(const struct ldnq_value *indices)
{
    const struct ldnq_node *node = indices->producer;
    if (!ldnq_is_file_node(node, "Unsqueeze") || !ldnq_node_has_inputs(node, 1) ||
        node->inputs[0]->constant || node->inputs[0]->shape.rank != indices->shape.rank - 1)
        return NULL;
    size_t count = 0;
    const int64_t *axes = ldnq_attr_ints(node, "axes", &count);
    if (ldnq_node_has_inputs(node, 2)) {
        const struct ldnq_tensor *constant = node->inputs[1]->constant;
        const bool is_known = constant && constant->dtype == LDNQ_INT64;
        count = is_known ? ldnq_tensor_count(constant) : 0;
        axes = is_known ? constant->data : NULL;
    }
    return count == 1 && (axes[0] == -1 || axes[0] == indices->shape.rank - 1)
               ? node->inputs[0]->name
               : NULL;
}

/* A Squeeze of the last axis; its axes are an input since opset 13. */
static enum ldnq_status insert_squeeze_of_indices(struct ldnq_model *model,
                                                  const struct ldnq_node *node, const char **output,
                                                  struct ldnq_error *err)
{
    static const int64_t last = -1;
    const struct ldnq_tensor axes = { .dtype = LDNQ_INT64,
                                      .shape = { .rank = 1, .dim = { 1 } },
                                      .data = (void *)(uintptr_t)&last };
    const struct ldnq_edit_int_attr attr = { .name = "axes", .values = &last, .count = 1 };
    const bool has_input = ldnq_model_opset(model) >= 13;
    const char *inputs[2] = { node->inputs[1]->name, NULL }, *name;
    if (has_input)
        LDNQ_TRY(ldnq_edit_add_named(model, node->label, "_axis", &axes, &inputs[1], err));
    LDNQ_TRY(ldnq_edit_unique_name(model, node->label, "_Squeeze", &name, err));
    LDNQ_TRY(ldnq_edit_unique_name(model, node->label, "_indices", output, err));
    return ldnq_edit_insert_node(model, node->origin, "Squeeze", name, inputs, has_input ? 2 : 1,
                                 *output, &attr, has_input ? 0 : 1, err);
}

enum ldnq_status ldnq_emit_rewrite_lookups(struct ldnq_model *model, const struct ldnq_graph *graph,
                                           struct ldnq_error *err)
{
    const struct ldnq_edit_int_attr axis = { .name = "axis", .value = 0 };
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        if (!looks_up_rows(node))
            continue;
        const char *inputs[2] = { NULL, find_without_last_axis(node->inputs[1]) };
        if (!inputs[1])
            LDNQ_TRY(insert_squeeze_of_indices(model, node, &inputs[1], err));
        LDNQ_TRY(ldnq_edit_replace_node(model, node->origin, "Gather", inputs, 2, &axis, 1, err));
    }
    return LDNQ_OK;
}
