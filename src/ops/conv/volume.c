/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv/volume.h"

#include <stdbool.h>
#include <string.h>

#include "base/size.h"
#include "ops/conv/im2col.h"

enum { D, H, W };

size_t ldnq_volume_count_plane(const struct ldnq_volume *v)
{
    return v->axis[D].in * v->axis[H].in * v->axis[W].in;
}

size_t ldnq_volume_count_taps(const struct ldnq_volume *v)
{
    return v->axis[D].kernel * v->axis[H].kernel * v->axis[W].kernel;
}

size_t ldnq_volume_count_positions(const struct ldnq_volume *v)
{
    return v->axis[D].out * v->axis[H].out * v->axis[W].out;
}

/* *at: the element of tap k of output o; false if it is padding. */
static bool find_tap_input(const struct ldnq_volume_axis *axis, size_t o, size_t k, size_t *at)
{
    size_t shifted = o * axis->stride + k * axis->dilation;
    *at = shifted - axis->pad;
    return shifted >= axis->pad && *at < axis->in;
}

/* Positions at .. at+count-1 of output plane od, (OH, OW). */
struct position_run {
    size_t od, at, count;
};

static struct position_run find_position_run(const struct ldnq_volume *v, size_t first,
                                             size_t count)
{
    size_t area = v->axis[H].out * v->axis[W].out;
    struct position_run run = { .od = first / area, .at = first % area };
    run.count = ldnq_size_min(count, area - run.at);
    return run;
}

/* ---- im2col -------------------------------------------------------------------- */

/* The two-dimensional convolution over one plane (H, W) of one channel. */
static struct ldnq_conv_geometry make_plane_geometry(const struct ldnq_volume *v)
{
    const struct ldnq_volume_axis *h = &v->axis[H], *w = &v->axis[W];
    return (struct ldnq_conv_geometry){
        .channels = 1,
        .height = h->in,
        .width = w->in,
        .kernel_h = h->kernel,
        .kernel_w = w->kernel,
        .stride_h = h->stride,
        .stride_w = w->stride,
        .dilation_h = h->dilation,
        .dilation_w = w->dilation,
        .pad_top = h->pad,
        .pad_left = w->pad,
        .out_h = h->out,
        .out_w = w->out,
    };
}

void ldnq_volume_im2col(const struct ldnq_volume *v, const float *image, size_t first, size_t count,
                        float *columns, size_t ld)
{
    struct ldnq_conv_geometry plane = make_plane_geometry(v);
    size_t taps = plane.kernel_h * plane.kernel_w, size = plane.height * plane.width, id;
    while (count > 0) {
        struct position_run run = find_position_run(v, first, count);
        float *rows = columns;
        for (size_t c = 0; c < v->channels; c++)
            for (size_t kd = 0; kd < v->axis[D].kernel; kd++, rows += taps * ld) {
                if (find_tap_input(&v->axis[D], run.od, kd, &id)) {
                    ldnq_im2col(&plane, image + (c * v->axis[D].in + id) * size, run.at, run.count,
                                rows, ld);
                    continue;
                }
                for (size_t k = 0; k < taps; k++)
                    memset(rows + k * ld, 0, run.count * sizeof *rows);
            }
        columns += run.count;
        first += run.count;
        count -= run.count;
    }
}

/* ---- col2im ----------------------------------------------------------------------- */

static void add_strided(float *restrict to, const float *restrict from, size_t count, size_t stride)
{
    if (stride == 1) {
        for (size_t i = 0; i < count; i++)
            to[i] += from[i];
    } else if (stride == 2) {
        for (size_t i = 0; i < count; i++)
            to[2 * i] += from[i];
    } else {
        for (size_t i = 0; i < count; i++)
            to[i * stride] += from[i];
    }
}

/* One row of columns, tap (kh, kw), into one plane. */
static void add_row(const struct ldnq_volume *v, size_t kh, size_t kw, const float *row,
                    size_t first, size_t count, float *plane)
{
    const struct ldnq_volume_axis *h = &v->axis[H], *w = &v->axis[W];
    size_t end = first + count, offset = kw * w->dilation, low, high, ih;
    ldnq_conv_find_valid_range(w->in, w->out, w->stride, offset, w->pad, &low, &high);
    while (first < end) {
        size_t oh = first / w->out, x0 = first % w->out;
        size_t x1 = ldnq_size_min(w->out, x0 + (end - first));
        size_t from = ldnq_size_max(low, x0), to = ldnq_size_min(high, x1);
        if (from < to && find_tap_input(h, oh, kh, &ih))
            add_strided(plane + ih * w->in + (from * w->stride + offset - w->pad),
                        row + (from - x0), to - from, w->stride);
        row += x1 - x0;
        first += x1 - x0;
    }
}

