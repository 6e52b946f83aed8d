/* SPDX-License-Identifier: Apache-2.0 */
/* reduce_grad.c: gradients of the Reduce family. The gradient of an output is broadcast to the
 * elements that were reduced to it, and multiplied by their derivatives.
 */
#include "ops/reduce/reduce.h"

#include <math.h>
#include <string.h>

#include "ops/shared/elementwise.h"

/* The tensors of backward. g, y and scratch have all axes of x, with size 1 where reduced, so
 * that they broadcast to x. */
struct reduce_grad {
    const struct ldnq_op_call *call;
    unsigned set; /* the reduced axes */
    const struct ldnq_tensor *x;
    struct ldnq_tensor g, y; /* dy, and y (no data if the operator does not save it) */
    struct ldnq_tensor scratch[2];
    struct ldnq_tensor out; /* the gradient dx */
    size_t count;           /* elements of y */
};

size_t ldnq_reduce_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    size_t count = ldnq_tensor_count(&grad->call->out[0]);
    return count > SIZE_MAX / (2 * sizeof(float)) ? SIZE_MAX : 2 * count * sizeof(float);
}

/* Whether the gradient is requested and not empty. */
static bool is_gradient_requested(const struct ldnq_op_grad *grad)
{
    return grad->in[0].data && ldnq_tensor_count(&grad->in[0]) > 0;
}

/* Errors: UNSUPPORTED (integers), MODEL. */
static enum ldnq_status init_tensors(const struct ldnq_op_grad *grad, struct reduce_grad *s,
                                     struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    *s = (struct reduce_grad){ .call = call, .x = call->in[0], .out = grad->in[0] };
    if (s->x->dtype != LDNQ_FLOAT)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "gradients of type %s are not supported",
                         ldnq_dtype_name(s->x->dtype));
    LDNQ_TRY(ldnq_reduce_read_axes(call, &s->set, err));
    s->count = ldnq_tensor_count(&call->out[0]);
    s->g = (struct ldnq_tensor){ .dtype = LDNQ_FLOAT, .shape = s->x->shape };
    for (int i = 0; i < s->g.shape.rank; i++)
        s->g.shape.dim[i] = s->set & (1u << i) ? 1 : s->g.shape.dim[i];
    s->y = s->scratch[0] = s->scratch[1] = s->g;
    s->g.data = grad->out[0]->data;
    s->y.data = call->out[0].data;
    s->scratch[0].data = call->scratch;
    s->scratch[1].data = call->scratch ? (float *)call->scratch + s->count : NULL;
    return LDNQ_OK;
}

/* Declares s and initializes it, or returns if there is nothing to compute. */
#define INIT_TENSORS(s)                                                                            \
    struct reduce_grad s;                                                                          \
    if (!is_gradient_requested(grad))                                                              \
        return LDNQ_OK;                                                                            \
    LDNQ_TRY(init_tensors(grad, &s, err))

/* dx = run(a), with a broadcast to x; the same for two and three tensors. */
static void run_with_1_broadcast(const struct reduce_grad *s, ldnq_elementwise_fn *run,
                                 const struct ldnq_tensor *a)
{
    const struct ldnq_tensor *in[] = { a };
    ldnq_elementwise_run(s->call, run, &s->out, in, 1);
}

static void run_with_2_broadcast(const struct reduce_grad *s, ldnq_elementwise_fn *run,
                                 const struct ldnq_tensor *a, const struct ldnq_tensor *b)
{
    const struct ldnq_tensor *in[] = { a, b };
    ldnq_elementwise_run(s->call, run, &s->out, in, 2);
}

static void run_with_3_broadcast(const struct reduce_grad *s, ldnq_elementwise_fn *run,
                                 const struct ldnq_tensor *a, const struct ldnq_tensor *b,
                                 const struct ldnq_tensor *c)
{
    const struct ldnq_tensor *in[] = { a, b, c };
    ldnq_elementwise_run(s->call, run, &s->out, in, 3);
}

/* ---- sums -------------------------------------------------------------------------- */

static void copy_gradient(void *out_, const void *const *in, const size_t *step, size_t count)
{
    const float *x = in[0];
    float *out = out_;
    if (step[0])
        memcpy(out, x, count * sizeof(float));
    for (size_t i = 0; i < count && !step[0]; i++)
        out[i] = *x;
}

enum ldnq_status ldnq_reducesum_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    INIT_TENSORS(s);
    run_with_1_broadcast(&s, copy_gradient, &s.g);
    return LDNQ_OK;
}

enum ldnq_status ldnq_reducemean_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    INIT_TENSORS(s);
    float *scaled = s.scratch[0].data, each = (float)(ldnq_tensor_count(s.x) / s.count);
    for (size_t i = 0; i < s.count; i++)
        scaled[i] = ((const float *)s.g.data)[i] / each;
    run_with_1_broadcast(&s, copy_gradient, &s.scratch[0]);
    return LDNQ_OK;
}

