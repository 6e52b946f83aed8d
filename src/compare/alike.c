#include <math.h>

#include "pipeline/matrices.h"
#include "compare/pair.h"
#include "compare/spread.h"

#define LOOKED_AT ((size_t)64)

static double row_cosine(const struct ldnq_layer *a, const struct ldnq_layer *b, size_t row)
{
    const float *x = a->weight->data, *y = b->weight->data;
    const size_t step = (a->inputs + LOOKED_AT - 1) / LOOKED_AT;
    double xx = 0, yy = 0, xy = 0;
    for (size_t k = 0; k < a->inputs; k += step) {
        const double u = (double)x[ldnq_layer_element(a, row, k)];
        const double v = (double)y[ldnq_layer_element(b, row, k)];
        xx += u * u;
        yy += v * v;
        xy += u * v;
    }
    if (xx == 0 && yy == 0)
        return NAN;
    return xx > 0 && yy > 0 ? fabs(xy) / sqrt(xx * yy) : 0;
}

double ldnq_weights_alike(const struct ldnq_layer *a, const struct ldnq_layer *b)
{
    if (!ldnq_weights_match(a, b))
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
