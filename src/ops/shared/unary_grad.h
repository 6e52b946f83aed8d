/* SPDX-License-Identifier: Apache-2.0 */
/* unary_grad.h: gradients of operators y = f(x) of one element: dx = dy f'(x), where f' is
 * written in terms of x or of y.
 */
#ifndef LDNQ_OPS_UNARY_GRAD_H
#define LDNQ_OPS_UNARY_GRAD_H

#include "base/simd.h"
#include "ops/op.h"

struct ldnq_unary_grad {
    const float *from; /* x or y */
    const float *gradient;
    float *out;
    float alpha, beta; /* the operator's attributes */
};

/* Defines the loop `name`: dx = EXPR of g (dy), v (x or y), alpha and beta (attributes). */
#define LDNQ_UNARY_GRAD(name, EXPR)                                                                \
    LDNQ_MULTIVERSION                                                                              \
    static void name(const void *ctx, size_t first, size_t last)                                   \
    {                                                                                              \
        const struct ldnq_unary_grad *grad = ctx;                                                  \
        const float *restrict from = grad->from, *restrict gradient = grad->gradient;              \
        float *restrict out = grad->out;                                                           \
        const float alpha = grad->alpha, beta = grad->beta;                                        \
        (void)alpha;                                                                               \
        (void)beta;                                                                                \
        for (size_t i = first; i < last; i++) {                                                    \
            const float v = from[i], g = gradient[i];                                              \
            out[i] = EXPR;                                                                         \
        }                                                                                          \
    }

/* The tensor with v, for macros that also set .saved_inputs or .saved_outputs. */
#define LDNQ_SAVED_inputs(grad) (grad)->call->in[0]
#define LDNQ_SAVED_outputs(grad) (&(grad)->call->out[0])

/* Computes the gradient of input 0, if it is requested. `from` holds v, `run` is a loop that
 * LDNQ_UNARY_GRAD defined. Errors: UNSUPPORTED (integers). */
static inline enum ldnq_status ldnq_unary_grad_run(const struct ldnq_op_grad *grad,
                                                   const struct ldnq_tensor *from,
                                                   ldnq_range_fn *run, float alpha, float beta,
                                                   struct ldnq_error *err)
{
    if (!grad->in[0].data)
        return LDNQ_OK;
    if (from->dtype != LDNQ_FLOAT)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "gradients of type %s are not supported",
                         ldnq_dtype_name(from->dtype));
    struct ldnq_unary_grad loop = { from->data, grad->out[0]->data, grad->in[0].data, alpha, beta };
    ldnq_op_run_ranges(grad->call, ldnq_tensor_count(from), run, &loop);
    return LDNQ_OK;
}

#endif
