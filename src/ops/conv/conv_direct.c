/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv/conv_direct.h"

#include <string.h>

#include "base/cpu.h"
#include "base/lanes.h"
#include "base/simd.h"
#include "base/size.h"

#define MAX_LANES 16
#define MAX_RUNS 4
#define MIN_ROWS ((size_t)8)
#define MIN_CHANNELS ((size_t)16)
#define MAX_PADDED_FLOATS ((size_t)112 << 10)
#define MAX_ROW_FLOATS ((size_t)1024)
#define MAX_TAPS ((size_t)16384)

/* ---- sizes -------------------------------------------------------------------------- */

static size_t count_cols(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    return g->channels * g->kernel_h * g->kernel_w;
}

/* Describes a tile of `rows` whole output rows. */
static struct ldnq_output_tile make_tile(const struct ldnq_conv_job *job, size_t rows)
{
    return (struct ldnq_output_tile){ .rows = rows, .columns = job->geometry.out_w };
}

/* Floats of one channel's padded tile and of the zeros after it, which the unused lanes of
 * the last vector read. SIZE_MAX on overflow. */
static size_t count_channel_floats(const struct ldnq_conv_job *job, size_t rows)
{
    struct ldnq_output_tile tile = make_tile(job, rows);
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(&job->geometry, &tile, NULL);
    size_t floats;
    return ldnq_size_add(ldnq_padded_tile_count_floats(&padded), MAX_LANES, &floats) ? floats
                                                                                     : SIZE_MAX;
}

bool ldnq_conv_direct_fits(const struct ldnq_conv_job *job)
{
    size_t floats; /* in the padded tiles for one output row */
    return job->geometry.out_w <= MAX_ROW_FLOATS && count_cols(job) <= MAX_TAPS &&
           ldnq_size_mul(job->geometry.channels, count_channel_floats(job, 1), &floats) &&
           floats <= MAX_PADDED_FLOATS;
}

/* A quarter of the output rows, so that threads share an image, but at least MIN_ROWS,
 * since neighbouring tiles both copy the input rows that they share. */
size_t ldnq_conv_direct_choose_rows(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    size_t most = ldnq_size_max(MIN_ROWS, ldnq_size_ceil_div(g->out_h, 4));
    struct ldnq_output_tile tile = make_tile(job, 1);
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(g, &tile, NULL);
    /* ldnq_conv_direct_fits has checked that one output row fits. */
    size_t floats = MAX_PADDED_FLOATS / ldnq_size_max(1, g->channels) - MAX_LANES;
    size_t fitting_rows = floats / (padded.phases * padded.phase_width);
    size_t rows = (fitting_rows - padded.rows) / g->stride_h + 1;
    return ldnq_size_min(rows, ldnq_size_min(most, g->out_h));
}

size_t ldnq_conv_direct_choose_channel_parts(const struct ldnq_conv_job *job, size_t tiles)
{
    bool is_alone = job->images * job->groups * tiles == 1;
    return is_alone && job->outputs >= 2 * MIN_CHANNELS ? 2 : 1;
}

size_t ldnq_conv_direct_scratch_floats(const struct ldnq_conv_job *job)
{
    /* The taps' offsets, int32_t each, follow the padded tiles. */
    size_t padded_tiles =
        job->geometry.channels * count_channel_floats(job, ldnq_conv_direct_choose_rows(job));
    return (padded_tiles + count_cols(job) + 15) & ~(size_t)15;
}

/* ---- the sums ------------------------------------------------------------------------- */

/* A block of runs of output positions. A run is at most one vector long. It has two
 * halves: the halves of one row's run, or, paired, the same columns of two output rows. */
struct direct_positions {
    const float *in[MAX_RUNS]; /* inputs of the first tap */
    size_t out[MAX_RUNS];      /* index in the output plane */
    size_t count[MAX_RUNS][2]; /* positions in each half */
    bool is_whole[MAX_RUNS];   /* both halves are full and contiguous: one store */
};

struct direct_sums {
    const struct ldnq_conv_job *job;
    const int32_t *offsets;   /* (K): floats from the first tap's inputs to each tap's */
    size_t taps;              /* K */
    size_t channel;           /* first output channel of the block, among all G*M */
    const float *weight;      /* its row, (K) */
    float *y;                 /* its plane, (OH, OW) */
    bool is_paired;           /* the halves of a run are in two output rows */
    size_t in_half, out_half; /* floats from the first half to the second */
};

