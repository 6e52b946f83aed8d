/* SPDX-License-Identifier: Apache-2.0 */
/* maxpool.c: MaxPool, for float32 and 8-bit integers.
 *
 * Shapes  x (N, C, D, H, W), y and indices (N, C, OD, OH, OW)
 * Source  onnx.ai/onnx/operators/onnx__MaxPool.html
 */
#include "ops/pool/maxpool_indices.h"
#include "ops/pool/pooling_blocks.h"
#include "ops/pool/pooling_tiles.h"

#include <math.h>
#include <string.h>

#define MAXPOOL_TYPES                                                                              \
    (LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_INT8) | LDNQ_DTYPE_BIT(LDNQ_UINT8))

#define GREATER(acc, v, bits)                                                                      \
    do {                                                                                           \
        const bits more = v > acc;                                                                 \
        acc = (__typeof__(acc))((more & (bits)v) | (~more & (bits)acc));                           \
    } while (0)
#define GREATER_ONE(acc, v) acc = v > acc ? v : acc
LDNQ_POOLING_ROW(max_row, -INFINITY, GREATER, GREATER_ONE)
LDNQ_POOLING_TILE(max_tile, -INFINITY, GREATER)

static void maxpool_float(const void *ctx, size_t first, size_t last)
{
    const struct ldnq_pooling *p = ctx;
    for (size_t row = first; row < last; row++)
        max_row(p, ldnq_pooling_find_row(p, row), (float *)p->y + row * p->axis[2].out);
}

static void maxpool_planes(const void *ctx, size_t first, size_t last)
{
    ldnq_pooling_run_tiles(ctx, first, last, max_tile, -INFINITY);
}

/* Integers: for each tap, the output row becomes the maximum of itself and the input row. */
#define MAXPOOL(name, T, LOWEST)                                                                   \
    static void name##_tap(T *restrict y, const T *restrict x, size_t count, size_t stride)        \
    {                                                                                              \
        if (stride == 1) {                                                                         \
            for (size_t i = 0; i < count; i++)                                                     \
                y[i] = x[i] > y[i] ? x[i] : y[i];                                                  \
        } else if (stride == 2) {                                                                  \
            for (size_t i = 0; i < count; i++)                                                     \
                y[i] = x[2 * i] > y[i] ? x[2 * i] : y[i];                                          \
        } else {                                                                                   \
            for (size_t i = 0; i < count; i++)                                                     \
                y[i] = x[i * stride] > y[i] ? x[i * stride] : y[i];                                \
        }                                                                                          \
    }                                                                                              \
    static void name##_row(const struct ldnq_pooling *p, const T *x, T *y)                         \
    {                                                                                              \
        const struct ldnq_pooling_axis *w = &p->axis[2];                                           \
        const bool wide = ldnq_pooling_has_wide_windows(p);                                        \
        for (size_t i = 0; wide && i < w->out; i++) {                                              \
            const struct ldnq_pooling_taps taps = ldnq_pooling_find_taps(w, i);                    \
            const T *at = x + taps.at;                                                             \
            for (size_t k = 0; k < taps.count; k++, at += w->dilation)                             \
                y[i] = *at > y[i] ? *at : y[i];                                                    \
        }                                                                                          \
        for (size_t k = 0; !wide && k < w->kernel; k++) {                                          \
            struct ldnq_pooling_range range = ldnq_pooling_tap_range(p, k);                        \
            if (range.last > range.first)                                                          \
                name##_tap(y + range.first, x + range.at, range.last - range.first,                \
                           (size_t)w->stride);                                                     \
        }                                                                                          \
    }                                                                                              \
    static void name(const void *ctx, size_t first, size_t last)                                   \
    {                                                                                              \
        const struct ldnq_pooling *p = ctx;                                                        \
        const size_t width = p->axis[2].in, step_d = (size_t)p->axis[0].dilation;                  \
        const size_t step_h = (size_t)p->axis[1].dilation;                                         \
        for (size_t row = first; row < last; row++) {                                              \
            struct ldnq_pooling_row at = ldnq_pooling_find_row(p, row);                            \
            const T *x = (const T *)p->x + at.plane * p->axis[0].in * p->axis[1].in * width;       \
            T *y = (T *)p->y + row * p->axis[2].out;                                               \
            for (size_t i = 0; i < p->axis[2].out; i++)                                            \
                y[i] = (LOWEST);                                                                   \
            const struct ldnq_pooling_taps in_d = ldnq_pooling_find_taps(&p->axis[0], at.od);      \
            const struct ldnq_pooling_taps in_h = ldnq_pooling_find_taps(&p->axis[1], at.oh);      \
            for (size_t d = 0; d < in_d.count; d++)                                                \
                for (size_t h = 0; h < in_h.count; h++)                                            \
                    name##_row(                                                                    \
                        p,                                                                         \
                        x + ((in_d.at + d * step_d) * p->axis[1].in + in_h.at + h * step_h) *      \
                                width,                                                             \
                        y);                                                                        \
        }                                                                                          \
    }

