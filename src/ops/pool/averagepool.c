/* SPDX-License-Identifier: Apache-2.0 */
/* averagepool.c: AveragePool: the sum over a window divided by its number of taps in the
 * input, or, with count_include_pad, in the input and its padding.
 *
 * Shapes  x (N, C, D, H, W), y (N, C, OD, OH, OW)
 * Source  onnx.ai/onnx/operators/onnx__AveragePool.html
 */
#include <string.h>

#include "ops/pool/pooling_blocks.h"
#include "ops/pool/pooling_tiles.h"

/* Taps of output o that are counted along one axis. */
static size_t count_taps(const struct ldnq_pooling_axis *axis, size_t o, bool include_pad)
{
    ptrdiff_t start = (ptrdiff_t)o * axis->stride - axis->begin;
    ptrdiff_t end = start + ((ptrdiff_t)axis->kernel - 1) * axis->dilation;
    ptrdiff_t low = include_pad ? start : 0, high = include_pad ? axis->limit : (ptrdiff_t)axis->in;
    if (start >= low && end < high)
        return axis->kernel;
    const ptrdiff_t step = axis->dilation,
                    first = low > start ? (low - start + step - 1) / step : 0;
    const ptrdiff_t after = high > start ? (high - start + step - 1) / step : 0;
    const ptrdiff_t last = after < (ptrdiff_t)axis->kernel ? after : (ptrdiff_t)axis->kernel;
    return last > first ? (size_t)(last - first) : 0;
}

#define ADD(acc, v, bits) acc += v
#define ADD_ONE(acc, v) acc += v
LDNQ_POOLING_ROW(sum_row, 0.0f, ADD, ADD_ONE)
LDNQ_POOLING_TILE(sum_tile, 0.0f, ADD)

/* Divides the outputs at one end of a row, whose windows may have fewer counted taps along
 * W; `rows` is the number of counted taps along D and H. Stops at the first full window,
 * and returns how many outputs it has divided. */
static size_t divide_row_end(const struct ldnq_pooling *p, size_t rows, float *y, bool backwards)
{
    const struct ldnq_pooling_axis *w = &p->axis[2];
    size_t done = 0;
    for (; done < w->out; done++) {
        size_t i = backwards ? w->out - 1 - done : done, columns = count_taps(w, i, p->include_pad);
        if (columns == w->kernel)
            break;
        y[i] = rows * columns > 0 ? y[i] / (float)(rows * columns) : 0.0f;
    }
    return done;
}

LDNQ_MULTIVERSION
static void divide_row_by(float *y, size_t count, float by)
{
    for (size_t i = 0; i < count; i++)
        y[i] /= by;
}

/* Turns a row of sums into averages. */
static void divide_row_of_sums(const struct ldnq_pooling *p, struct ldnq_pooling_row at, float *y)
{
    const struct ldnq_pooling_axis *w = &p->axis[2];
    size_t rows = count_taps(&p->axis[0], at.od, p->include_pad) *
                  count_taps(&p->axis[1], at.oh, p->include_pad);
    size_t first = divide_row_end(p, rows, y, false);
    size_t last = first < w->out ? w->out - divide_row_end(p, rows, y, true) : first;
    const float count = rows ? (float)(rows * w->kernel) : 1.0f;
    if (last > first)
        divide_row_by(y + first, last - first, count);
}

static void average_rows(const void *ctx, size_t first, size_t last)
{
    const struct ldnq_pooling *p = ctx;
    for (size_t row = first; row < last; row++) {
        struct ldnq_pooling_row at = ldnq_pooling_find_row(p, row);
        float *y = (float *)p->y + row * p->axis[2].out;
        sum_row(p, at, y);
        divide_row_of_sums(p, at, y);
    }
}

/* Planes whose sums are computed side by side: each is one chain of additions. */
#define PLANES ((size_t)8)

static bool covers_plane(const struct ldnq_pooling *p)
{
    for (size_t i = 0; i < LDNQ_WINDOW_AXES; i++) {
        const struct ldnq_pooling_axis *axis = &p->axis[i];
        if (axis->out != 1 || axis->kernel != axis->in || axis->dilation != 1 || axis->begin != 0)
            return false;
    }
    return true;
}

static void sum_planes(const float *x, size_t size, size_t planes, float *y)
{
    float sum[PLANES] = { 0 };
    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k < planes; k++)
            sum[k] += x[k * size + i];
    for (size_t k = 0; k < planes; k++)
        y[k] = sum[k];
}

static void average_whole_planes(const void *ctx, size_t first, size_t last)
{
    const struct ldnq_pooling *p = ctx;
    const size_t size = ldnq_pooling_plane(p);
    const float *x = p->x;
    float *y = p->y;
    size_t plane = first;
    for (; plane + PLANES <= last; plane += PLANES)
        sum_planes(x + plane * size, size, PLANES, y + plane);
    for (; plane < last; plane++)
        sum_planes(x + plane * size, size, 1, y + plane);
    divide_row_by(y + first, last - first, (float)size);
}

/* y (OH, OW) of sums becomes averages; rows (OH) and columns (OW) have the numbers of counted
 * taps along each axis. */
LDNQ_MULTIVERSION
static void divide_plane(float *y, size_t height, size_t width, const float *rows,
                         const float *columns)
{
    for (size_t oh = 0; oh < height; oh++)
        for (size_t i = 0; i < width; i++, y++) {
            const float count = rows[oh] * columns[i];
            *y = count > 0 ? *y / count : 0.0f;
        }
}

