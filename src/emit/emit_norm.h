/* SPDX-License-Identifier: Apache-2.0 */
/* emit_norm.h: the fine-tuned scale or bias of a normalization in the written file. */
#ifndef LDNQ_EMIT_EMIT_NORM_H
#define LDNQ_EMIT_EMIT_NORM_H

#include "layer/quantized_layer.h"
#include "onnx/onnx.h"

/* Adds the tensor as an initializer of its own, in the type that the file has, and lets the node
 * read it. The arena is for what is needed meanwhile. Errors: NOMEM, USAGE (no node of the
 * model). */
enum ldnq_status ldnq_emit_norm(struct ldnq_model *model, const struct ldnq_changed_norm *norm,
                                struct ldnq_arena *arena, struct ldnq_error *err);

#endif
