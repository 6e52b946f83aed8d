/* SPDX-License-Identifier: Apache-2.0 */
/* build.h: create the parts of a model that are added to it, in an arena.
 *
 * Errors  NULL with NOMEM in err. Names and lists are copied.
 */
#ifndef LDNQ_ONNX_BUILD_H
#define LDNQ_ONNX_BUILD_H

#include "onnx/model.h"

/* Creates a node of ai.onnx without attributes. */
Onnx__NodeProto *ldnq_build_node(struct ldnq_arena *arena, const char *op_type, const char *name,
                                 const char *const *inputs, size_t input_count,
                                 const char *const *outputs, size_t output_count,
                                 struct ldnq_error *err);

/* The node's attribute of that name, added or cleared; the caller sets its type and value. */
Onnx__AttributeProto *ldnq_build_attr(struct ldnq_arena *arena, Onnx__NodeProto *node,
                                      const char *name, struct ldnq_error *err);
enum ldnq_status ldnq_build_int_attr(struct ldnq_arena *arena, Onnx__NodeProto *node,
                                     const char *name, int64_t value, struct ldnq_error *err);
enum ldnq_status ldnq_build_ints_attr(struct ldnq_arena *arena, Onnx__NodeProto *node,
                                      const char *name, const int64_t *values, size_t count,
                                      struct ldnq_error *err);
enum ldnq_status ldnq_build_string_attr(struct ldnq_arena *arena, Onnx__NodeProto *node,
                                        const char *name, const char *value,
                                        struct ldnq_error *err);

void ldnq_build_remove_attr(Onnx__NodeProto *node, const char *name);

/* list[index] = name in a new list, with "" between when it was shorter. */
enum ldnq_status ldnq_build_set_name(struct ldnq_arena *arena, char ***list, size_t *count,
                                     size_t index, const char *name, struct ldnq_error *err);

#endif
