/* SPDX-License-Identifier: Apache-2.0 */
/* matmul.h: shapes and batches of numpy's matmul, for MatMulInteger and QLinearMatMul.
 *
 * Shapes  a (..., m, k), b (..., k, n); leading axes broadcast
 */
#ifndef LDNQ_OPS_MATMUL_H
#define LDNQ_OPS_MATMUL_H

#include "ops/op.h"

/* What FusedMatMul has besides MatMul: each matrix may be transposed, and the product scaled. */
struct ldnq_matmul_attrs {
    bool transposes[2]; /* of the left and the right operand */
    float alpha;
};

/* The attributes of the call; those of MatMul where it has none. */
struct ldnq_matmul_attrs ldnq_matmul_find_attrs(const struct ldnq_op_call *call);

struct ldnq_matmul {
    size_t m, n, k, batches;
    struct ldnq_shape lead;           /* the leading axes, broadcast */
    size_t strides[2][LDNQ_MAX_RANK]; /* strides of the leading axes of a and b, in matrices */
};

/* Sets the shape of output 0 from the shapes of inputs a and b. */
enum ldnq_status ldnq_matmul_infer_shape(struct ldnq_op_call *call, size_t a, size_t b,
                                         struct ldnq_error *err);
size_t ldnq_matmul_count_operations(const struct ldnq_op_call *call, size_t left);
/* Describes the product of two inputs, for shapes that infer has accepted; `transposes` NULL:
 * neither is transposed. */
struct ldnq_matmul ldnq_matmul_describe(const struct ldnq_op_call *call, size_t left, size_t right,
                                        const bool *transposes);
/* Writes where the matrices of a batch start in a and b, in elements. */
void ldnq_matmul_find_offsets(const struct ldnq_matmul *matmul, size_t batch, size_t offsets[2]);

#endif
