/* SPDX-License-Identifier: Apache-2.0 */
/* separate_products.h: keep clamps and QuantizeLinear away from products that write floats.
 *
 * ONNX Runtime (seen in 1.32) takes a Relu or Clip after a MatMul or Gemm that one other node
 * reads for the end of an integer kernel. If no QuantizeLinear follows, it leaves the layer in
 * float, also if its input has codes. Of a layer of codes and floats even that QuantizeLinear, or
 * one directly after the layer, prevents the kernel. A Max of one input, which copies, separates
 * them: no optimizer removes it, and it costs 2 % of the product's time (128 x 1536 floats, 26 us).
 */
#ifndef LDNQ_EMIT_SEPARATE_PRODUCTS_H
#define LDNQ_EMIT_SEPARATE_PRODUCTS_H

#include "onnx/onnx.h"

/* The node is a MatMul or Gemm of the written file; all other edits are done. An Add after a
 * MatMul is its bias. `reads_codes`: its input has codes, so that a QuantizeLinear after it is
 * welcome. Errors: NOMEM, USAGE (no node of the model). */
enum ldnq_status ldnq_emit_separate_product(struct ldnq_model *model, const void *origin,
                                            bool reads_codes, struct ldnq_error *err);

#endif
