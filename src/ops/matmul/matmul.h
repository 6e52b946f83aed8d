/* matmul.h: the shapes of numpy's matmul, for operators that multiply integers.
 *
 * Shapes  a (..., m, k), b (..., k, n); leading axes broadcast
 */
#ifndef LDNQ_OPS_MATMUL_H
#define LDNQ_OPS_MATMUL_H

#include "ops/op.h"

struct ldnq_matmul {
    size_t m, n, k, batches;
    struct ldnq_shape lead;
    size_t strides[2][LDNQ_MAX_RANK]; /* of the leading axes, in matrices */
};

/* Output 0's shape from inputs a and b. */
enum ldnq_status ldnq_matmul_shape(struct ldnq_op_call *call, size_t a, size_t b,
                                   struct ldnq_error *err);
/* For shapes that infer has passed. */
struct ldnq_matmul ldnq_matmul_of(const struct ldnq_op_call *call, size_t left, size_t right);
/* Where a batch's matrices start, in elements. */
void ldnq_matmul_offsets(const struct ldnq_matmul *matmul, size_t batch, size_t offsets[2]);

#endif
