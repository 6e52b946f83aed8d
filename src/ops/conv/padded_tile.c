/* SPDX-License-Identifier: Apache-2.0 */
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

struct ldnq_output_tile ldnq_conv_find_tile(const struct ldnq_conv_geometry *g,
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
        .phase_width = ldnq_size_ceil_div(width, g->stride_w),
        .stride_w = g->stride_w,
        .stride_h = g->stride_h,
        .dilation_w = g->dilation_w,
        .dilation_h = g->dilation_h,
        .data = data,
    };
}

size_t ldnq_padded_tile_count_floats(const struct ldnq_padded_tile *padded)
{
    size_t rows, floats;
    bool counted = ldnq_size_mul(padded->rows, padded->phases, &rows) &&
                   ldnq_size_mul(rows, padded->phase_width, &floats);
    return counted ? floats : SIZE_MAX;
}

/* ---- one phase of an input row ------------------------------------------------------- */

/* Floats first .. last-1 of a phase's `count` floats are input elements, starting with
 * column `at` of the input row, `stride` columns apart. The others are padding. */
struct tile_phase {
    size_t first, last, count;
    size_t at, stride;
};

/* The phase that starts at column `at` of the padded input row: its float j is
 * row[j * stride + at - pad_left], or 0 outside of the row. */
static struct tile_phase make_phase(const struct ldnq_conv_geometry *g, size_t at, size_t count)
{
    size_t stride = g->stride_w, before = g->pad_left;
    size_t first = at >= before ? 0 : ldnq_size_ceil_div(before - at, stride);
    size_t last = g->width + before > at ? (g->width + before - at - 1) / stride + 1 : 0;
    struct tile_phase phase = { .last = ldnq_size_min(last, count),
                                .count = count,
                                .stride = stride };
    phase.first = ldnq_size_min(first, phase.last);
    /* A phase of padding alone has no input element, and `at` stays 0. */
    phase.at = phase.first < phase.last ? phase.first * stride + at - before : 0;
    return phase;
}

LDNQ_LANES(lanes_4, 4)
LDNQ_LANES(lanes_8, 8)
LDNQ_LANES(lanes_16, 16)

/* Every second float of in[0 .. 14]; in[15] may be beyond the end of the input. GCC
 * compiles the same shuffle of a vector of 16 to single moves for AVX2. */
#define EVERY_SECOND(in)                                                                           \
    __builtin_shufflevector(*(const lanes_8 *)(in), *(const lanes_8 *)((in) + 7), 0, 2, 4, 6, 9,   \
                            11, 13, 15)

/* The same of in[0 .. 6]. */
#define EVERY_SECOND_OF_7(in)                                                                      \
    __builtin_shufflevector(*(const lanes_4 *)(in), *(const lanes_4 *)((in) + 3), 0, 2, 5, 7)

static inline __attribute__((always_inline)) void copy_4(const float *in, size_t stride, float *out)
{
    *(lanes_4 *)out = stride == 1 ? *(const lanes_4 *)in : EVERY_SECOND_OF_7(in);
}

static inline __attribute__((always_inline)) void copy_8(const float *in, size_t stride, float *out)
{
    *(lanes_8 *)out = stride == 1 ? *(const lanes_8 *)in : EVERY_SECOND(in);
}

static inline __attribute__((always_inline)) void copy_16(const float *in, size_t stride,
                                                          float *out)
{
    if (stride == 1) {
        *(lanes_16 *)out = *(const lanes_16 *)in;
    } else {
        copy_8(in, stride, out);
        copy_8(in + 8 * stride, stride, out + 8);
    }
}

/* Copies `count` floats, `stride` apart. Rows are often as short as eight floats, for
 * which a call of memcpy or a scalar loop over the remainder costs more than the copy.
 * The last vector therefore overlaps the one before it. */
static inline __attribute__((always_inline)) void copy_row(const float *restrict in, size_t stride,
                                                           float *restrict out, size_t count)
{
    if (stride <= 2 && count >= 16) {
        for (size_t j = 0; j + 16 < count; j += 16)
            copy_16(in + j * stride, stride, out + j);
        copy_16(in + (count - 16) * stride, stride, out + count - 16);
    } else if (stride <= 2 && count >= 8) {
        copy_8(in, stride, out);
        copy_8(in + (count - 8) * stride, stride, out + count - 8);
    } else if (stride <= 2 && count >= 4) {
        copy_4(in, stride, out);
        copy_4(in + (count - 4) * stride, stride, out + count - 4);
    } else {
        for (size_t j = 0; j < count; j++)
            out[j] = in[j * stride];
    }
}

/* Copies one phase of `rows` input rows in each of `planes` planes. in_row, in_plane,
 * out_row and out_plane are the distances in floats. */
struct phase_rows {
    const float *in;
    float *out;
    size_t rows, in_row, out_row;
    size_t planes, in_plane, out_plane;
    float fill; /* for the padding */
};

