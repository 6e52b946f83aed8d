/* SPDX-License-Identifier: Apache-2.0 */
/* col2im.c: Col2Im, the transpose of im2col: adds every element of the columns to the
 * image element that im2col copies there.
 *
 * Shapes  in (N, C*taps, P), image_shape and block_shape (one number per spatial axis),
 *         taps = product of block_shape, P = output positions of the window;
 *         out (N, C, image_shape)
 * Source  onnx.ai/onnx/operators/onnx__Col2Im.html
 */
#include "ops/op.h"

#include <inttypes.h>
#include <string.h>

#include "ops/conv/volume.h"
#include "ops/shared/sliding_window.h"

struct col2im_planes {
    const struct ldnq_volume *volume; /* the volume of one channel */
    size_t taps, positions, plane;
    const float *from;
    float *to;
};

static enum ldnq_status col2im_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                          const void **attrs, struct ldnq_error *err)
{
    struct ldnq_window *window = ldnq_arena_alloc(arena, 1, sizeof *window, err);
    if (!window)
        return LDNQ_NOMEM;
    *attrs = window;
    return ldnq_window_read_attrs(node, window, err);
}

static bool is_valid_image_size(int64_t dim)
{
    return ldnq_is_symbol(dim) || (dim >= 1 && dim <= LDNQ_WINDOW_LARGEST);
}

/* Reads inputs 1 and 2, whose values may be symbols. */
static enum ldnq_status read_lists(struct ldnq_op_call *call, struct ldnq_shape *image,
                                   struct ldnq_shape *block, struct ldnq_error *err)
{
    const struct ldnq_window *window = call->attrs;
    LDNQ_TRY(ldnq_op_read_dims(call, 1, image, err));
    LDNQ_TRY(ldnq_op_read_dims(call, 2, block, err));
    if (image->rank >= 0 && block->rank >= 0 && image->rank != block->rank)
        return ldnq_fail(err, LDNQ_MODEL, "its image has %d axes and its block %d", image->rank,
                         block->rank);
    if (image->rank == 0 || image->rank > LDNQ_WINDOW_AXES)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "an image of %d axes is not supported",
                         image->rank);
    if (image->rank > 0 && window->axes && window->axes != (size_t)image->rank)
        return ldnq_fail(err, LDNQ_MODEL, "its attributes are for %zu axes, its image has %d",
                         window->axes, image->rank);
    for (int i = 0; i < image->rank; i++)
        if (!is_valid_image_size(image->dim[i]) ||
            (block->rank >= 0 && !is_valid_image_size(block->dim[i])))
            return ldnq_fail(err, LDNQ_MODEL, "axis %d of its image or block is not possible", i);
    return LDNQ_OK;
}

/* C = size of axis 1 / taps. */
static enum ldnq_status find_channels(struct ldnq_op_call *call, const struct ldnq_shape *block,
                                      int64_t *channels, struct ldnq_error *err)
{
    const int64_t rows = call->in[0]->shape.dim[1];
    size_t taps;
    if (ldnq_is_symbol(rows) || !ldnq_shape_count(block, &taps))
        return ldnq_op_make_unknown_dim(call, channels, err);
    if (taps > (size_t)LDNQ_WINDOW_LARGEST || rows % (int64_t)taps != 0)
        return ldnq_fail(err, LDNQ_MODEL,
                         "its %" PRId64 " rows are not a multiple of its block's %zu"
                         " elements",
                         rows, taps);
    *channels = rows / (int64_t)taps;
    return LDNQ_OK;
}

/* Checks that axis 2 has one column per position of the window in the image. */
static enum ldnq_status check_positions(struct ldnq_op_call *call, const struct ldnq_shape *image,
                                        const struct ldnq_shape *block, struct ldnq_error *err)
{
    const int64_t given = call->in[0]->shape.dim[2];
    int64_t positions = 1, out;
    for (int i = 0; i < image->rank; i++) {
        LDNQ_TRY(ldnq_window_infer_output(call, call->attrs, (size_t)i, image->dim[i],
                                          block->dim[i], &out, NULL, err));
        LDNQ_TRY(ldnq_op_multiply_dims(call, positions, out, &positions, err));
    }
    if (ldnq_is_symbol(given) || ldnq_is_symbol(positions) || given == positions)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL,
                     "has %" PRId64 " columns where its image has %" PRId64 " positions", given,
                     positions);
}

