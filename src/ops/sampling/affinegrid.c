/* SPDX-License-Identifier: Apache-2.0 */
/* affinegrid.c: AffineGrid: the grid of sampling locations of an affine transformation.
 *
 * Computes out[n][position] = theta[n] (location of the position, 1)'
 * Shapes   theta (N, r, r+1) for r = 2 or 3 spatial axes; size = (N, C, [D,] H, W);
 *          out (N, [D,] H, W, r). A location has r coordinates in -1 .. 1, the one of the
 *          last axis first: (x, y) or (x, y, z).
 * Source   onnx.ai/onnx/operators/onnx__AffineGrid.html
 */
#include "ops/op.h"

#include <string.h>

#define MAX_AXES 3

struct affine_grid {
    size_t axes, positions; /* r; [D*]H*W */
    size_t size[MAX_AXES];
    bool align_corners;
    const float *theta;
    float *out;
};

static enum ldnq_status affinegrid_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *theta = &call->in[0]->shape;
    struct ldnq_shape size, *out = &call->out[0].shape;
    call->out[0].dtype = LDNQ_FLOAT;
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_INT64), err));
    LDNQ_TRY(ldnq_op_read_dims(call, 1, &size, err));
    if (size.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if (size.rank != 4 && size.rank != 5)
        return ldnq_fail(err, LDNQ_MODEL, "has %d sizes where 4 or 5 are needed", size.rank);
    *out = (struct ldnq_shape){ .rank = size.rank, .dim = { size.dim[0] } };
    for (int i = 2; i < size.rank; i++)
        out->dim[i - 1] = size.dim[i];
    out->dim[size.rank - 1] = size.rank - 2;
    const struct ldnq_shape wanted = { 3, { size.dim[0], size.rank - 2, size.rank - 1 } };
    for (int i = 0; i < 3 && theta->rank >= 0; i++)
        if (theta->rank != 3 || (!ldnq_is_symbol(theta->dim[i]) && !ldnq_is_symbol(wanted.dim[i]) &&
                                 theta->dim[i] != wanted.dim[i]))
            return ldnq_fail(err, LDNQ_MODEL, "its theta does not fit its size");
    return LDNQ_OK;
}

static struct affine_grid make_affine_grid(const struct ldnq_op_call *call, const float *theta,
                                           float *out)
{
    const struct ldnq_shape *shape = &call->out[0].shape;
    struct affine_grid grid = { .axes = (size_t)shape->rank - 2,
                                .positions = 1,
                                .theta = theta,
                                .out = out,
                                .align_corners =
                                    ldnq_attr_int(call->node, "align_corners", 0) != 0 };
    for (size_t i = 0; i < grid.axes; i++) {
        grid.size[i] = (size_t)shape->dim[i + 1];
        grid.positions *= grid.size[i];
    }
    return grid;
}

/* A position's location before the transformation, followed by a 1 for theta's last column. */
static void find_grid_location(const struct affine_grid *grid, size_t position,
                               double location[MAX_AXES + 1])
{
    for (size_t i = grid->axes; i-- > 0;) {
        double size = (double)grid->size[i], at = (double)(position % grid->size[i]);
        position /= grid->size[i];
        location[grid->axes - 1 - i] = !grid->align_corners ? (2 * at + 1) / size - 1
                                       : size > 1           ? 2 * at / (size - 1) - 1
                                                            : 0;
    }
    location[grid->axes] = 1;
}

/* Rows first .. last-1 of out, counted over (N, positions). */
static void transform_grid_locations(const void *ctx, size_t first, size_t last)
{
    const struct affine_grid *grid = ctx;
    const size_t axes = grid->axes;
    for (size_t row = first; row < last; row++) {
        const float *theta = grid->theta + row / grid->positions * axes * (axes + 1);
        double location[MAX_AXES + 1];
        find_grid_location(grid, row % grid->positions, location);
        for (size_t i = 0; i < axes; i++) {
            double sum = 0;
            for (size_t k = 0; k <= axes; k++)
                sum += (double)theta[i * (axes + 1) + k] * location[k];
            grid->out[row * axes + i] = (float)sum;
        }
    }
}

static enum ldnq_status affinegrid_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct affine_grid grid = make_affine_grid(call, call->in[0]->data, call->out[0].data);
    (void)err;
    if (grid.positions > 0)
        ldnq_op_run_rows(call, (size_t)call->out[0].shape.dim[0] * grid.positions, 16,
                         transform_grid_locations, &grid);
    return LDNQ_OK;
}

static enum ldnq_status affinegrid_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct affine_grid grid = make_affine_grid(grad->call, NULL, NULL);
    const float *dy = grad->out[0]->data;
    float *dtheta = grad->in[0].data;
    const size_t entries = grid.axes * (grid.axes + 1);
    (void)err;
    for (size_t n = 0; dtheta && n < (size_t)grad->in[0].shape.dim[0]; n++) {
        double sum[MAX_AXES * (MAX_AXES + 1)] = { 0 }, location[MAX_AXES + 1];
        for (size_t p = 0; p < grid.positions; p++, dy += grid.axes) {
            find_grid_location(&grid, p, location);
            for (size_t e = 0; e < entries; e++)
                sum[e] += (double)dy[e / (grid.axes + 1)] * location[e % (grid.axes + 1)];
        }
        for (size_t e = 0; e < entries; e++)
            dtheta[n * entries + e] = (float)sum[e];
    }
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_affinegrid = {
    .type = "AffineGrid",
    .since = 20,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = affinegrid_infer_shape,
    .forward = affinegrid_forward,
    .differentiable = 1,
    .backward = affinegrid_backward,
};
