/* slopes.h: gradients of operators of one element: that of the output times the
 * slope at the element.
 */
#ifndef LDNQ_OPS_SLOPES_H
#define LDNQ_OPS_SLOPES_H

#include "base/simd.h"
#include "ops/op.h"

struct ldnq_slope {
    const float *from; /* the input or the output */
    const float *gradient;
    float *out;
    float alpha, beta; /* the operator's attributes */
};

/* The gradient of the input: EXPR of g, the output's gradient, and v, the element of
 * what the operator reads back. */
#define LDNQ_SLOPE(name, EXPR)                                                                     \
    LDNQ_MULTIVERSION                                                                              \
    static void name(const void *ctx, size_t first, size_t last)                                   \
    {                                                                                              \
        const struct ldnq_slope *slope = ctx;                                                      \
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

/* What a record reads back: LDNQ_SLOPE_OF_in or _out, beside .reads_in or .reads_out. */
#define LDNQ_SLOPE_OF_in(grad) (grad)->call->in[0]
#define LDNQ_SLOPE_OF_out(grad) (&(grad)->call->out[0])

/* Errors: UNSUPPORTED (integers, which have no slope). */
static inline enum ldnq_status ldnq_slope_run(const struct ldnq_op_grad *grad,
                                              const struct ldnq_tensor *from, ldnq_range_fn *run,
                                              float alpha, float beta, struct ldnq_error *err)
{
    if (!grad->in[0].data)
        return LDNQ_OK;
    if (from->dtype != LDNQ_FLOAT)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "gradients of type %s are not supported",
                         ldnq_dtype_name(from->dtype));
    struct ldnq_slope slope = { from->data, grad->out[0]->data, grad->in[0].data, alpha, beta };
    ldnq_op_for_ranges(grad->call, ldnq_tensor_count(from), run, &slope);
    return LDNQ_OK;
}

#endif
