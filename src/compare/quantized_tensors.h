/* SPDX-License-Identifier: Apache-2.0 */
/* quantized_tensors.h: lists the tensors that a graph holds as integers with scales. */
#ifndef LDNQ_COMPARE_QUANTIZED_TENSORS_H
#define LDNQ_COMPARE_QUANTIZED_TENSORS_H

#include "compare/comparison.h"
#include "compare/compute_view.h"

/* All inputs of the file's DequantizeLinear nodes, each once, in order of execution.
 * Errors: NOMEM. */
enum ldnq_status ldnq_quantized_tensors_list(const struct ldnq_compute_view *view,
                                             struct ldnq_arena *arena,
                                             struct ldnq_quantized_tensor **tensors, size_t *count,
                                             struct ldnq_error *err);

/* The tensor that the node dequantizes; NULL for a NULL node. */
const struct ldnq_quantized_tensor *
ldnq_quantized_tensors_find(const struct ldnq_quantized_tensor *tensors, size_t count,
                            const struct ldnq_node *dequantize);

struct ldnq_diff_shape ldnq_diff_shape_from(const struct ldnq_shape *shape);

/* The type in which the file stores the layer's weight: that of the initializer that folding has
 * computed it from, or its own. Undefined where it is computed at run time. */
enum ldnq_dtype ldnq_weight_stored_dtype(const struct ldnq_layer *layer);
/* Bytes that the layer's weight takes in the file: of its codes, or of the float weight where
 * `codes` is NULL or computed at run time. */
size_t ldnq_weight_stored_bytes(const struct ldnq_layer *layer,
                                const struct ldnq_quantized_tensor *codes);

#endif
