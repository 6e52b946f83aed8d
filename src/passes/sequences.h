/* SPDX-License-Identifier: Apache-2.0 */
/* sequences.h: sequences of tensors that exporters write for split and unbind.
 *
 * TorchScript writes x.split(n)[i] as SplitToSequence and SequenceAt, torch.cat of a list as
 * SequenceConstruct and ConcatFromSequence. Where it is known which tensors a sequence holds, its
 * readers become Slice, Gather, Concat and Unsqueeze in the graph, and no sequence is left. A list
 * that a Loop appends to becomes one of its stacked outputs (loop_sequences.c). The file keeps its
 * nodes.
 */
#ifndef LDNQ_PASSES_SEQUENCES_H
#define LDNQ_PASSES_SEQUENCES_H

#include "ir/ir.h"

/* Nodes that can't be replaced stay; binding reports them. Called before operators are bound.
 * Errors: NOMEM. */
enum ldnq_status ldnq_pass_replace_sequences(struct ldnq_graph *graph, struct ldnq_error *err);

#endif
