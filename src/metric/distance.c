/* SPDX-License-Identifier: Apache-2.0 */
#include "metric/distance.h"

#include <math.h>

#include "base/alloc.h"
#include "base/pool.h"
#include "base/simd.h"
#include "base/size.h"

/* Elements that one chunk of work sums. The cut depends on sizes alone, so the result does
 * not depend on the number of threads. */
#define CHUNK ((size_t)1 << 15)

double ldnq_compute_squared_error(const float *y, const float *t, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        const double e = (double)y[i] - (t ? (double)t[i] : 0);
        sum += e * e;
    }
    return sum;
}

double ldnq_compute_sqnr(double power, double error)
{
    if (isnan(power) || isnan(error))
        return NAN;
    return error > 0 ? 10 * log10(power / error) : INFINITY;
}

/* ---- sums ------------------------------------------------------------------------------- */

struct distance_chunks {
    const float *y, *t;
    size_t count;
    struct ldnq_distance *sums; /* one per chunk */
};

/* Sums that run side by side, as each addition waits for the one before it. */
#define LANES 16

struct distance_lanes {
    double tt[LANES], yy[LANES], ty[LANES], ee[LANES], largest[LANES];
};

/* Adds `LANES` elements. */
static inline __attribute__((always_inline)) void add_to_lanes(const float *y, const float *t,
                                                               struct distance_lanes *sums)
{
    for (size_t l = 0; l < LANES; l++) {
        const double a = (double)y[l], b = (double)t[l], e = a - b, size = fabs(e);
        sums->tt[l] += b * b;
        sums->yy[l] += a * a;
        sums->ty[l] += b * a;
        sums->ee[l] += e * e;
        sums->largest[l] = size > sums->largest[l] ? size : sums->largest[l];
    }
}

LDNQ_MULTIVERSION
static void sum_distances(const float *y, const float *t, size_t count,
                          struct distance_lanes *result)
{
    struct distance_lanes sums = { { 0 }, { 0 }, { 0 }, { 0 }, { 0 } };
    float last_y[LANES] = { 0 }, last_t[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        add_to_lanes(y + i, t + i, &sums);
    for (size_t l = 0; i + l < count; l++) {
        last_y[l] = y[i + l];
        last_t[l] = t[i + l];
    }
    add_to_lanes(last_y, last_t, &sums);
    *result = sums;
}

static void sum_chunk_distance(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct distance_chunks *chunks = ctx;
    const size_t first = chunk * CHUNK, count = ldnq_size_min(CHUNK, chunks->count - first);
    struct distance_lanes lanes;
    struct ldnq_distance s = { .tt = 0 };
    sum_distances(chunks->y + first, chunks->t + first, count, &lanes);
    for (size_t l = 0; l < LANES; l++) {
        s.tt += lanes.tt[l];
        s.yy += lanes.yy[l];
        s.ty += lanes.ty[l];
        s.ee += lanes.ee[l];
        s.max_error = fmax(s.max_error, lanes.largest[l]);
    }
    chunks->sums[chunk] = s;
}

static bool are_comparable_tensors(const struct ldnq_tensor *y, const struct ldnq_tensor *t)
{
    return y && t && y->dtype == LDNQ_FLOAT && t->dtype == LDNQ_FLOAT &&
           ldnq_shapes_are_equal(&y->shape, &t->shape);
}

void ldnq_distance_merge(struct ldnq_distance *sums, const struct ldnq_distance *later)
{
    sums->tt += later->tt;
    sums->yy += later->yy;
    sums->ty += later->ty;
    sums->ee += later->ee;
    sums->max_error = fmax(sums->max_error, later->max_error);
    sums->failed |= later->failed;
    sums->count += later->count;
}

enum ldnq_status ldnq_distance_add(struct ldnq_distance *sums, const struct ldnq_tensor *y,
                                   const struct ldnq_tensor *t, struct ldnq_pool *pool,
                                   struct ldnq_error *err)
{
    sums->failed |= !are_comparable_tensors(y, t);
    if (sums->failed)
        return LDNQ_OK;
    const size_t count = ldnq_tensor_count(t), chunk_count = ldnq_size_ceil_div(count, CHUNK);
    struct distance_chunks chunks = { .y = y->data, .t = t->data, .count = count };
    chunks.sums = ldnq_calloc(chunk_count ? chunk_count : 1, sizeof *chunks.sums);
    if (!chunks.sums)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    ldnq_pool_run(pool, chunk_count, sum_chunk_distance, &chunks);
    for (size_t i = 0; i < chunk_count; i++)
        ldnq_distance_merge(sums, &chunks.sums[i]);
    sums->count += count;
    ldnq_free(chunks.sums);
    return LDNQ_OK;
}

/* ---- results ------------------------------------------------------------------------------ */

static bool has_comparable_tensors(const struct ldnq_distance *sums)
{
    return !sums->failed && sums->count > 0;
}

double ldnq_distance_compute_sqnr(const struct ldnq_distance *sums)
{
    return has_comparable_tensors(sums) ? ldnq_compute_sqnr(sums->tt, sums->ee) : NAN;
}

double ldnq_distance_compute_cosine(const struct ldnq_distance *sums)
{
    if (!has_comparable_tensors(sums))
        return NAN;
    if (sums->ee == 0)
        return 1;
    return sums->tt > 0 && sums->yy > 0 ? sums->ty / sqrt(sums->tt * sums->yy) : 0;
}
