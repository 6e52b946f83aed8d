/* SPDX-License-Identifier: Apache-2.0 */
/* reduce.h: shared by the records of the Reduce family (reduce.c) and their gradients
 * (reduce_grad.c).
 */
#ifndef LDNQ_OPS_REDUCE_H
#define LDNQ_OPS_REDUCE_H

#include "ops/op.h"

/* Reads the axes that a node reduces, as a set of bits, for any opset. Errors: MODEL. */
enum ldnq_status ldnq_reduce_read_axes(const struct ldnq_op_call *call, unsigned *set,
                                       struct ldnq_error *err);
/* y = the products of x over the axes in the set. */
void ldnq_reduce_product(const struct ldnq_op_call *call, unsigned set, const struct ldnq_tensor *x,
                         const struct ldnq_tensor *y);

typedef enum ldnq_status ldnq_backward_fn(const struct ldnq_op_grad *grad, struct ldnq_error *err);
ldnq_backward_fn ldnq_reducel1_backward, ldnq_reducel2_backward, ldnq_reducelogsum_backward,
    ldnq_reducelogsumexp_backward, ldnq_reduceextreme_backward, ldnq_reducemean_backward,
    ldnq_reduceprod_backward, ldnq_reducesum_backward, ldnq_reducesumsquare_backward;
/* backward_scratch_bytes of all of them: two floats per element of the output. */
size_t ldnq_reduce_backward_scratch_bytes(const struct ldnq_op_grad *grad);

#endif
