#include "compare/compare_weights.h"

#include <math.h>

#include "base/size.h"
#include "metric/distance.h"
#include "layer/layer.h"

#define MOST_POINTS ((size_t)1500)
#define LOOKED_AT ((size_t)64)

static bool is_float_matrix(const struct ldnq_layer *layer)
{
    return layer && layer->weight && layer->weight->dtype == LDNQ_FLOAT &&
           ldnq_layer_rows(layer) > 0 && layer->geometry.cols > 0;
}

bool ldnq_weights_comparable(const struct ldnq_layer *a, const struct ldnq_layer *b)
{
    return is_float_matrix(a) && is_float_matrix(b) && ldnq_layer_rows(a) == ldnq_layer_rows(b) &&
           a->geometry.cols == b->geometry.cols;
}

/* ---- similarity ---- */

static double row_cosine(const struct ldnq_layer *a, const struct ldnq_layer *b, size_t row)
{
    const float *x = a->weight->data, *y = b->weight->data;
    const size_t step = (a->geometry.cols + LOOKED_AT - 1) / LOOKED_AT;
    double xx = 0, yy = 0, xy = 0;
    for (size_t k = 0; k < a->geometry.cols; k += step) {
        const double u = (double)x[ldnq_weight_offset(&a->geometry, row, k)];
        const double v = (double)y[ldnq_weight_offset(&b->geometry, row, k)];
        xx += u * u;
        yy += v * v;
        xy += u * v;
    }
    if (xx == 0 && yy == 0)
        return NAN;
    return xx > 0 && yy > 0 ? fabs(xy) / sqrt(xx * yy) : 0;
}

double ldnq_weight_similarity(const struct ldnq_layer *a, const struct ldnq_layer *b)
{
    if (!ldnq_weights_comparable(a, b))
        return NAN;
    const size_t rows = ldnq_layer_rows(a), step = (rows + LOOKED_AT - 1) / LOOKED_AT;
    double sum = 0;
    size_t count = 0;
    for (size_t row = 0; row < rows; row += step) {
        const double cosine = row_cosine(a, b, row);
        count += !isnan(cosine);
        sum += isnan(cosine) ? 0 : cosine;
    }
    return count ? sum / (double)count : NAN;
}

/* ---- distribution ---- */

/* The layers' elements number i, counted by rows. */
struct couple {
    const struct ldnq_layer *a, *b;
};

static void take(const struct couple *layers, size_t i, float *x, float *y)
{
    const size_t row = i / layers->a->geometry.cols, k = i % layers->a->geometry.cols;
    *x = ((const float *)layers->a->weight->data)[ldnq_weight_offset(&layers->a->geometry, row, k)];
    *y = ((const float *)layers->b->weight->data)[ldnq_weight_offset(&layers->b->geometry, row, k)];
}

static size_t bin_of(const struct ldnq_weight_distribution *spread, double value)
{
    const double width = spread->high - spread->low;
    const double at = width > 0 ? (value - spread->low) / width * LDNQ_DIFF_BINS : 0;
    if (!(at >= 0)) /* NaN too */
        return 0;
    return at < LDNQ_DIFF_BINS ? (size_t)at : LDNQ_DIFF_BINS - 1;
}

static double measure(const struct couple *layers, size_t count,
                      struct ldnq_weight_distribution *spread)
{
    double power = 0, error = 0;
    for (size_t i = 0; i < count; i++) {
        float x, y;
        take(layers, i, &x, &y);
        power += (double)x * (double)x;
        error += ((double)y - (double)x) * ((double)y - (double)x);
        spread->low = fmin(spread->low, fmin((double)x, (double)y));
        spread->high = fmax(spread->high, fmax((double)x, (double)y));
    }
    return ldnq_sqnr(power, error);
}

enum ldnq_status ldnq_weight_distribution_create(const struct ldnq_layer *a,
                                                 const struct ldnq_layer *b,
                                                 struct ldnq_arena *arena,
                                                 struct ldnq_weight_distribution **out,
                                                 double *sqnr, struct ldnq_error *err)
{
    const struct couple layers = { a, b };
    const size_t count = ldnq_layer_rows(a) * a->geometry.cols;
    const size_t points = ldnq_size_min(count, MOST_POINTS);
    struct ldnq_weight_distribution *spread = ldnq_arena_alloc(arena, 1, sizeof *spread, err);
    float(*list)[2] = ldnq_arena_alloc(arena, points, sizeof *list, err);
    if (!spread || !list)
        return LDNQ_NOMEM;
    *sqnr = measure(&layers, count, spread);
    for (size_t i = 0; i < count; i++) {
        float x, y;
        take(&layers, i, &x, &y);
        spread->a[bin_of(spread, (double)x)]++;
        spread->b[bin_of(spread, (double)y)]++;
    }
    for (size_t i = 0; i < points; i++)
        take(&layers, (size_t)((double)i / (double)points * (double)count), &list[i][0],
             &list[i][1]);
    spread->points = (const float(*)[2])list;
    spread->point_count = points;
    *out = spread;
    return LDNQ_OK;
}