static inline __attribute__((always_inline)) void fill_plane(const float *in, float *out,
                                                             const struct phase_rows *copy,
                                                             const struct tile_phase *phase,
                                                             size_t stride)
{
    const size_t first = phase->first, inside = phase->last - first;
    const size_t rest = phase->count - phase->last;
    const float fill = copy->fill;
    const bool has_short_ends = first <= 4 && rest <= 4 && phase->count >= 4;
    for (size_t row = 0; row < copy->rows; row++, in += copy->in_row, out += copy->out_row) {
        /* Short ends are vectors, which the copied elements overwrite in part. */
        if (has_short_ends) {
            *(lanes_4 *)out = (lanes_4){ fill, fill, fill, fill };
            *(lanes_4 *)(out + phase->count - 4) = (lanes_4){ fill, fill, fill, fill };
        }
        for (size_t j = 0; j < first && !has_short_ends; j++)
            out[j] = fill;
        copy_row(in, stride, out + first, inside);
        for (size_t j = phase->last; j < phase->count && !has_short_ends; j++)
            out[j] = fill;
    }
}

LDNQ_MULTIVERSION
LDNQ_KEEP_LOOPS static void fill_phase_planes(const struct phase_rows *copy,
                                              const struct tile_phase *phase)
{
    for (size_t i = 0; i < copy->planes; i++) {
        const float *in = copy->in + i * copy->in_plane + phase->at;
        float *out = copy->out + i * copy->out_plane;
        if (phase->stride == 1)
            fill_plane(in, out, copy, phase, 1);
        else if (phase->stride == 2)
            fill_plane(in, out, copy, phase, 2);
        else
            fill_plane(in, out, copy, phase, phase->stride);
    }
}

/* row += the phase's input elements, which is the transpose of the copy. */
static void add_phase_to_row(const float *in, const struct tile_phase *phase, float *row)
{
    float *out = row + phase->at;
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

static void fill_floats(float *floats, size_t count, float fill)
{
    for (size_t i = 0; i < count; i++)
        floats[i] = fill;
}

void ldnq_padded_tile_fill_planes(const struct ldnq_conv_geometry *g,
                                  const struct ldnq_output_tile *tile, const float *planes,
                                  const struct ldnq_padded_tile *padded, size_t count, size_t pitch)
{
    const size_t row_floats = padded->phases * padded->phase_width, y = tile->y * g->stride_h;
    /* Rows 0 .. above-1 are above the plane, rows end .. rows-1 below it. */
    size_t above = ldnq_size_min(padded->rows, g->pad_top > y ? g->pad_top - y : 0);
    size_t end = g->pad_top + g->height > y ? g->pad_top + g->height - y : 0;
    end = ldnq_size_max(ldnq_size_min(end, padded->rows), above);
    for (size_t i = 0; i < count && above > 0; i++)
        fill_floats(padded->data + i * pitch, above * row_floats, padded->fill);
    for (size_t i = 0; i < count && end < padded->rows; i++)
        fill_floats(padded->data + i * pitch + end * row_floats, (padded->rows - end) * row_floats,
                    padded->fill);
    if (end == above)
        return;
    struct phase_rows copy = {
        .in = planes + (y + above - g->pad_top) * g->width,
        .rows = end - above,
        .in_row = g->width,
        .out_row = row_floats,
        .planes = count,
        .in_plane = g->height * g->width,
        .out_plane = pitch,
        .fill = padded->fill,
    };
    for (size_t i = 0; i < padded->phases; i++) {
        struct tile_phase phase = make_phase(g, tile->x * g->stride_w + i, padded->phase_width);
        copy.out = padded->data + above * row_floats + i * padded->phase_width;
        fill_phase_planes(&copy, &phase);
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
    const size_t row_floats = padded->phases * padded->phase_width, y = tile->y * g->stride_h;
    for (size_t i = 0; i < padded->phases; i++) {
        struct tile_phase phase = make_phase(g, tile->x * g->stride_w + i, padded->phase_width);
        for (size_t row = 0; row < padded->rows; row++)
            if (y + row >= g->pad_top && y + row - g->pad_top < g->height)
                add_phase_to_row(padded->data + row * row_floats + i * padded->phase_width, &phase,
                                 plane + (y + row - g->pad_top) * g->width);
    }
}

/* Rows are often as short as eight floats, for which a call of memcpy costs more than
 * the copy. */
LDNQ_MULTIVERSION
LDNQ_KEEP_LOOPS static void copy_rows(const float *restrict in, size_t in_ld, float *restrict out,
                                      size_t rows, size_t count)
{
    for (size_t row = 0; row < rows; row++, in += in_ld, out += count)
        copy_row(in, 1, out, count);
}

void ldnq_padded_tile_im2col(const struct ldnq_conv_geometry *g,
                             const struct ldnq_output_tile *tile,
                             const struct ldnq_padded_tile *padded, float *columns, size_t ld)
{
    size_t row_step = ldnq_padded_tile_row_step(padded);
    for (size_t kh = 0; kh < g->kernel_h; kh++)
        for (size_t kw = 0; kw < g->kernel_w; kw++, columns += ld)
            copy_rows(ldnq_padded_tile_row(padded, 0, kh, kw), row_step, columns, tile->rows,
                      tile->columns);
}
