/* SPDX-License-Identifier: Apache-2.0 */
#include "target/observer.h"

#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "base/size.h"
#include "target/row_powers.h"

/* Bins on each side of zero. */
#define SIDE 2048
#define BINS (2 * SIDE)
/* The importance 1 as an integer: sums of integers are exact in any order. */
#define IMPORTANCE_ONE ((uint64_t)1 << 20)
#define IMPORTANCE_MOST 4e9

/* Slices of more entries than this are not watched. */
#define MOST_SLICES ((int64_t)4096)
/* Slices see every fifth of the elements that the bins see: an odd number, as `step` is. */
#define SLICE_STEPS ((size_t)5)

/* What is known of the values of one entry of an axis. */
struct slice {
    float least, most;
    bool seen;
};

struct sliced_axis {
    size_t count; /* slices; 0: none yet, or their number differs from sample to sample */
    bool is_void; /* not watched */
    struct slice *slices;
};

struct ldnq_observer {
    double least, most; /* range of all finite values; least > most: none was seen */
    int exponent;       /* a bin is 2^exponent wide; bin b starts at (b - SIDE) * width */
    bool any;           /* a value that is not zero was counted */
    bool not_finite;    /* a NaN or an infinity was among the values */
    uint64_t zeros;     /* values that are zero exactly: they have a code, without error */
    uint64_t bins[BINS];
    size_t channels, axis;
    uint32_t *importance;       /* by channel; NULL: IMPORTANCE_ONE for all */
    struct sliced_axis axes[2]; /* axis 1, and the last one */
    struct ldnq_row_powers rows;
    struct ldnq_arena *arena;
};

enum ldnq_status ldnq_observer_create(struct ldnq_arena *arena, const float *importance,
                                      size_t channels, size_t axis, struct ldnq_observer **out,
                                      struct ldnq_error *err)
{
    struct ldnq_observer *observer = ldnq_arena_alloc(arena, 1, sizeof *observer, err);
    if (!observer)
        return LDNQ_NOMEM;
    observer->least = INFINITY;
    observer->most = -INFINITY;
    observer->axis = axis;
    observer->arena = arena;
    *out = observer;
    if (!importance)
        return LDNQ_OK;
    double sum = 0;
    for (size_t c = 0; c < channels; c++)
        sum += (double)importance[c];
    if (!(sum > 0) || !isfinite(sum))
        return LDNQ_OK;
    observer->importance = ldnq_arena_alloc(arena, channels, sizeof *observer->importance, err);
    if (!observer->importance)
        return LDNQ_NOMEM;
    observer->channels = channels;
    const double unit = (double)IMPORTANCE_ONE * (double)channels / sum;
    for (size_t c = 0; c < channels; c++)
        observer->importance[c] =
            (uint32_t)fmin(ceil((double)importance[c] * unit), IMPORTANCE_MOST);
    return LDNQ_OK;
}

/* ---- counting ------------------------------------------------------------------------------ */

/* Joins bins in pairs, on each side away from zero. */
static void double_bin_width(struct ldnq_observer *observer)
{
    uint64_t *bins = observer->bins, joined[BINS] = { 0 };
    for (size_t b = 0; b < BINS; b++)
        joined[SIDE / 2 + b / 2] += bins[b];
    memcpy(bins, joined, sizeof joined);
    observer->exponent++;
}

static void widen_range_to_include(struct ldnq_observer *observer, double size)
{
    if (!observer->any) {
        observer->any = true;
        observer->exponent = ilogb(size) + 1 - 11; /* 2^11 bins: size is in the upper half */
        return;
    }
    while (ldexp(SIDE, observer->exponent) <= size)
        double_bin_width(observer);
}

/* The least and the largest of a part of a tensor's elements; NaN is skipped. */
struct extremes {
    float least, most;
    bool not_finite;
};

#define LANES 256
/* Elements per chunk of work, and the most chunks of one tensor. */
#define CHUNK ((size_t)1 << 15)
#define MOST_CHUNKS ((size_t)64)

/* One minimum and one maximum per lane, so that compilers vectorize the loop; they unroll fewer
 * lanes without vectors. x - x is 0, or NaN where x is not finite. */
