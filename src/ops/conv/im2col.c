/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv/im2col.h"

#include <string.h>

#include "base/size.h"

void ldnq_conv_find_valid_range(size_t size, size_t out, size_t stride, size_t offset, size_t pad,
                                size_t *first, size_t *last)
{
    /* 0 <= x * stride + offset - pad < size */
    *first = offset >= pad ? 0 : ldnq_size_ceil_div(pad - offset, stride);
    *last = size + pad > offset ? (size + pad - offset - 1) / stride + 1 : 0;
    *last = ldnq_size_min(*last, out);
    *first = ldnq_size_min(*first, *last);
}

/* Output columns x0 .. x1-1 of one output row, for one tap; `row` is the input row. */
static void copy_range(const struct ldnq_conv_geometry *g, const float *row, size_t offset_w,
                       size_t x0, size_t x1, float *out)
{
    size_t first, last;
    ldnq_conv_find_valid_range(g->width, g->out_w, g->stride_w, offset_w, g->pad_left, &first,
                               &last);
    first = ldnq_size_min(ldnq_size_max(first, x0), x1);
    last = ldnq_size_max(ldnq_size_min(last, x1), first);
    /* Most lines have no padding: a call that sets nothing costs as much as copying the line. */
    if (first > x0)
        memset(out, 0, (first - x0) * sizeof *out);
    if (x1 > last)
        memset(out + (last - x0), 0, (x1 - last) * sizeof *out);
    if (first == last)
        return;
    const float *in = row + (first * g->stride_w + offset_w - g->pad_left);
    if (g->stride_w == 1) {
        memcpy(out + (first - x0), in, (last - first) * sizeof *out);
        return;
    }
    for (size_t x = first; x < last; x++, in += g->stride_w)
        out[x - x0] = *in;
}

/* One row of the columns: one tap of one channel, over positions first .. first+count-1. */
static void copy_tap_row(const struct ldnq_conv_geometry *g, const float *plane, size_t offset_h,
                         size_t offset_w, size_t first, size_t count, float *out)
{
    size_t end = first + count;
    while (first < end) {
        size_t y = first / g->out_w, x0 = first % g->out_w;
        size_t x1 = ldnq_size_min(g->out_w, x0 + (end - first));
        size_t shifted = y * g->stride_h + offset_h;
        if (shifted < g->pad_top || shifted - g->pad_top >= g->height)
            memset(out, 0, (x1 - x0) * sizeof *out);
        else
            copy_range(g, plane + (shifted - g->pad_top) * g->width, offset_w, x0, x1, out);
        out += x1 - x0;
        first += x1 - x0;
    }
}

void ldnq_im2col(const struct ldnq_conv_geometry *g, const float *image, size_t first, size_t count,
                 float *columns, size_t ld)
{
    for (size_t c = 0; c < g->channels; c++, image += g->height * g->width)
        for (size_t kh = 0; kh < g->kernel_h; kh++)
            for (size_t kw = 0; kw < g->kernel_w; kw++, columns += ld)
                copy_tap_row(g, image, kh * g->dilation_h, kw * g->dilation_w, first, count,
                             columns);
}
