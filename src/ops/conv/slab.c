#include "ops/conv/slab.h"

#include <string.h>

#include "base/lanes.h"
#include "base/simd.h"
#include "base/size.h"

struct ldnq_slab ldnq_slab_of(const struct ldnq_conv_geometry *g, const struct ldnq_tile *tile,
                              float *data)
{
    size_t width = (tile->columns - 1) * g->stride_w + (g->kernel_w - 1) * g->dilation_w + 1;
    return (struct ldnq_slab){
        .rows = (tile->rows - 1) * g->stride_h + (g->kernel_h - 1) * g->dilation_h + 1,
        .phases = ldnq_size_min(width, g->stride_w),
        .phase = ldnq_size_ceil_div(width, g->stride_w),
        .stride_w = g->stride_w,
        .stride_h = g->stride_h,
        .dilation_w = g->dilation_w,
        .dilation_h = g->dilation_h,
        .data = data,
    };
}

size_t ldnq_slab_floats(const struct ldnq_slab *slab)
{
    size_t lines, floats;
    bool counted = ldnq_size_mul(slab->rows, slab->phases, &lines) &&
                   ldnq_size_mul(lines, slab->phase, &floats);
    return counted ? floats : SIZE_MAX;
}

/* One phase of all lines: which of its floats lie inside of a line, and where. */
struct phase {
    size_t first, last, count;
    size_t at, stride; /* of the first, in the line */
};

/* Float j of the phase is line[j * stride + at - before], 0 outside of the line. */
static struct phase phase_of(const struct ldnq_conv_geometry *g, size_t at, size_t count)
{
    size_t stride = g->stride_w, before = g->pad_left;
    size_t first = at >= before ? 0 : ldnq_size_ceil_div(before - at, stride);
    size_t last = g->width + before > at ? (g->width + before - at - 1) / stride + 1 : 0;
    struct phase phase = { .last = ldnq_size_min(last, count), .count = count, .stride = stride };
    phase.first = ldnq_size_min(first, phase.last);
    /* Only where there is one: else it would lie outside. */
    phase.at = phase.first < phase.last ? phase.first * stride + at - before : 0;
    return phase;
}

LDNQ_LANES(lanes_4, 4)
LDNQ_LANES(lanes_8, 8)
LDNQ_LANES(lanes_16, 16)

/* Every second float, from no more than the 15 that this spans. Of vectors of
 * sixteen, GCC would take them one by one for AVX2. */
#define EVERY_SECOND(in)                                                                           \
    __builtin_shufflevector(*(const lanes_8 *)(in), *(const lanes_8 *)((in) + 7), 0, 2, 4, 6, 9,   \
                            11, 13, 15)

static inline __attribute__((always_inline)) void take_8(const float *in, size_t stride, float *out)
{
    *(lanes_8 *)out = stride == 1 ? *(const lanes_8 *)in : EVERY_SECOND(in);
}

static inline __attribute__((always_inline)) void take_16(const float *in, size_t stride,
                                                          float *out)
{
    if (stride == 1) {
        *(lanes_16 *)out = *(const lanes_16 *)in;
    } else {
        take_8(in, stride, out);
        take_8(in + 8 * stride, stride, out + 8);
    }
}

/* Lines are often as short as eight floats: a call for each would cost more than
 * copying them, and so would a loop's rest. The last vector goes over the one in front
 * of it in part. */
static inline __attribute__((always_inline)) void take_line(const float *restrict in, size_t stride,
                                                            float *restrict out, size_t count)
{
    if (stride <= 2 && count >= 16) {
        for (size_t j = 0; j + 16 < count; j += 16)
            take_16(in + j * stride, stride, out + j);
        take_16(in + (count - 16) * stride, stride, out + count - 16);
    } else if (stride <= 2 && count >= 8) {
        take_8(in, stride, out);
        take_8(in + (count - 8) * stride, stride, out + count - 8);
    } else if (stride == 1 && count >= 4) {
        *(lanes_4 *)out = *(const lanes_4 *)in;
        *(lanes_4 *)(out + count - 4) = *(const lanes_4 *)(in + count - 4);
    } else {
        for (size_t j = 0; j < count; j++)
            out[j] = in[j * stride];
    }
}

/* The same phase of some lines of some planes, and where it goes. */
struct lines {
    const float *in;
    float *out;
    size_t rows, in_row, out_row;
    size_t planes, in_plane, out_plane;
};

static inline __attribute__((always_inline)) void fill_plane(const float *in, float *out,
                                                             const struct lines *lines,
                                                             const struct phase *phase,
                                                             size_t stride)
{
    const size_t first = phase->first, inside = phase->last - first;
    const size_t rest = phase->count - phase->last;
    for (size_t row = 0; row < lines->rows; row++, in += lines->in_row, out += lines->out_row) {
        float *to = out;
        for (size_t j = 0; j < first; j++)
            *to++ = 0.0f;
        take_line(in, stride, to, inside);
        to += inside;
        for (size_t j = 0; j < rest; j++)
            to[j] = 0.0f;
    }
}