LDNQ_MULTIVERSION
static struct extremes find_chunk_extremes(const float *x, size_t count)
{
    struct extremes found = { INFINITY, -INFINITY, false };
    float least[LANES], most[LANES], nothing[LANES] = { 0 };
    for (size_t l = 0; l < LANES; l++) {
        least[l] = INFINITY;
        most[l] = -INFINITY;
    }
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            const float v = x[i + l];
            nothing[l] += v - v;
            least[l] = v < least[l] ? v : least[l];
            most[l] = v > most[l] ? v : most[l];
        }
    for (size_t l = 0; i + l < count; l++) {
        const float v = x[i + l];
        nothing[l] += v - v;
        least[l] = v < least[l] ? v : least[l];
        most[l] = v > most[l] ? v : most[l];
    }
    for (size_t l = 0; l < LANES; l++) {
        found.not_finite |= nothing[l] != 0.0f;
        found.least = least[l] < found.least ? least[l] : found.least;
        found.most = most[l] > found.most ? most[l] : found.most;
    }
    return found;
}

struct extremes_search {
    const float *x;
    size_t count, chunk; /* all elements, and those of one chunk */
    struct extremes found[MOST_CHUNKS];
};

static void find_extremes_of_chunk(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct extremes_search *search = ctx;
    const size_t first = chunk * search->chunk;
    search->found[chunk] =
        find_chunk_extremes(search->x + first, ldnq_size_min(search->chunk, search->count - first));
}

static void add_extremes(struct ldnq_observer *observer, const float *x, size_t count,
                         struct ldnq_pool *pool)
{
    struct extremes_search search = {
        .x = x,
        .count = count,
        .chunk = ldnq_size_max(CHUNK, ldnq_size_ceil_div(count, MOST_CHUNKS)),
    };
    const size_t chunks = ldnq_size_ceil_div(count, search.chunk);
    ldnq_pool_run(pool, chunks, find_extremes_of_chunk, &search);
    for (size_t c = 0; c < chunks; c++) {
        const struct extremes *found = &search.found[c];
        observer->not_finite |= found->not_finite;
        /* An infinity has no code: it saturates. */
        observer->least = fmin(observer->least, fmax((double)found->least, -3.4e38));
        observer->most = fmax(observer->most, fmin((double)found->most, 3.4e38));
    }
}

/* Makes the slices of the axis at the first tensor; false where they are not watched. */
static bool prepare_sliced_axis(struct ldnq_observer *observer, struct sliced_axis *axis,
                                int64_t size)
{
    struct ldnq_error ignored;
    axis->is_void = axis->is_void || size < 2 || size > MOST_SLICES ||
                    (axis->count > 0 && axis->count != (size_t)size);
    if (axis->is_void)
        return false;
    if (axis->count > 0)
        return true;
    axis->slices = ldnq_arena_alloc(observer->arena, (size_t)size, sizeof *axis->slices, &ignored);
    axis->is_void = !axis->slices;
    axis->count = axis->slices ? (size_t)size : 0;
    return axis->slices != NULL;
}

/* Follows the entry of an axis while elements are visited in steps: divisions would cost more than
 * the counting. */
struct axis_walk {
    size_t inner, entries; /* elements below one entry; entries of the axis */
    size_t entry, within;  /* where the current element is */
    size_t step_entries, step_within;
};

static struct axis_walk start_axis_walk(const struct ldnq_tensor *tensor, size_t axis,
                                        size_t entries, size_t first, size_t step)
{
    struct axis_walk walk = { .inner = 1, .entries = entries };
    for (int d = (int)axis + 1; d < tensor->shape.rank; d++)
        walk.inner *= (size_t)tensor->shape.dim[d];
    walk.entry = first / walk.inner % entries;
    walk.within = first % walk.inner;
    walk.step_entries = step / walk.inner % entries;
    walk.step_within = step % walk.inner;
    return walk;
}

static void advance_axis_walk(struct axis_walk *walk)
{
    walk->within += walk->step_within;
    walk->entry += walk->step_entries;
    if (walk->within >= walk->inner) {
        walk->within -= walk->inner;
        walk->entry++;
    }
    if (walk->entry >= walk->entries)
        walk->entry -= walk->entries;
}

static void add_to_slices(struct ldnq_observer *observer, const struct ldnq_tensor *tensor,
                          size_t step)
{
    const int rank = tensor->shape.rank, axis_of[2] = { 1, rank - 1 };
    const float *x = tensor->data;
    const size_t count = ldnq_tensor_count(tensor);
    for (int a = 0; a < (rank > 2 ? 2 : 1); a++) {
        struct sliced_axis *axis = &observer->axes[a];
        if (rank < 2 || !prepare_sliced_axis(observer, axis, tensor->shape.dim[axis_of[a]]))
            continue;
        struct axis_walk walk = start_axis_walk(tensor, (size_t)axis_of[a], axis->count, 0, step);
        for (size_t i = 0; i < count; i += step, advance_axis_walk(&walk)) {
            struct slice *slice = &axis->slices[walk.entry];
            slice->least = !slice->seen || x[i] < slice->least ? x[i] : slice->least;
            slice->most = !slice->seen || x[i] > slice->most ? x[i] : slice->most;
            slice->seen = true;
        }
    }
}

