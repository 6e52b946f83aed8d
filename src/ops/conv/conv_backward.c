/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv/conv_backward.h"

#include <string.h>

#include "base/size.h"
#include "ops/shared/float_sums.h"

/* ---- dispatch ----------------------------------------------------------------------- */

static size_t count_weights(const struct ldnq_conv_grad *grad)
{
    const struct ldnq_conv_geometry *g = &grad->job.geometry;
    return grad->job.groups * grad->job.outputs * g->channels * g->kernel_h * g->kernel_w;
}

static bool is_depthwise(const struct ldnq_conv_grad *grad)
{
    return grad->job.geometry.channels == 1 && grad->job.outputs <= 4 && grad->job.groups > 1;
}

/* Whether dx is a convolution with the flipped kernels, whose padding, (K-1)*dilation - pad,
 * must not be negative. */
static bool can_use_flipped_kernels(const struct ldnq_conv_grad *grad)
{
    const struct ldnq_conv_geometry *g = &grad->job.geometry;
    return g->stride_h == 1 && g->stride_w == 1 &&
           g->pad_top <= (g->kernel_h - 1) * g->dilation_h &&
           g->pad_left <= (g->kernel_w - 1) * g->dilation_w;
}

/* ---- dx by flipped kernels --------------------------------------------------------------------
 */

static size_t count_flipped_floats(const struct ldnq_conv_grad *grad)
{
    return (count_weights(grad) + 15) & ~(size_t)15;
}

/* The convolution dx = dy * flipped kernels. Scratch holds the flipped kernels, followed by
 * the scratch of the convolution. */
static struct ldnq_conv_job make_flipped_job(const struct ldnq_conv_grad *grad)
{
    const struct ldnq_conv_geometry *g = &grad->job.geometry;
    struct ldnq_conv_job job = { .geometry = *g,
                                 .groups = grad->job.groups,
                                 .outputs = g->channels,
                                 .images = grad->job.images,
                                 .x = grad->dy,
                                 .y = grad->dx };
    job.geometry.channels = grad->job.outputs;
    job.geometry.height = g->out_h;
    job.geometry.width = g->out_w;
    job.geometry.out_h = g->height;
    job.geometry.out_w = g->width;
    job.geometry.pad_top = (g->kernel_h - 1) * g->dilation_h - g->pad_top;
    job.geometry.pad_left = (g->kernel_w - 1) * g->dilation_w - g->pad_left;
    if (grad->scratch) {
        job.weight = grad->scratch;
        job.scratch = (float *)grad->scratch + count_flipped_floats(grad);
    }
    return job;
}

/* weight (G*M, C, taps) to out (G*C, M, taps in reverse order). */
static void flip_kernels(const struct ldnq_conv_grad *grad, float *out)
{
    const struct ldnq_conv_geometry *g = &grad->job.geometry;
    size_t taps = g->kernel_h * g->kernel_w, outputs = grad->job.outputs;
    for (size_t group = 0; group < grad->job.groups; group++) {
        const float *w = grad->job.weight + group * outputs * g->channels * taps;
        for (size_t c = 0; c < g->channels; c++)
            for (size_t m = 0; m < outputs; m++)
                for (size_t tap = taps; tap-- > 0;)
                    *out++ = w[(m * g->channels + c) * taps + tap];
    }
}

static size_t count_flipped_scratch_bytes(const struct ldnq_conv_grad *grad, size_t threads)
{
    struct ldnq_conv_job job = make_flipped_job(grad);
    size_t bytes;
    bool counted = ldnq_size_add(count_flipped_floats(grad) * sizeof(float),
                                 ldnq_conv_scratch_bytes(&job, threads), &bytes);
    return counted ? bytes : SIZE_MAX;
}

static void run_convolution_with_flipped_kernels(const struct ldnq_conv_grad *grad,
                                                 struct ldnq_pool *pool)
{
    struct ldnq_conv_job job = make_flipped_job(grad);
    flip_kernels(grad, grad->scratch);
    ldnq_conv_run(&job, pool);
}

/* ---- bias -------------------------------------------------------------------------------- */

struct bias_planes {
    const float *dy;
    float *sums;
    size_t images, channels, plane;
};

static void sum_dy_of_channel(void *argument, size_t channel, size_t thread)
{
    const struct bias_planes *p = argument;
    double sum = 0;
    (void)thread;
    for (size_t image = 0; image < p->images; image++)
        sum += ldnq_sum_floats(p->dy + (image * p->channels + channel) * p->plane, p->plane);
    p->sums[channel] = (float)sum;
}

void ldnq_conv_compute_db(const float *dy, size_t images, size_t channels, size_t plane, float *db,
                          struct ldnq_pool *pool)
{
    struct bias_planes bias = { dy, db, images, channels, plane };
    ldnq_pool_run(pool, channels, sum_dy_of_channel, &bias);
}

/* ---- all gradients --------------------------------------------------------------------------- */

static bool is_empty(const struct ldnq_conv_grad *grad)
{
    return grad->job.images * grad->job.groups * grad->job.outputs == 0 ||
           grad->job.geometry.channels == 0 ||
           grad->job.geometry.out_h * grad->job.geometry.out_w == 0;
}

static size_t count_bytes(size_t floats)
{
    size_t bytes;
    return ldnq_size_mul(floats, sizeof(float), &bytes) ? bytes : SIZE_MAX;
}

size_t ldnq_conv_grad_scratch_bytes(const struct ldnq_conv_grad *grad, size_t threads)
{
    size_t dx = 0, dw = 0;
    if (is_empty(grad))
        return 0;
    if (grad->dx && can_use_flipped_kernels(grad))
        dx = count_flipped_scratch_bytes(grad, threads);
    else if (grad->dx)
        dx = count_bytes(is_depthwise(grad) ? ldnq_conv_depthwise_dx_scratch_floats(grad, threads)
                                            : ldnq_conv_product_dx_scratch_floats(grad, threads));
    if (grad->dw)
        dw = count_bytes(is_depthwise(grad) ? ldnq_conv_depthwise_dw_scratch_floats(grad, threads)
                                            : ldnq_conv_product_dw_scratch_floats(grad, threads));
    return ldnq_size_max(dx, dw);
}

static void clear_gradients(const struct ldnq_conv_grad *grad)
{
    const struct ldnq_conv_geometry *g = &grad->job.geometry;
    size_t inputs = grad->job.images * grad->job.groups * g->channels * g->height * g->width;
    if (grad->dx)
        memset(grad->dx, 0, inputs * sizeof *grad->dx);
    if (grad->dw)
        memset(grad->dw, 0, count_weights(grad) * sizeof *grad->dw);
}

void ldnq_conv_grad_run(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool)
{
    const struct ldnq_conv_job *job = &grad->job;
    if (grad->db)
        ldnq_conv_compute_db(grad->dy, job->images, job->groups * job->outputs,
                             job->geometry.out_h * job->geometry.out_w, grad->db, pool);
    if (is_empty(grad)) {
        clear_gradients(grad);
        return;
    }
    if (grad->dx && can_use_flipped_kernels(grad))
        run_convolution_with_flipped_kernels(grad, pool);
    else if (grad->dx)
        (is_depthwise(grad) ? ldnq_conv_depthwise_compute_dx : ldnq_conv_product_compute_dx)(grad,
                                                                                             pool);
    if (grad->dw)
        (is_depthwise(grad) ? ldnq_conv_depthwise_compute_dw : ldnq_conv_product_compute_dw)(grad,
                                                                                             pool);
}
