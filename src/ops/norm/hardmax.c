/* hardmax.c: Hardmax: 1 at the first maximum of a line, 0 elsewhere. Up to opset 12 a
 * line is all axes from `axis` on. */
#include "ops/op.h"

struct lines {
    const float *x;
    float *y;
    struct ldnq_split_at at;
};

static enum ldnq_status infer_with(struct ldnq_op_call *call, int64_t axis, struct ldnq_error *err)
{
    int rank = call->in[0]->shape.rank, found;
    LDNQ_TRY(ldnq_op_infer_same(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    return rank < 0 ? LDNQ_OK : ldnq_op_axis(axis, rank, &found, err);
}

static enum ldnq_status hardmax_1_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return infer_with(call, ldnq_attr_int(call->node, "axis", 1), err);
}

static enum ldnq_status hardmax_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return infer_with(call, ldnq_attr_int(call->node, "axis", -1), err);
}

static void mark_lines(const void *ctx, size_t first, size_t last)
{
    const struct lines *lines = ctx;
    size_t size = lines->at.size, inner = lines->at.inner;
    for (size_t line = first; line < last; line++) {
        size_t start = line / inner * size * inner + line % inner, best = start;
        for (size_t i = 0; i < size; i++) {
            size_t at = start + i * inner;
            best = lines->x[at] > lines->x[best] ? at : best;
        }
        for (size_t i = 0; i < size; i++)
            lines->y[start + i * inner] = start + i * inner == best ? 1.0f : 0.0f;
    }
}

static enum ldnq_status mark(const struct ldnq_op_call *call, int64_t axis, bool flatten,
                             struct ldnq_error *err)
{
    int found;
    LDNQ_TRY(ldnq_op_axis(axis, call->in[0]->shape.rank, &found, err));
    struct lines lines = { .x = call->in[0]->data,
                           .y = call->out[0].data,
                           .at = ldnq_op_split_at(&call->in[0]->shape, found) };
    if (flatten) {
        lines.at.size *= lines.at.inner;
        lines.at.inner = 1;
    }
    ldnq_op_for_rows(call, lines.at.outer * lines.at.inner, lines.at.size, mark_lines, &lines);
    return LDNQ_OK;
}

static enum ldnq_status hardmax_1_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return mark(call, ldnq_attr_int(call->node, "axis", 1), true, err);
}

static enum ldnq_status hardmax_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return mark(call, ldnq_attr_int(call->node, "axis", -1), false, err);
}

const struct ldnq_op ldnq_op_hardmax_1 = {
    .type = "Hardmax",
    .since = 1,
    .until = 12,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = hardmax_1_infer,
    .forward = hardmax_1_forward,
};

const struct ldnq_op ldnq_op_hardmax = {
    .type = "Hardmax",
    .since = 13,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = hardmax_infer,
    .forward = hardmax_forward,
};