static enum ldnq_status col2im_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *in = &call->in[0]->shape;
    struct ldnq_shape image, block, *out = &call->out[0].shape;
    call->out[0].dtype = LDNQ_FLOAT;
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(read_lists(call, &image, &block, err));
    if (image.rank < 0 || in->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if (in->rank != 3)
        return ldnq_fail(err, LDNQ_MODEL, "its input has %d axes where 3 are needed", in->rank);
    *out = (struct ldnq_shape){ .rank = image.rank + 2, .dim = { in->dim[0] } };
    for (int i = 0; i < image.rank; i++)
        out->dim[i + 2] = image.dim[i];
    LDNQ_TRY(find_channels(call, &block, &out->dim[1], err));
    return block.rank < 0 ? LDNQ_OK : check_positions(call, &image, &block, err);
}

/* The volume of one channel; missing leading axes have size 1. */
static enum ldnq_status make_volume(const struct ldnq_op_call *call, struct ldnq_volume *volume,
                                    struct ldnq_error *err)
{
    const struct ldnq_window *window = call->attrs;
    struct ldnq_op_call at_run_time = *call;
    struct ldnq_shape image, block;
    LDNQ_TRY(read_lists(&at_run_time, &image, &block, err));
    *volume = (struct ldnq_volume){ .channels = 1 };
    for (int i = 0; i < LDNQ_VOLUME_AXES; i++)
        volume->axis[i] = (struct ldnq_volume_axis){ 1, 1, 1, 1, 1, 0 };
    for (int i = 0; i < image.rank; i++) {
        int64_t out, pad;
        LDNQ_TRY(ldnq_window_infer_output(&at_run_time, window, (size_t)i, image.dim[i],
                                          block.dim[i], &out, &pad, err));
        volume->axis[LDNQ_VOLUME_AXES - image.rank + i] = (struct ldnq_volume_axis){
            .in = (size_t)image.dim[i],
            .out = (size_t)out,
            .kernel = (size_t)block.dim[i],
            .stride = (size_t)window->stride[i],
            .dilation = (size_t)window->dilation[i],
            .pad = (size_t)pad,
        };
    }
    return LDNQ_OK;
}

static struct col2im_planes make_planes(const struct ldnq_volume *volume, const float *from,
                                        float *to)
{
    return (struct col2im_planes){ .volume = volume,
                                   .taps = ldnq_volume_count_taps(volume),
                                   .positions = ldnq_volume_count_positions(volume),
                                   .plane = ldnq_volume_count_plane(volume),
                                   .from = from,
                                   .to = to };
}

/* Channels first .. last-1 of all N*C: to (plane) = col2im of from (taps, P). */
static void add_columns(const void *ctx, size_t first, size_t last)
{
    const struct col2im_planes *b = ctx;
    memset(b->to + first * b->plane, 0, (last - first) * b->plane * sizeof *b->to);
    for (size_t c = first; c < last; c++)
        ldnq_volume_col2im(b->volume, b->from + c * b->taps * b->positions, b->positions, 0,
                           b->positions, b->to + c * b->plane);
}

/* Computes the gradient: to (taps, P) = im2col of from (plane). */
static void copy_columns(const void *ctx, size_t first, size_t last)
{
    const struct col2im_planes *b = ctx;
    for (size_t c = first; c < last; c++)
        ldnq_volume_im2col(b->volume, b->from + c * b->plane, 0, b->positions,
                           b->to + c * b->taps * b->positions, b->positions);
}

static enum ldnq_status col2im_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_volume volume;
    LDNQ_TRY(make_volume(call, &volume, err));
    struct col2im_planes blocks = make_planes(&volume, call->in[0]->data, call->out[0].data);
    size_t planes = ldnq_tensor_count(&call->out[0]) / blocks.plane;
    ldnq_op_run_rows(call, planes, blocks.taps * blocks.positions, add_columns, &blocks);
    return LDNQ_OK;
}

static enum ldnq_status col2im_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    struct ldnq_volume volume;
    LDNQ_TRY(make_volume(call, &volume, err));
    struct col2im_planes blocks = make_planes(&volume, grad->out[0]->data, grad->in[0].data);
    size_t planes = ldnq_tensor_count(&call->out[0]) / blocks.plane;
    if (blocks.to)
        ldnq_op_run_rows(call, planes, blocks.taps * blocks.positions, copy_columns, &blocks);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_col2im = {
    .type = "Col2Im",
    .since = 18,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_max = 1,
    .read_attrs = col2im_read_attrs,
    .infer = col2im_infer_shape,
    .forward = col2im_forward,
    .differentiable = 1,
    .saved_inputs = 6,
    .backward = col2im_backward,
};
