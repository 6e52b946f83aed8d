/* separate_products.h: keep clamps and QuantizeLinear away from layers that a target computes
 * from codes and floats.
 *
 * ONNX Runtime (seen in 1.32) takes a Relu or Clip after such a layer, or a QuantizeLinear, for
 * the end of an integer kernel, finds none, and leaves the layer in float. A Max of one input,
 * which copies, separates them: no optimizer removes it, and it costs 2 % of the product's time
 * (128 x 1536 floats, 26 us).
 */
#ifndef LDNQ_EMIT_SEPARATE_PRODUCTS_H
#define LDNQ_EMIT_SEPARATE_PRODUCTS_H

#include "onnx/onnx.h"

/* The node is a MatMul or Gemm of the written file; all other edits are done. An Add after a
 * MatMul is its bias. Errors: NOMEM, USAGE (no node of the model). */
enum ldnq_status ldnq_emit_separate_product(struct ldnq_model *model, const void *origin,
                                            struct ldnq_error *err);

#endif
