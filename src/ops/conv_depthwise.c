#include "ops/conv_depthwise.h"

#include <string.h>

#include "base/lanes.h"
#include "base/simd.h"
#include "base/size.h"

#define LANES LDNQ_DEPTHWISE_SLACK
#define ROWS 8

LDNQ_LANES(lanes, 8)

struct depthwise {
    size_t taps;
    const float *weight;
    const int32_t *offsets; /* of each tap, in the slab */
    size_t in_row, out_row; /* floats from one output row to the next */
    size_t columns;
    bool spills; /* lines are whole, and the next one starts behind them */
    float bias, low, high;
    bool is_clamped;
};

/* `rows` is a constant wherever this is inlined; `whole` of them may be written as
 * whole vectors, of the others `count` floats. */
static inline __attribute__((always_inline)) void
sum_rows(const struct depthwise *d, const float *in, float *y, size_t rows, size_t whole,
         size_t count)
{
    const size_t apart = d->in_row;
    lanes sum[ROWS];
    for (size_t i = 0; i < rows; i++)
        sum[i] = (lanes){ 0 } + d->bias;
    for (size_t tap = 0; tap < d->taps; tap++) {
        const float *x = in + d->offsets[tap];
        const float w = d->weight[tap];
        for (size_t i = 0; i < rows; i++)
            sum[i] += *(const lanes *)(x + i * apart) * w;
    }
    for (size_t i = 0; i < rows; i++) {
        if (d->is_clamped)
            lanes_clamp(&sum[i], d->low, d->high);
        if (i < whole)
            *(lanes *)(y + i * d->out_row) = sum[i];
        else
            memcpy(y + i * d->out_row, &sum[i], count * sizeof(float));
    }
}

#define CASE(n)                                                                                    \
    case n:                                                                                        \
        sum_rows(d, in + at, y + at, n, whole, count);                                                       \
        break

/* Up to ROWS rows, all of their columns. A line's last vector may be written as a
 * whole if there is room behind it: over the starts of lines that are still to
 * come, which is why the vectors go backwards. */
LDNQ_MULTIVERSION_FMA
static void run_rows(const struct depthwise *d, const float *in, float *y, size_t rows,
                     size_t room)
{
    for (size_t i = ldnq_size_ceil_div(d->columns, LANES); i-- > 0;) {
        size_t at = i * LANES, count = ldnq_size_min(LANES, d->columns - at), whole = rows;
        if (count < LANES && (!d->spills || room < at + LANES))
            whole = 0;
        else if (count < LANES)
            whole = ldnq_size_min(rows, (room - at - LANES) / d->out_row + 1);
        switch (rows) {
            CASE(1);
            CASE(2);
            CASE(3);
            CASE(4);
            CASE(5);
            CASE(6);
            CASE(7);
        default:
            sum_rows(d, in + at, y + at, ROWS, whole, count);
            break;
        }
    }
}

void ldnq_conv_depthwise_tile(const struct ldnq_conv_job *job, const struct ldnq_tile *tile,
                              const struct ldnq_slab *slab, size_t channel, float *y)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    int32_t offsets[LDNQ_DEPTHWISE_TAPS];
    struct depthwise depthwise = {
        .taps = g->kernel_h * g->kernel_w, .offsets = offsets,
        .weight = job->weight + channel * g->kernel_h * g->kernel_w,
        .in_row = slab->stride_h * slab->phases * slab->phase, .out_row = g->out_w,
        .columns = tile->columns, .spills = tile->columns == g->out_w,
        .bias = job->bias ? job->bias[channel] : 0.0f, .is_clamped = job->clamp != NULL,
        .low = job->clamp ? job->clamp->low : 0.0f, .high = job->clamp ? job->clamp->high : 0.0f,
    };
    for (size_t kh = 0; kh < g->kernel_h; kh++)
        for (size_t kw = 0; kw < g->kernel_w; kw++)
            offsets[kh * g->kernel_w + kw] =
                (int32_t)(ldnq_slab_line(slab, 0, kh, kw) - slab->data);
    y += tile->y * g->out_w + tile->x;
    for (size_t row = 0; row < tile->rows; row += ROWS) {
        size_t rows = ldnq_size_min(ROWS, tile->rows - row);
        run_rows(&depthwise, slab->data + row * depthwise.in_row, y + row * g->out_w, rows,
                 (g->out_h - tile->y - row) * g->out_w);
    }
}
