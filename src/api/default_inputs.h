/* SPDX-License-Identifier: Apache-2.0 */
/* default_inputs.h: inputs of a model that have a default value, of which quantization leaves only
 * the value.
 *
 * Owns    nothing; names are copied into the arena
 */
#ifndef LDNQ_API_DEFAULT_INPUTS_H
#define LDNQ_API_DEFAULT_INPUTS_H

#include "base/arena.h"
#include "base/sink.h"
#include "onnx/onnx.h"

struct ldnq_default_inputs {
    const char **names;
    size_t count;
};

/* Lists the inputs with an initializer, from IR version 4 on: before, all initializers are inputs.
 * Errors: NOMEM. */
enum ldnq_status ldnq_default_inputs_list(struct ldnq_default_inputs *inputs,
                                          const struct ldnq_model *model, struct ldnq_arena *arena,
                                          struct ldnq_error *err);
/* Warns of each that is no longer an input of the model. */
void ldnq_default_inputs_warn(const struct ldnq_default_inputs *inputs,
                              const struct ldnq_model *model, const struct ldnq_sink *sink);

#endif
