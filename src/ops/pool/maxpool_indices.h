/* SPDX-License-Identifier: Apache-2.0 */
/* maxpool_indices.h: MaxPool's second output: the index of each maximum in the flattened
 * input (N, C, D, H, W). Of equal elements the first counts. */
#ifndef LDNQ_OPS_MAXPOOL_INDICES_H
#define LDNQ_OPS_MAXPOOL_INDICES_H

#include "ops/op.h"

/* Computes call->out[1], int64 in the shape of out[0]. With storage_order=1 the first
 * spatial axis of a plane varies fastest. */
enum ldnq_status ldnq_maxpool_indices(const struct ldnq_op_call *call, struct ldnq_error *err);

#endif
