/* reduce.h: gradients of the Reduce family (reduce_grad.c) for its records (reduce.c),
 * and what they need from there.
 */
#ifndef LDNQ_OPS_REDUCE_H
#define LDNQ_OPS_REDUCE_H

#include "ops/op.h"

/* The axes that a Reduce node sums over, whatever its opset. Errors: MODEL. */
enum ldnq_status ldnq_reduce_axes(const struct ldnq_op_call *call, unsigned *set,
                                  struct ldnq_error *err);
/* y = products of x over the axes. */
void ldnq_reduce_product(const struct ldnq_op_call *call, unsigned set, const struct ldnq_tensor *x,
                         const struct ldnq_tensor *y);

typedef enum ldnq_status ldnq_backward_fn(const struct ldnq_op_grad *grad, struct ldnq_error *err);
ldnq_backward_fn ldnq_reducel1_backward, ldnq_reducel2_backward, ldnq_reducelogsum_backward,
    ldnq_reducelogsumexp_backward, ldnq_reduceextreme_backward, ldnq_reducemean_backward,
    ldnq_reduceprod_backward, ldnq_reducesum_backward, ldnq_reducesumsquare_backward;
/* For two numbers an output. */
size_t ldnq_reduce_backward_scratch(const struct ldnq_op_grad *grad);

#endif
