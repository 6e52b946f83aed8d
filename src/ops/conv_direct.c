#include "ops/conv_direct.h"

#include <math.h>

#include "base/simd.h"
#include "base/size.h"

#define LANES 8
#define CHANNELS 4
#define RUNS 3
#define MOST_SLAB_FLOATS ((size_t)48 << 10)
#define MOST_LINE ((size_t)1024)
#define MOST_TAPS ((size_t)16384)

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

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
    return ldnq_size_add(ldnq_slab_floats(&slab), LANES, &floats) ? floats : SIZE_MAX;
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

size_t ldnq_conv_direct_rows(const struct ldnq_conv_job *job)
{
    size_t rows = 1;
    while (rows < job->geometry.out_h && slabs_fit(job, rows + 1))
        rows++;
    return rows;
}

size_t ldnq_conv_direct_scratch(const struct ldnq_conv_job *job)
{
    /* The offsets of the taps, as int32_t, stand behind the slabs. */
    size_t slabs = job->geometry.channels * channel_floats(job, ldnq_conv_direct_rows(job));
    return (slabs + taps_of(job) + 15) & ~(size_t)15;
}

/* ---- the sums ------------------------------------------------------------------------- */

/* Where some positions of the output lie: runs of up to eight. */
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

/* Adds the bias, clamps and writes what channel `i` of the block has summed up. */
static inline __attribute__((always_inline)) void
finish_channel(const struct sums *sums, size_t i, const lanes *values, const struct positions *at)
{
    const struct ldnq_conv_job *job = sums->job;
    float low = job->clamp ? job->clamp->low : -INFINITY;
    float high = job->clamp ? job->clamp->high : INFINITY;
    float bias = job->bias ? job->bias[sums->channel + i] : 0.0f;
    float *plane = sums->y + i * job->geometry.out_h * job->geometry.out_w;
    for (size_t run = 0; run < RUNS; run++) {
        float *y = plane + at->out[run];
        for (size_t x = 0; x < at->count[run]; x++) {
            float value = values[run][x] + bias;
            value = value < low ? low : value;
            y[x] = value > high ? high : value;
        }
    }
}

/* `channels` is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) void
sum_block(const struct sums *sums, const struct positions *at, size_t channels)
{
    lanes sum[CHANNELS][RUNS] = { 0 };
    const float *a = at->in[0], *b = at->in[1], *c = at->in[2], *w = sums->weight;
    for (size_t tap = 0; tap < sums->taps; tap++) {
        lanes x0 = *(const lanes *)(a + sums->offsets[tap]);
        lanes x1 = *(const lanes *)(b + sums->offsets[tap]);
        lanes x2 = *(const lanes *)(c + sums->offsets[tap]);
        for (size_t i = 0; i < channels; i++) {
            sum[i][0] += x0 * w[i * sums->taps + tap];
            sum[i][1] += x1 * w[i * sums->taps + tap];
            sum[i][2] += x2 * w[i * sums->taps + tap];
        }
    }
    for (size_t i = 0; i < channels; i++)
        finish_channel(sums, i, sum[i], at);
}

/* All positions of a list for one block of channels. */
LDNQ_MULTIVERSION_FMA
static void sum_channels(const struct sums *sums, const struct positions *at, size_t count,
                         size_t channels)
{
    for (size_t i = 0; i < count; i++) {
        switch (channels) {
        case 4:
            sum_block(sums, &at[i], 4);
            break;
        case 3:
            sum_block(sums, &at[i], 3);
            break;
        case 2:
            sum_block(sums, &at[i], 2);
            break;
        default:
            sum_block(sums, &at[i], 1);
            break;
        }
    }
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
                             const struct ldnq_slab *slab, size_t *next,
                             struct positions at[MOST_POSITIONS])
{
    size_t across = ldnq_size_ceil_div(tile->columns, LANES), runs = tile->rows * across;
    size_t count = 0;
    for (; count < MOST_POSITIONS && *next < runs; count++) {
        for (size_t run = 0; run < RUNS; run++, ++*next) {
            /* A missing run repeats the last one and writes nothing. */
            size_t which = ldnq_size_min(*next, runs - 1);
            size_t row = which / across, x = which % across * LANES;
            at[count].in[run] = ldnq_slab_line(slab, row, 0, 0) + x;
            at[count].out[run] = (tile->y + row) * job->geometry.out_w + x;
            at[count].count[run] = *next < runs ? ldnq_size_min(LANES, tile->columns - x) : 0;
        }
    }
    return count;
}

void ldnq_conv_direct_tile(const struct ldnq_conv_job *job, size_t image_group,
                           const struct ldnq_tile *tile, float *scratch)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    size_t apart = channel_floats(job, ldnq_conv_direct_rows(job)), taps = taps_of(job);
    size_t group = image_group % job->groups, plane = g->out_h * g->out_w, next = 0;
    int32_t *offsets = (int32_t *)(scratch + g->channels * apart);
    struct ldnq_slab slab = ldnq_slab_of(g, tile, scratch);
    struct positions at[MOST_POSITIONS];
    fill_slabs(job, tile, job->x + image_group * g->channels * g->height * g->width, apart,
               scratch);
    fill_offsets(job, &slab, apart, offsets);
    for (size_t count; (count = list_positions(job, tile, &slab, &next, at)) > 0;) {
        for (size_t m = 0; m < job->outputs; m += CHANNELS) {
            struct sums sums = {
                .job = job, .offsets = offsets, .taps = taps,
                .channel = group * job->outputs + m,
                .weight = job->weight + (group * job->outputs + m) * taps,
                .y = job->y + (image_group * job->outputs + m) * plane,
            };
            sum_channels(&sums, at, count, ldnq_size_min(CHANNELS, job->outputs - m));
        }
    }
}
