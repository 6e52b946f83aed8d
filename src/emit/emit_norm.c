/* SPDX-License-Identifier: Apache-2.0 */
#include "emit/emit_norm.h"

#include "onnx/edit.h"

enum ldnq_status ldnq_emit_norm(struct ldnq_model *model, const struct ldnq_changed_norm *norm,
                                struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_node *node = norm->node;
    const struct ldnq_tensor *stored;
    const char *name;
    LDNQ_TRY(ldnq_edit_unique_name(model, norm->name, "_tuned", &name, err));
    LDNQ_TRY(
        ldnq_tensor_narrow(arena, norm->tensor, node->inputs[norm->input]->half, &stored, err));
    LDNQ_TRY(ldnq_edit_add_initializer(model, name, stored, err));
    return ldnq_edit_set_input(model, node->origin, norm->input, name, err);
}
