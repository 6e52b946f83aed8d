/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv/conv_depthwise.h"

#include <string.h>

#include "base/cpu.h"
#include "base/lanes.h"
#include "base/simd.h"
#include "base/size.h"

#define ROWS 8

/* One output plane of one tile. */
struct depthwise_plane {
    size_t taps; /* KH*KW */
    const float *weight;
    const int32_t *offsets; /* (KH*KW): floats from the first tap's inputs to each tap's */
    size_t shared; /* KH = KW of a kernel whose output rows share the loads of input rows, or 0 */
    size_t in_row, out_row; /* floats between output rows, in the padded tile and in y */
    size_t columns;
    bool spills; /* the tile has whole rows: a store may reach into the next row */
    float bias, low, high;
    bool is_clamped;
};

/* How much of a vector is stored, in a block of rows. */
struct store_extent {
    size_t whole; /* rows 0 .. whole-1 store the whole vector */
    size_t count; /* the others store `count` floats */
};

/* Stores the rows that do not store the whole vector. Not inlined: it runs rarely, and would be
 * repeated in every unrolled case. */
static __attribute__((noinline)) void write_parts(const float *values, size_t lanes, float *y,
                                                  size_t out_row, size_t rows,
                                                  const struct store_extent *extent)
{
    for (size_t i = extent->whole; i < rows; i++)
        memcpy(y + i * out_row, values + i * lanes, extent->count * sizeof *values);
}

/* ---- instruction sets ------------------------------------------------------------------ */

LDNQ_LANES(lanes_4, 4)
LDNQ_LANES(lanes_8, 8)
LDNQ_LANES(lanes_16, 16)

#define SUMS(name) name##_4
#define SUMS_CLAMP lanes_4_clamp
#define SUMS_LANES 4
#define SUMS_TARGET
#include "ops/conv/conv_depthwise_sums.h"

#if defined(__x86_64__)

#define SUMS(name) name##_8
#define SUMS_CLAMP lanes_8_clamp
#define SUMS_LANES 8
#define SUMS_TARGET LDNQ_TARGET_AVX2
#include "ops/conv/conv_depthwise_sums.h"

#define SUMS(name) name##_16
#define SUMS_CLAMP lanes_16_clamp
#define SUMS_LANES 16
#define SUMS_TARGET LDNQ_TARGET_AVX512
#include "ops/conv/conv_depthwise_sums.h"

#endif

/* Computes `rows` output rows, columns first .. last-1; y has `room` floats. */
typedef void rows_fn(const struct depthwise_plane *d, const float *in, float *y, size_t rows,
                     size_t room, size_t first, size_t last);

struct depthwise_implementation {
    rows_fn *run, *run_rest; /* with long vectors; the rest of a row with short ones */
    size_t lanes, longest_rest;
};

#define MAX_IMPLEMENTATIONS 3

static size_t
list_implementations(struct depthwise_implementation implementations[MAX_IMPLEMENTATIONS])
{
    size_t count = 0;
#if defined(__x86_64__)
    if (ldnq_cpu_level() >= LDNQ_CPU_AVX512)
        implementations[count++] =
            (struct depthwise_implementation){ run_rows_16, run_rows_8, 16, 8 };
    if (ldnq_cpu_level() >= LDNQ_CPU_AVX2)
        implementations[count++] =
            (struct depthwise_implementation){ run_rows_8, run_rows_8, 8, 0 };
#endif
    implementations[count++] = (struct depthwise_implementation){ run_rows_4, run_rows_4, 4, 0 };
    return count;
}

/* ---- one tile ---------------------------------------------------------------------------- */

static void compute_plane_rows(const struct depthwise_implementation *implementation,
                               const struct depthwise_plane *d, const float *in, float *y,
                               size_t rows, size_t room)
{
    size_t rest = d->columns % implementation->lanes, whole = d->columns - rest;
    if (rest > implementation->longest_rest)
        whole = d->columns;
    if (whole < d->columns)
        implementation->run_rest(d, in, y, rows, room, whole, d->columns);
    if (whole > 0)
        implementation->run(d, in, y, rows, room, 0, whole);
}

