/* SPDX-License-Identifier: Apache-2.0 */
/* convtranspose.c: ConvTranspose over one to three spatial axes, as the transpose of the
 * convolution that maps its output to its input (conv_volume.h).
 *
 * Shapes  x (N, C, D, H, W), w (C, M/G, KD, KH, KW), b (M), y (N, M, OD, OH, OW).
 *         In terms of conv_volume.h, x are the maps and y is the image: a job's C is
 *         ConvTranspose's M/G, its M is C/G.
 * Source  onnx.ai/onnx/operators/onnx__ConvTranspose.html
 */
#include <inttypes.h>

#include "base/size.h"
#include "ops/conv/conv_backward.h"
#include "ops/conv/conv_volume.h"
#include "ops/op_layer.h"
#include "ops/operation_count.h"
#include "ops/shared/product.h"
#include "ops/shared/sliding_window.h"

struct convtranspose_attrs {
    struct ldnq_window window;
    int64_t groups;
    size_t shape_count; /* length of output_shape; 0 if the node has none */
    int64_t shape[LDNQ_WINDOW_AXES], extra[LDNQ_WINDOW_AXES];
};

/* Reads a list with one number per spatial axis, each at least `least`. */
static enum ldnq_status read_sizes(const struct ldnq_node *node, const char *name, int64_t least,
                                   int64_t *out, size_t *count, struct ldnq_error *err)
{
    const int64_t *list = ldnq_attr_ints(node, name, count);
    if (*count > LDNQ_WINDOW_AXES)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "%s with %zu numbers is not supported", name,
                         *count);
    for (size_t i = 0; i < *count; i++) {
        if (list[i] < least || list[i] > LDNQ_WINDOW_LARGEST)
            return ldnq_fail(err, LDNQ_MODEL, "%s has the impossible number %" PRId64, name,
                             list[i]);
        out[i] = list[i];
    }
    return LDNQ_OK;
}

static enum ldnq_status convtranspose_read_attrs(const struct ldnq_node *node,
                                                 struct ldnq_arena *arena, const void **attrs,
                                                 struct ldnq_error *err)
{
    struct convtranspose_attrs *a = ldnq_arena_alloc(arena, 1, sizeof *a, err);
    size_t extras;
    if (!a)
        return LDNQ_NOMEM;
    *a = (struct convtranspose_attrs){ .shape_count = 0 };
    LDNQ_TRY(ldnq_window_read_attrs(node, &a->window, err));
    LDNQ_TRY(read_sizes(node, "output_padding", 0, a->extra, &extras, err));
    LDNQ_TRY(read_sizes(node, "output_shape", 1, a->shape, &a->shape_count, err));
    a->groups = ldnq_attr_int(node, "group", 1);
    if (a->groups < 1)
        return ldnq_fail(err, LDNQ_MODEL, "group=%" PRId64 " is not possible", a->groups);
    size_t axes = a->window.axes;
    if (axes && ((extras && extras != axes) || (a->shape_count && a->shape_count != axes)))
        return ldnq_fail(err, LDNQ_MODEL,
                         "output_padding and output_shape need a number for each "
                         "of its %zu spatial axes",
                         axes);
    *attrs = a;
    return LDNQ_OK;
}

/* ---- shapes ------------------------------------------------------------------------ */

static enum ldnq_status check_channels(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct convtranspose_attrs *a = call->attrs;
    const struct ldnq_shape *x = &call->in[0]->shape, *w = &call->in[1]->shape;
    const struct ldnq_tensor *bias = ldnq_op_input(call, 2);
    int64_t channels;
    if (!ldnq_op_dims_may_match(x->dim[1], w->dim[0]))
        return ldnq_fail(err, LDNQ_MODEL,
                         "its input has %" PRId64 " channels where the weight "
                         "needs %" PRId64,
                         x->dim[1], w->dim[0]);
    if (ldnq_is_symbol(w->dim[0]) || ldnq_is_symbol(w->dim[1]))
        return LDNQ_OK;
    if (w->dim[0] % a->groups != 0 || !ldnq_int64_mul(w->dim[1], a->groups, &channels))
        return ldnq_fail(err, LDNQ_MODEL,
                         "%" PRId64 " input channels can't be divided into %" PRId64 " groups",
                         w->dim[0], a->groups);
    if (bias && bias->shape.rank >= 0 &&
        (bias->shape.rank != 1 || !ldnq_op_dims_may_match(bias->shape.dim[0], channels)))
        return ldnq_fail(err, LDNQ_MODEL, "its bias does not have one number per output channel");
    return LDNQ_OK;
}

