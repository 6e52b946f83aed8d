/* averagepool.c: AveragePool. A window's sum over its taps, divided by how many
 * of them lie in the input, or with count_include_pad in its padding as well. */
#include "ops/pooling.h"

/* Taps of output o that count along one axis. */
static size_t taps(const struct ldnq_pooling_axis *axis, size_t o, bool include_pad)
{
    ptrdiff_t start = (ptrdiff_t)o * axis->stride - axis->begin;
    ptrdiff_t end = start + ((ptrdiff_t)axis->kernel - 1) * axis->dilation;
    ptrdiff_t low = include_pad ? start : 0, high = include_pad ? axis->limit : (ptrdiff_t)axis->in;
    size_t count = 0;
    if (start >= low && end < high)
        return axis->kernel;
    for (ptrdiff_t at = start; at <= end; at += axis->dilation)
        count += at >= low && at < high;
    return count;
}

static void add_tap(float *restrict y, const float *restrict x, size_t count, size_t stride)
{
    if (stride == 1) {
        for (size_t i = 0; i < count; i++)
            y[i] += x[i];
    } else if (stride == 2) {
        for (size_t i = 0; i < count; i++)
            y[i] += x[2 * i];
    } else {
        for (size_t i = 0; i < count; i++)
            y[i] += x[i * stride];
    }
}

/* All taps of one input line. */
static void add_line(const struct ldnq_pooling *p, const float *x, float *y)
{
    const struct ldnq_pooling_axis *w = &p->axis[2];
    for (size_t k = 0; k < w->kernel; k++) {
        struct ldnq_pooling_span span = ldnq_pooling_tap_span(p, k);
        if (span.last > span.first)
            add_tap(y + span.first, x + span.at, span.last - span.first, (size_t)w->stride);
    }
}

/* Outputs at the ends of a row, whose windows may have fewer taps that count;
 * stops at the first that has all of them, and returns it. */
static size_t divide_ends(const struct ldnq_pooling *p, size_t lines, float *y, bool backwards)
{
    const struct ldnq_pooling_axis *w = &p->axis[2];
    size_t done = 0;
    for (; done < w->out; done++) {
        size_t i = backwards ? w->out - 1 - done : done, columns = taps(w, i, p->include_pad);
        if (columns == w->kernel)
            break;
        y[i] = lines * columns > 0 ? y[i] / (float)(lines * columns) : 0.0f;
    }
    return done;
}

static void divide_row(const struct ldnq_pooling *p, struct ldnq_pooling_row at, float *y)
{
    const struct ldnq_pooling_axis *w = &p->axis[2];
    size_t lines = taps(&p->axis[0], at.od, p->include_pad) *
                   taps(&p->axis[1], at.oh, p->include_pad);
    size_t first = divide_ends(p, lines, y, false);
    size_t last = first < w->out ? w->out - divide_ends(p, lines, y, true) : first;
    const float count = lines ? (float)(lines * w->kernel) : 1.0f;
    for (size_t i = first; i < last; i++)
        y[i] /= count;
}

static void average_rows(const void *ctx, size_t first, size_t last)
{
    const struct ldnq_pooling *p = ctx;
    size_t height = p->axis[1].in, width = p->axis[2].in, id, ih;
    for (size_t row = first; row < last; row++) {
        struct ldnq_pooling_row at = ldnq_pooling_row(p, row);
        const float *x = (const float *)p->x + at.plane * p->axis[0].in * height * width;
        float *y = (float *)p->y + row * p->axis[2].out;
        for (size_t i = 0; i < p->axis[2].out; i++)
            y[i] = 0.0f;
        for (size_t d = 0; d < p->axis[0].kernel; d++)
            for (size_t h = 0; h < p->axis[1].kernel; h++)
                if (ldnq_pooling_tap(&p->axis[0], at.od, d, &id) &&
                    ldnq_pooling_tap(&p->axis[1], at.oh, h, &ih))
                    add_line(p, x + (id * height + ih) * width, y);
        divide_row(p, at, y);
    }
}

static enum ldnq_status averagepool_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_pooling_infer(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err);
}

static enum ldnq_status averagepool_forward(const struct ldnq_op_call *call,
                                            struct ldnq_error *err)
{
    return ldnq_pooling_run(call, average_rows, err);
}

const struct ldnq_op ldnq_op_averagepool = {
    .type = "AveragePool", .since = 7, .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1, .inputs_max = 1, .outputs_max = 1,
    .read = ldnq_pooling_read,
    .infer = averagepool_infer,
    .forward = averagepool_forward,
};
