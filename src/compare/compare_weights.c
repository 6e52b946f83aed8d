/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/compare_weights.h"

#include <math.h>

#include "base/alloc.h"
#include "base/size.h"
#include "metric/distance.h"

#define MOST_POINTS ((size_t)1500)
/* Sampled for the similarity: rows, and columns of each. */
#define MOST_SAMPLED ((size_t)64)

static bool is_float_matrix(const struct ldnq_layer *layer)
{
    return layer && layer->weight && layer->weight->dtype == LDNQ_FLOAT &&
           ldnq_layer_rows(layer) > 0 && layer->geometry.cols > 0;
}

bool ldnq_weights_are_comparable(const struct ldnq_layer *a, const struct ldnq_layer *b)
{
    return is_float_matrix(a) && is_float_matrix(b) && ldnq_layer_rows(a) == ldnq_layer_rows(b) &&
           a->geometry.cols == b->geometry.cols;
}

/* ---- similarity ---------------------------------------------------------------------- */

/* |cosine| between the layers' rows; NaN where both are 0. */
static double compute_row_similarity(const struct ldnq_layer *a, const struct ldnq_layer *b,
                                     size_t row)
{
    const float *x = a->weight->data, *y = b->weight->data;
    const size_t step = (a->geometry.cols + MOST_SAMPLED - 1) / MOST_SAMPLED;
    double xx = 0, yy = 0, xy = 0;
    for (size_t k = 0; k < a->geometry.cols; k += step) {
        const double u = (double)x[ldnq_find_weight_offset(&a->geometry, row, k)];
        const double v = (double)y[ldnq_find_weight_offset(&b->geometry, row, k)];
        xx += u * u;
        yy += v * v;
        xy += u * v;
    }
    if (xx == 0 && yy == 0)
        return NAN;
    return xx > 0 && yy > 0 ? fabs(xy) / sqrt(xx * yy) : 0;
}

double ldnq_compare_weights(const struct ldnq_layer *a, const struct ldnq_layer *b)
{
    if (!ldnq_weights_are_comparable(a, b))
        return NAN;
    const size_t rows = ldnq_layer_rows(a), step = (rows + MOST_SAMPLED - 1) / MOST_SAMPLED;
    double sum = 0;
    size_t count = 0;
    for (size_t row = 0; row < rows; row += step) {
        const double similarity = compute_row_similarity(a, b, row);
        count += !isnan(similarity);
        sum += isnan(similarity) ? 0 : similarity;
    }
    return count ? sum / (double)count : NAN;
}

/* ---- distribution -------------------------------------------------------------------- */

static size_t find_histogram_bin(const struct ldnq_weight_distribution *distribution, double value)
{
    const double width = distribution->high - distribution->low;
    const double bin = width > 0 ? (value - distribution->low) / width * LDNQ_DIFF_BINS : 0;
    if (!(bin >= 0)) /* NaN too */
        return 0;
    return bin < LDNQ_DIFF_BINS ? (size_t)bin : LDNQ_DIFF_BINS - 1;
}

/* x and y: `count` elements of a's and b's weight, of which `points` are kept. */
static void fill_distribution(struct ldnq_weight_distribution *distribution, const float *x,
                              const float *y, size_t count, float (*points)[2])
{
    for (size_t i = 0; i < count; i++) {
        distribution->low = fmin(distribution->low, fmin((double)x[i], (double)y[i]));
        distribution->high = fmax(distribution->high, fmax((double)x[i], (double)y[i]));
    }
    for (size_t i = 0; i < count; i++) {
        distribution->a[find_histogram_bin(distribution, (double)x[i])]++;
        distribution->b[find_histogram_bin(distribution, (double)y[i])]++;
    }
    for (size_t i = 0; i < distribution->point_count; i++) {
        const double part = (double)i / (double)distribution->point_count;
        const size_t element = (size_t)(part * (double)count);
        points[i][0] = x[element];
        points[i][1] = y[element];
    }
    distribution->points = (const float(*)[2])points;
}

enum ldnq_status ldnq_weight_distribution_create(const struct ldnq_layer *a,
                                                 const struct ldnq_layer *b,
                                                 struct ldnq_arena *arena,
                                                 struct ldnq_weight_distribution **out,
                                                 double *sqnr, struct ldnq_error *err)
{
    const size_t count = ldnq_layer_elements(a);
    struct ldnq_weight_distribution *distribution =
        ldnq_arena_alloc(arena, 1, sizeof *distribution, err);
    if (!distribution)
        return LDNQ_NOMEM;
    distribution->point_count = ldnq_size_min(count, MOST_POINTS);
    float(*points)[2] = ldnq_arena_alloc(arena, distribution->point_count, sizeof *points, err);
    if (!points)
        return LDNQ_NOMEM;
    float *x = ldnq_calloc(count, sizeof *x), *y = ldnq_calloc(count, sizeof *y);
    const bool allocated = x && y;
    if (allocated) {
        ldnq_layer_read_weight(a, x);
        ldnq_layer_read_weight(b, y);
        *sqnr = ldnq_compute_sqnr(ldnq_compute_squared_error(x, NULL, count),
                                  ldnq_compute_squared_error(y, x, count));
        fill_distribution(distribution, x, y, count, points);
    }
    ldnq_free(x);
    ldnq_free(y);
    *out = distribution;
    return allocated ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}