static enum ldnq_status check_shapes(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct convtranspose_attrs *a = call->attrs;
    const struct ldnq_shape *x = &call->in[0]->shape, *w = &call->in[1]->shape;
    int axes = w->rank - 2;
    if (axes < 1 || x->rank != w->rank || (a->window.axes && a->window.axes != (size_t)axes) ||
        (a->shape_count && a->shape_count != (size_t)axes))
        return ldnq_fail(err, LDNQ_MODEL,
                         "its input has %d axes and its weight %d, which don't "
                         "go together",
                         x->rank, w->rank);
    if (axes > LDNQ_WINDOW_AXES)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "a convolution over %d axes is not supported",
                         axes);
    for (int i = 0; i < axes; i++)
        if (a->window.kernel[i] && !ldnq_op_dims_may_match(w->dim[2 + i], a->window.kernel[i]))
            return ldnq_fail(err, LDNQ_MODEL,
                             "kernel_shape says %" PRId64 " where the weight has %" PRId64,
                             a->window.kernel[i], w->dim[2 + i]);
    return check_channels(call, err);
}

/* The elements dropped at the start of an axis, where `full` elements are cropped to `out`:
 * half of them, and the odd one too unless auto_pad is SAME_UPPER, as in ONNX Runtime.
 * 0 if full <= out. */
static int64_t find_leading_crop(const struct ldnq_window *window, int64_t full, int64_t out)
{
    int64_t total = full > out ? full - out : 0;
    return window->auto_pad == LDNQ_PAD_SAME_UPPER ? total / 2 : total - total / 2;
}

/* Output size *out and leading crop *pad of one axis. */
static enum ldnq_status compute_output_size_and_pad(struct ldnq_op_call *call, size_t i,
                                                    int64_t size, int64_t kernel, int64_t *out,
                                                    int64_t *pad, struct ldnq_error *err)
{
    const struct convtranspose_attrs *a = call->attrs;
    const struct ldnq_window *window = &a->window;
    bool given = a->shape_count > 0;
    *pad = 0;
    if (ldnq_is_symbol(size) || ldnq_is_symbol(kernel)) {
        *out = a->shape[i];
        return given ? LDNQ_OK : ldnq_op_make_unknown_dim(call, out, err);
    }
    if (kernel < 1 || kernel > LDNQ_WINDOW_LARGEST || size < 1 || size > LDNQ_WINDOW_LARGEST)
        return ldnq_fail(err, LDNQ_MODEL,
                         "a window of %" PRId64 " over %" PRId64 " elements is not possible",
                         kernel, size);
    int64_t stride = window->stride[i];
    int64_t full = (size - 1) * stride + a->extra[i] + (kernel - 1) * window->dilation[i] + 1;
    if (given) {
        *out = a->shape[i];
        *pad = find_leading_crop(window, full, *out);
    } else if (window->auto_pad >= LDNQ_PAD_SAME_UPPER) {
        *out = full < size * stride ? full : size * stride;
        *pad = find_leading_crop(window, full, *out);
    } else if (window->auto_pad == LDNQ_PAD_VALID) {
        *out = full;
    } else {
        *pad = window->pad_begin[i];
        *out = full - *pad - window->pad_end[i];
    }
    if (*out < 1 || *out > LDNQ_WINDOW_LARGEST)
        return ldnq_fail(err, LDNQ_MODEL, "its pads leave %" PRId64 " of %" PRId64 " elements",
                         *out, full);
    return LDNQ_OK;
}

