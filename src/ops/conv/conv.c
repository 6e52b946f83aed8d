/* SPDX-License-Identifier: Apache-2.0 */
/* conv.c: Conv over one to three spatial axes, with groups, strides, dilations, padding.
 *
 * Computes y[n][m][oh][ow] = b[m] + sum over c, kh, kw of w[m][c][kh][kw] *
 *              x[n][g*C/G + c][oh*stride + kh*dilation - pad][the same for w]
 * Shapes   x (N, C, H, W), w (M, C/G, KH, KW), b (M), y (N, M, OH, OW);
 *          one spatial axis: H = KH = OH = 1; three: an axis D before H
 * Source   onnx.ai/onnx/operators/onnx__Conv.html
 *
 * One and two axes run in conv_kernels.h and conv_backward.h, three axes in conv_volume.h.
 */
#include "ops/conv/conv_backward.h"
#include "ops/conv/conv_kernels.h"
#include "ops/conv/conv_volume.h"

#include <inttypes.h>

#include "base/size.h"
#include "ops/op_layer.h"
#include "ops/operation_count.h"
#include "ops/shared/product.h"

struct conv_attrs {
    struct ldnq_window window;
    int64_t groups;
};

static enum ldnq_status conv_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                        const void **attrs, struct ldnq_error *err)
{
    struct conv_attrs *conv = ldnq_arena_alloc(arena, 1, sizeof *conv, err);
    if (!conv)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_window_read_attrs(node, &conv->window, err));
    conv->groups = ldnq_attr_int(node, "group", 1);
    if (conv->groups < 1)
        return ldnq_fail(err, LDNQ_MODEL, "group=%" PRId64 " is not possible", conv->groups);
    *attrs = conv;
    return LDNQ_OK;
}

/* ---- shapes ------------------------------------------------------------------------ */

static enum ldnq_status check_channels(const struct conv_attrs *conv, const struct ldnq_shape *x,
                                       const struct ldnq_shape *w, struct ldnq_error *err)
{
    if (!ldnq_shape_is_known(w))
        return LDNQ_OK;
    if (w->dim[0] % conv->groups != 0)
        return ldnq_fail(err, LDNQ_MODEL,
                         "%" PRId64 " output channels can't be divided into %" PRId64 " groups",
                         w->dim[0], conv->groups);
    int64_t channels;
    if (!ldnq_int64_mul(w->dim[1], conv->groups, &channels) ||
        (!ldnq_is_symbol(x->dim[1]) && x->dim[1] != channels))
        return ldnq_fail(err, LDNQ_MODEL,
                         "its input has %" PRId64 " channels where the weight "
                         "needs %" PRId64 " times %" PRId64,
                         x->dim[1], w->dim[1], conv->groups);
    return LDNQ_OK;
}

static bool bias_fits(const struct ldnq_shape *b, const struct ldnq_shape *w)
{
    if (b->rank < 0 || (b->rank == 1 && w->rank < 1))
        return true;
    return b->rank == 1 &&
           (b->dim[0] == w->dim[0] || ldnq_is_symbol(b->dim[0]) || ldnq_is_symbol(w->dim[0]));
}

static enum ldnq_status check_shapes(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct conv_attrs *conv = call->attrs;
    const struct ldnq_shape *x = &call->in[0]->shape, *w = &call->in[1]->shape;
    int axes = w->rank - 2;
    if (axes < 1 || x->rank != w->rank || (conv->window.axes && conv->window.axes != (size_t)axes))
        return ldnq_fail(err, LDNQ_MODEL,
                         "its input has %d axes and its weight %d, which don't "
                         "go together",
                         x->rank, w->rank);
    if (axes > LDNQ_WINDOW_AXES)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "a convolution over %d axes is not supported",
                         axes);
    for (int i = 0; i < axes; i++)
        if (conv->window.kernel[i] && w->dim[2 + i] != conv->window.kernel[i])
            return ldnq_fail(err, LDNQ_MODEL,
                             "kernel_shape says %" PRId64 " where the weight has %" PRId64,
                             conv->window.kernel[i], w->dim[2 + i]);
    return check_channels(conv, x, w, err);
}

/* Product of the dimensions from `first` on; 0 while one of them is unknown. */
static int64_t multiply_dims_from(const struct ldnq_shape *shape, int first)
{
    size_t count = 0;
    ldnq_shape_count_range(shape, first, shape->rank, &count);
    return count > INT64_MAX ? INT64_MAX : (int64_t)count;
}

