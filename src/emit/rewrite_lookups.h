/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite_lookups.h: rewrite GatherND of rows into Gather, whose table can be quantized.
 *
 * Torch exports table[index] as GatherND of tuples of one index. Where the data are a constant and
 * the shape of the indices is known, that is a Gather along axis 0 of the indices without their
 * last axis.
 */
#ifndef LDNQ_EMIT_REWRITE_LOOKUPS_H
#define LDNQ_EMIT_REWRITE_LOOKUPS_H

#include "onnx/onnx.h"

/* Rewrites the model that the graph was imported from, which is then another. Shapes are inferred,
 * and constants folded. Errors: NOMEM. */
enum ldnq_status ldnq_emit_rewrite_lookups(struct ldnq_model *model, const struct ldnq_graph *graph,
                                           struct ldnq_error *err);

#endif