static enum ldnq_status convtranspose_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct convtranspose_attrs *a = call->attrs;
    struct ldnq_shape *y = &call->out[0].shape;
    size_t taps, positions, outputs;
    int64_t pad;
    for (size_t i = 0; i < call->in_count; i++)
        LDNQ_TRY(ldnq_op_require_dtype(call, i, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    call->out[0].dtype = LDNQ_FLOAT;
    const struct ldnq_shape *x = &call->in[0]->shape, *w = &call->in[1]->shape;
    if (x->rank < 0 || w->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(check_shapes(call, err));
    *y = *x;
    LDNQ_TRY(ldnq_op_multiply_dims(call, w->dim[1], a->groups, &y->dim[1], err));
    for (int i = 2; i < x->rank; i++)
        LDNQ_TRY(compute_output_size_and_pad(call, (size_t)i - 2, x->dim[i], w->dim[i], &y->dim[i],
                                             &pad, err));
    if (!ldnq_shape_count_range(w, 1, w->rank, &taps) ||
        !ldnq_shape_count_range(x, 2, x->rank, &positions) ||
        !ldnq_shape_count_range(y, 2, y->rank, &outputs))
        return LDNQ_OK;
    taps = ldnq_size_min(taps, INT64_MAX);
    positions = ldnq_size_min(ldnq_size_max(positions, outputs), INT64_MAX);
    return ldnq_product_check((int64_t)taps, (int64_t)positions, w->dim[0], w->dim[0], err);
}

/* The shapes must be known and have passed infer. */
static struct ldnq_conv_volume_job make_job(const struct ldnq_op_call *call)
{
    const struct convtranspose_attrs *a = call->attrs;
    const struct ldnq_shape *x = &call->in[0]->shape, *w = &call->in[1]->shape;
    struct ldnq_op_call at_run_time = *call;
    struct ldnq_conv_volume_job job = { .groups = (size_t)a->groups,
                                        .outputs = (size_t)(w->dim[0] / a->groups),
                                        .images = (size_t)x->dim[0],
                                        .weight = call->in[1]->data,
                                        .scratch = call->scratch };
    struct ldnq_volume *v = &job.volume;
    v->channels = (size_t)w->dim[1];
    for (int i = 0; i < LDNQ_VOLUME_AXES; i++)
        v->axis[i] = (struct ldnq_volume_axis){ 1, 1, 1, 1, 1, 0 };
    for (int i = 2; i < x->rank; i++) {
        struct ldnq_volume_axis *axis = &v->axis[LDNQ_VOLUME_AXES - x->rank + i];
        size_t k = (size_t)i - 2;
        int64_t out, pad;
        if (compute_output_size_and_pad(&at_run_time, k, x->dim[i], w->dim[i], &out, &pad, NULL) !=
            LDNQ_OK)
            out = pad = 0;
        *axis = (struct ldnq_volume_axis){
            .in = (size_t)out,
            .out = (size_t)x->dim[i],
            .kernel = (size_t)w->dim[i],
            .stride = (size_t)a->window.stride[k],
            .dilation = (size_t)a->window.dilation[k],
            .pad = (size_t)pad,
        };
    }
    return job;
}

/* ---- forward and backward -------------------------------------------------------------- */

static size_t convtranspose_scratch_bytes(const struct ldnq_op_call *call)
{
    struct ldnq_conv_volume_job job = make_job(call);
    return ldnq_conv_volume_scratch_bytes(&job, ldnq_pool_threads(call->pool));
}

static size_t convtranspose_count_operations(const struct ldnq_op_call *call)
{
    const struct ldnq_tensor *x = call->in[0], *w = call->in[1];
    size_t outputs = 0;
    ldnq_shape_count_range(&w->shape, 1, w->shape.rank, &outputs);
    const size_t factors[] = { ldnq_tensor_count(x), outputs };
    return ldnq_operations_multiply(factors, 2) / LDNQ_PRODUCTS_PER_OPERATION;
}

static enum ldnq_status convtranspose_forward(const struct ldnq_op_call *call,
                                              struct ldnq_error *err)
{
    struct ldnq_conv_volume_job job = make_job(call);
    const struct ldnq_tensor *bias = ldnq_op_input(call, 2);
    (void)err;
    ldnq_conv_volume_run_transposed(&job, call->in[0]->data, bias ? bias->data : NULL, call->clamp,
                                    call->out[0].data, call->pool);
    return LDNQ_OK;
}

static size_t convtranspose_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    return convtranspose_scratch_bytes(grad->call);
}

static enum ldnq_status convtranspose_backward(const struct ldnq_op_grad *grad,
                                               struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    struct ldnq_conv_volume_job job = make_job(call);
    const float *dy = grad->out[0]->data;
    (void)err;
    if (grad->in[0].data)
        ldnq_conv_volume_run(&job, dy, NULL, NULL, grad->in[0].data, call->pool);
    if (grad->in[1].data)
        ldnq_conv_volume_compute_dw(&job, dy, call->in[0]->data, grad->in[1].data, call->pool);
    if (call->in_count > 2 && grad->in[2].data)
        ldnq_conv_compute_db(dy, job.images, job.groups * job.volume.channels,
                             ldnq_volume_count_plane(&job.volume), grad->in[2].data, call->pool);
    return LDNQ_OK;
}

/* ---- as a layer ----------------------------------------------------------------------- */

static enum ldnq_status convtranspose_describe_weight(const struct ldnq_node *node,
                                                      const struct ldnq_tensor *weight,
                                                      const struct ldnq_tensor *bias,
                                                      struct ldnq_layer_geometry *geometry,
                                                      struct ldnq_error *err)
{
    const struct convtranspose_attrs *a = node->op_attrs;
    size_t channels, outputs, kernel;
    if (weight->shape.rank < 3 || weight->shape.rank > LDNQ_WINDOW_AXES + 2 ||
        !ldnq_shape_count_range(&weight->shape, 0, 1, &channels) ||
        !ldnq_shape_count_range(&weight->shape, 1, 2, &outputs) ||
        !ldnq_shape_count_range(&weight->shape, 2, weight->shape.rank, &kernel))
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "a convolution over %d axes is not supported",
                         weight->shape.rank - 2);
    const size_t groups = (size_t)a->groups;
    if (channels % groups != 0)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its %zu input channels are not %zu groups",
                         channels, groups);
    /* Depthwise: axis 0 has the output channels. Of several groups no axis has them alone. */
    if (channels == groups && outputs == 1)
        *geometry = ldnq_describe_out_in(groups, 1, 1, kernel);
    else
        *geometry = ldnq_describe_in_out(groups, outputs, channels / groups, kernel);
    if (groups == 1)
        geometry->layout = LDNQ_WEIGHT_IN_OUT_KERNEL;
    geometry->bias_factor = !bias || ldnq_is_channel_bias(bias, groups * outputs) ? 1.0f : 0.0f;
    return LDNQ_OK;
}

