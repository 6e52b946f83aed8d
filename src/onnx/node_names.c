/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/edit.h"
#include "onnx/model.h"

enum ldnq_status ldnq_edit_rename_duplicates(struct ldnq_model *model, struct ldnq_error *err)
{
    Onnx__GraphProto *graph = model->proto->graph;
    struct ldnq_names seen;
    ldnq_names_init(&seen, model->arena);
    for (size_t i = 0; i < graph->n_node; i++) {
        Onnx__NodeProto *node = graph->node[i];
        struct ldnq_name *entry;
        if (!node->name || !*node->name)
            continue;
        LDNQ_TRY(ldnq_names_insert(&seen, node->name, &entry, err));
        if (entry->count++ == 0)
            continue;
        const char *unique;
        LDNQ_TRY(ldnq_edit_unique_name(model, node->name, "", &unique, err));
        node->name = (char *)(uintptr_t)unique;
    }
    return LDNQ_OK;
}
