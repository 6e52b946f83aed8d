#include "linalg/slab.h"

#include <string.h>

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
        .stride_w = g->stride_w, .stride_h = g->stride_h,
        .dilation_w = g->dilation_w, .dilation_h = g->dilation_h,
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

/* One phase of a line: out[j] = line[j * stride + at], 0 outside of the line;
 * `at` may lie in front of it, by `before`. */
static void fill_phase(const float *line, size_t width, size_t stride, size_t at, size_t before,
                       float *out, size_t count)
{
    /* The first j with j * stride + at >= before, and the first behind the line. */
    size_t first = at >= before ? 0 : ldnq_size_ceil_div(before - at, stride);
    size_t last = width + before > at ? (width + before - at - 1) / stride + 1 : 0;
    last = ldnq_size_min(last, count);
    first = ldnq_size_min(first, last);
    memset(out, 0, first * sizeof *out);
    memset(out + last, 0, (count - last) * sizeof *out);
    if (first == last)
        return;
    const float *in = line + (first * stride + at - before);
    if (stride == 1) {
        memcpy(out + first, in, (last - first) * sizeof *out);
        return;
    }
    for (size_t j = first; j < last; j++, in += stride)
        out[j] = *in;
}

void ldnq_slab_fill(const struct ldnq_conv_geometry *g, const struct ldnq_tile *tile,
                    const float *plane, struct ldnq_slab *slab)
{
    float *out = slab->data;
    for (size_t row = 0; row < slab->rows; row++) {
        size_t y = tile->y * g->stride_h + row;
        bool is_inside = y >= g->pad_top && y - g->pad_top < g->height;
        if (!is_inside) {
            memset(out, 0, slab->phases * slab->phase * sizeof *out);
            out += slab->phases * slab->phase;
            continue;
        }
        const float *line = plane + (y - g->pad_top) * g->width;
        for (size_t phase = 0; phase < slab->phases; phase++, out += slab->phase)
            fill_phase(line, g->width, g->stride_w, tile->x * g->stride_w + phase, g->pad_left,
                       out, slab->phase);
    }
}

/* Lines are often as short as eight floats: calling memcpy for each would cost
 * more than copying them. */
LDNQ_MULTIVERSION
__attribute__((optimize("no-tree-loop-distribute-patterns")))
static void copy_lines(const float *restrict in, size_t in_ld, float *restrict out, size_t rows,
                       size_t count)
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
