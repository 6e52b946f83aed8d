/* SPDX-License-Identifier: Apache-2.0 */
/* softmax.c: Softmax and LogSoftmax.
 *
 * Computes y = exp(x - max) / sum exp(x - max), or its logarithm, over each row
 * Shapes   x, y (outer, size, inner): a row has `size` elements, `inner` apart. Since opset
 *          13 `size` is axis `axis`; before, it is all axes from `axis` on.
 * Source   onnx.ai/onnx/operators/onnx__Softmax.html, LogSoftmax
 */
#include "ops/norm/softmax.h"

#include <math.h>

#include "base/simd.h"
#include "base/size.h"
#include "ops/shared/expf.h"
#include "ops/op.h"
#include "ops/norm/softmax_backward.h"
#include "ops/shared/float_sums.h"

/* Rows that are computed together where rows are interleaved (inner > 1), and elements of
 * a row that are computed together where they are not. */
#define TILE ((size_t)128)
#define SHORT ((size_t)16)

struct softmax {
    const float *x;
    float *y;
    struct ldnq_axis_split at;
    bool logarithm;
};

/* ---- contiguous rows --------------------------------------------------------- */

LDNQ_MULTIVERSION
static void write_exponentials(const float *x, float *y, size_t count, float max)
{
    LDNQ_IVDEP
    for (size_t i = 0; i < count; i++)
        y[i] = ldnq_expf(x[i] - max);
}

LDNQ_MULTIVERSION
static void scale_row(float *y, size_t count, float factor)
{
    for (size_t i = 0; i < count; i++)
        y[i] *= factor;
}

/* The maximum is subtracted first, so that no exponential overflows. */
void ldnq_compute_softmax_row(const float *x, float *y, size_t count)
{
    float max = ldnq_find_max_float(x, count);
    write_exponentials(x, y, count, max);
    scale_row(y, count, (float)(1.0 / ldnq_sum_floats(y, count)));
}

/* y may be x, so the exponentials are stored in `tile`. */
static void compute_logsoftmax_row(const float *x, float *y, size_t count)
{
    float max = ldnq_find_max_float(x, count), tile[TILE];
    double sum = 0.0;
    for (size_t i = 0; i < count; i += TILE) {
        size_t piece = ldnq_size_min(TILE, count - i);
        write_exponentials(x + i, tile, piece, max);
        sum += ldnq_sum_floats(tile, piece);
    }
    const float shift = (float)log(sum);
    LDNQ_IVDEP
    for (size_t i = 0; i < count; i++)
        y[i] = x[i] - max - shift;
}

/* Rows shorter than a vector: the exponentials of as many as fit in a tile are computed at once.
 * The bits are those of ldnq_compute_softmax_row. */
static void compute_short_rows(const float *x, float *y, size_t rows, size_t size)
{
    float shifted[TILE];
    for (size_t row = 0; row < rows; row++) {
        const float *from = x + row * size;
        float max = -INFINITY;
        for (size_t i = 0; i < size; i++)
            max = from[i] > max ? from[i] : max;
        for (size_t i = 0; i < size; i++)
            shifted[row * size + i] = from[i] - max;
    }
    write_exponentials(shifted, y, rows * size, 0.0f);
    for (size_t row = 0; row < rows; row++) {
        const float factor = (float)(1.0 / ldnq_sum_floats(y + row * size, size));
        for (size_t i = 0; i < size; i++)
            y[row * size + i] *= factor;
    }
}

static void compute_contiguous_rows(const void *ctx, size_t first, size_t last)
{
    const struct softmax *softmax = ctx;
    size_t size = softmax->at.size;
    if (!softmax->logarithm && size > 0 && size <= SHORT) {
        const size_t step = TILE / size;
        for (size_t row = first; row < last; row += step)
            compute_short_rows(softmax->x + row * size, softmax->y + row * size,
                               ldnq_size_min(step, last - row), size);
        return;
    }
    for (size_t row = first; row < last; row++)
        (softmax->logarithm ? compute_logsoftmax_row : ldnq_compute_softmax_row)(
            softmax->x + row * size, softmax->y + row * size, size);
}

/* ---- interleaved rows ------------------------------------------------------------- */

/* The maximum and the sum of exponentials of each of up to TILE rows. */
struct softmax_row_sums {
    float max[TILE], sum[TILE];
};

LDNQ_MULTIVERSION
static void find_row_sums(const float *x, size_t size, size_t step, size_t rows,
                          struct softmax_row_sums *sums)
{
    float *max = sums->max, *sum = sums->sum;
    for (size_t k = 0; k < rows; k++) {
        max[k] = -INFINITY;
        sum[k] = 0.0f;
    }
    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k < rows; k++)
            max[k] = x[i * step + k] > max[k] ? x[i * step + k] : max[k];
    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k < rows; k++)
            sum[k] += ldnq_expf(x[i * step + k] - max[k]);
}

LDNQ_MULTIVERSION
static void write_softmax(const float *x, float *y, size_t size, size_t step, size_t rows,
                          const struct softmax_row_sums *sums)
{
    const float *max = sums->max, *sum = sums->sum;
    for (size_t i = 0; i < size; i++) {
        LDNQ_IVDEP
        for (size_t k = 0; k < rows; k++)
            y[i * step + k] = ldnq_expf(x[i * step + k] - max[k]) / sum[k];
    }
}