static enum ldnq_status conv_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct conv_attrs *conv = call->attrs;
    struct ldnq_shape *y = &call->out[0].shape;
    for (size_t i = 0; i < call->in_count; i++)
        LDNQ_TRY(ldnq_op_require_dtype(call, i, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    call->out[0].dtype = LDNQ_FLOAT;
    const struct ldnq_shape *x = &call->in[0]->shape, *w = &call->in[1]->shape;
    /* This check needs the weight's shape only, not the input's. */
    if (ldnq_op_input(call, 2) && !bias_fits(&call->in[2]->shape, w))
        return ldnq_fail(err, LDNQ_MODEL, "its bias does not have one number per output channel");
    if (x->rank < 0 || w->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(check_shapes(call, err));
    *y = *x;
    y->dim[1] = w->dim[0];
    for (int i = 2; i < x->rank; i++)
        LDNQ_TRY(ldnq_window_infer_output(call, &conv->window, (size_t)i - 2, x->dim[i], w->dim[i],
                                          &y->dim[i], NULL, err));
    int64_t inputs = multiply_dims_from(w, 1), positions = multiply_dims_from(y, 2);
    return ldnq_product_check(w->dim[0], positions, inputs, inputs, err);
}

/* A convolution along H of an image of width 1 is one along W of an image of height 1: no
 * element moves, the taps keep their order, and vectors hold neighbouring positions. 1-D
 * convolutions exported from TensorFlow have this form. */
static void turn_column_image_into_row(struct ldnq_conv_geometry *g)
{
    if (g->width != 1 || g->kernel_w != 1 || g->out_w != 1 || g->pad_left != 0)
        return;
    *g = (struct ldnq_conv_geometry){
        .channels = g->channels,
        .height = 1,
        .width = g->height,
        .kernel_h = 1,
        .kernel_w = g->kernel_h,
        .stride_h = 1,
        .stride_w = g->stride_h,
        .dilation_h = 1,
        .dilation_w = g->dilation_h,
        .pad_left = g->pad_top,
        .out_h = 1,
        .out_w = g->out_h,
    };
}

/* The geometry of one group. The shapes must be known and have passed infer. */
static struct ldnq_conv_geometry make_geometry(const struct ldnq_op_call *call)
{
    const struct conv_attrs *conv = call->attrs;
    const struct ldnq_shape *x = &call->in[0]->shape, *w = &call->in[1]->shape;
    struct ldnq_conv_geometry g = { .channels = (size_t)w->dim[1],
                                    .height = 1,
                                    .kernel_h = 1,
                                    .stride_h = 1,
                                    .dilation_h = 1,
                                    .out_h = 1 };
    struct ldnq_op_call at_run_time = *call;
    int64_t out, begin;
    for (int i = 2; i < x->rank; i++) {
        size_t axis = (size_t)i - 2;
        if (ldnq_window_infer_output(&at_run_time, &conv->window, axis, x->dim[i], w->dim[i], &out,
                                     &begin, NULL) != LDNQ_OK)
            out = begin = 0;
        /* The last axis is W, an axis before it H. */
        bool is_width = i == x->rank - 1;
        *(is_width ? &g.width : &g.height) = (size_t)x->dim[i];
        *(is_width ? &g.kernel_w : &g.kernel_h) = (size_t)w->dim[i];
        *(is_width ? &g.stride_w : &g.stride_h) = (size_t)conv->window.stride[axis];
        *(is_width ? &g.dilation_w : &g.dilation_h) = (size_t)conv->window.dilation[axis];
        *(is_width ? &g.pad_left : &g.pad_top) = (size_t)begin;
        *(is_width ? &g.out_w : &g.out_h) = (size_t)out;
    }
    turn_column_image_into_row(&g);
    return g;
}

/* ---- three axes ---------------------------------------------------------------------- */

static bool is_volume(const struct ldnq_op_call *call)
{
    return call->in[0]->shape.rank == LDNQ_VOLUME_AXES + 2;
}

static struct ldnq_conv_volume_job make_volume_job(const struct ldnq_op_call *call)
{
    const struct conv_attrs *conv = call->attrs;
    const struct ldnq_shape *x = &call->in[0]->shape, *w = &call->in[1]->shape;
    struct ldnq_op_call at_run_time = *call;
    struct ldnq_conv_volume_job job = { .groups = (size_t)conv->groups,
                                        .outputs = (size_t)(w->dim[0] / conv->groups),
                                        .images = (size_t)x->dim[0],
                                        .weight = call->in[1]->data,
                                        .scratch = call->scratch };
    job.volume.channels = (size_t)w->dim[1];
    for (size_t i = 0; i < LDNQ_VOLUME_AXES; i++) {
        int64_t out, begin;
        if (ldnq_window_infer_output(&at_run_time, &conv->window, i, x->dim[i + 2], w->dim[i + 2],
                                     &out, &begin, NULL) != LDNQ_OK)
            out = begin = 0;
        job.volume.axis[i] = (struct ldnq_volume_axis){
            .in = (size_t)x->dim[i + 2],
            .out = (size_t)out,
            .kernel = (size_t)w->dim[i + 2],
            .stride = (size_t)conv->window.stride[i],
            .dilation = (size_t)conv->window.dilation[i],
            .pad = (size_t)begin,
        };
    }
    return job;
}

static size_t volume_scratch_bytes(const struct ldnq_op_call *call)
{
    struct ldnq_conv_volume_job job = make_volume_job(call);
    return ldnq_conv_volume_scratch_bytes(&job, ldnq_pool_threads(call->pool));
}

static enum ldnq_status volume_forward(const struct ldnq_op_call *call)
{
    struct ldnq_conv_volume_job job = make_volume_job(call);
    const struct ldnq_tensor *bias = ldnq_op_input(call, 2);
    ldnq_conv_volume_run(&job, call->in[0]->data, bias ? bias->data : NULL, call->clamp,
                         call->out[0].data, call->pool);
    return LDNQ_OK;
}

static enum ldnq_status volume_backward(const struct ldnq_op_grad *grad)
{
    const struct ldnq_op_call *call = grad->call;
    struct ldnq_conv_volume_job job = make_volume_job(call);
    const float *dy = grad->out[0]->data;
    if (grad->in[0].data)
        ldnq_conv_volume_run_transposed(&job, dy, NULL, NULL, grad->in[0].data, call->pool);
    if (grad->in[1].data)
        ldnq_conv_volume_compute_dw(&job, call->in[0]->data, dy, grad->in[1].data, call->pool);
    if (call->in_count > 2 && grad->in[2].data)
        ldnq_conv_compute_db(dy, job.images, job.groups * job.outputs,
                             ldnq_volume_count_positions(&job.volume), grad->in[2].data,
                             call->pool);
    return LDNQ_OK;
}

/* ---- forward ------------------------------------------------------------------------ */

static struct ldnq_conv_job make_job(const struct ldnq_op_call *call)
{
    const struct conv_attrs *conv = call->attrs;
    struct ldnq_conv_job job = {
        .geometry = make_geometry(call),
        .groups = (size_t)conv->groups,
        .outputs = (size_t)(call->in[1]->shape.dim[0] / conv->groups),
        .images = (size_t)call->in[0]->shape.dim[0],
        .x = call->in[0]->data,
        .weight = call->in[1]->data,
        .bias = call->in_count > 2 && call->in[2] ? call->in[2]->data : NULL,
        .y = call->out[0].data,
        .scratch = call->scratch,
        .clamp = call->clamp,
    };
    return job;
}

static size_t conv_scratch_bytes(const struct ldnq_op_call *call)
{
    if (is_volume(call))
        return volume_scratch_bytes(call);
    struct ldnq_conv_job job = make_job(call);
    return ldnq_conv_scratch_bytes(&job, ldnq_pool_threads(call->pool));
}

static size_t conv_count_operations(const struct ldnq_op_call *call)
{
    return ldnq_operations_of_products(call, (size_t)multiply_dims_from(&call->in[1]->shape, 1));
}

static enum ldnq_status conv_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    if (is_volume(call))
        return volume_forward(call);
    struct ldnq_conv_job job = make_job(call);
    ldnq_conv_run(&job, call->pool);
    return LDNQ_OK;
}

/* ---- backward ----------------------------------------------------------------------- */

static struct ldnq_conv_grad make_conv_grad(const struct ldnq_op_grad *grad)
{
    return (struct ldnq_conv_grad){
        .job = make_job(grad->call),
        .dy = grad->out[0]->data,
        .dx = grad->in[0].data,
        .dw = grad->in[1].data,
        .db = ldnq_op_input_grad(grad, 2),
        .scratch = grad->call->scratch,
    };
}

static size_t conv_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    if (is_volume(grad->call))
        return volume_scratch_bytes(grad->call);
    struct ldnq_conv_grad conv = make_conv_grad(grad);
    return ldnq_conv_grad_scratch_bytes(&conv, ldnq_pool_threads(grad->call->pool));
}

