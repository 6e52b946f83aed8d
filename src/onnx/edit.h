/* SPDX-License-Identifier: Apache-2.0 */
/* edit.h: the changes that the emitter makes to a loaded model.
 *
 * Nodes are named by the `origin` that ldnq_model_import put into the graph's nodes.
 * New names, nodes and tensors belong to the model. New initializers are those of the main graph;
 * new names differ from those in subgraphs too. insert_node, set_input and set_int also take nodes
 * of subgraphs (body_origin).
 */
#ifndef LDNQ_ONNX_EDIT_H
#define LDNQ_ONNX_EDIT_H

#include "onnx/onnx.h"

/* Makes the name `base` followed by `suffix`, or that with _1, _2 ... when a value, initializer or
 * node of the model has it already, and reserves it. */
enum ldnq_status ldnq_edit_unique_name(struct ldnq_model *model, const char *base,
                                       const char *suffix, const char **name,
                                       struct ldnq_error *err);

/* An initializer with a copy of the tensor's data, packed as ONNX stores its type
 * (int4: two per byte, low nibble first; int2: four). A model of IR 3 becomes one of IR
 * 4, whose initializers need not be graph inputs. */
enum ldnq_status ldnq_edit_add_initializer(struct ldnq_model *model, const char *name,
                                           const struct ldnq_tensor *tensor,
                                           struct ldnq_error *err);

/* The same under a new name, that of ldnq_edit_unique_name. */
enum ldnq_status ldnq_edit_add_named(struct ldnq_model *model, const char *base, const char *suffix,
                                     const struct ldnq_tensor *tensor, const char **name,
                                     struct ldnq_error *err);

struct ldnq_edit_int_attr {
    const char *name;
    int64_t value;
    const int64_t *values; /* a list, in place of the value; NULL: none */
    size_t count;
};

/* Inserts a node of ai.onnx directly before the node whose origin is `before`. */
enum ldnq_status ldnq_edit_insert_node(struct ldnq_model *model, const void *before,
                                       const char *op_type, const char *name,
                                       const char *const *inputs, size_t input_count,
                                       const char *output, const struct ldnq_edit_int_attr *attrs,
                                       size_t attr_count, struct ldnq_error *err);

/* The same directly after the node `after`; as the first node when it is NULL. */
enum ldnq_status ldnq_edit_append_node(struct ldnq_model *model, const void *after,
                                       const char *op_type, const char *name,
                                       const char *const *inputs, size_t input_count,
                                       const char *output, const struct ldnq_edit_int_attr *attrs,
                                       size_t attr_count, struct ldnq_error *err);

/* Makes the node of the main graph that writes `output` one of ONNX Runtime's domain, which the
 * model then imports. */
enum ldnq_status ldnq_edit_set_contributed(struct ldnq_model *model, const char *output,
                                           struct ldnq_error *err);

/* Makes the node one of type `op_type` of ai.onnx with these inputs and attributes; it keeps its
 * name, its outputs and each input that is NULL here. */
enum ldnq_status ldnq_edit_replace_node(struct ldnq_model *model, const void *origin,
                                        const char *op_type, const char *const *inputs,
                                        size_t input_count, const struct ldnq_edit_int_attr *attrs,
                                        size_t attr_count, struct ldnq_error *err);

/* Sets a list of integers as an attribute, which is added where it is missing. */
enum ldnq_status ldnq_edit_set_ints(struct ldnq_model *model, const void *origin, const char *name,
                                    const int64_t *values, size_t count, struct ldnq_error *err);

/* Sets an attribute that is one integer. */
enum ldnq_status ldnq_edit_set_int(struct ldnq_model *model, const void *origin, const char *name,
                                   int64_t value, struct ldnq_error *err);

/* Sets input `index` to `name`; a shorter list is filled up with "". */
enum ldnq_status ldnq_edit_set_input(struct ldnq_model *model, const void *origin, size_t index,
                                     const char *name, struct ldnq_error *err);
enum ldnq_status ldnq_edit_set_output(struct ldnq_model *model, const void *origin, size_t index,
                                      const char *name, struct ldnq_error *err);
/* Lets each node that reads `from`, of type `op_type` or of any where that is NULL, read `to`
 * instead. */
enum ldnq_status ldnq_edit_redirect_readers(struct ldnq_model *model, const char *from,
                                            const char *to, const char *op_type,
                                            struct ldnq_error *err);
/* The name of an input, or NULL. */
const char *ldnq_edit_find_input(const struct ldnq_model *model, const void *origin, size_t index);
/* The name of an output, or NULL. */
const char *ldnq_edit_find_output(const struct ldnq_model *model, const void *origin, size_t index);
/* Whether the node is this operator of ai.onnx. */
bool ldnq_edit_is_operator(const struct ldnq_model *model, const void *origin, const char *op_type);
/* The node of the main graph that reads the value, if its input is the only reader; NULL if there
 * is none or another one, a subgraph and the graph's outputs included. Errors: NOMEM. */
enum ldnq_status ldnq_edit_find_only_reader(const struct ldnq_model *model, const char *value,
                                            const void **reader, struct ldnq_error *err);
/* Whether a node of the main graph of this type reads the value. */
bool ldnq_edit_is_read_by(const struct ldnq_model *model, const char *value, const char *op_type);
bool ldnq_edit_has_node(const struct ldnq_model *model, const void *origin);
void ldnq_edit_remove_node(struct ldnq_model *model, const void *origin);

/* Renames nodes that have the name of an earlier node: ONNX Runtime refuses duplicate
 * names. Errors: NOMEM. */
enum ldnq_status ldnq_edit_rename_duplicates(struct ldnq_model *model, struct ldnq_error *err);

/* Removes initializers and nodes that lost their last reader since the model was
 * loaded; those that had none then stay. Also removes their entries in value_info,
 * quantization annotations and (IR 3) inputs. */
enum ldnq_status ldnq_edit_prune(struct ldnq_model *model, struct ldnq_error *err);

/* Removes nodes and initializers that nothing reads from the subgraphs around a node of one, up to
 * the main graph. Errors: NOMEM. */
enum ldnq_status ldnq_edit_prune_bodies(struct ldnq_model *model, const void *body_origin,
                                        struct ldnq_error *err);

/* Replaces calls of functions with layers (Conv, MatMul ...), also in subgraphs and in such
 * functions, by the functions' bodies, and operators of ONNX Runtime that have weights by forms
 * whose weights are layers'. Functions that import another opset than the model stay, and so do
 * calls that an import refuses. Comes before the import. Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_model_inline_functions(struct ldnq_model *model, struct ldnq_error *err);

/* Raises ai.onnx to `opset` and the IR version to what that opset needs, rewriting
 * nodes (in subgraphs and functions too) whose meaning changed. Nodes keep their
 * origin; the graph that was imported before still has the attributes and inputs of the
 * old opset.
 * Errors: UNSUPPORTED, with the list of all nodes that can't be rewritten and why; the
 * model is then unchanged. Does nothing when the model has that opset or a later one. */
enum ldnq_status ldnq_model_raise_opset(struct ldnq_model *model, int opset,
                                        struct ldnq_error *err);

#endif
