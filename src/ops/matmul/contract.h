/* contract.h: sums of products of tensors over named axes, as Einsum and its gradients
 * need them: two operands at a time, each pair as a batch of matrix products.
 *
 * Labels  numbers below LDNQ_LABELS; each has one extent in a contraction
 * Owns    nothing; temporaries lie in the work's memory, whose size a dry run tells
 * Threads as ops/shared/product.h
 */
#ifndef LDNQ_OPS_CONTRACT_H
#define LDNQ_OPS_CONTRACT_H

#include "ops/shared/strided.h"

#define LDNQ_LABELS 64

/* A tensor by its labels, each of which stands once. Strides may be 0 (broadcast) and
 * sums of strides (a diagonal). */
struct ldnq_labelled {
    const float *data;
    int rank;
    uint8_t label[LDNQ_STRIDED_AXES];
    ptrdiff_t stride[LDNQ_STRIDED_AXES];
};

struct ldnq_contraction {
    const struct ldnq_op_call *call;
    size_t extent[LDNQ_LABELS];
    bool dry; /* only counts the memory that it takes */
    float *memory;
    size_t used;    /* floats */
    bool too_large; /* more memory, axes or rows than can be counted */
};

/* to = the product of all operands, summed over the labels that `to` does not have.
 * What `to` has and no operand does, it is spread over. No element of `to` may be
 * named twice. `to` gets data through `out`. */
void ldnq_contract(struct ldnq_contraction *work, const struct ldnq_labelled *operands,
                   size_t count, const struct ldnq_labelled *to, float *out);

#endif
