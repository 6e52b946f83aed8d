/* SPDX-License-Identifier: Apache-2.0 */
/* emit_pairs.h: writes the Q/DQ pairs of a placement into the model that the graph was read
 * from. */
#ifndef LDNQ_EMIT_PAIRS_H
#define LDNQ_EMIT_PAIRS_H

#include "onnx/onnx.h"
#include "target/placement.h"

/* The placement's graph has the pairs (ldnq_placement_insert) with their scales. A pair follows the
 * node that writes its value; the nodes that read it in the graph read it in the file too. The
 * padding that the passes merged into a convolution becomes the convolution's own in the
 * file, as a Pad between a DequantizeLinear and a convolution keeps the runtime from fusing
 * them. Layers must be written before: a folded BatchNormalization's output is the layer's
 * then. Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_emit_pairs(struct ldnq_model *model, const struct ldnq_placement *placement,
                                 struct ldnq_error *err);

#endif
