/* SPDX-License-Identifier: Apache-2.0 */
#include "metric/interval.h"

#include <math.h>

/* The standard normal distribution has 95 % between -Z and Z. */
#define Z 1.959963984540054

struct ldnq_interval ldnq_compute_share_interval(size_t hits, size_t count)
{
    const double n = (double)count, share = (double)hits / n, z2 = Z * Z;
    if (count == 0)
        return (struct ldnq_interval){ NAN, NAN };
    const double centre = (share + z2 / (2 * n)) / (1 + z2 / n);
    const double half = Z / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n));
    /* At both ends the interval ends there, but for rounding. */
    return (struct ldnq_interval){ hits == 0 ? 0 : centre - half,
                                   hits == count ? 1 : centre + half };
}
