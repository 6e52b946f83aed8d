/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/norm/batchnormalization_training.h"

#include <math.h>

#include "ops/shared/float_sums.h"

/* x as (images, channels, size). */
struct batchnorm_extents {
    size_t images, channels, size;
    double epsilon, momentum;
};

struct batchnorm_moments {
    double mean, variance;
};

static struct batchnorm_extents find_batchnorm_extents(const struct ldnq_op_call *call)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    struct batchnorm_extents e = {
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

static struct batchnorm_moments measure_channel(const struct batchnorm_extents *e, const float *x,
                                                size_t channel)
{
    const double count = (double)(e->images * e->size);
    struct batchnorm_moments m = { 0 };
    for (size_t image = 0; image < e->images; image++)
        m.mean += ldnq_sum_floats(x + (image * e->channels + channel) * e->size, e->size);
    m.mean /= count;
    for (size_t image = 0; image < e->images; image++)
        m.variance += ldnq_sum_squared_deviations(x + (image * e->channels + channel) * e->size,
                                                  e->size, m.mean);
    m.variance /= count;
    return m;
}

/* ---- forward ------------------------------------------------------------------------ */

struct batchnorm_training {
    struct batchnorm_extents e;
    const float *x, *scale, *shift, *mean, *variance;
    float *y, *running_mean, *running_variance; /* the last two may be NULL */
};

static void normalize_channels(const void *ctx, size_t first, size_t last)
{
    const struct batchnorm_training *t = ctx;
    const double keep = t->e.momentum;
    for (size_t c = first; c < last; c++) {
        struct batchnorm_moments m = measure_channel(&t->e, t->x, c);
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

void ldnq_batchnorm_train_forward(const struct ldnq_op_call *call)
{
    struct batchnorm_training t = {
        .e = find_batchnorm_extents(call),
        .x = call->in[0]->data,
        .scale = call->in[1]->data,
        .shift = call->in[2]->data,
        .mean = call->in[3]->data,
        .variance = call->in[4]->data,
        .y = call->out[0].data,
        .running_mean = call->out_count > 1 ? call->out[1].data : NULL,
        .running_variance = call->out_count > 2 ? call->out[2].data : NULL,
    };
    ldnq_op_run_rows(call, t.e.channels, t.e.images * t.e.size, normalize_channels, &t);
}

/* ---- backward ----------------------------------------------------------------------- */

struct batchnorm_backward {
    struct batchnorm_extents e;
    const float *x, *gamma, *dy, *dmean_out, *dvariance_out; /* gradients; NULL: zero */
    float *dx, *dgamma, *dbeta, *dmean, *dvariance;          /* NULL: not requested */
};

/* dx = factor dy + slope (x - mean) + offset, for one channel. */
static void write_channel_dx(const struct batchnorm_backward *b, size_t channel,
                             const struct batchnorm_moments *m, double factor, double slope,
                             double offset)
{
    for (size_t image = 0; image < b->e.images; image++) {
        size_t at = (image * b->e.channels + channel) * b->e.size;
        for (size_t i = at; i < at + b->e.size; i++) {
            double dy = b->dy ? (double)b->dy[i] : 0;
            b->dx[i] = (float)(factor * dy + slope * ((double)b->x[i] - m->mean) + offset);
        }
    }
}

/* With v = 1 / sqrt(var + epsilon), z = (x - mean) v, k = 1 - momentum and E the mean over
 * the `count` elements of the channel:
 *   dx = gamma v (dy - E[dy] - z E[dy z])
 *        + k drunning_mean / count + 2 k drunning_var (x - mean) / count */
static void compute_channel_gradients(const void *ctx, size_t first, size_t last)
{
    const struct batchnorm_backward *b = ctx;
    const double count = (double)(b->e.images * b->e.size), keep = b->e.momentum;
    for (size_t c = first; c < last; c++) {
        struct batchnorm_moments m = measure_channel(&b->e, b->x, c);
        double v = 1 / sqrt(m.variance + b->e.epsilon), sum = 0, product = 0;
        double of_mean = b->dmean_out ? (double)b->dmean_out[c] : 0;
        double of_variance = b->dvariance_out ? (double)b->dvariance_out[c] : 0;
        for (size_t image = 0; b->dy && image < b->e.images; image++) {
            size_t at = (image * b->e.channels + c) * b->e.size;
            sum += ldnq_sum_floats(b->dy + at, b->e.size);
            product += ldnq_sum_weighted_deviations(b->dy + at, b->x + at, b->e.size, m.mean);
        }
        double factor = (double)b->gamma[c] * v;
        double slope = (2 * (1 - keep) * of_variance - factor * v * v * product) / count;
        double offset = ((1 - keep) * of_mean - factor * sum) / count;
        if (b->dx)
            write_channel_dx(b, c, &m, factor, slope, offset);
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

void ldnq_batchnorm_train_backward(const struct ldnq_op_grad *grad)
{
    const struct ldnq_op_call *call = grad->call;
    struct batchnorm_backward b = {
        .e = find_batchnorm_extents(call),
        .x = call->in[0]->data,
        .gamma = call->in[1]->data,
        .dy = ldnq_op_output_grad(grad, 0),
        .dmean_out = ldnq_op_output_grad(grad, 1),
        .dvariance_out = ldnq_op_output_grad(grad, 2),
        .dx = grad->in[0].data,
        .dgamma = grad->in[1].data,
        .dbeta = grad->in[2].data,
        .dmean = grad->in[3].data,
        .dvariance = grad->in[4].data,
    };
    ldnq_op_run_rows(call, b.e.channels, b.e.images * b.e.size, compute_channel_gradients, &b);
}
