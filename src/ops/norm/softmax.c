/* softmax.c: Softmax and LogSoftmax.
 *
 * Shapes  x, y (outer, size, inner): normalized along `size`. Up to opset 12 all
 *         axes from `axis` on are one; since 13 only `axis` itself.
 */
#include "ops/norm/softmax.h"

#include <math.h>

#include "base/simd.h"
#include "base/size.h"
#include "ops/shared/expf.h"
#include "ops/op.h"
#include "ops/norm/softmax_backward.h"
#include "ops/shared/sums.h"

/* Lines that are worked on together where they lie side by side (inner > 1), and
 * elements of a line at a time where they do not. */
#define TILE ((size_t)128)

struct softmax {
    const float *x;
    float *y;
    struct ldnq_split_at at;
    bool logarithm;
};

/* ---- one line in one piece --------------------------------------------------------- */

LDNQ_MULTIVERSION
static float greatest(const float *x, size_t count)
{
    float lane[8], max = -INFINITY;
    size_t i = 0;
    for (size_t k = 0; k < 8; k++)
        lane[k] = -INFINITY;
    for (; i + 8 <= count; i += 8)
        for (size_t k = 0; k < 8; k++)
            lane[k] = x[i + k] > lane[k] ? x[i + k] : lane[k];
    for (; i < count; i++)
        max = x[i] > max ? x[i] : max;
    for (size_t k = 0; k < 8; k++)
        max = lane[k] > max ? lane[k] : max;
    return max;
}

LDNQ_MULTIVERSION
static void powers(const float *x, float *y, size_t count, float max)
{
    LDNQ_IVDEP
    for (size_t i = 0; i < count; i++)
        y[i] = ldnq_expf(x[i] - max);
}

LDNQ_MULTIVERSION
static void multiply(float *y, size_t count, float factor)
{
    for (size_t i = 0; i < count; i++)
        y[i] *= factor;
}

/* The greatest is taken off first, so that no exponential overflows. */
void ldnq_softmax_line(const float *x, float *y, size_t count)
{
    float max = greatest(x, count);
    powers(x, y, count, max);
    multiply(y, count, (float)(1.0 / ldnq_sum(y, count)));
}

/* y may be x, so the powers go elsewhere. */
static void logsoftmax_line(const float *x, float *y, size_t count)
{
    float max = greatest(x, count), tile[TILE];
    double sum = 0.0;
    for (size_t i = 0; i < count; i += TILE) {
        size_t piece = ldnq_size_min(TILE, count - i);
        powers(x + i, tile, piece, max);
        sum += ldnq_sum(tile, piece);
    }
    const float shift = (float)log(sum);
    LDNQ_IVDEP
    for (size_t i = 0; i < count; i++)
        y[i] = x[i] - max - shift;
}

static void softmax_rows(const void *ctx, size_t first, size_t last)
{
    const struct softmax *softmax = ctx;
    size_t size = softmax->at.size;
    for (size_t line = first; line < last; line++)
        (softmax->logarithm ? logsoftmax_line : ldnq_softmax_line)(softmax->x + line * size,
                                                                   softmax->y + line * size, size);
}

/* ---- lines side by side ------------------------------------------------------------- */

struct columns {
    float max[TILE], sum[TILE];
};

LDNQ_MULTIVERSION
static void find_sums(const float *x, size_t size, size_t step, size_t lines,
                      struct columns *columns)
{
    float *max = columns->max, *sum = columns->sum;
    for (size_t k = 0; k < lines; k++) {
        max[k] = -INFINITY;
        sum[k] = 0.0f;
    }
    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k < lines; k++)
            max[k] = x[i * step + k] > max[k] ? x[i * step + k] : max[k];
    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k < lines; k++)
            sum[k] += ldnq_expf(x[i * step + k] - max[k]);
}

LDNQ_MULTIVERSION
static void divide(const float *x, float *y, size_t size, size_t step, size_t lines,
                   const struct columns *columns)
{
    const float *max = columns->max, *sum = columns->sum;
    for (size_t i = 0; i < size; i++) {
        LDNQ_IVDEP
        for (size_t k = 0; k < lines; k++)
            y[i * step + k] = ldnq_expf(x[i * step + k] - max[k]) / sum[k];
    }
}

static void subtract(const float *x, float *y, size_t size, size_t step, size_t lines,
                     struct columns *columns)
{
    for (size_t k = 0; k < lines; k++)
        columns->sum[k] = logf(columns->sum[k]);
    for (size_t i = 0; i < size; i++) {
        LDNQ_IVDEP
        for (size_t k = 0; k < lines; k++)
            y[i * step + k] = x[i * step + k] - columns->max[k] - columns->sum[k];
    }
}

