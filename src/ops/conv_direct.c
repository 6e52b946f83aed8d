#include "ops/conv_direct.h"

#include <string.h>

#include "base/lanes.h"
#include "base/simd.h"
#include "base/size.h"

#define MOST_LANES 16
#define CHANNELS 4
#define RUNS 3
#define LEAST_ROWS ((size_t)8)
#define LEAST_CHANNELS ((size_t)16)
#define MOST_SLAB_FLOATS ((size_t)48 << 10)
#define MOST_LINE ((size_t)1024)
#define MOST_TAPS ((size_t)16384)

/* ---- sizes -------------------------------------------------------------------------- */

static size_t taps_of(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    return g->channels * g->kernel_h * g->kernel_w;
}

/* A tile of so many whole lines. */
static struct ldnq_tile lines_tile(const struct ldnq_conv_job *job, size_t rows)
{
    return (struct ldnq_tile){ .rows = rows, .columns = job->geometry.out_w };
}

/* One channel's slab, with room for the last vector to read past its end. */
static size_t channel_floats(const struct ldnq_conv_job *job, size_t rows)
{
    struct ldnq_tile tile = lines_tile(job, rows);
    struct ldnq_slab slab = ldnq_slab_of(&job->geometry, &tile, NULL);
    size_t floats;
    return ldnq_size_add(ldnq_slab_floats(&slab), MOST_LANES, &floats) ? floats : SIZE_MAX;
}

static bool slabs_fit(const struct ldnq_conv_job *job, size_t rows)
{
    size_t floats;
    return ldnq_size_mul(job->geometry.channels, channel_floats(job, rows), &floats) &&
           floats <= MOST_SLAB_FLOATS;
}

bool ldnq_conv_is_direct(const struct ldnq_conv_job *job)
{
    return job->geometry.out_w <= MOST_LINE && taps_of(job) <= MOST_TAPS && slabs_fit(job, 1);
}

/* A quarter of the lines, so that threads share an image, unless the lines that
 * tiles have in common would become too many. */
size_t ldnq_conv_direct_rows(const struct ldnq_conv_job *job)
{
    size_t height = job->geometry.out_h, rows = 1;
    size_t most = ldnq_size_min(height, ldnq_size_max(LEAST_ROWS, ldnq_size_ceil_div(height, 4)));
    while (rows < most && slabs_fit(job, rows + 1))
        rows++;
    return rows;
}

size_t ldnq_conv_direct_parts(const struct ldnq_conv_job *job, size_t tiles)
{
    bool is_alone = job->images * job->groups * tiles == 1;
    return is_alone && job->outputs >= 2 * LEAST_CHANNELS ? 2 : 1;
}

size_t ldnq_conv_direct_scratch(const struct ldnq_conv_job *job)
{
    /* The offsets of the taps, as int32_t, stand behind the slabs. */
    size_t slabs = job->geometry.channels * channel_floats(job, ldnq_conv_direct_rows(job));
    return (slabs + taps_of(job) + 15) & ~(size_t)15;
}

/* ---- the sums ------------------------------------------------------------------------- */

/* Where some positions of the output lie: runs as long as a vector or shorter. */
struct positions {
    const float *in[RUNS]; /* of the first tap */
    size_t out[RUNS];      /* in an output plane */
    size_t count[RUNS];    /* 0 for none */
};

struct sums {
    const struct ldnq_conv_job *job;
    const int32_t *offsets; /* of each tap, in a slab */
    size_t taps;
    size_t channel;       /* first output channel, among those of all groups */
    const float *weight;  /* its row */
    float *y;             /* its plane */
};

LDNQ_LANES(lanes_8, 8)
LDNQ_LANES(lanes_16, 16)

#define SUMS(name) name##_8
#define SUMS_CLAMP lanes_8_clamp
#define SUMS_LANES 8
#include "ops/conv_direct_sums.h"

