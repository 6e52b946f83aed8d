/* lpnormalization.c: LpNormalization: lines along an axis divided by their norm;
 * a line of zeros stays. */
#include "ops/op.h"

#include <inttypes.h>
#include <math.h>

struct lines {
    const float *x;
    float *y;
    struct ldnq_split_at at;
    bool squares; /* p = 2 */
};

static enum ldnq_status lpnormalization_read(const struct ldnq_node *node, struct ldnq_arena *arena,
                                             const void **attrs, struct ldnq_error *err)
{
    int64_t p = ldnq_attr_int(node, "p", 2);
    (void)arena;
    (void)attrs;
    return p == 1 || p == 2 ? LDNQ_OK
                            : ldnq_fail(err, LDNQ_MODEL, "p=%" PRId64 " is not possible", p);
}

static enum ldnq_status line_axis(const struct ldnq_op_call *call, int *axis,
                                  struct ldnq_error *err)
{
    return ldnq_op_axis(ldnq_attr_int(call->node, "axis", -1), call->in[0]->shape.rank, axis, err);
}

static enum ldnq_status lpnormalization_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    int axis;
    LDNQ_TRY(ldnq_op_infer_same(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    return call->in[0]->shape.rank < 0 ? LDNQ_OK : line_axis(call, &axis, err);
}

static void normalize_lines(const void *ctx, size_t first, size_t last)
{
    const struct lines *lines = ctx;
    size_t size = lines->at.size, inner = lines->at.inner;
    for (size_t line = first; line < last; line++) {
        size_t at = line / inner * size * inner + line % inner;
        double norm = 0.0;
        for (size_t i = 0; i < size; i++) {
            double x = (double)lines->x[at + i * inner];
            norm += lines->squares ? x * x : fabs(x);
        }
        norm = lines->squares ? sqrt(norm) : norm;
        for (size_t i = 0; i < size; i++) {
            double x = (double)lines->x[at + i * inner];
            lines->y[at + i * inner] = (float)(norm != 0.0 ? x / norm : x);
        }
    }
}

static enum ldnq_status lpnormalization_forward(const struct ldnq_op_call *call,
                                                struct ldnq_error *err)
{
    int axis;
    LDNQ_TRY(line_axis(call, &axis, err));
    struct lines lines = { .x = call->in[0]->data,
                           .y = call->out[0].data,
                           .at = ldnq_op_split_at(&call->in[0]->shape, axis),
                           .squares = ldnq_attr_int(call->node, "p", 2) == 2 };
    ldnq_op_for_rows(call, lines.at.outer * lines.at.inner, lines.at.size, normalize_lines, &lines);
    return LDNQ_OK;
}

/* ---- backward ----------------------------------------------------------------------- */

struct lines_grad {
    struct lines lines; /* y is not read */
    const float *dy;
    float *dx;
};

/* With n the norm and u its gradient (x / n, or x's sign): dx = dy / n - u (dy x) / n^2.
 * A line of zeros is passed on as it is. */
static void lines_backward(const void *ctx, size_t first, size_t last)
{
    const struct lines_grad *grad = ctx;
    const struct lines *lines = &grad->lines;
    size_t size = lines->at.size, inner = lines->at.inner;
    for (size_t line = first; line < last; line++) {
        size_t at = line / inner * size * inner + line % inner;
        double norm = 0.0, product = 0.0;
        for (size_t i = at; i < at + size * inner; i += inner) {
            double x = (double)lines->x[i];
            norm += lines->squares ? x * x : fabs(x);
            product += x * (double)grad->dy[i];
        }
        norm = lines->squares ? sqrt(norm) : norm;
        for (size_t i = at; i < at + size * inner; i += inner) {
            double x = (double)lines->x[i], dy = (double)grad->dy[i];
            double u = lines->squares ? x / norm : (double)((x > 0.0) - (x < 0.0));
            grad->dx[i] = (float)(norm != 0.0 ? (dy - u * product / norm) / norm : dy);
        }
    }
}

static enum ldnq_status lpnormalization_backward(const struct ldnq_op_grad *grad,
                                                 struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    int axis;
    LDNQ_TRY(line_axis(call, &axis, err));
    struct lines_grad lines = {
        .lines = { .x = call->in[0]->data,
                   .at = ldnq_op_split_at(&call->in[0]->shape, axis),
                   .squares = ldnq_attr_int(call->node, "p", 2) == 2 },
        .dy = grad->out[0]->data,
        .dx = grad->in[0].data,
    };
    if (lines.dx)
        ldnq_op_for_rows(call, lines.lines.at.outer * lines.lines.at.inner, lines.lines.at.size,
                         lines_backward, &lines);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_lpnormalization = {
    .type = "LpNormalization",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .read = lpnormalization_read,
    .infer = lpnormalization_infer,
    .forward = lpnormalization_forward,
    .flows = 1,
    .reads_in = 1,
    .backward = lpnormalization_backward,
};