/* Counts every step-th element of first .. last-1 in `bins`; returns the count of zeros. */
static uint64_t add_to_bins(const struct ldnq_observer *observer, const struct ldnq_tensor *tensor,
                            size_t first, size_t last, size_t step, uint64_t *bins)
{
    uint64_t zeros = 0;
    const float *x = tensor->data, scale = ldexpf(1.0f, -observer->exponent);
    const uint32_t one = (uint32_t)IMPORTANCE_ONE, *importance = observer->importance;
    struct axis_walk walk =
        start_axis_walk(tensor, observer->axis, importance ? observer->channels : 1, first, step);
    for (size_t i = first; i < last; i += step, advance_axis_walk(&walk)) {
        const uint64_t weight = importance ? importance[walk.entry] : one;
        const float at = x[i] * scale + SIDE;
        if (x[i] == 0.0f)
            zeros += weight;
        else if (at >= 0 && at < BINS)
            bins[(size_t)at] += weight;
    }
    return zeros;
}

/* A tensor is counted in three parts: the slices, the first samples in the observer's bins, and the
 * others in bins of their own. */
struct counting {
    struct ldnq_observer *observer;
    const struct ldnq_tensor *tensor;
    size_t samples, per_sample, step;
    uint64_t zeros[2], others[BINS];
};

static void count_part(void *ctx, size_t part, size_t thread)
{
    (void)thread;
    struct counting *counting = ctx;
    const size_t half = (counting->samples + 1) / 2, per_sample = counting->per_sample;
    if (part == 2) {
        add_to_slices(counting->observer, counting->tensor, SLICE_STEPS * counting->step);
        ldnq_row_powers_add(&counting->observer->rows, counting->tensor, LDNQ_OBSERVER_MOST);
        return;
    }
    for (size_t n = part ? half : 0; n < (part ? counting->samples : half); n++)
        counting->zeros[part] +=
            add_to_bins(counting->observer, counting->tensor, n * per_sample, (n + 1) * per_sample,
                        counting->step, part ? counting->others : counting->observer->bins);
}

void ldnq_observer_add(struct ldnq_observer *observer, const struct ldnq_tensor *tensor,
                       struct ldnq_pool *pool)
{
    const size_t count = ldnq_tensor_count(tensor);
    const size_t samples = tensor->shape.rank > 0 ? (size_t)tensor->shape.dim[0] : 1;
    if (count == 0)
        return;
    add_extremes(observer, tensor->data, count, pool);
    const double size = fmax(-observer->least, observer->most);
    if (size > 0)
        widen_range_to_include(observer, size);
    /* An odd step visits all channels, whatever their size is. */
    const size_t per_sample = count / samples, step = (per_sample / LDNQ_OBSERVER_MOST) | 1;
    struct counting counting = { observer, tensor, samples, per_sample, step, { 0 }, { 0 } };
    ldnq_pool_run(pool, 3, count_part, &counting);
    observer->zeros += counting.zeros[0] + counting.zeros[1];
    for (size_t b = 0; samples > 1 && b < BINS; b++)
        observer->bins[b] += counting.others[b];
}

void ldnq_observer_watch_rows(struct ldnq_observer *observer)
{
    observer->rows.is_watched = true;
}

bool ldnq_observer_all_finite(const struct ldnq_observer *observer)
{
    return !observer->not_finite;
}

/* Beyond what networks compute: the value of a mask, before a Softmax. */
#define MASK_VALUE 1e8

bool ldnq_observer_has_mask(const struct ldnq_observer *observer)
{
    return observer->not_finite || observer->least < -MASK_VALUE || observer->most > MASK_VALUE;
}

void ldnq_observer_copy(struct ldnq_observer *observer, const struct ldnq_observer *from)
{
    *observer = *from;
}

