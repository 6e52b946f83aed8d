#include "ops/conv/conv_direct.h"

#include "base/lanes.h"
#include "base/size.h"

#define MOST_LANES 16
#define MOST_RUNS 4
#define LEAST_ROWS ((size_t)8)
#define LEAST_CHANNELS ((size_t)16)
#define MAX_PADDED_FLOATS ((size_t)48 << 10)
#define MOST_LINE ((size_t)1024)
#define MOST_TAPS ((size_t)16384)

/* ---- sizes -------------------------------------------------------------------------- */

static size_t taps_of(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    return g->channels * g->kernel_h * g->kernel_w;
}

/* A tile of so many whole lines. */
static struct ldnq_output_tile lines_tile(const struct ldnq_conv_job *job, size_t rows)
{
    return (struct ldnq_output_tile){ .rows = rows, .columns = job->geometry.out_w };
}

/* One channel's padded tile, with room for the last vector to read past its end. */
static size_t channel_floats(const struct ldnq_conv_job *job, size_t rows)
{
    struct ldnq_output_tile tile = lines_tile(job, rows);
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(&job->geometry, &tile, NULL);
    size_t floats;
    return ldnq_size_add(ldnq_padded_tile_floats(&padded), MOST_LANES, &floats) ? floats : SIZE_MAX;
}

bool ldnq_conv_is_direct(const struct ldnq_conv_job *job)
{
    size_t floats; /* of the least tile's padded tiles */
    return job->geometry.out_w <= MOST_LINE && taps_of(job) <= MOST_TAPS &&
           ldnq_size_mul(job->geometry.channels, channel_floats(job, 1), &floats) &&
           floats <= MAX_PADDED_FLOATS;
}

/* A quarter of the lines, so that threads share an image, unless the lines that
 * tiles have in common would become too many. Each chunk asks for it. */
size_t ldnq_conv_direct_rows(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    size_t most = ldnq_size_max(LEAST_ROWS, ldnq_size_ceil_div(g->out_h, 4));
    struct ldnq_output_tile tile = lines_tile(job, 1);
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(g, &tile, NULL);
    /* One row fits, or the convolution would not be direct. */
    size_t floats = MAX_PADDED_FLOATS / ldnq_size_max(1, g->channels) - MOST_LANES;
    size_t lines = floats / (padded.phases * padded.phase);
    size_t rows = (lines - padded.rows) / g->stride_h + 1;
    return ldnq_size_min(rows, ldnq_size_min(most, g->out_h));
}

size_t ldnq_conv_direct_parts(const struct ldnq_conv_job *job, size_t tiles)
{
    bool is_alone = job->images * job->groups * tiles == 1;
    return is_alone && job->outputs >= 2 * LEAST_CHANNELS ? 2 : 1;
}

size_t ldnq_conv_direct_scratch(const struct ldnq_conv_job *job)
{
    /* The offsets of the taps, as int32_t, stand behind the padded tiles. */
    size_t padded_tiles = job->geometry.channels * channel_floats(job, ldnq_conv_direct_rows(job));
    return (padded_tiles + taps_of(job) + 15) & ~(size_t)15;
}

/* ---- the sums ------------------------------------------------------------------------- */

/* Where some positions of the output lie: runs as long as a vector or shorter, in two
 * halves, which are neighbours, or the same columns of two lines. */
struct direct_positions {
    const float *in[MOST_RUNS]; /* of the first tap */
    size_t out[MOST_RUNS];      /* in an output plane */
    size_t count[MOST_RUNS][2]; /* 0 for none */
    bool is_whole[MOST_RUNS];   /* written as one vector */
};

struct direct_sums {
    const struct ldnq_conv_job *job;
    const int32_t *offsets; /* of each tap, in a padded tile */
    size_t taps;
    size_t channel;           /* first output channel, among those of all groups */
    const float *weight;      /* its row */
    float *y;                 /* its plane */
    bool is_paired;           /* the halves of a run lie in two lines */
    size_t in_half, out_half; /* floats from the one to the other */
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
#define SUMS_TARGET __attribute__((target("avx2,fma")))
#include "ops/conv/conv_direct_sums.h"

typedef lanes_8 halves_16;

#define SUMS(name) name##_16
#define SUMS_CLAMP lanes_16_clamp
#define SUMS_LANES 16
#define SUMS_CHANNELS 6
#define SUMS_RUNS 4
#define SUMS_PAIR(a, b)                                                                            \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define SUMS_TARGET __attribute__((target("avx512f,avx2,fma")))
#include "ops/conv/conv_direct_sums.h"

#endif

struct direct_implementation {
    void (*run)(const struct direct_sums *sums, const struct direct_positions *at, size_t count,
                size_t channels);
    size_t lanes, channels, runs; /* of a block */
    bool pairs;                   /* lines, where two fit into a vector */
};

#define MAX_IMPLEMENTATIONS 3

static size_t
list_implementations(struct direct_implementation implementations[MAX_IMPLEMENTATIONS])
{
    size_t count = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma"))
        implementations[count++] =
            (struct direct_implementation){ sum_channels_16, 16, 6, 4, true };
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        implementations[count++] = (struct direct_implementation){ sum_channels_8, 8, 4, 3, false };
#endif
    implementations[count++] = (struct direct_implementation){ sum_channels_4, 4, 4, 3, false };
    return count;
}

size_t ldnq_conv_direct_implementations(void)
{
    struct direct_implementation implementations[MAX_IMPLEMENTATIONS];
    return list_implementations(implementations);
}

/* ---- a tile ---------------------------------------------------------------------------- */

static void fill_offsets(const struct ldnq_conv_job *job, const struct ldnq_padded_tile *padded,
                         size_t apart, int32_t *offsets)
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
        offsets[i] = offsets[i - window] + (int32_t)apart;
}

