/* SPDX-License-Identifier: Apache-2.0 */
#include "target/row_powers.h"

#include <math.h>

#define HALF (LDNQ_ROW_POWER_BINS / 2)

/* Bin HALF begins at a mean square of 1. */
static size_t find_bin(double power)
{
    const int exponent = ilogb(power);
    const double bin = HALF + 2.0 * exponent + (scalbn(power, -exponent) >= 1.5);
    return (size_t)fmin(fmax(bin, 0), LDNQ_ROW_POWER_BINS - 1);
}

static double find_power_of_bin(size_t bin)
{
    const int at = (int)bin - HALF;
    const int exponent = (at - (at & 1)) / 2;
    return scalbn(at & 1 ? 1.75 : 1.25, exponent);
}

void ldnq_row_powers_add(struct ldnq_row_powers *powers, const struct ldnq_tensor *tensor,
                         size_t most)
{
    const int rank = tensor->shape.rank;
    const size_t count = ldnq_tensor_count(tensor);
    if (!powers->is_watched || rank < 2 || count == 0)
        return;
    const size_t cols = (size_t)tensor->shape.dim[rank - 1];
    const size_t samples = (size_t)tensor->shape.dim[0], rows = count / samples / cols;
    const size_t step = (rows * cols / most) | 1;
    const float *data = tensor->data;
    for (size_t n = 0; n < samples; n++)
        for (size_t row = 0; row < rows; row += step) {
            const float *x = data + (n * rows + row) * cols;
            double sum = 0;
            for (size_t i = 0; i < cols; i++)
                sum += (double)x[i] * (double)x[i];
            if (sum > 0 && isfinite(sum))
                powers->bins[find_bin(sum / (double)cols)]++;
        }
}

double ldnq_row_powers_median_error(const struct ldnq_row_powers *powers, double step)
{
    uint64_t all = 0, below = 0;
    size_t bin = 0;
    for (size_t b = 0; b < LDNQ_ROW_POWER_BINS; b++)
        all += powers->bins[b];
    if (all == 0)
        return 0;
    while (2 * (below += powers->bins[bin]) < all)
        bin++;
    return step * step / 12 / find_power_of_bin(bin);
}
