/* SPDX-License-Identifier: Apache-2.0 */
/* gather_matrices.h: matrices that are looked up at run time and multiplied, such as the experts of
 * a mixture, as a layer.
 *
 * Shapes  weight (E, K, M), ids (...), input x (..., P, K): the product of x and the matrices that
 *         were looked up broadcasts as MatMul's. Each matrix is a group
 * Input   column p of group e is position p where it meets matrix e, else 0: a sum over all
 *         positions is one over those that meet the matrix
 *
 * The call has the node's inputs and then x; without ids each position meets all matrices.
 */
#ifndef LDNQ_OPS_GATHER_MATRICES_H
#define LDNQ_OPS_GATHER_MATRICES_H

#include "ops/op_layer.h"

/* Index of x in the call. */
#define LDNQ_LOOKUP_DATA 2

extern const struct ldnq_op_layer ldnq_gather_matrices_layer;

#endif