/* Computes all rows of the tile, in blocks of nearly equal size. */
static void compute_plane_by_row_blocks(const struct depthwise_implementation *implementation,
                                        const struct depthwise_plane *d, const float *in, float *y,
                                        size_t rows, size_t room)
{
    size_t blocks = ldnq_size_ceil_div(rows, ROWS);
    for (size_t i = 0; i < blocks; i++) {
        size_t first = i * rows / blocks, last = (i + 1) * rows / blocks;
        compute_plane_rows(implementation, d, in + first * d->in_row, y + first * d->out_row,
                           last - first, room - first * d->out_row);
    }
}

/* The kernel side 3, 5 or 7 for which output rows share the loads of input rows; otherwise 0. */
static size_t find_kernel_side_sharing_loads(const struct ldnq_conv_geometry *g)
{
    bool is_dense = g->stride_h == 1 && g->stride_w == 1 && g->dilation_h == 1 &&
                    g->dilation_w == 1 && g->kernel_h == g->kernel_w;
    bool is_shared = g->kernel_h == 3 || g->kernel_h == 5 || g->kernel_h == 7;
    return is_dense && is_shared ? g->kernel_h : 0;
}

static void fill_offsets(const struct ldnq_conv_geometry *g, const struct ldnq_padded_tile *padded,
                         int32_t *offsets)
{
    for (size_t kh = 0; kh < g->kernel_h; kh++)
        for (size_t kw = 0; kw < g->kernel_w; kw++)
            *offsets++ = (int32_t)(ldnq_padded_tile_row(padded, 0, kh, kw) - padded->data);
}

size_t ldnq_conv_depthwise_count_implementations(void)
{
    struct depthwise_implementation implementations[MAX_IMPLEMENTATIONS];
    return list_implementations(implementations);
}

void ldnq_conv_depthwise_compute_tile_with(size_t implementation, const struct ldnq_conv_job *job,
                                           const struct ldnq_output_tile *tile,
                                           const struct ldnq_padded_tile *padded, size_t pitch,
                                           size_t first, size_t count)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    const size_t plane = g->out_h * g->out_w, at = tile->y * g->out_w + tile->x;
    int32_t offsets[LDNQ_DEPTHWISE_TAPS];
    struct depthwise_implementation implementations[MAX_IMPLEMENTATIONS];
    struct depthwise_plane d = {
        .taps = g->kernel_h * g->kernel_w,
        .offsets = offsets,
        .shared = find_kernel_side_sharing_loads(g),
        .in_row = ldnq_padded_tile_row_step(padded),
        .out_row = g->out_w,
        .columns = tile->columns,
        .spills = tile->columns == g->out_w,
        .is_clamped = job->clamp != NULL,
        .low = job->clamp ? job->clamp->low : 0.0f,
        .high = job->clamp ? job->clamp->high : 0.0f,
    };
    list_implementations(implementations);
    fill_offsets(g, padded, offsets);
    for (size_t i = 0; i < count * job->outputs; i++) {
        size_t out = first * job->outputs + i, channel = out % (job->groups * job->outputs);
        d.weight = job->weight + channel * d.taps;
        d.bias = job->bias ? job->bias[channel] : 0.0f;
        compute_plane_by_row_blocks(
            &implementations[implementation], &d, padded->data + i / job->outputs * pitch,
            job->y + out * plane + at, tile->rows, plane - tile->y * g->out_w);
    }
}

void ldnq_conv_depthwise_compute_tile(const struct ldnq_conv_job *job,
                                      const struct ldnq_output_tile *tile,
                                      const struct ldnq_padded_tile *padded, size_t pitch,
                                      size_t first, size_t count)
{
    ldnq_conv_depthwise_compute_tile_with(0, job, tile, padded, pitch, first, count);
}
