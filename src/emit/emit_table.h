/* SPDX-License-Identifier: Apache-2.0 */
/* emit_table.h: write a quantized table, and what dequantizes the rows that were looked up.
 *
 * Gather comes first, so that the work depends on the ids and not on the table: a
 * DequantizeLinear of the whole table takes 3 ms per run for 30,000 rows of 384 in ONNX Runtime
 * 1.32, this form .07 ms for 512 ids. It needs no opset beyond the model's.
 *
 *   8 bits   Gather(codes) -> Cast -> Mul by Gather(scales)
 *   4 bits   Gather of bytes (ONNX's Gather has no int4), two codes c + 8 in each: the low half
 *            of a byte belongs to the first half of the row, or of the block. In the table's
 *            float type, which is exact: high = Floor(byte / 16), low = byte - 16 high,
 *            Concat, Sub 8, Mul. OpenVINO 2026.4 computes shifts and divisions of uint8
 *            wrongly
 *
 *   blocks   tensors have an axis of blocks, (rows, S, cols / S), and a Reshape ends it
 *
 *   another axis, or more axes: the tensors have those of the table, the scales all but one of size
 *            1. Where ids count the last axis, bytes hold halves of the first one
 *
 *   matrices for a product, (E, K, M): scales are (E, 1, M), and bytes hold halves of the last
 *            axis
 *
 * The node itself becomes the last one of the form, so that it keeps its name and output. */
#ifndef LDNQ_EMIT_TABLE_H
#define LDNQ_EMIT_TABLE_H

#include "layer/quantized_layer.h"
#include "onnx/onnx.h"

/* Initializers of a table; layers with the same codes read the same ones. */
struct ldnq_table_names {
    const char *codes;  /* (rows, cols) int8, say, or packed; NULL: not added yet */
    const char *scales; /* (rows, 1) or (rows, S, 1) */
};

/* Returns the bits in which the file stores the table's codes: 4 or 8. */
unsigned ldnq_emit_table_bits(const struct ldnq_quantized_layer *quantized);

/* Adds the initializers unless `names` has them, and changes the node. Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_emit_table(struct ldnq_model *model,
                                 const struct ldnq_quantized_layer *quantized,
                                 struct ldnq_table_names *names, struct ldnq_arena *arena,
                                 struct ldnq_error *err);

#endif
