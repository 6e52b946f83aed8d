/* conv_backward.h: gradients of Conv, on plain arrays.
 *
 * Shapes  as in conv_kernels.h; dy is y's gradient, dx, dw and db those of x, the
 *         weight and the bias
 * Sums    over images and positions in an order that sizes alone decide
 * Threads pool calls of its own, one after the other
 *
 * Ways    dx with stride 1 is a convolution of dy with the kernels turned around,
 *         and runs as one; otherwise columns of gradients are made as a product,
 *         and added to where they were read from. dw is a product of dy with the
 *         columns of x. Depthwise has loops of its own for both.
 */
#ifndef LDNQ_OPS_CONV_BACKWARD_H
#define LDNQ_OPS_CONV_BACKWARD_H

#include "ops/conv/padded_tile.h"
#include "ops/conv/conv_kernels.h"

struct ldnq_conv_grad {
    struct ldnq_conv_job job; /* geometry, sizes, x and weight; the rest is not read */
    const float *dy;
    float *dx, *dw, *db; /* NULL where not wanted */
    void *scratch;
};

/* Bytes of scratch; SIZE_MAX when they can't be counted. */
size_t ldnq_conv_grad_scratch(const struct ldnq_conv_grad *grad, size_t threads);
void ldnq_conv_grad_run(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool);
/* The bias' part alone, for convolutions over any axes: dy (N, channels, plane) summed
 * over images and elements. */
void ldnq_conv_bias_grad(const float *dy, size_t images, size_t channels, size_t plane, float *db,
                         struct ldnq_pool *pool);

/* ---- the ways ------------------------------------------------------------------ */

/* Scratch in floats, multiples of 16; SIZE_MAX when they can't be counted. */
size_t ldnq_conv_product_dx_scratch(const struct ldnq_conv_grad *grad, size_t threads);
size_t ldnq_conv_product_dw_scratch(const struct ldnq_conv_grad *grad, size_t threads);
size_t ldnq_conv_depthwise_dx_scratch(const struct ldnq_conv_grad *grad, size_t threads);
size_t ldnq_conv_depthwise_dw_scratch(const struct ldnq_conv_grad *grad, size_t threads);

/* dy must not be empty. */
void ldnq_conv_product_dx(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool);
void ldnq_conv_product_dw(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool);
void ldnq_conv_depthwise_dx(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool);
void ldnq_conv_depthwise_dw(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool);

#endif
