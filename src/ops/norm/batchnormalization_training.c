#include "ops/norm/batchnormalization_training.h"

#include <math.h>

#include "ops/shared/sums.h"

/* Of x as (images, channels, size). */
struct extents {
    size_t images, channels, size;
    double epsilon, momentum;
};

struct moments {
    double mean, variance;
};

static struct extents extents_of(const struct ldnq_op_call *call)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    struct extents e = {
        .images = x->rank > 0 ? (size_t)x->dim[0] : 1,
        .channels = ldnq_tensor_count(call->in[1]),
        .size = 1,
        .epsilon = (double)ldnq_attr_float(call->node, "epsilon", 1e-5f),
        .momentum = (double)ldnq_attr_float(call->node, "momentum", 0.9f),
    };
    for (int i = 2; i < x->rank; i++)
        e.size *= (size_t)x->dim[i];
    return e;
}

static struct moments moments_of(const struct extents *e, const float *x, size_t channel)
{
    const double count = (double)(e->images * e->size);
    struct moments m = { 0 };
    for (size_t image = 0; image < e->images; image++)
        m.mean += ldnq_sum(x + (image * e->channels + channel) * e->size, e->size);
    m.mean /= count;
    for (size_t image = 0; image < e->images; image++)
        m.variance +=
            ldnq_sum_squares(x + (image * e->channels + channel) * e->size, e->size, m.mean);
    m.variance /= count;
    return m;
}

/* ---- forward ------------------------------------------------------------------------ */

struct train {
    struct extents e;
    const float *x, *scale, *shift, *mean, *variance;
    float *y, *running_mean, *running_variance; /* the last two NULL where not wanted */
};

static void train_channels(const void *ctx, size_t first, size_t last)
{
    const struct train *t = ctx;
    const double keep = t->e.momentum;
    for (size_t c = first; c < last; c++) {
        struct moments m = moments_of(&t->e, t->x, c);
        double factor = (double)t->scale[c] / sqrt(m.variance + t->e.epsilon);
        const float scale = (float)factor, shift = (float)((double)t->shift[c] - m.mean * factor);
        for (size_t image = 0; image < t->e.images; image++) {
            size_t at = (image * t->e.channels + c) * t->e.size;
            LDNQ_IVDEP
            for (size_t i = at; i < at + t->e.size; i++)
                t->y[i] = t->x[i] * scale + shift;
        }
        if (t->running_mean)
            t->running_mean[c] = (float)((double)t->mean[c] * keep + m.mean * (1 - keep));
        if (t->running_variance)
            t->running_variance[c] =
                (float)((double)t->variance[c] * keep + m.variance * (1 - keep));
    }
}

void ldnq_batchnorm_train(const struct ldnq_op_call *call)
{
    struct train t = {
        .e = extents_of(call),
        .x = call->in[0]->data,
        .scale = call->in[1]->data,
        .shift = call->in[2]->data,
        .mean = call->in[3]->data,
        .variance = call->in[4]->data,
        .y = call->out[0].data,
        .running_mean = call->out_count > 1 ? call->out[1].data : NULL,
        .running_variance = call->out_count > 2 ? call->out[2].data : NULL,
    };
    ldnq_op_for_rows(call, t.e.channels, t.e.images * t.e.size, train_channels, &t);
}

/* ---- backward ----------------------------------------------------------------------- */

struct back {
    struct extents e;
    const float *x, *gamma, *dy, *dmean_out, *dvariance_out; /* gradients NULL for zero */
    float *dx, *dgamma, *dbeta, *dmean, *dvariance;          /* NULL where not wanted */
};

/* dx = a dy + b (x - mean) + c, the last two from the batch's statistics. */
static void channel_dx(const struct back *b, size_t channel, const struct moments *m, double factor,
                       double slope, double offset)
{
    for (size_t image = 0; image < b->e.images; image++) {
        size_t at = (image * b->e.channels + channel) * b->e.size;
        for (size_t i = at; i < at + b->e.size; i++) {
            double dy = b->dy ? (double)b->dy[i] : 0;
            b->dx[i] = (float)(factor * dy + slope * ((double)b->x[i] - m->mean) + offset);
        }
    }
}

/* With v = 1 / sqrt(var + epsilon) and n = (x - mean) v:
 *   dx = scale v (dy - E[dy] - n E[dy n]) + what the running statistics add. */
static void back_channels(const void *ctx, size_t first, size_t last)
{
    const struct back *b = ctx;
    const double count = (double)(b->e.images * b->e.size), keep = b->e.momentum;
    for (size_t c = first; c < last; c++) {
        struct moments m = moments_of(&b->e, b->x, c);
        double v = 1 / sqrt(m.variance + b->e.epsilon), sum = 0, product = 0;
        double of_mean = b->dmean_out ? (double)b->dmean_out[c] : 0;
        double of_variance = b->dvariance_out ? (double)b->dvariance_out[c] : 0;
        for (size_t image = 0; b->dy && image < b->e.images; image++) {
            size_t at = (image * b->e.channels + c) * b->e.size;
            sum += ldnq_sum(b->dy + at, b->e.size);
            product += ldnq_sum_products(b->dy + at, b->x + at, b->e.size, m.mean);
        }
        double factor = (double)b->gamma[c] * v;
        double slope = (2 * (1 - keep) * of_variance - factor * v * v * product) / count;
        double offset = ((1 - keep) * of_mean - factor * sum) / count;
        if (b->dx)
            channel_dx(b, c, &m, factor, slope, offset);
        if (b->dgamma)
            b->dgamma[c] = (float)(product * v);
        if (b->dbeta)
            b->dbeta[c] = (float)sum;
        if (b->dmean)
            b->dmean[c] = (float)(keep * of_mean);
        if (b->dvariance)
            b->dvariance[c] = (float)(keep * of_variance);
    }
}

static const float *gradient_of(const struct ldnq_op_grad *grad, size_t output)
{
    return output < grad->call->out_count && grad->out[output] ? grad->out[output]->data : NULL;
}

void ldnq_batchnorm_train_backward(const struct ldnq_op_grad *grad)
{
    const struct ldnq_op_call *call = grad->call;
    struct back b = {
        .e = extents_of(call),
        .x = call->in[0]->data,
        .gamma = call->in[1]->data,
        .dy = gradient_of(grad, 0),
        .dmean_out = gradient_of(grad, 1),
        .dvariance_out = gradient_of(grad, 2),
        .dx = grad->in[0].data,
        .dgamma = grad->in[1].data,
        .dbeta = grad->in[2].data,
        .dmean = grad->in[3].data,
        .dvariance = grad->in[4].data,
    };
    ldnq_op_for_rows(call, b.e.channels, b.e.images * b.e.size, back_channels, &b);
}
