/* matmul.h: shapes and batches of numpy's matmul, for MatMulInteger and QLinearMatMul.
 *
 * Shapes  a (..., m, k), b (..., k, n); leading axes broadcast
 */
#ifndef LDNQ_OPS_MATMUL_H
#define LDNQ_OPS_MATMUL_H

#include "ops/op.h"

struct ldnq_matmul {
    size_t m, n, k, batches;
    struct ldnq_shape lead;           /* the leading axes, broadcast */
    size_t strides[2][LDNQ_MAX_RANK]; /* strides of the leading axes of a and b, in matrices */
};

/* Sets the shape of output 0 from the shapes of inputs a and b. */
enum ldnq_status ldnq_matmul_infer_shape(struct ldnq_op_call *call, size_t a, size_t b,
                                         struct ldnq_error *err);
size_t ldnq_matmul_count_operations(const struct ldnq_op_call *call, size_t left);
/* Describes the product, for shapes that infer has accepted. */
struct ldnq_matmul ldnq_matmul_describe(const struct ldnq_op_call *call, size_t left, size_t right);
/* Writes where the matrices of a batch start in a and b, in elements. */
void ldnq_matmul_find_offsets(const struct ldnq_matmul *matmul, size_t batch, size_t offsets[2]);

#endif
