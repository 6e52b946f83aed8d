/* quantized.h: what stands in a file as integers with a scale. */
#ifndef LDNQ_COMPARE_QUANTIZED_TENSORS_H
#define LDNQ_COMPARE_QUANTIZED_TENSORS_H

#include "compare/comparison.h"

#include "compare/compute_view.h"

/* All of the view's tensors that a DequantizeLinear reads, each once, in the order of the
 * file. Errors: NOMEM. */
enum ldnq_status ldnq_quantized_tensors_list(const struct ldnq_compute_view *view,
                                             struct ldnq_arena *arena,
                                             struct ldnq_quantized_tensor **tensors, size_t *count,
                                             struct ldnq_error *err);

/* The one that a DequantizeLinear reads; NULL for a NULL node. */
const struct ldnq_quantized_tensor *
ldnq_quantized_tensors_find(const struct ldnq_quantized_tensor *tensors, size_t count,
                            const struct ldnq_node *dequantize);

/* The shape as plain data. */
struct ldnq_diff_shape ldnq_diff_shape_from(const struct ldnq_shape *shape);

/* Bytes that a layer's weight takes in the file: of its codes, or as it is. */
size_t ldnq_weight_stored_bytes(const struct ldnq_layer *layer,
                                const struct ldnq_quantized_tensor *codes);

#endif