MAXPOOL(maxpool_int8, int8_t, INT8_MIN)
MAXPOOL(maxpool_uint8, uint8_t, 0)

static enum ldnq_status maxpool_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_pooling_infer_shape(call, MAXPOOL_TYPES, err));
    if (call->out_count > 1)
        call->out[1] = (struct ldnq_tensor){ LDNQ_INT64, call->out[0].shape, NULL };
    return LDNQ_OK;
}

static enum ldnq_status maxpool_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    enum ldnq_dtype dtype = call->in[0]->dtype;
    ldnq_range_fn *run = dtype == LDNQ_FLOAT  ? maxpool_float
                         : dtype == LDNQ_INT8 ? maxpool_int8
                                              : maxpool_uint8;
    struct ldnq_pooling pooling;
    LDNQ_TRY(ldnq_pooling_make_forward(call, &pooling, err));
    if (dtype == LDNQ_FLOAT && ldnq_pooling_fits_tiles(&pooling))
        ldnq_pooling_run_planes(call, &pooling, maxpool_planes, &pooling);
    else
        ldnq_pooling_run_rows(call, &pooling, run);
    return call->out_count > 1 ? ldnq_maxpool_indices(call, err) : LDNQ_OK;
}

/* ---- backward ----------------------------------------------------------------------- */

struct maxpool_grad {
    struct ldnq_pooling pooling;
    const float *x, *dy;
    float *dx;
};

/* *max: the index in its plane of an output's maximum, the first of equal ones; false if the
 * whole window is padding. */
static bool find_max(const struct ldnq_pooling *p, const float *x, struct ldnq_pooling_row at,
                     size_t ow, size_t *max)
{
    const struct ldnq_pooling_taps in_d = ldnq_pooling_find_taps(&p->axis[0], at.od);
    const struct ldnq_pooling_taps in_h = ldnq_pooling_find_taps(&p->axis[1], at.oh);
    const struct ldnq_pooling_taps in_w = ldnq_pooling_find_taps(&p->axis[2], ow);
    bool found = false;
    for (size_t d = 0; d < in_d.count; d++) {
        for (size_t h = 0; h < in_h.count; h++) {
            size_t id = in_d.at + d * (size_t)p->axis[0].dilation;
            size_t ih = in_h.at + h * (size_t)p->axis[1].dilation;
            size_t i = (id * p->axis[1].in + ih) * p->axis[2].in + in_w.at;
            for (size_t w = 0; w < in_w.count; w++, i += (size_t)p->axis[2].dilation) {
                if (!found || x[i] > x[*max] || isnan(x[*max]))
                    *max = i;
                found = true;
            }
        }
    }
    return found;
}

/* dx (D, H, W) of each plane: the sum of dy over the outputs with their maximum there. */
static void compute_plane_gradients(const void *ctx, size_t first, size_t last)
{
    const struct maxpool_grad *grad = ctx;
    const struct ldnq_pooling *p = &grad->pooling;
    const size_t in = ldnq_pooling_plane(p), rows = ldnq_pooling_rows(p);
    size_t width = p->axis[2].out, max = 0;
    for (size_t plane = first; plane < last; plane++) {
        const float *x = grad->x + plane * in;
        const float *dy = grad->dy + plane * rows * width;
        float *dx = grad->dx + plane * in;
        memset(dx, 0, in * sizeof *dx);
        for (size_t row = 0; row < rows; row++) {
            struct ldnq_pooling_row at = ldnq_pooling_find_row(p, row);
            for (size_t ow = 0; ow < width; ow++, dy++)
                if (find_max(p, x, at, ow, &max))
                    dx[max] += *dy;
        }
    }
}

static enum ldnq_status maxpool_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    struct maxpool_grad maxpool = { .x = call->in[0]->data,
                                    .dy = grad->out[0]->data,
                                    .dx = grad->in[0].data };
    struct ldnq_pooling *p = &maxpool.pooling;
    if (call->in[0]->dtype != LDNQ_FLOAT)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "gradients of %s are not supported",
                         ldnq_dtype_name(call->in[0]->dtype));
    LDNQ_TRY(ldnq_pooling_make(call, p, err));
    if (maxpool.dx)
        ldnq_pooling_run_planes(call, p, compute_plane_gradients, &maxpool);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_maxpool = {
    .type = "MaxPool",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_PER_SAMPLE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 2,
    .read_attrs = ldnq_pooling_read_attrs,
    .infer = maxpool_infer_shape,
    .count_operations = ldnq_pooling_count_operations,
    .forward = maxpool_forward,
    .differentiable = 1,
    .saved_inputs = 1,
    .backward = maxpool_backward,
};