static enum ldnq_status conv_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    (void)err;
    if (is_volume(grad->call))
        return volume_backward(grad);
    struct ldnq_conv_grad conv = make_conv_grad(grad);
    ldnq_conv_grad_run(&conv, grad->call->pool);
    return LDNQ_OK;
}

/* ---- as a layer ----------------------------------------------------------------------- */

static enum ldnq_status conv_describe_weight(const struct ldnq_node *node,
                                             const struct ldnq_tensor *weight,
                                             const struct ldnq_tensor *bias,
                                             struct ldnq_layer_geometry *geometry,
                                             struct ldnq_error *err)
{
    const struct conv_attrs *conv = node->op_attrs;
    size_t channels, channels_in, kernel;
    if (weight->shape.rank < 3 || weight->shape.rank > LDNQ_WINDOW_AXES + 2 ||
        !ldnq_shape_count_range(&weight->shape, 0, 1, &channels) ||
        !ldnq_shape_count_range(&weight->shape, 1, 2, &channels_in) ||
        !ldnq_shape_count_range(&weight->shape, 2, weight->shape.rank, &kernel) ||
        channels % (size_t)conv->groups != 0)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "a convolution over %d axes is not supported",
                         weight->shape.rank - 2);
    const size_t groups = (size_t)conv->groups;
    *geometry = ldnq_describe_out_in(groups, channels / groups, channels_in, kernel);
    /* infer checks the bias only after the input's type is known. */
    geometry->bias_factor = !bias || ldnq_is_channel_bias(bias, channels) ? 1.0f : 0.0f;
    return LDNQ_OK;
}