LDNQ_MULTIVERSION
__attribute__((optimize("no-tree-loop-distribute-patterns"))) static void
fill_phase(const struct lines *lines, const struct phase *phase)
{
    for (size_t i = 0; i < lines->planes; i++) {
        const float *in = lines->in + i * lines->in_plane + phase->at;
        float *out = lines->out + i * lines->out_plane;
        if (phase->stride == 1)
            fill_plane(in, out, lines, phase, 1);
        else if (phase->stride == 2)
            fill_plane(in, out, lines, phase, 2);
        else
            fill_plane(in, out, lines, phase, phase->stride);
    }
}

/* The way back: what lies outside of the line is dropped. */
static void add_phase(const float *in, const struct phase *phase, float *line)
{
    float *out = line + phase->at;
    const float *from = in + phase->first;
    const size_t inside = phase->last - phase->first, stride = phase->stride;
    if (stride == 1) {
        for (size_t j = 0; j < inside; j++)
            out[j] += from[j];
        return;
    }
    for (size_t j = 0; j < inside; j++)
        out[j * stride] += from[j];
}

void ldnq_slab_fill_all(const struct ldnq_conv_geometry *g, const struct ldnq_tile *tile,
                        const float *planes, const struct ldnq_slab *slab, size_t count,
                        size_t apart)
{
    const size_t line = slab->phases * slab->phase, y = tile->y * g->stride_h;
    /* Lines above the plane, in it, and below it. */
    size_t above = ldnq_size_min(slab->rows, g->pad_top > y ? g->pad_top - y : 0);
    size_t end = g->pad_top + g->height > y ? g->pad_top + g->height - y : 0;
    end = ldnq_size_max(ldnq_size_min(end, slab->rows), above);
    for (size_t i = 0; i < count && above > 0; i++)
        memset(slab->data + i * apart, 0, above * line * sizeof(float));
    for (size_t i = 0; i < count && end < slab->rows; i++)
        memset(slab->data + i * apart + end * line, 0, (slab->rows - end) * line * sizeof(float));
    if (end == above)
        return;
    struct lines lines = {
        .in = planes + (y + above - g->pad_top) * g->width,
        .rows = end - above,
        .in_row = g->width,
        .out_row = line,
        .planes = count,
        .in_plane = g->height * g->width,
        .out_plane = apart,
    };
    for (size_t i = 0; i < slab->phases; i++) {
        struct phase phase = phase_of(g, tile->x * g->stride_w + i, slab->phase);
        lines.out = slab->data + above * line + i * slab->phase;
        fill_phase(&lines, &phase);
    }
}

void ldnq_slab_fill(const struct ldnq_conv_geometry *g, const struct ldnq_tile *tile,
                    const float *plane, const struct ldnq_slab *slab)
{
    ldnq_slab_fill_all(g, tile, plane, slab, 1, 0);
}

void ldnq_slab_add_to(const struct ldnq_conv_geometry *g, const struct ldnq_tile *tile,
                      const struct ldnq_slab *slab, float *plane)
{
    const size_t line = slab->phases * slab->phase, y = tile->y * g->stride_h;
    for (size_t i = 0; i < slab->phases; i++) {
        struct phase phase = phase_of(g, tile->x * g->stride_w + i, slab->phase);
        for (size_t row = 0; row < slab->rows; row++)
            if (y + row >= g->pad_top && y + row - g->pad_top < g->height)
                add_phase(slab->data + row * line + i * slab->phase, &phase,
                          plane + (y + row - g->pad_top) * g->width);
    }
}

/* Lines are often as short as eight floats: calling memcpy for each would cost
 * more than copying them. */
LDNQ_MULTIVERSION
__attribute__((optimize("no-tree-loop-distribute-patterns"))) static void
copy_lines(const float *restrict in, size_t in_ld, float *restrict out, size_t rows, size_t count)
{
    for (size_t row = 0; row < rows; row++, in += in_ld, out += count)
        for (size_t x = 0; x < count; x++)
            out[x] = in[x];
}

void ldnq_slab_columns(const struct ldnq_conv_geometry *g, const struct ldnq_tile *tile,
                       const struct ldnq_slab *slab, float *columns, size_t ld)
{
    size_t line = slab->stride_h * slab->phases * slab->phase;
    for (size_t kh = 0; kh < g->kernel_h; kh++)
        for (size_t kw = 0; kw < g->kernel_w; kw++, columns += ld)
            copy_lines(ldnq_slab_line(slab, 0, kh, kw), line, columns, tile->rows, tile->columns);
}
