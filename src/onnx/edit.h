/* edit.h: the changes that the emitter makes to a loaded model.
 *
 * Nodes are named by the `origin` that ldnq_model_import put into the graph's
 * nodes. New names, nodes and tensors belong to the model. All work on the main
 * graph; names are kept apart from those of subgraphs too.
 */
#ifndef LDNQ_ONNX_EDIT_H
#define LDNQ_ONNX_EDIT_H

#include "onnx/onnx.h"

/* `base`, or base_1, base_2 ... when it is taken anywhere in the model (values,
 * initializers, nodes). The name is taken from then on. */
enum ldnq_status ldnq_edit_unique_name(struct ldnq_model *model, const char *base,
                                       const char **name, struct ldnq_error *err);

/* An initializer with a copy of the tensor's data, packed as ONNX stores its
 * type (int4: two a byte, low nibble first; int2: four). A model of IR 3 becomes
 * one of IR 4, whose initializers are no graph inputs. */
enum ldnq_status ldnq_edit_add_initializer(struct ldnq_model *model, const char *name,
                                           const struct ldnq_tensor *tensor,
                                           struct ldnq_error *err);

struct ldnq_edit_int_attr {
    const char *name;
    int64_t value;
};

/* A node of ai.onnx right in front of `before` (an origin). */
enum ldnq_status ldnq_edit_insert_node(struct ldnq_model *model, const void *before,
                                       const char *op_type, const char *name,
                                       const char *const *inputs, size_t input_count,
                                       const char *output, const struct ldnq_edit_int_attr *attrs,
                                       size_t attr_count, struct ldnq_error *err);

/* The same right after the node `after`, or as the first node where it is NULL. */
enum ldnq_status ldnq_edit_append_node(struct ldnq_model *model, const void *after,
                                       const char *op_type, const char *name,
                                       const char *const *inputs, size_t input_count,
                                       const char *output, const struct ldnq_edit_int_attr *attrs,
                                       size_t attr_count, struct ldnq_error *err);

/* Sets a list of integers as an attribute, which is added where it is missing. */
enum ldnq_status ldnq_edit_set_ints(struct ldnq_model *model, const void *origin, const char *name,
                                    const int64_t *values, size_t count, struct ldnq_error *err);

/* Input `index` becomes `name`; the list grows (with "" between) when it is shorter. */
enum ldnq_status ldnq_edit_set_input(struct ldnq_model *model, const void *origin, size_t index,
                                     const char *name, struct ldnq_error *err);
enum ldnq_status ldnq_edit_set_output(struct ldnq_model *model, const void *origin, size_t index,
                                      const char *name, struct ldnq_error *err);
bool ldnq_edit_has_node(const struct ldnq_model *model, const void *origin);
void ldnq_edit_remove_node(struct ldnq_model *model, const void *origin);

/* Of nodes with one name all but the first get names of their own: ONNX Runtime
 * loads no graph that has two. Errors: NOMEM. */
enum ldnq_status ldnq_edit_separate_nodes(struct ldnq_model *model, struct ldnq_error *err);

/* Drops the initializers and nodes that nothing reads any more, among those
 * that something read when the model was loaded: what was dead before stays.
 * Also their entries in value_info, quantization annotations and (IR 3) inputs. */
enum ldnq_status ldnq_edit_prune(struct ldnq_model *model, struct ldnq_error *err);

/* Raises ai.onnx to `opset` and the IR version to what that opset needs,
 * rewriting nodes (in subgraphs and functions too) whose meaning changed.
 * Nodes keep their origin; the graph that was imported before still has the
 * attributes and inputs of the old opset.
 * Errors: UNSUPPORTED, with the list of all nodes that can't be rewritten and
 * why; the model is then unchanged. No-op when the model is there already. */
enum ldnq_status ldnq_model_raise_opset(struct ldnq_model *model, int opset,
                                        struct ldnq_error *err);

#endif