LDNQ_LANES(lanes_4, 4)
LDNQ_LANES(lanes_8, 8)
LDNQ_LANES(lanes_16, 16)

#define SUMS(name) name##_4
#define SUMS_CLAMP lanes_4_clamp
#define SUMS_LANES 4
#define SUMS_CHANNELS 4
#define SUMS_RUNS 3
#define SUMS_TARGET
#include "ops/conv/conv_direct_sums.h"

#if defined(__x86_64__)

#define SUMS(name) name##_8
#define SUMS_CLAMP lanes_8_clamp
#define SUMS_LANES 8
#define SUMS_CHANNELS 4
#define SUMS_RUNS 3
#define SUMS_TARGET LDNQ_TARGET_AVX2
#include "ops/conv/conv_direct_sums.h"

typedef lanes_8 halves_16;

#define SUMS(name) name##_16
#define SUMS_CLAMP lanes_16_clamp
#define SUMS_LANES 16
#define SUMS_CHANNELS 6
#define SUMS_RUNS 4
#define SUMS_PAIR(a, b)                                                                            \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define SUMS_TARGET LDNQ_TARGET_AVX512
#include "ops/conv/conv_direct_sums.h"

#endif

struct direct_implementation {
    void (*run)(const struct direct_sums *sums, const struct direct_positions *at, size_t count,
                size_t channels);
    size_t lanes, channels, runs; /* floats per vector; channels and runs per block */
    bool pairs;                   /* can put two short rows into one vector */
};

#define MAX_IMPLEMENTATIONS 3

static size_t
list_implementations(struct direct_implementation implementations[MAX_IMPLEMENTATIONS])
{
    size_t count = 0;
#if defined(__x86_64__)
    if (ldnq_cpu_level() >= LDNQ_CPU_AVX512)
        implementations[count++] = (struct direct_implementation){ run_16, 16, 6, 4, true };
    if (ldnq_cpu_level() >= LDNQ_CPU_AVX2)
        implementations[count++] = (struct direct_implementation){ run_8, 8, 4, 3, false };
#endif
    implementations[count++] = (struct direct_implementation){ run_4, 4, 4, 3, false };
    return count;
}

size_t ldnq_conv_direct_count_implementations(void)
{
    struct direct_implementation implementations[MAX_IMPLEMENTATIONS];
    return list_implementations(implementations);
}

/* ---- one tile ---------------------------------------------------------------------------- */

/* offsets (C*KH*KW): where the inputs of each tap start, relative to the first tap. */
static void fill_offsets(const struct ldnq_conv_job *job, const struct ldnq_padded_tile *padded,
                         size_t pitch, int32_t *offsets)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    const size_t window = g->kernel_h * g->kernel_w;
    if (g->channels == 0)
        return;
    for (size_t kh = 0; kh < g->kernel_h; kh++)
        for (size_t kw = 0; kw < g->kernel_w; kw++)
            offsets[kh * g->kernel_w + kw] =
                (int32_t)(ldnq_padded_tile_row(padded, 0, kh, kw) - padded->data);
    for (size_t i = window; i < g->channels * window; i++)
        offsets[i] = offsets[i - window] + (int32_t)pitch;
}

#define MAX_POSITIONS 64

struct direct_tile {
    const struct ldnq_conv_job *job;
    const struct ldnq_output_tile *tile;
    const struct ldnq_padded_tile *padded;
    const struct direct_implementation *implementation;
    bool is_paired;
    size_t next; /* first run that list_positions has not listed */
};

/* Stores run `which` of the tile, counted row by row, as run `run` of a block. */
static void list_run_positions(const struct direct_tile *direct, size_t which, size_t run,
                               struct direct_positions *at)
{
    const struct ldnq_output_tile *tile = direct->tile;
    const size_t lanes = direct->implementation->lanes, half = lanes / 2;
    size_t across = ldnq_size_ceil_div(tile->columns, lanes), row = which / across, x = 0;
    if (direct->is_paired) {
        /* With an odd number of rows, the last but one is computed twice. */
        row = ldnq_size_min(2 * which, tile->rows - 2);
        at->count[run][0] = at->count[run][1] = tile->columns;
    } else {
        x = which % across * lanes;
        at->count[run][0] = ldnq_size_min(half, tile->columns - x);
        at->count[run][1] = ldnq_size_min(half, tile->columns - x - at->count[run][0]);
    }
    at->in[run] = ldnq_padded_tile_row(direct->padded, row, 0, 0) + x;
    at->out[run] = (tile->y + row) * direct->job->geometry.out_w + x;
    at->is_whole[run] = at->count[run][0] == half && at->count[run][1] == half;
}