#define SUMS(name) name##_16
#define SUMS_CLAMP lanes_16_clamp
#define SUMS_LANES 16
#include "ops/conv_direct_sums.h"

/* Long vectors where the processor has them, unless lines are too short for them. */
static size_t lanes_of(const struct ldnq_conv_job *job)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return job->geometry.out_w > 8 ? 16 : 8;
#endif
    (void)job;
    return 8;
}

/* ---- a tile ---------------------------------------------------------------------------- */

static void fill_slabs(const struct ldnq_conv_job *job, const struct ldnq_tile *tile,
                       const float *x, size_t apart, float *scratch)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    for (size_t c = 0; c < g->channels; c++) {
        struct ldnq_slab slab = ldnq_slab_of(g, tile, scratch + c * apart);
        ldnq_slab_fill(g, tile, x + c * g->height * g->width, &slab);
    }
}

static void fill_offsets(const struct ldnq_conv_job *job, const struct ldnq_slab *slab,
                         size_t apart, int32_t *offsets)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    for (size_t c = 0; c < g->channels; c++)
        for (size_t kh = 0; kh < g->kernel_h; kh++)
            for (size_t kw = 0; kw < g->kernel_w; kw++)
                *offsets++ =
                    (int32_t)(c * apart + (size_t)(ldnq_slab_line(slab, 0, kh, kw) - slab->data));
}

#define MOST_POSITIONS 64

/* The tile's output positions, RUNS at a time, from run *next on. */
static size_t list_positions(const struct ldnq_conv_job *job, const struct ldnq_tile *tile,
                             const struct ldnq_slab *slab, size_t lanes, size_t *next,
                             struct positions at[MOST_POSITIONS])
{
    size_t across = ldnq_size_ceil_div(tile->columns, lanes), runs = tile->rows * across;
    size_t count = 0;
    for (; count < MOST_POSITIONS && *next < runs; count++) {
        for (size_t run = 0; run < RUNS; run++, ++*next) {
            /* A missing run repeats the last one and writes nothing. */
            size_t which = ldnq_size_min(*next, runs - 1);
            size_t row = which / across, x = which % across * lanes;
            at[count].in[run] = ldnq_slab_line(slab, row, 0, 0) + x;
            at[count].out[run] = (tile->y + row) * job->geometry.out_w + x;
            at[count].count[run] = *next < runs ? ldnq_size_min(lanes, tile->columns - x) : 0;
        }
    }
    return count;
}

void ldnq_conv_direct_tile(const struct ldnq_conv_job *job, size_t image_group,
                           const struct ldnq_tile *tile, size_t first, size_t last,
                           float *scratch)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    size_t apart = channel_floats(job, ldnq_conv_direct_rows(job)), taps = taps_of(job);
    size_t group = image_group % job->groups, plane = g->out_h * g->out_w, next = 0;
    int32_t *offsets = (int32_t *)(scratch + g->channels * apart);
    struct ldnq_slab slab = ldnq_slab_of(g, tile, scratch);
    struct positions at[MOST_POSITIONS];
    const size_t lanes = lanes_of(job);
    fill_slabs(job, tile, job->x + image_group * g->channels * g->height * g->width, apart,
               scratch);
    fill_offsets(job, &slab, apart, offsets);
    for (size_t count; (count = list_positions(job, tile, &slab, lanes, &next, at)) > 0;) {
        for (size_t m = first; m < last; m += CHANNELS) {
            struct sums sums = {
                .job = job, .offsets = offsets, .taps = taps,
                .channel = group * job->outputs + m,
                .weight = job->weight + (group * job->outputs + m) * taps,
                .y = job->y + (image_group * job->outputs + m) * plane,
            };
            size_t channels = ldnq_size_min(CHANNELS, last - m);
            (lanes == 16 ? sum_channels_16 : sum_channels_8)(&sums, at, count, channels);
        }
    }
}