/* y = log(sum), so dx = g / sum = g e^-y. */
enum ldnq_status ldnq_reducelogsum_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    INIT_TENSORS(s);
    float *scaled = s.scratch[0].data;
    for (size_t i = 0; i < s.count; i++)
        scaled[i] = ((const float *)s.g.data)[i] * expf(-((const float *)s.y.data)[i]);
    run_with_1_broadcast(&s, copy_gradient, &s.scratch[0]);
    return LDNQ_OK;
}

LDNQ_BINARY_LOOP(l1_loop, float, float, y > 0.0f ? x : y < 0.0f ? -x : 0.0f)
LDNQ_BINARY_LOOP(square_loop, float, float, 2.0f * x * y)
/* The derivative of the norm is not defined at 0, and taken as 0. */
LDNQ_TERNARY_LOOP(l2_loop, y == 0.0f ? 0.0f : g * (x / y))
/* e^x / sum; 0 if the sum is 0 (y = -inf). */
LDNQ_BINARY_LOOP(exp_loop, float, float, y == -INFINITY ? 0.0f : expf(x - y))
LDNQ_BINARY_LOOP(times_loop, float, float, x != 0.0f ? x * y : 0.0f)

enum ldnq_status ldnq_reducel1_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    INIT_TENSORS(s);
    run_with_2_broadcast(&s, l1_loop, &s.g, s.x);
    return LDNQ_OK;
}

enum ldnq_status ldnq_reducesumsquare_backward(const struct ldnq_op_grad *grad,
                                               struct ldnq_error *err)
{
    INIT_TENSORS(s);
    run_with_2_broadcast(&s, square_loop, &s.g, s.x);
    return LDNQ_OK;
}

enum ldnq_status ldnq_reducel2_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    INIT_TENSORS(s);
    run_with_3_broadcast(&s, l2_loop, &s.g, s.x, &s.y);
    return LDNQ_OK;
}

/* Divides the gradient of each output among its elements, in proportion to the weights in
 * `out`, which become dx. */
static void distribute_gradient(const struct reduce_grad *s)
{
    float *shares = s->scratch[0].data;
    ldnq_op_sum_broadcast_grad(s->call, &s->out, &s->scratch[0]);
    for (size_t i = 0; i < s->count; i++)
        shares[i] = ((const float *)s->g.data)[i] / shares[i];
    run_with_2_broadcast(s, times_loop, &s->out, &s->scratch[0]);
}

/* For large y, the rounding error of y makes the weights e^(x-y) inexact; normalizing them to
 * the sum 1 corrects that. */
enum ldnq_status ldnq_reducelogsumexp_backward(const struct ldnq_op_grad *grad,
                                               struct ldnq_error *err)
{
    INIT_TENSORS(s);
    run_with_2_broadcast(&s, exp_loop, s.x, &s.y);
    distribute_gradient(&s);
    return LDNQ_OK;
}

/* ---- extremes ------------------------------------------------------------------------ */

LDNQ_BINARY_LOOP(equal_loop, float, float, x == y ? 1.0f : 0.0f)

/* ReduceMax and ReduceMin: the gradient is divided evenly among the elements that equal the
 * output. */
enum ldnq_status ldnq_reduceextreme_backward(const struct ldnq_op_grad *grad,
                                             struct ldnq_error *err)
{
    INIT_TENSORS(s);
    run_with_2_broadcast(&s, equal_loop, s.x, &s.y);
    distribute_gradient(&s);
    return LDNQ_OK;
}

/* ---- products ------------------------------------------------------------------------ */

LDNQ_BINARY_LOOP(is_zero_loop, float, float, ((void)y, x == 0.0f ? 1.0f : 0.0f))
LDNQ_BINARY_LOOP(no_zero_loop, float, float, ((void)y, x == 0.0f ? 1.0f : x))
/* g is the gradient times the product for elements that are not zero, y for those that are. */
LDNQ_TERNARY_LOOP(product_loop, x == 0.0f ? y : g / x)

/* dx = g times the product of all other elements, which is 0 if any of these is 0. It is not 0
 * in two cases: no element is 0, or only this one is. */
enum ldnq_status ldnq_reduceprod_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    INIT_TENSORS(s);
    float *product = s.scratch[0].data, *zeros = s.scratch[1].data;
    run_with_2_broadcast(&s, is_zero_loop, s.x, s.x);
    ldnq_op_sum_broadcast_grad(s.call, &s.out, &s.scratch[1]);
    run_with_2_broadcast(&s, no_zero_loop, s.x, s.x);
    ldnq_reduce_product(s.call, s.set, &s.out, &s.scratch[0]);
    for (size_t i = 0; i < s.count; i++) {
        float scaled = ((const float *)s.g.data)[i] * product[i];
        product[i] = zeros[i] == 0.0f ? scaled : 0.0f;
        zeros[i] = zeros[i] == 1.0f ? scaled : 0.0f;
    }
    run_with_3_broadcast(&s, product_loop, &s.scratch[0], s.x, &s.scratch[1]);
    return LDNQ_OK;
}
