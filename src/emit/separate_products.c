/* SPDX-License-Identifier: Apache-2.0 */
#include "emit/separate_products.h"

#include "base/arena.h"
#include "onnx/edit.h"

/* A Relu or Clip with one reader: with more, or as an output, the runtime leaves it alone. */
static enum ldnq_status is_read_by_clamp(const struct ldnq_model *model, const char *value,
                                         bool reads_codes, bool *found, struct ldnq_error *err)
{
    const void *clamp, *next;
    *found = false;
    LDNQ_TRY(ldnq_edit_find_only_reader(model, value, &clamp, err));
    if (!clamp || !(ldnq_edit_is_operator(model, clamp, "Relu") ||
                    ldnq_edit_is_operator(model, clamp, "Clip")))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_edit_find_only_reader(model, ldnq_edit_find_output(model, clamp, 0), &next, err));
    *found = next && !(reads_codes && ldnq_edit_is_operator(model, next, "QuantizeLinear"));
    return LDNQ_OK;
}

static enum ldnq_status insert_copy(struct ldnq_model *model, const void *writer, const char *value,
                                    struct ldnq_arena *arena, struct ldnq_error *err)
{
    const char *node, *product;
    /* The model frees the old name of the output. */
    const char *output = ldnq_arena_strdup(arena, value, err);
    if (!output)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_edit_unique_name(model, value, "_Max", &node, err));
    LDNQ_TRY(ldnq_edit_unique_name(model, value, "_product", &product, err));
    LDNQ_TRY(ldnq_edit_set_output(model, writer, 0, product, err));
    return ldnq_edit_append_node(model, writer, "Max", node, &product, 1, output, NULL, 0, err);
}

enum ldnq_status ldnq_emit_separate_product(struct ldnq_model *model, const void *origin,
                                            bool reads_codes, struct ldnq_error *err)
{
    const void *writer = origin, *reader;
    const char *value = ldnq_edit_find_output(model, origin, 0);
    struct ldnq_arena *arena;
    bool found;
    if (!value)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_edit_find_only_reader(model, value, &reader, err));
    if (reader && ldnq_edit_is_operator(model, origin, "MatMul") &&
        ldnq_edit_is_operator(model, reader, "Add")) {
        writer = reader;
        value = ldnq_edit_find_output(model, writer, 0);
    }
    LDNQ_TRY(is_read_by_clamp(model, value, reads_codes, &found, err));
    if (!found && (reads_codes || !ldnq_edit_is_read_by(model, value, "QuantizeLinear")))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = insert_copy(model, writer, value, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}