/* Counts the output positions P per image. */
static size_t count_positions(const struct ldnq_op_call *call)
{
    if (is_volume(call)) {
        struct ldnq_conv_volume_job job = make_volume_job(call);
        return ldnq_volume_count_positions(&job.volume);
    }
    struct ldnq_conv_geometry g = make_geometry(call);
    return g.out_h * g.out_w;
}

static size_t conv_count_output_positions(const struct ldnq_op_call *call)
{
    return (size_t)call->in[0]->shape.dim[0] * count_positions(call);
}

/* im2col of one group of one image: columns (K, count). */
static void fill_image_columns(const struct ldnq_op_call *call, size_t image_group, size_t at,
                               size_t count, float *columns, size_t ld)
{
    const float *x = call->in[0]->data;
    if (is_volume(call)) {
        struct ldnq_conv_volume_job job = make_volume_job(call);
        size_t size = job.volume.channels * ldnq_volume_count_plane(&job.volume);
        ldnq_volume_im2col(&job.volume, x + image_group * size, at, count, columns, ld);
        return;
    }
    struct ldnq_conv_geometry g = make_geometry(call);
    ldnq_im2col(&g, x + image_group * g.channels * g.height * g.width, at, count, columns, ld);
}

static void conv_fill_columns(const struct ldnq_op_call *call, size_t group, size_t first,
                              size_t count, float *columns, size_t ld)
{
    const struct conv_attrs *conv = call->attrs;
    ldnq_fill_columns_by_image(call, (size_t)conv->groups, group, count_positions(call), first,
                               count, columns, ld, fill_image_columns);
}

static const struct ldnq_op_layer conv_layer = {
    .weight_input = 1,
    .bias_input = 2,
    .describe_weight = conv_describe_weight,
    .count_positions = conv_count_output_positions,
    .fill_columns = conv_fill_columns,
};

const struct ldnq_op ldnq_op_conv = {
    .type = "Conv",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_FUSES_CLAMP | LDNQ_OP_PER_SAMPLE,
    .inputs_min = 2,
    .inputs_max = 3,
    .outputs_max = 1,
    .read_attrs = conv_read_attrs,
    .infer = conv_infer_shape,
    .scratch_bytes = conv_scratch_bytes,
    .count_operations = conv_count_operations,
    .forward = conv_forward,
    .differentiable = 7,
    .saved_inputs = 3,
    .backward_scratch_bytes = conv_backward_scratch_bytes,
    .backward = conv_backward,
    .layer = &conv_layer,
};
