/* SPDX-License-Identifier: Apache-2.0 */
#include "api/default_inputs.h"

#include <string.h>

/* The first IR version whose initializers need not be inputs. */
#define IR_WITH_DEFAULTS 4

enum ldnq_status ldnq_default_inputs_list(struct ldnq_default_inputs *inputs,
                                          const struct ldnq_model *model, struct ldnq_arena *arena,
                                          struct ldnq_error *err)
{
    const char *name;
    size_t all = 0;
    *inputs = (struct ldnq_default_inputs){ .count = 0 };
    if (ldnq_model_ir_version(model) < IR_WITH_DEFAULTS)
        return LDNQ_OK;
    while (ldnq_model_input_name(model, all))
        all++;
    inputs->names = ldnq_arena_alloc(arena, all, sizeof *inputs->names, err);
    if (!inputs->names)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < all; i++) {
        name = ldnq_model_input_name(model, i);
        if (!ldnq_model_has_initializer(model, name))
            continue;
        inputs->names[inputs->count] = ldnq_arena_strdup(arena, name, err);
        if (!inputs->names[inputs->count++])
            return LDNQ_NOMEM;
    }
    return LDNQ_OK;
}

static bool is_input(const struct ldnq_model *model, const char *wanted)
{
    const char *name;
    for (size_t i = 0; (name = ldnq_model_input_name(model, i)); i++)
        if (strcmp(name, wanted) == 0)
            return true;
    return false;
}

void ldnq_default_inputs_warn(const struct ldnq_default_inputs *inputs,
                              const struct ldnq_model *model, const struct ldnq_sink *sink)
{
    for (size_t i = 0; i < inputs->count; i++)
        if (!is_input(model, inputs->names[i]))
            ldnq_sink_warn(sink,
                           "'%s' is no longer an input: its default value, a weight, is quantized",
                           inputs->names[i]);
}
