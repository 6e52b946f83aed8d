#include "ops/conv/padded_tile.h"

#include <string.h>

#include "base/lanes.h"
#include "base/simd.h"
#include "base/size.h"

/* ---- tiling ------------------------------------------------------------------------ */

struct ldnq_conv_tiling ldnq_conv_plan_tiles(const struct ldnq_conv_geometry *g, size_t positions)
{
    struct ldnq_conv_tiling tiling = { .rows = 1,
                                       .columns = ldnq_size_min(g->out_w, LDNQ_CONV_MAX_COLUMNS) };
    /* A tile of partial rows has one row, so that its positions are contiguous in memory. */
    if (tiling.columns == g->out_w)
        tiling.rows = ldnq_size_min(ldnq_size_max(positions / tiling.columns, 1), g->out_h);
    tiling.down = ldnq_size_ceil_div(g->out_h, tiling.rows);
    tiling.across = ldnq_size_ceil_div(g->out_w, tiling.columns);
    return tiling;
}

struct ldnq_output_tile ldnq_conv_tile_at(const struct ldnq_conv_geometry *g,
                                          const struct ldnq_conv_tiling *tiling, size_t index)
{
    struct ldnq_output_tile tile = { .y = index / tiling->across * tiling->rows,
                                     .x = index % tiling->across * tiling->columns };
    tile.rows = ldnq_size_min(tiling->rows, g->out_h - tile.y);
    tile.columns = ldnq_size_min(tiling->columns, g->out_w - tile.x);
    return tile;
}

/* ---- one tile ---------------------------------------------------------------------- */

struct ldnq_padded_tile ldnq_padded_tile_make(const struct ldnq_conv_geometry *g,
                                              const struct ldnq_output_tile *tile, float *data)
{
    size_t width = (tile->columns - 1) * g->stride_w + (g->kernel_w - 1) * g->dilation_w + 1;
    return (struct ldnq_padded_tile){
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

size_t ldnq_padded_tile_floats(const struct ldnq_padded_tile *padded)
{
    size_t lines, floats;
    bool counted = ldnq_size_mul(padded->rows, padded->phases, &lines) &&
                   ldnq_size_mul(lines, padded->phase, &floats);
    return counted ? floats : SIZE_MAX;
}

/* One phase of all lines: which of its floats lie inside of a line, and where. */
struct tile_phase {
    size_t first, last, count;
    size_t at, stride; /* of the first, in the line */
};

/* Float j of the phase is line[j * stride + at - before], 0 outside of the line. */
static struct tile_phase phase_of(const struct ldnq_conv_geometry *g, size_t at, size_t count)
{
    size_t stride = g->stride_w, before = g->pad_left;
    size_t first = at >= before ? 0 : ldnq_size_ceil_div(before - at, stride);
    size_t last = g->width + before > at ? (g->width + before - at - 1) / stride + 1 : 0;
    struct tile_phase phase = { .last = ldnq_size_min(last, count),
                                .count = count,
                                .stride = stride };
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
struct phase_rows {
    const float *in;
    float *out;
    size_t rows, in_row, out_row;
    size_t planes, in_plane, out_plane;
};

static inline __attribute__((always_inline)) void fill_plane(const float *in, float *out,
                                                             const struct phase_rows *lines,
                                                             const struct tile_phase *phase,
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
fill_phase(const struct phase_rows *lines, const struct tile_phase *phase)
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
static void add_phase(const float *in, const struct tile_phase *phase, float *line)
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

void ldnq_padded_tile_fill_planes(const struct ldnq_conv_geometry *g,
                                  const struct ldnq_output_tile *tile, const float *planes,
                                  const struct ldnq_padded_tile *padded, size_t count, size_t apart)
{
    const size_t line = padded->phases * padded->phase, y = tile->y * g->stride_h;
    /* Lines above the plane, in it, and below it. */
    size_t above = ldnq_size_min(padded->rows, g->pad_top > y ? g->pad_top - y : 0);
    size_t end = g->pad_top + g->height > y ? g->pad_top + g->height - y : 0;
    end = ldnq_size_max(ldnq_size_min(end, padded->rows), above);
    for (size_t i = 0; i < count && above > 0; i++)
        memset(padded->data + i * apart, 0, above * line * sizeof(float));
    for (size_t i = 0; i < count && end < padded->rows; i++)
        memset(padded->data + i * apart + end * line, 0,
               (padded->rows - end) * line * sizeof(float));
    if (end == above)
        return;
    struct phase_rows lines = {
        .in = planes + (y + above - g->pad_top) * g->width,
        .rows = end - above,
        .in_row = g->width,
        .out_row = line,
        .planes = count,
        .in_plane = g->height * g->width,
        .out_plane = apart,
    };
    for (size_t i = 0; i < padded->phases; i++) {
        struct tile_phase phase = phase_of(g, tile->x * g->stride_w + i, padded->phase);
        lines.out = padded->data + above * line + i * padded->phase;
        fill_phase(&lines, &phase);
    }
}

void ldnq_padded_tile_fill(const struct ldnq_conv_geometry *g, const struct ldnq_output_tile *tile,
                           const float *plane, const struct ldnq_padded_tile *padded)
{
    ldnq_padded_tile_fill_planes(g, tile, plane, padded, 1, 0);
}

void ldnq_padded_tile_scatter_add(const struct ldnq_conv_geometry *g,
                                  const struct ldnq_output_tile *tile,
                                  const struct ldnq_padded_tile *padded, float *plane)
{
    const size_t line = padded->phases * padded->phase, y = tile->y * g->stride_h;
    for (size_t i = 0; i < padded->phases; i++) {
        struct tile_phase phase = phase_of(g, tile->x * g->stride_w + i, padded->phase);
        for (size_t row = 0; row < padded->rows; row++)
            if (y + row >= g->pad_top && y + row - g->pad_top < g->height)
                add_phase(padded->data + row * line + i * padded->phase, &phase,
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

void ldnq_padded_tile_im2col(const struct ldnq_conv_geometry *g,
                             const struct ldnq_output_tile *tile,
                             const struct ldnq_padded_tile *padded, float *columns, size_t ld)
{
    size_t line = padded->stride_h * padded->phases * padded->phase;
    for (size_t kh = 0; kh < g->kernel_h; kh++)
        for (size_t kw = 0; kw < g->kernel_w; kw++, columns += ld)
            copy_lines(ldnq_padded_tile_row(padded, 0, kh, kw), line, columns, tile->rows,
                       tile->columns);
}