void ldnq_observer_merge(struct ldnq_observer *observer, const struct ldnq_observer *other)
{
    if (other->least <= other->most) {
        observer->least = fmin(observer->least, other->least);
        observer->most = fmax(observer->most, other->most);
    }
    observer->zeros += other->zeros;
    if (!other->any)
        return;
    struct ldnq_observer aligned = *other;
    if (!observer->any) {
        observer->any = true;
        observer->exponent = other->exponent;
    }
    while (aligned.exponent < observer->exponent)
        double_bin_width(&aligned);
    while (observer->exponent < aligned.exponent)
        double_bin_width(observer);
    for (size_t b = 0; b < BINS; b++)
        observer->bins[b] += aligned.bins[b];
}

/* ---- choosing ---------------------------------------------------------------------------------
 */

/* Sums over the bins below each: of counts, of count * x and of count * x^2. */
struct moments_below {
    double width;
    double count[BINS + 1], first[BINS + 1], second[BINS + 1];
};

static double bin_center(double width, size_t bin)
{
    return ((double)bin - SIDE + 0.5) * width;
}

static void compute_cumulative_moments(const struct ldnq_observer *observer,
                                       struct moments_below *below)
{
    below->width = ldexp(1.0, observer->exponent);
    below->count[0] = below->first[0] = below->second[0] = 0;
    for (size_t b = 0; b < BINS; b++) {
        const double n = (double)observer->bins[b], x = bin_center(below->width, b);
        below->count[b + 1] = below->count[b] + n;
        below->first[b + 1] = below->first[b] + n * x;
        below->second[b + 1] = below->second[b] + n * x * x;
    }
}

static size_t find_observer_bin(double width, double x)
{
    return (size_t)fmin(fmax(floor(x / width) + SIDE, 0), BINS);
}

/* The expected squared error of codes with this scale: rounding within their range, clipping
 * outside. */
static double compute_scale_error(const struct moments_below *below, enum ldnq_dtype dtype,
                                  struct ldnq_scale scale)
{
    const double levels = ldexp(1.0, (int)ldnq_dtype_bits(dtype)) - 1;
    const double least_code =
        ldnq_dtype_is_signed(dtype) ? -ldexp(1.0, (int)ldnq_dtype_bits(dtype) - 1) : 0;
    const double from = (least_code - scale.zero_point) * (double)scale.scale;
    const double to = from + levels * (double)scale.scale;
    const size_t first = find_observer_bin(below->width, from),
                 last = find_observer_bin(below->width, to);
    const double inside = below->count[last] - below->count[first];
    const double rounding = inside * (double)scale.scale * (double)scale.scale / 12;
    const double under =
        below->second[first] - 2 * from * below->first[first] + from * from * below->count[first];
    const double n = below->count[BINS] - below->count[last];
    const double over = below->second[BINS] - below->second[last] -
                        2 * to * (below->first[BINS] - below->first[last]) + to * to * n;
    return rounding + fmax(under, 0) + fmax(over, 0);
}

static double compute_range_error(const struct moments_below *below,
                                  const struct ldnq_target *target, enum ldnq_dtype dtype,
                                  double low, double high)
{
    return compute_scale_error(below, dtype, ldnq_target_scale(target, dtype, low, high, false));
}

/* One end after the other, among ends that shrink by 2 % a step. */
static void least_error_range(const struct ldnq_observer *observer,
                              const struct ldnq_target *target, enum ldnq_dtype dtype, double *low,
                              double *high)
{
    struct moments_below below;
    compute_cumulative_moments(observer, &below);
    double best = compute_range_error(&below, target, dtype, *low, *high);
    for (int sweep = 0; sweep < 3; sweep++)
        for (int end = 0; end < 2; end++) {
            const double whole = end == 0 ? *high : *low;
            double chosen = whole;
            for (double part = 1.0; part > 0.02; part *= 0.98) {
                const double error =
                    end == 0 ? compute_range_error(&below, target, dtype, *low, whole * part)
                             : compute_range_error(&below, target, dtype, whole * part, *high);
                if (error < best) {
                    best = error;
                    chosen = whole * part;
                }
            }
            *(end == 0 ? high : low) = chosen;
        }
}

/* ---- what a scale loses ------------------------------------------------------------------- */

bool ldnq_observer_has_importance(const struct ldnq_observer *observer)
{
    return observer->importance != NULL;
}

double ldnq_observer_relative_error(const struct ldnq_observer *observer, enum ldnq_dtype dtype,
                                    struct ldnq_scale scale)
{
    struct moments_below below;
    compute_cumulative_moments(observer, &below);
    const double power = below.second[BINS];
    return power > 0 ? compute_scale_error(&below, dtype, scale) / power : 0;
}