static size_t convtranspose_count_output_positions(const struct ldnq_op_call *call)
{
    struct ldnq_conv_volume_job job = make_job(call);
    return job.images * ldnq_volume_count_plane(&job.volume);
}

/* im2col of one group of one image: columns (K, count). */
static void fill_image_columns(const struct ldnq_op_call *call, size_t image_group, size_t at,
                               size_t count, float *columns, size_t ld)
{
    struct ldnq_conv_volume_job job = make_job(call);
    const float *x = call->in[0]->data;
    size_t size = job.outputs * ldnq_volume_count_positions(&job.volume);
    ldnq_volume_im2col_transposed(&job.volume, x + image_group * size, job.outputs, at, count,
                                  columns, ld);
}

static void convtranspose_fill_columns(const struct ldnq_op_call *call, size_t group, size_t first,
                                       size_t count, float *columns, size_t ld)
{
    struct ldnq_conv_volume_job job = make_job(call);
    ldnq_fill_columns_by_image(call, job.groups, group, ldnq_volume_count_plane(&job.volume), first,
                               count, columns, ld, fill_image_columns);
}

static const struct ldnq_op_layer convtranspose_layer = {
    .weight_input = 1,
    .bias_input = 2,
    .spreads_inputs = true,
    .describe_weight = convtranspose_describe_weight,
    .count_positions = convtranspose_count_output_positions,
    .fill_columns = convtranspose_fill_columns,
};

const struct ldnq_op ldnq_op_convtranspose = {
    .type = "ConvTranspose",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_FUSES_CLAMP,
    .inputs_min = 2,
    .inputs_max = 3,
    .outputs_max = 1,
    .read_attrs = convtranspose_read_attrs,
    .infer = convtranspose_infer_shape,
    .scratch_bytes = convtranspose_scratch_bytes,
    .count_operations = convtranspose_count_operations,
    .forward = convtranspose_forward,
    .differentiable = 7,
    .saved_inputs = 3,
    .backward_scratch_bytes = convtranspose_backward_scratch_bytes,
    .backward = convtranspose_backward,
    .layer = &convtranspose_layer,
};