static void add_plane_taps(const struct ldnq_volume *v, const float *rows, size_t ld,
                           const struct position_run *run, float *plane)
{
    for (size_t kh = 0; kh < v->axis[H].kernel; kh++)
        for (size_t kw = 0; kw < v->axis[W].kernel; kw++, rows += ld)
            add_row(v, kh, kw, rows, run->at, run->count, plane);
}

void ldnq_volume_col2im(const struct ldnq_volume *v, const float *columns, size_t ld, size_t first,
                        size_t count, float *image)
{
    size_t taps = v->axis[H].kernel * v->axis[W].kernel, size = v->axis[H].in * v->axis[W].in, id;
    while (count > 0) {
        struct position_run run = find_position_run(v, first, count);
        const float *rows = columns;
        for (size_t c = 0; c < v->channels; c++)
            for (size_t kd = 0; kd < v->axis[D].kernel; kd++, rows += taps * ld)
                if (find_tap_input(&v->axis[D], run.od, kd, &id))
                    add_plane_taps(v, rows, ld, &run, image + (c * v->axis[D].in + id) * size);
        columns += run.count;
        first += run.count;
        count -= run.count;
    }
}

/* ---- im2col of the transposed convolution ------------------------------------------------- */

/* *o: the output that reads image element i through tap k; false if there is none. */
static bool find_output_of_input_and_tap(const struct ldnq_volume_axis *axis, size_t i, size_t k,
                                         size_t *o)
{
    size_t padded = i + axis->pad, shift = k * axis->dilation;
    if (padded < shift || (padded - shift) % axis->stride != 0)
        return false;
    *o = (padded - shift) / axis->stride;
    return *o < axis->out;
}

/* Image columns x0 .. x1-1 of one row, through tap kw, from a row of the map. */
static void gather_tap_row(const struct ldnq_volume_axis *w, size_t kw, const float *row, size_t x0,
                           size_t x1, float *out)
{
    size_t o, x = x0;
    memset(out, 0, (x1 - x0) * sizeof *out);
    while (x < x1 && !find_output_of_input_and_tap(w, x, kw, &o))
        x++;
    for (; x < x1 && o < w->out; x += w->stride, o++)
        out[x - x0] = row[o];
}

/* Gathers all taps of one map for one image row; `at` is its (d, h). */
static void gather_taps(const struct ldnq_volume *v, const float *map, const size_t at[2],
                        size_t x0, size_t x1, float *out, size_t ld)
{
    const struct ldnq_volume_axis *h = &v->axis[H], *w = &v->axis[W];
    size_t od, oh;
    for (size_t kd = 0; kd < v->axis[D].kernel; kd++)
        for (size_t kh = 0; kh < h->kernel; kh++) {
            bool read = find_output_of_input_and_tap(&v->axis[D], at[0], kd, &od) &&
                        find_output_of_input_and_tap(h, at[1], kh, &oh);
            for (size_t kw = 0; kw < w->kernel; kw++, out += ld) {
                if (read)
                    gather_tap_row(w, kw, map + (od * h->out + oh) * w->out, x0, x1, out);
                else
                    memset(out, 0, (x1 - x0) * sizeof *out);
            }
        }
}

void ldnq_volume_im2col_transposed(const struct ldnq_volume *v, const float *maps, size_t rows,
                                   size_t first, size_t count, float *columns, size_t ld)
{
    size_t positions = ldnq_volume_count_positions(v), taps = ldnq_volume_count_taps(v),
           end = first + count;
    while (first < end) {
        size_t row = first / v->axis[W].in, x0 = first % v->axis[W].in;
        size_t x1 = ldnq_size_min(v->axis[W].in, x0 + (end - first));
        const size_t at[2] = { row / v->axis[H].in, row % v->axis[H].in };
        for (size_t r = 0; r < rows; r++)
            gather_taps(v, maps + r * positions, at, x0, x1, columns + r * taps * ld, ld);
        columns += x1 - x0;
        first += x1 - x0;
    }
}
