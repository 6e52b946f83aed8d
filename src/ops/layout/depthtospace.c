/* SPDX-License-Identifier: Apache-2.0 */
/* depthtospace.c: DepthToSpace and SpaceToDepth: move channels to blocks of b x b positions,
 * and back.
 *
 * Shapes  deep (N, C b b, H, W), wide (N, C, H b, W b)
 *         the channels of deep are (b, b, C) in mode DCR and for SpaceToDepth, (C, b, b) in
 *         mode CRD
 */
#include "ops/shared/strided.h"

#include <inttypes.h>
#include <string.h>

struct depth_attrs {
    int64_t size;
    bool channels_first; /* CRD */
};

static enum ldnq_status depth_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                         const void **attrs, struct ldnq_error *err)
{
    struct depth_attrs *blocks = ldnq_arena_alloc(arena, 1, sizeof *blocks, err);
    const char *mode = ldnq_attr_string(node, "mode", "DCR");
    if (!blocks)
        return LDNQ_NOMEM;
    blocks->size = ldnq_attr_int(node, "blocksize", 0);
    blocks->channels_first = strcmp(mode, "CRD") == 0;
    *attrs = blocks;
    if (!blocks->channels_first && strcmp(mode, "DCR") != 0)
        return ldnq_fail(err, LDNQ_MODEL, "mode=%s is not DCR or CRD", mode);
    if (blocks->size < 1 || blocks->size > 1 << 15)
        return ldnq_fail(err, LDNQ_MODEL, "blocksize=%" PRId64 " is not in 1 .. 32768",
                         blocks->size);
    return LDNQ_OK;
}

static enum ldnq_status divide_dim_exactly(struct ldnq_op_call *call, int64_t size, int64_t by,
                                           int64_t *out, struct ldnq_error *err)
{
    if (ldnq_is_symbol(size))
        return ldnq_op_make_unknown_dim(call, out, err);
    *out = size / by;
    return size % by == 0
               ? LDNQ_OK
               : ldnq_fail(err, LDNQ_MODEL, "%" PRId64 " is not a multiple of %" PRId64, size, by);
}

static enum ldnq_status check_rank(struct ldnq_op_call *call, struct ldnq_error *err)
{
    int rank = call->in[0]->shape.rank;
    call->out[0].dtype = call->in[0]->dtype;
    call->out[0].shape = call->in[0]->shape;
    return rank == 4 || rank < 0
               ? LDNQ_OK
               : ldnq_fail(err, LDNQ_MODEL, "its input has %d axes where four are needed", rank);
}

static enum ldnq_status depthtospace_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct depth_attrs *blocks = call->attrs;
    int64_t *dim = call->out[0].shape.dim;
    LDNQ_TRY(check_rank(call, err));
    if (call->in[0]->shape.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(divide_dim_exactly(call, dim[1], blocks->size * blocks->size, &dim[1], err));
    LDNQ_TRY(ldnq_op_multiply_dims(call, dim[2], blocks->size, &dim[2], err));
    return ldnq_op_multiply_dims(call, dim[3], blocks->size, &dim[3], err);
}

static enum ldnq_status spacetodepth_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct depth_attrs *blocks = call->attrs;
    int64_t *dim = call->out[0].shape.dim;
    LDNQ_TRY(check_rank(call, err));
    if (call->in[0]->shape.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(ldnq_op_multiply_dims(call, dim[1], blocks->size * blocks->size, &dim[1], err));
    LDNQ_TRY(divide_dim_exactly(call, dim[2], blocks->size, &dim[2], err));
    return divide_dim_exactly(call, dim[3], blocks->size, &dim[3], err);
}

/* Copies between the two layouts, as a region with the axes n, c, h, row in the block, w,
 * column in the block. deep and wide are the dimensions of both tensors, `size` the bytes
 * per element. */
static enum ldnq_status copy_depth_and_space(const struct ldnq_op_call *call, const int64_t *deep,
                                             const int64_t *wide, bool to_space, size_t size,
                                             const void *src, void *dst)
{
    const struct depth_attrs *blocks = call->attrs;
    ptrdiff_t b = (ptrdiff_t)blocks->size, c = (ptrdiff_t)wide[1], h = (ptrdiff_t)deep[2];
    ptrdiff_t w = (ptrdiff_t)deep[3], plane = h * w, width = w * b;
    ptrdiff_t channel = blocks->channels_first ? b * b : 1, block = blocks->channels_first ? 1 : c;
    const ptrdiff_t extent[] = { (ptrdiff_t)deep[0], c, h, b, w, b };
    const ptrdiff_t in_deep[] = { c * b * b * plane, channel * plane, w, block * b * plane, 1,
                                  block * plane };
    const ptrdiff_t in_wide[] = { c * h * b * width, h * b * width, b * width, width, b, 1 };
    struct ldnq_strided region = { 0 };
    for (int i = 0; i < 6; i++)
        ldnq_strided_add_axis(&region, (size_t)extent[i], to_space ? in_deep[i] : in_wide[i],
                              to_space ? in_wide[i] : in_deep[i]);
    ldnq_strided_copy(call, &region, size, src, dst);
    return LDNQ_OK;
}

static enum ldnq_status depthtospace_forward(const struct ldnq_op_call *call,
                                             struct ldnq_error *err)
{
    (void)err;
    return copy_depth_and_space(call, call->in[0]->shape.dim, call->out[0].shape.dim, true,
                                ldnq_dtype_size(call->in[0]->dtype), call->in[0]->data,
                                call->out[0].data);
}

static enum ldnq_status depthtospace_backward(const struct ldnq_op_grad *grad,
                                              struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    (void)err;
    if (!grad->in[0].data)
        return LDNQ_OK;
    return copy_depth_and_space(call, call->in[0]->shape.dim, call->out[0].shape.dim, false,
                                sizeof(float), grad->out[0]->data, grad->in[0].data);
}

static enum ldnq_status spacetodepth_forward(const struct ldnq_op_call *call,
                                             struct ldnq_error *err)
{
    (void)err;
    return copy_depth_and_space(call, call->out[0].shape.dim, call->in[0]->shape.dim, false,
                                ldnq_dtype_size(call->in[0]->dtype), call->in[0]->data,
                                call->out[0].data);
}

static enum ldnq_status spacetodepth_backward(const struct ldnq_op_grad *grad,
                                              struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    (void)err;
    if (!grad->in[0].data)
        return LDNQ_OK;
    return copy_depth_and_space(call, call->out[0].shape.dim, call->in[0]->shape.dim, true,
                                sizeof(float), grad->out[0]->data, grad->in[0].data);
}

const struct ldnq_op ldnq_op_depthtospace = {
    .type = "DepthToSpace",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .read_attrs = depth_read_attrs,
    .infer = depthtospace_infer_shape,
    .forward = depthtospace_forward,
    .differentiable = 1,
    .backward = depthtospace_backward,
};

const struct ldnq_op ldnq_op_spacetodepth = {
    .type = "SpaceToDepth",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .read_attrs = depth_read_attrs,
    .infer = spacetodepth_infer_shape,
    .forward = spacetodepth_forward,
    .differentiable = 1,
    .backward = spacetodepth_backward,
};