static void write_logsoftmax(const float *x, float *y, size_t size, size_t step, size_t rows,
                             struct softmax_row_sums *sums)
{
    for (size_t k = 0; k < rows; k++)
        sums->sum[k] = logf(sums->sum[k]);
    for (size_t i = 0; i < size; i++) {
        LDNQ_IVDEP
        for (size_t k = 0; k < rows; k++)
            y[i * step + k] = x[i * step + k] - sums->max[k] - sums->sum[k];
    }
}

/* Blocks of TILE interleaved rows, counted over (outer, block). */
static void compute_interleaved_rows(const void *ctx, size_t first, size_t last)
{
    const struct softmax *softmax = ctx;
    size_t size = softmax->at.size, inner = softmax->at.inner;
    size_t blocks = ldnq_size_ceil_div(inner, TILE);
    struct softmax_row_sums sums;
    for (size_t i = first; i < last; i++) {
        size_t row = i % blocks * TILE, at = i / blocks * size * inner + row;
        size_t rows = ldnq_size_min(TILE, inner - row);
        find_row_sums(softmax->x + at, size, inner, rows, &sums);
        if (softmax->logarithm)
            write_logsoftmax(softmax->x + at, softmax->y + at, size, inner, rows, &sums);
        else
            write_softmax(softmax->x + at, softmax->y + at, size, inner, rows, &sums);
    }
}

static enum ldnq_status compute_softmax_along_axis(const struct ldnq_op_call *call,
                                                   struct ldnq_axis_split at, bool logarithm)
{
    struct softmax softmax = {
        .x = call->in[0]->data, .y = call->out[0].data, .at = at, .logarithm = logarithm
    };
    if (at.inner == 1)
        ldnq_op_run_rows(call, at.outer, at.size, compute_contiguous_rows, &softmax);
    else
        ldnq_op_run_rows(call, at.outer * ldnq_size_ceil_div(at.inner, TILE),
                         at.size * ldnq_size_min(at.inner, TILE), compute_interleaved_rows,
                         &softmax);
    return LDNQ_OK;
}

/* ---- up to opset 12 ----------------------------------------------------------- */

static enum ldnq_status find_axis_1(const struct ldnq_op_call *call, int *axis,
                                    struct ldnq_error *err)
{
    int rank = call->in[0]->shape.rank;
    int64_t at = ldnq_attr_int(call->node, "axis", 1);
    *axis = rank;
    return at == rank ? LDNQ_OK : ldnq_op_resolve_axis(at, rank, axis, err);
}

static enum ldnq_status softmax_1_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    int axis;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    return call->in[0]->shape.rank < 0 ? LDNQ_OK : find_axis_1(call, &axis, err);
}

static enum ldnq_status compute_as_opset_1(const struct ldnq_op_call *call, bool logarithm,
                                           struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &call->in[0]->shape;
    struct ldnq_axis_split at = { 1, 1, 1 };
    int axis;
    LDNQ_TRY(find_axis_1(call, &axis, err));
    for (int i = 0; i < shape->rank; i++)
        *(i < axis ? &at.outer : &at.size) *= (size_t)shape->dim[i];
    return compute_softmax_along_axis(call, at, logarithm);
}

static enum ldnq_status softmax_1_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return compute_as_opset_1(call, false, err);
}

static enum ldnq_status logsoftmax_1_forward(const struct ldnq_op_call *call,
                                             struct ldnq_error *err)
{
    return compute_as_opset_1(call, true, err);
}

/* ---- since opset 13 ------------------------------------------------------------------------- */

static enum ldnq_status softmax_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    int axis, rank = call->in[0]->shape.rank;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    /* A scalar is a row of one element. */
    if (rank <= 0)
        return LDNQ_OK;
    return ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", -1), rank, &axis, err);
}

static enum ldnq_status compute_as_opset_13(const struct ldnq_op_call *call, bool logarithm,
                                            struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &call->in[0]->shape;
    int axis = 0;
    if (shape->rank > 0)
        LDNQ_TRY(
            ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", -1), shape->rank, &axis, err));
    return compute_softmax_along_axis(call, ldnq_op_split_at_axis(shape, axis), logarithm);
}

static enum ldnq_status softmax_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return compute_as_opset_13(call, false, err);
}

static enum ldnq_status logsoftmax_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return compute_as_opset_13(call, true, err);
}

#define SOFTMAX(name, Type, SINCE, UNTIL, INFER, BACKWARD)                                         \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = SINCE,                                                                            \
        .until = UNTIL,                                                                            \
        .flags = LDNQ_OP_IN_PLACE,                                                                 \
        .inputs_min = 1,                                                                           \
        .inputs_max = 1,                                                                           \
        .outputs_max = 1,                                                                          \
        .infer = INFER,                                                                            \
        .forward = name##_forward,                                                                 \
        .differentiable = 1,                                                                       \
        .saved_outputs = 1,                                                                        \
        .backward = BACKWARD,                                                                      \
    };

SOFTMAX(softmax_1, "Softmax", 1, 12, softmax_1_infer_shape, ldnq_softmax_backward)
SOFTMAX(logsoftmax_1, "LogSoftmax", 1, 12, softmax_1_infer_shape, ldnq_logsoftmax_backward)
SOFTMAX(softmax, "Softmax", 13, LDNQ_OPSET_LATEST, softmax_infer_shape, ldnq_softmax_backward)
SOFTMAX(logsoftmax, "LogSoftmax", 13, LDNQ_OPSET_LATEST, softmax_infer_shape,
        ldnq_logsoftmax_backward)
