/* softmax.c: Softmax and LogSoftmax.
 *
 * Shapes  x, y (outer, size, inner): normalized along `size`. Up to opset 12 all
 *         axes from `axis` on are one; since 13 only `axis` itself.
 */
#include "ops/op.h"

#include <math.h>

struct softmax {
    const float *x;
    float *y;
    struct ldnq_split_at at;
    bool logarithm;
};

/* One line of elements `step` apart. The greatest is taken off first, so that no
 * exponential overflows. */
static void softmax_line(const struct softmax *softmax, const float *x, float *y, size_t step)
{
    size_t count = softmax->at.size;
    float max = -INFINITY;
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        max = x[i * step] > max ? x[i * step] : max;
    for (size_t i = 0; i < count; i++) {
        float power = expf(x[i * step] - max);
        sum += (double)power;
        if (!softmax->logarithm)
            y[i * step] = power;
    }
    const float scale = (float)(1.0 / sum), shift = (float)log(sum);
    for (size_t i = 0; i < count && softmax->logarithm; i++)
        y[i * step] = x[i * step] - max - shift;
    for (size_t i = 0; i < count && !softmax->logarithm; i++)
        y[i * step] *= scale;
}

static void softmax_lines(const void *ctx, size_t first, size_t last)
{
    const struct softmax *softmax = ctx;
    size_t inner = softmax->at.inner;
    for (size_t line = first; line < last; line++) {
        size_t at = line / inner * softmax->at.size * inner + line % inner;
        softmax_line(softmax, softmax->x + at, softmax->y + at, inner);
    }
}

static enum ldnq_status softmax_forward_at(const struct ldnq_op_call *call,
                                           struct ldnq_split_at at, bool logarithm)
{
    struct softmax softmax = { .x = call->in[0]->data, .y = call->out[0].data, .at = at,
                               .logarithm = logarithm };
    ldnq_op_for_rows(call, at.outer * at.inner, at.size * 8, softmax_lines, &softmax);
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

static enum ldnq_status logsoftmax_forward(const struct ldnq_op_call *call,
                                           struct ldnq_error *err)
{
    return softmax_any(call, true, err);
}

#define SOFTMAX(name, Type, SINCE, UNTIL, INFER)                                                   \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type, .since = SINCE, .until = UNTIL, .flags = LDNQ_OP_IN_PLACE,                   \
        .inputs_min = 1, .inputs_max = 1, .outputs_max = 1,                                        \
        .infer = INFER,                                                                            \
        .forward = name##_forward,                                                                 \
    };

SOFTMAX(softmax_1, "Softmax", 1, 12, softmax_1_infer)
SOFTMAX(logsoftmax_1, "LogSoftmax", 1, 12, softmax_1_infer)
SOFTMAX(softmax, "Softmax", 13, LDNQ_OPSET_LATEST, softmax_infer)
SOFTMAX(logsoftmax, "LogSoftmax", 13, LDNQ_OPSET_LATEST, softmax_infer)
