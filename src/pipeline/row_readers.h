/* SPDX-License-Identifier: Apache-2.0 */
/* row_readers.h: which nodes read a value whose quiet rows count as much as its loud ones.
 *
 * A row is the value's last axis. Its power does not say how much it counts where a product reads
 * it beside other data, where a normalization divides it by its size, and where it is that size:
 * x / sqrt(mean(x^2) + e) in parts, as exporters write it.
 */
#ifndef LDNQ_PIPELINE_ROW_READERS_H
#define LDNQ_PIPELINE_ROW_READERS_H

#include "ir/ir.h"

/* Whether the node is such a reader of its input i. */
bool ldnq_reads_rows_alike(const struct ldnq_graph *graph, const struct ldnq_node *node, size_t i);

#endif