static void average_planes(const void *ctx, size_t first, size_t last)
{
    const struct ldnq_pooling *p = ctx;
    const struct ldnq_pooling_axis *h = &p->axis[1], *w = &p->axis[2];
    float rows[LDNQ_POOLING_TILE_SIDE], columns[LDNQ_POOLING_TILE_SIDE];
    for (size_t x = 0; x < w->out; x++)
        columns[x] = (float)count_taps(w, x, p->include_pad);
    for (size_t oh = 0; oh < h->out; oh++)
        rows[oh] = (float)count_taps(h, oh, p->include_pad);
    for (size_t plane = first; plane < last; plane++) {
        ldnq_pooling_run_tiles(p, plane, plane + 1, sum_tile, 0.0f);
        divide_plane((float *)p->y + plane * h->out * w->out, h->out, w->out, rows, columns);
    }
}

static enum ldnq_status averagepool_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_pooling_infer_shape(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err);
}

static enum ldnq_status averagepool_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_pooling pooling;
    LDNQ_TRY(ldnq_pooling_make_forward(call, &pooling, err));
    if (covers_plane(&pooling))
        ldnq_pooling_run_planes(call, &pooling, average_whole_planes, &pooling);
    else if (ldnq_pooling_fits_tiles(&pooling))
        ldnq_pooling_run_planes(call, &pooling, average_planes, &pooling);
    else
        ldnq_pooling_run_rows(call, &pooling, average_rows);
    return LDNQ_OK;
}

/* ---- backward ----------------------------------------------------------------------- */

/* shares (N, C, OD, OH, OW), in scratch: dy divided like y, then added to the input
 * elements of the window. */
struct averagepool_grad {
    struct ldnq_pooling pooling;
    const float *dy;
    float *shares, *dx;
};

static void divide_dy_rows(const void *ctx, size_t first, size_t last)
{
    const struct averagepool_grad *grad = ctx;
    size_t width = grad->pooling.axis[2].out;
    for (size_t row = first; row < last; row++) {
        float *share = grad->shares + row * width;
        memcpy(share, grad->dy + row * width, width * sizeof *share);
        divide_row_of_sums(&grad->pooling, ldnq_pooling_find_row(&grad->pooling, row), share);
    }
}

/* dx (W) += the shares of one output row (OW), for one (kd, kh). */
static void add_gradient_row(const struct ldnq_pooling *p, const float *share, float *dx)
{
    const struct ldnq_pooling_axis *w = &p->axis[2];
    const size_t stride = (size_t)w->stride;
    const bool wide = ldnq_pooling_has_wide_windows(p);
    for (size_t i = 0; wide && i < w->out; i++) {
        const struct ldnq_pooling_taps taps = ldnq_pooling_find_taps(w, i);
        for (size_t k = 0; k < taps.count; k++)
            dx[taps.at + k * (size_t)w->dilation] += share[i];
    }
    for (size_t k = 0; !wide && k < w->kernel; k++) {
        struct ldnq_pooling_range range = ldnq_pooling_tap_range(p, k);
        float *to = dx + range.at;
        for (size_t i = range.first; i < range.last; i++, to += stride)
            *to += share[i];
    }
}

static void add_pooled_gradient(const void *ctx, size_t first, size_t last)
{
    const struct averagepool_grad *grad = ctx;
    const struct ldnq_pooling *p = &grad->pooling;
    const size_t in = ldnq_pooling_plane(p), rows = ldnq_pooling_rows(p);
    const size_t width = p->axis[2].in, height = p->axis[1].in;
    const size_t step_d = (size_t)p->axis[0].dilation, step_h = (size_t)p->axis[1].dilation;
    for (size_t plane = first; plane < last; plane++) {
        float *dx = grad->dx + plane * in;
        memset(dx, 0, in * sizeof *dx);
        for (size_t row = 0; row < rows; row++) {
            struct ldnq_pooling_row at = ldnq_pooling_find_row(p, row);
            const float *share = grad->shares + (plane * rows + row) * p->axis[2].out;
            const struct ldnq_pooling_taps in_d = ldnq_pooling_find_taps(&p->axis[0], at.od);
            const struct ldnq_pooling_taps in_h = ldnq_pooling_find_taps(&p->axis[1], at.oh);
            for (size_t d = 0; d < in_d.count; d++)
                for (size_t h = 0; h < in_h.count; h++) {
                    size_t id = in_d.at + d * step_d, ih = in_h.at + h * step_h;
                    add_gradient_row(p, share, dx + (id * height + ih) * width);
                }
        }
    }
}

static size_t averagepool_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    size_t bytes;
    return ldnq_tensor_bytes(&grad->call->out[0], &bytes) ? bytes : SIZE_MAX;
}

static enum ldnq_status averagepool_backward(const struct ldnq_op_grad *grad,
                                             struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_shape *shape = &call->in[0]->shape;
    struct averagepool_grad average = { .dy = grad->out[0]->data,
                                        .shares = call->scratch,
                                        .dx = grad->in[0].data };
    struct ldnq_pooling *p = &average.pooling;
    size_t planes = (size_t)(shape->dim[0] * shape->dim[1]);
    LDNQ_TRY(ldnq_pooling_make(call, p, err));
    if (!average.dx)
        return LDNQ_OK;
    ldnq_op_run_rows(call, planes * ldnq_pooling_rows(p), p->axis[2].out, divide_dy_rows, &average);
    ldnq_pooling_run_planes(call, p, add_pooled_gradient, &average);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_averagepool = {
    .type = "AveragePool",
    .since = 7,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_PER_SAMPLE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .read_attrs = ldnq_pooling_read_attrs,
    .infer = averagepool_infer_shape,
    .count_operations = ldnq_pooling_count_operations,
    .forward = averagepool_forward,
    .differentiable = 1,
    .backward_scratch_bytes = averagepool_backward_scratch_bytes,
    .backward = averagepool_backward,
};