/* Lists the next blocks of runs, at most MAX_POSITIONS. Returns how many; 0 at the end. */
static size_t list_positions(struct direct_tile *direct, struct direct_positions at[MAX_POSITIONS])
{
    const struct ldnq_output_tile *tile = direct->tile;
    size_t runs =
        direct->is_paired
            ? ldnq_size_ceil_div(tile->rows, 2)
            : tile->rows * ldnq_size_ceil_div(tile->columns, direct->implementation->lanes);
    size_t count = 0;
    for (; count < MAX_POSITIONS && direct->next < runs; count++) {
        for (size_t run = 0; run < direct->implementation->runs; run++, direct->next++) {
            /* The runs missing in the last block repeat the last run and store nothing. */
            list_run_positions(direct, ldnq_size_min(direct->next, runs - 1), run, &at[count]);
            if (direct->next >= runs) {
                at[count].count[run][0] = at[count].count[run][1] = 0;
                at[count].is_whole[run] = false;
            }
        }
    }
    return count;
}

/* Computes output channels first .. last-1, in blocks of nearly equal size. */
static void sum_channels(const struct direct_tile *direct, const struct direct_sums *shared,
                         size_t first, size_t last, const struct direct_positions *at, size_t count)
{
    const struct ldnq_conv_job *job = direct->job;
    size_t plane = job->geometry.out_h * job->geometry.out_w, channels = last - first;
    size_t blocks = ldnq_size_ceil_div(channels, direct->implementation->channels);
    for (size_t i = 0; i < blocks; i++) {
        size_t from = first + i * channels / blocks, to = first + (i + 1) * channels / blocks;
        struct direct_sums sums = *shared;
        sums.channel += from;
        sums.weight += from * shared->taps;
        sums.y += from * plane;
        direct->implementation->run(&sums, at, count, to - from);
    }
}

void ldnq_conv_direct_compute_tile_with(size_t index, const struct ldnq_conv_job *job,
                                        size_t image_group, const struct ldnq_output_tile *tile,
                                        size_t first, size_t last, float *scratch)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    size_t pitch = count_channel_floats(job, ldnq_conv_direct_choose_rows(job)),
           taps = count_cols(job);
    size_t group = image_group % job->groups, plane = g->out_h * g->out_w;
    int32_t *offsets = (int32_t *)(scratch + g->channels * pitch);
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(g, tile, scratch);
    struct direct_positions at[MAX_POSITIONS];
    struct direct_implementation implementations[MAX_IMPLEMENTATIONS];
    list_implementations(implementations);
    const struct direct_implementation *implementation = &implementations[index];
    struct direct_tile direct = {
        .job = job, .tile = tile, .padded = &padded, .implementation = implementation
    };
    direct.is_paired =
        implementation->pairs && tile->columns <= implementation->lanes / 2 && tile->rows > 1;
    struct direct_sums shared = {
        .job = job,
        .offsets = offsets,
        .taps = taps,
        .channel = group * job->outputs,
        .weight = job->weight + group * job->outputs * taps,
        .y = job->y + image_group * job->outputs * plane,
        .is_paired = direct.is_paired,
        .in_half =
            direct.is_paired ? ldnq_padded_tile_row_step(&padded) : implementation->lanes / 2,
        .out_half = direct.is_paired ? g->out_w : implementation->lanes / 2,
    };
    ldnq_padded_tile_fill_planes(g, tile, job->x + image_group * g->channels * g->height * g->width,
                                 &padded, g->channels, pitch);
    /* Unused lanes read beyond a padded tile. Stale memory there may hold denormals, such as
     * small integers, and a product of one takes about a hundred cycles. */
    for (size_t c = 0; c < g->channels; c++)
        memset(scratch + c * pitch + ldnq_padded_tile_count_floats(&padded), 0,
               MAX_LANES * sizeof *scratch);
    fill_offsets(job, &padded, pitch, offsets);
    for (size_t count; (count = list_positions(&direct, at)) > 0;)
        sum_channels(&direct, &shared, first, last, at, count);
}

void ldnq_conv_direct_compute_tile(const struct ldnq_conv_job *job, size_t image_group,
                                   const struct ldnq_output_tile *tile, size_t first, size_t last,
                                   float *scratch)
{
    ldnq_conv_direct_compute_tile_with(0, job, image_group, tile, first, last, scratch);
}
