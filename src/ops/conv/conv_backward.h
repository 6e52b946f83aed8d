/* SPDX-License-Identifier: Apache-2.0 */
/* conv_backward.h: gradients of the two-dimensional convolution, on plain arrays.
 *
 * Shapes   as in conv_kernels.h; dy (N, G*M, OH, OW) is the gradient of y; dx, dw and db
 *          are the gradients of x, weight and bias, in their shapes
 * Numbers  sums over images and positions run in an order that depends on the sizes alone
 * Owns     nothing; `scratch` has ldnq_conv_grad_scratch_bytes bytes, 64-byte aligned
 * Threads  several pool calls, one after the other
 *
 * dx  with stride 1: a convolution of dy with the flipped kernels (conv_kernels.h);
 *     otherwise weight' dy, a matrix product, and then col2im
 * dw  dy im2col(x)', a matrix product
 * Depthwise convolutions have loops of their own for dw, and for dx with other strides.
 */
#ifndef LDNQ_OPS_CONV_BACKWARD_H
#define LDNQ_OPS_CONV_BACKWARD_H

#include "ops/conv/padded_tile.h"
#include "ops/conv/conv_kernels.h"

struct ldnq_conv_grad {
    struct ldnq_conv_job job; /* geometry, sizes, x and weight; the other fields are not read */
    const float *dy;
    float *dx, *dw, *db; /* NULL: not requested */
    void *scratch;
};

/* Bytes of scratch for a pool of `threads`; SIZE_MAX on overflow. */
size_t ldnq_conv_grad_scratch_bytes(const struct ldnq_conv_grad *grad, size_t threads);
void ldnq_conv_grad_run(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool);
/* The gradient of the bias alone, over any number of axes: db (channels) = the sum of
 * dy (images, channels, plane) over images and plane. */
void ldnq_conv_compute_db(const float *dy, size_t images, size_t channels, size_t plane, float *db,
                          struct ldnq_pool *pool);

/* ---- implementations ------------------------------------------------------------------ */

/* Scratch in floats, multiples of 16; SIZE_MAX on overflow. */
size_t ldnq_conv_product_dx_scratch_floats(const struct ldnq_conv_grad *grad, size_t threads);
size_t ldnq_conv_product_dw_scratch_floats(const struct ldnq_conv_grad *grad, size_t threads);
size_t ldnq_conv_depthwise_dx_scratch_floats(const struct ldnq_conv_grad *grad, size_t threads);
size_t ldnq_conv_depthwise_dw_scratch_floats(const struct ldnq_conv_grad *grad, size_t threads);

/* Computes dx or dw; dy must not be empty. */
void ldnq_conv_product_compute_dx(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool);
void ldnq_conv_product_compute_dw(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool);
void ldnq_conv_depthwise_compute_dx(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool);
void ldnq_conv_depthwise_compute_dw(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool);

#endif