static double compute_lost_slices(const struct sliced_axis *axis, double step)
{
    size_t lost = 0, all = 0;
    for (size_t s = 0; s < axis->count; s++) {
        const double range = (double)axis->slices[s].most - (double)axis->slices[s].least;
        all += range > 0;
        lost += range > 0 && range < step;
    }
    return all > 0 ? (double)lost / (double)all : 0;
}

double ldnq_observer_lost_slices(const struct ldnq_observer *observer, double step)
{
    return fmax(compute_lost_slices(&observer->axes[0], step),
                compute_lost_slices(&observer->axes[1], step));
}

double ldnq_observer_median_row_error(const struct ldnq_observer *observer, double step)
{
    return ldnq_row_powers_median_error(&observer->rows, step);
}

#define PERCENTILE 1e-4

static void percentile_range(const struct ldnq_observer *observer, double *low, double *high)
{
    struct moments_below below;
    compute_cumulative_moments(observer, &below);
    const double total = below.count[BINS] + (double)observer->zeros;
    size_t first = 0, last = BINS;
    while (first < SIDE && below.count[first + 1] < PERCENTILE * total)
        first++;
    while (last > SIDE && below.count[BINS] - below.count[last - 1] < PERCENTILE * total)
        last--;
    *low = fmax(*low, ((double)first - SIDE) * below.width);
    *high = fmin(*high, ((double)last - SIDE) * below.width);
}

/* The divergence of the distribution within the threshold, its tail added to the last bin,
 * from the same one in 128 levels (Migacz, "8-bit inference with TensorRT", 2017); over |x|.
 * One threshold serves both ends. */
static double compute_clipping_divergence(const double *sizes, size_t bins)
{
    const size_t levels = 128;
    double tail = 0, sum = 0, divergence = 0;
    for (size_t b = bins; b < SIDE; b++)
        tail += sizes[b];
    for (size_t b = 0; b < bins; b++)
        sum += sizes[b];
    if (!(sum > 0))
        return INFINITY;
    for (size_t level = 0; level < levels; level++) {
        const size_t from = level * bins / levels, to = (level + 1) * bins / levels;
        double in_level = 0, used = 0;
        for (size_t b = from; b < to; b++) {
            in_level += sizes[b];
            used += sizes[b] > 0;
        }
        for (size_t b = from; b < to; b++) {
            const double p = (sizes[b] + (b == bins - 1 ? tail : 0)) / (sum + tail);
            const double q = sizes[b] > 0 ? in_level / used / sum : 0;
            if (p > 0)
                divergence += p * log(p / fmax(q, 1e-9));
        }
    }
    return divergence;
}

static void entropy_range(const struct ldnq_observer *observer, double *low, double *high)
{
    double sizes[SIDE], best = INFINITY;
    size_t chosen = SIDE;
    for (size_t b = 0; b < SIDE; b++)
        sizes[b] = (double)observer->bins[SIDE + b] + (double)observer->bins[SIDE - 1 - b];
    for (size_t bins = 128; bins <= SIDE; bins += 16) {
        const double divergence = compute_clipping_divergence(sizes, bins);
        if (divergence < best) {
            best = divergence;
            chosen = bins;
        }
    }
    const double threshold = (double)chosen * ldexp(1.0, observer->exponent);
    *low = fmax(*low, -threshold);
    *high = fmin(*high, threshold);
}

void ldnq_observer_extremes(const struct ldnq_observer *observer, double *low, double *high)
{
    const bool seen = observer->least <= observer->most;
    *low = seen ? observer->least : 0;
    *high = seen ? observer->most : 0;
}

void ldnq_observer_range(const struct ldnq_observer *observer, enum ldnq_range_rule rule,
                         const struct ldnq_target *target, enum ldnq_dtype dtype, double *low,
                         double *high)
{
    double least, most;
    ldnq_observer_extremes(observer, &least, &most);
    *low = fmin(fmax(least, *low), 0);
    *high = fmax(fmin(most, *high), 0);
    if (!observer->any)
        return;
    switch (rule) {
    case LDNQ_RANGE_MINMAX:
        return;
    case LDNQ_RANGE_PERCENTILE:
        percentile_range(observer, low, high);
        return;
    case LDNQ_RANGE_ENTROPY:
        entropy_range(observer, low, high);
        return;
    case LDNQ_RANGE_MSE:
    case LDNQ_RANGE_AUTO:
        least_error_range(observer, target, dtype, low, high);
        return;
    }
}