/* Groups of TILE lines: (outer, group). */
static void softmax_groups(const void *ctx, size_t first, size_t last)
{
    const struct softmax *softmax = ctx;
    size_t size = softmax->at.size, inner = softmax->at.inner;
    size_t groups = ldnq_size_ceil_div(inner, TILE);
    struct columns columns;
    for (size_t i = first; i < last; i++) {
        size_t line = i % groups * TILE, at = i / groups * size * inner + line;
        size_t lines = ldnq_size_min(TILE, inner - line);
        find_sums(softmax->x + at, size, inner, lines, &columns);
        if (softmax->logarithm)
            subtract(softmax->x + at, softmax->y + at, size, inner, lines, &columns);
        else
            divide(softmax->x + at, softmax->y + at, size, inner, lines, &columns);
    }
}

static enum ldnq_status softmax_forward_at(const struct ldnq_op_call *call, struct ldnq_split_at at,
                                           bool logarithm)
{
    struct softmax softmax = {
        .x = call->in[0]->data, .y = call->out[0].data, .at = at, .logarithm = logarithm
    };
    if (at.inner == 1)
        ldnq_op_for_rows(call, at.outer, at.size, softmax_rows, &softmax);
    else
        ldnq_op_for_rows(call, at.outer * ldnq_size_ceil_div(at.inner, TILE),
                         at.size * ldnq_size_min(at.inner, TILE), softmax_groups, &softmax);
    return LDNQ_OK;
}

/* ---- all axes from one on ----------------------------------------------------------- */

static enum ldnq_status axis_1(const struct ldnq_op_call *call, int *axis, struct ldnq_error *err)
{
    int rank = call->in[0]->shape.rank;
    int64_t at = ldnq_attr_int(call->node, "axis", 1);
    *axis = rank;
    return at == rank ? LDNQ_OK : ldnq_op_axis(at, rank, axis, err);
}

static enum ldnq_status softmax_1_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    int axis;
    LDNQ_TRY(ldnq_op_infer_same(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    return call->in[0]->shape.rank < 0 ? LDNQ_OK : axis_1(call, &axis, err);
}

static enum ldnq_status softmax_1_any(const struct ldnq_op_call *call, bool logarithm,
                                      struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &call->in[0]->shape;
    struct ldnq_split_at at = { 1, 1, 1 };
    int axis;
    LDNQ_TRY(axis_1(call, &axis, err));
    for (int i = 0; i < shape->rank; i++)
        *(i < axis ? &at.outer : &at.size) *= (size_t)shape->dim[i];
    return softmax_forward_at(call, at, logarithm);
}

static enum ldnq_status softmax_1_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return softmax_1_any(call, false, err);
}

static enum ldnq_status logsoftmax_1_forward(const struct ldnq_op_call *call,
                                             struct ldnq_error *err)
{
    return softmax_1_any(call, true, err);
}

/* ---- one axis ------------------------------------------------------------------------- */

static enum ldnq_status softmax_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    int axis, rank = call->in[0]->shape.rank;
    LDNQ_TRY(ldnq_op_infer_same(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    /* A scalar is a line of one element. */
    if (rank <= 0)
        return LDNQ_OK;
    return ldnq_op_axis(ldnq_attr_int(call->node, "axis", -1), rank, &axis, err);
}

static enum ldnq_status softmax_any(const struct ldnq_op_call *call, bool logarithm,
                                    struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &call->in[0]->shape;
    int axis = 0;
    if (shape->rank > 0)
        LDNQ_TRY(ldnq_op_axis(ldnq_attr_int(call->node, "axis", -1), shape->rank, &axis, err));
    return softmax_forward_at(call, ldnq_op_split_at(shape, axis), logarithm);
}

static enum ldnq_status softmax_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return softmax_any(call, false, err);
}

static enum ldnq_status logsoftmax_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return softmax_any(call, true, err);
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
        .flows = 1,                                                                                \
        .reads_out = 1,                                                                            \
        .backward = BACKWARD,                                                                      \
    };

SOFTMAX(softmax_1, "Softmax", 1, 12, softmax_1_infer, ldnq_softmax_backward)
SOFTMAX(logsoftmax_1, "LogSoftmax", 1, 12, softmax_1_infer, ldnq_logsoftmax_backward)
SOFTMAX(softmax, "Softmax", 13, LDNQ_OPSET_LATEST, softmax_infer, ldnq_softmax_backward)
SOFTMAX(logsoftmax, "LogSoftmax", 13, LDNQ_OPSET_LATEST, softmax_infer, ldnq_logsoftmax_backward)
