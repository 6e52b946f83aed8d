/* SPDX-License-Identifier: Apache-2.0 */
/* contract.h: contraction of tensors, i.e. sums of products over labelled axes, for Einsum and
 * its gradients. Operands are contracted one after the other, each pair as a batch of matrix
 * products.
 *
 * Labels  numbers below LDNQ_LABELS; a label has the same extent in all operands
 * Owns    nothing; temporaries are in `memory`, whose size a dry run computes
 * Threads as ops/shared/product.h
 */
#ifndef LDNQ_OPS_CONTRACT_H
#define LDNQ_OPS_CONTRACT_H

#include "ops/shared/strided.h"

#define LDNQ_LABELS 64

/* A tensor whose axes have labels, each at most once. A stride is 0 for a broadcast axis, and
 * the sum of several strides for a diagonal. */
struct ldnq_labelled {
    const float *data;
    int rank;
    uint8_t label[LDNQ_STRIDED_AXES];
    ptrdiff_t stride[LDNQ_STRIDED_AXES];
};

struct ldnq_contraction {
    const struct ldnq_op_call *call;
    size_t extent[LDNQ_LABELS];
    bool dry; /* only computes `used` */
    float *memory;
    size_t used; /* floats of memory */
    size_t products;
    bool too_large; /* memory, axes or rows overflow; no result is computed */
};

/* out = the product of all operands, summed over all labels that `to` does not have, and
 * broadcast along those that only `to` has. `to` describes the layout of `out`, in which two
 * indices must not have the same element. */
void ldnq_contract(struct ldnq_contraction *work, const struct ldnq_labelled *operands,
                   size_t count, const struct ldnq_labelled *to, float *out);

#endif
