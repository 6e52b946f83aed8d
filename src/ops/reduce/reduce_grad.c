/* reduce_grad.c: gradients of the Reduce family: those of the outputs spread over the
 * elements that came to them.
 */
#include "ops/reduce/reduce.h"

#include <math.h>
#include <string.h>

#include "ops/shared/elementwise.h"

/* The output's gradient and data with the reduced axes in them, as one element each. */
struct spread {
    const struct ldnq_op_call *call;
    unsigned set;
    const struct ldnq_tensor *x;
    struct ldnq_tensor g, y;       /* y without data where the operator does not read it */
    struct ldnq_tensor scratch[2]; /* in the shape of y */
    struct ldnq_tensor out;        /* the input's gradient */
    size_t count;                  /* elements of y */
};

size_t ldnq_reduce_backward_scratch(const struct ldnq_op_grad *grad)
{
    size_t count = ldnq_tensor_count(&grad->call->out[0]);
    return count > SIZE_MAX / (2 * sizeof(float)) ? SIZE_MAX : 2 * count * sizeof(float);
}

/* false when there is nothing to compute. */
static bool has_work(const struct ldnq_op_grad *grad)
{
    return grad->in[0].data && ldnq_tensor_count(&grad->in[0]) > 0;
}

/* Errors: UNSUPPORTED (integers), MODEL. */
static enum ldnq_status set_spread(const struct ldnq_op_grad *grad, struct spread *s,
                                   struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    *s = (struct spread){ .call = call, .x = call->in[0], .out = grad->in[0] };
    if (s->x->dtype != LDNQ_FLOAT)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "gradients of type %s are not supported",
                         ldnq_dtype_name(s->x->dtype));
    LDNQ_TRY(ldnq_reduce_axes(call, &s->set, err));
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

#define START(s)                                                                                   \
    struct spread s;                                                                               \
    if (!has_work(grad))                                                                           \
        return LDNQ_OK;                                                                            \
    LDNQ_TRY(set_spread(grad, &s, err))

static void spread_1(const struct spread *s, ldnq_elementwise_fn *run, const struct ldnq_tensor *a)
{
    const struct ldnq_tensor *in[] = { a };
    ldnq_elementwise_run(s->call, run, &s->out, in, 1);
}

static void spread_2(const struct spread *s, ldnq_elementwise_fn *run, const struct ldnq_tensor *a,
                     const struct ldnq_tensor *b)
{
    const struct ldnq_tensor *in[] = { a, b };
    ldnq_elementwise_run(s->call, run, &s->out, in, 2);
}

static void spread_3(const struct spread *s, ldnq_elementwise_fn *run, const struct ldnq_tensor *a,
                     const struct ldnq_tensor *b, const struct ldnq_tensor *c)
{
    const struct ldnq_tensor *in[] = { a, b, c };
    ldnq_elementwise_run(s->call, run, &s->out, in, 3);
}

/* ---- sums -------------------------------------------------------------------------- */

static void copy(void *out_, const void *const *in, const size_t *step, size_t count)
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
    START(s);
    spread_1(&s, copy, &s.g);
    return LDNQ_OK;
}

enum ldnq_status ldnq_reducemean_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    START(s);
    float *scaled = s.scratch[0].data, each = (float)(ldnq_tensor_count(s.x) / s.count);
    for (size_t i = 0; i < s.count; i++)
        scaled[i] = ((const float *)s.g.data)[i] / each;
    spread_1(&s, copy, &s.scratch[0]);
    return LDNQ_OK;
}

/* g over the sum, which is e^y. */
enum ldnq_status ldnq_reducelogsum_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    START(s);
    float *scaled = s.scratch[0].data;
    for (size_t i = 0; i < s.count; i++)
        scaled[i] = ((const float *)s.g.data)[i] * expf(-((const float *)s.y.data)[i]);
    spread_1(&s, copy, &s.scratch[0]);
    return LDNQ_OK;
}

