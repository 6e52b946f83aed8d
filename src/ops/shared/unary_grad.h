/* unary_grad.h: gradients of operators of one element: that of the output times the
 * slope at the element.
 */
#ifndef LDNQ_OPS_UNARY_GRAD_H
#define LDNQ_OPS_UNARY_GRAD_H

#include "base/simd.h"
#include "ops/op.h"

struct ldnq_unary_grad {
    const float *from; /* the input or the output */
    const float *gradient;
    float *out;
    float alpha, beta; /* the operator's attributes */
};

/* The gradient of the input: EXPR of g, the output's gradient, and v, the element of
 * what the operator reads back. */
#define LDNQ_UNARY_GRAD(name, EXPR)                                                                \
    LDNQ_MULTIVERSION                                                                              \
    static void name(const void *ctx, size_t first, size_t last)                                   \
    {                                                                                              \
        const struct ldnq_unary_grad *slope = ctx;                                                 \
        const float *restrict from = slope->from, *restrict gradient = slope->gradient;            \
        float *restrict out = slope->out;                                                          \
        const float alpha = slope->alpha, beta = slope->beta;                                      \
        (void)alpha;                                                                               \
        (void)beta;                                                                                \
        for (size_t i = first; i < last; i++) {                                                    \
            const float v = from[i], g = gradient[i];                                              \
            out[i] = EXPR;                                                                         \
        }                                                                                          \
    }

/* What a record reads back: LDNQ_SAVED_inputs or _out, beside .saved_inputs or .saved_outputs. */
#define LDNQ_SAVED_inputs(grad) (grad)->call->in[0]
#define LDNQ_SAVED_outputs(grad) (&(grad)->call->out[0])

/* Errors: UNSUPPORTED (integers, which have no slope). */
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
    struct ldnq_unary_grad slope = { from->data, grad->out[0]->data, grad->in[0].data, alpha,
                                     beta };
    ldnq_op_run_ranges(grad->call, ldnq_tensor_count(from), run, &slope);
    return LDNQ_OK;
}

#endif