#define MOST_POSITIONS 64

/* A tile being worked out. */
struct direct_tile {
    const struct ldnq_conv_job *job;
    const struct ldnq_output_tile *tile;
    const struct ldnq_padded_tile *padded;
    const struct direct_implementation *implementation;
    bool is_paired;
    size_t next; /* run to list */
};

/* Run `which` of a tile, the first in its upper left corner. */
static void list_run(const struct direct_tile *work, size_t which, size_t run,
                     struct direct_positions *at)
{
    const struct ldnq_output_tile *tile = work->tile;
    const size_t lanes = work->implementation->lanes, half = lanes / 2;
    size_t across = ldnq_size_ceil_div(tile->columns, lanes), row = which / across, x = 0;
    if (work->is_paired) {
        /* An odd number of lines has its last but one written twice. */
        row = ldnq_size_min(2 * which, tile->rows - 2);
        at->count[run][0] = at->count[run][1] = tile->columns;
    } else {
        x = which % across * lanes;
        at->count[run][0] = ldnq_size_min(half, tile->columns - x);
        at->count[run][1] = ldnq_size_min(half, tile->columns - x - at->count[run][0]);
    }
    at->in[run] = ldnq_padded_tile_row(work->padded, row, 0, 0) + x;
    at->out[run] = (tile->y + row) * work->job->geometry.out_w + x;
    at->is_whole[run] = at->count[run][0] == half && at->count[run][1] == half;
}

/* The tile's output positions, a block's runs at a time, from the next run on. */
static size_t list_positions(struct direct_tile *work, struct direct_positions at[MOST_POSITIONS])
{
    const struct ldnq_output_tile *tile = work->tile;
    size_t runs = work->is_paired
                      ? ldnq_size_ceil_div(tile->rows, 2)
                      : tile->rows * ldnq_size_ceil_div(tile->columns, work->implementation->lanes);
    size_t count = 0;
    for (; count < MOST_POSITIONS && work->next < runs; count++) {
        for (size_t run = 0; run < work->implementation->runs; run++, work->next++) {
            /* A missing run repeats the last one and writes nothing. */
            list_run(work, ldnq_size_min(work->next, runs - 1), run, &at[count]);
            if (work->next >= runs) {
                at[count].count[run][0] = at[count].count[run][1] = 0;
                at[count].is_whole[run] = false;
            }
        }
    }
    return count;
}

/* Output channels first .. last-1, in blocks of nearly the same number. */
static void sum_all(const struct direct_tile *work, const struct direct_sums *all, size_t first,
                    size_t last, const struct direct_positions *at, size_t count)
{
    const struct ldnq_conv_job *job = work->job;
    size_t plane = job->geometry.out_h * job->geometry.out_w, channels = last - first;
    size_t blocks = ldnq_size_ceil_div(channels, work->implementation->channels);
    for (size_t i = 0; i < blocks; i++) {
        size_t from = first + i * channels / blocks, to = first + (i + 1) * channels / blocks;
        struct direct_sums sums = *all;
        sums.channel += from;
        sums.weight += from * all->taps;
        sums.y += from * plane;
        work->implementation->run(&sums, at, count, to - from);
    }
}

void ldnq_conv_direct_tile_with(size_t index, const struct ldnq_conv_job *job, size_t image_group,
                                const struct ldnq_output_tile *tile, size_t first, size_t last,
                                float *scratch)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    size_t apart = channel_floats(job, ldnq_conv_direct_rows(job)), taps = taps_of(job);
    size_t group = image_group % job->groups, plane = g->out_h * g->out_w;
    int32_t *offsets = (int32_t *)(scratch + g->channels * apart);
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(g, tile, scratch);
    struct direct_positions at[MOST_POSITIONS];
    struct direct_implementation implementations[MAX_IMPLEMENTATIONS];
    list_implementations(implementations);
    const struct direct_implementation *implementation = &implementations[index];
    struct direct_tile work = {
        .job = job, .tile = tile, .padded = &padded, .implementation = implementation
    };
    work.is_paired =
        implementation->pairs && tile->columns <= implementation->lanes / 2 && tile->rows > 1;
    struct direct_sums all = {
        .job = job,
        .offsets = offsets,
        .taps = taps,
        .channel = group * job->outputs,
        .weight = job->weight + group * job->outputs * taps,
        .y = job->y + image_group * job->outputs * plane,
        .is_paired = work.is_paired,
        .in_half = work.is_paired ? padded.stride_h * padded.phases * padded.phase
                                  : implementation->lanes / 2,
        .out_half = work.is_paired ? g->out_w : implementation->lanes / 2,
    };
    ldnq_padded_tile_fill_planes(g, tile, job->x + image_group * g->channels * g->height * g->width,
                                 &padded, g->channels, apart);
    fill_offsets(job, &padded, apart, offsets);
    for (size_t count; (count = list_positions(&work, at)) > 0;)
        sum_all(&work, &all, first, last, at, count);
}

void ldnq_conv_direct_tile(const struct ldnq_conv_job *job, size_t image_group,
                           const struct ldnq_output_tile *tile, size_t first, size_t last,
                           float *scratch)
{
    ldnq_conv_direct_tile_with(0, job, image_group, tile, first, last, scratch);
}