LDNQ_BINARY_LOOP(l1_span, float, float, y > 0.0f ? x : y < 0.0f ? -x : 0.0f)
LDNQ_BINARY_LOOP(square_span, float, float, 2.0f * x * y)
/* At the origin, where there is no slope, 0. */
LDNQ_TERNARY_LOOP(l2_span, y == 0.0f ? 0.0f : g * (x / y))
/* e^x against the sum. Of a sum of nothing but zeros (y = -inf) none has a share. */
LDNQ_BINARY_LOOP(exp_span, float, float, y == -INFINITY ? 0.0f : expf(x - y))
LDNQ_BINARY_LOOP(times_span, float, float, x != 0.0f ? x * y : 0.0f)

enum ldnq_status ldnq_reducel1_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    START(s);
    spread_2(&s, l1_span, &s.g, s.x);
    return LDNQ_OK;
}

enum ldnq_status ldnq_reducesumsquare_backward(const struct ldnq_op_grad *grad,
                                               struct ldnq_error *err)
{
    START(s);
    spread_2(&s, square_span, &s.g, s.x);
    return LDNQ_OK;
}

enum ldnq_status ldnq_reducel2_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    START(s);
    spread_3(&s, l2_span, &s.g, s.x, &s.y);
    return LDNQ_OK;
}

/* Each one's share of the output's gradient; `out` has shares up to a factor that is
 * the same for all that come to one output. */
static void share_out(const struct spread *s)
{
    float *shares = s->scratch[0].data;
    ldnq_op_sum_broadcast_grad(s->call, &s->out, &s->scratch[0]);
    for (size_t i = 0; i < s->count; i++)
        shares[i] = ((const float *)s->g.data)[i] / shares[i];
    spread_2(s, times_span, &s->out, &s->scratch[0]);
}

/* y is rounded, which e^y shows where y is large: so the shares are made to sum to 1. */
enum ldnq_status ldnq_reducelogsumexp_backward(const struct ldnq_op_grad *grad,
                                               struct ldnq_error *err)
{
    START(s);
    spread_2(&s, exp_span, s.x, &s.y);
    share_out(&s);
    return LDNQ_OK;
}

/* ---- extremes ------------------------------------------------------------------------ */

LDNQ_BINARY_LOOP(equal_span, float, float, x == y ? 1.0f : 0.0f)

/* Elements that are the extreme share its gradient evenly. */
enum ldnq_status ldnq_reduceextreme_backward(const struct ldnq_op_grad *grad,
                                             struct ldnq_error *err)
{
    START(s);
    spread_2(&s, equal_span, s.x, &s.y);
    share_out(&s);
    return LDNQ_OK;
}

/* ---- products ------------------------------------------------------------------------ */

LDNQ_BINARY_LOOP(is_zero_span, float, float, ((void)y, x == 0.0f ? 1.0f : 0.0f))
LDNQ_BINARY_LOOP(no_zero_span, float, float, ((void)y, x == 0.0f ? 1.0f : x))
/* x: g for an element that is not zero, y for one that is. */
LDNQ_TERNARY_LOOP(product_span, x == 0.0f ? y : g / x)

/* The product of the others. Among those of an element that is zero there may be no
 * other zero, among those of another element none at all. */
enum ldnq_status ldnq_reduceprod_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    START(s);
    float *product = s.scratch[0].data, *zeros = s.scratch[1].data;
    spread_2(&s, is_zero_span, s.x, s.x);
    ldnq_op_sum_broadcast_grad(s.call, &s.out, &s.scratch[1]);
    spread_2(&s, no_zero_span, s.x, s.x);
    ldnq_reduce_product(s.call, s.set, &s.out, &s.scratch[0]);
    for (size_t i = 0; i < s.count; i++) {
        float scaled = ((const float *)s.g.data)[i] * product[i];
        product[i] = zeros[i] == 0.0f ? scaled : 0.0f;
        zeros[i] = zeros[i] == 1.0f ? scaled : 0.0f;
    }
    spread_3(&s, product_span, &s.scratch[0], s.x, &s.scratch[1]);
    return LDNQ_OK;
}
