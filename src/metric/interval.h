/* SPDX-License-Identifier: Apache-2.0 */
/* interval.h: how sure a share is that was counted on a few samples.
 *
 * Numbers the interval has the true share in 95 of 100 repetitions, on average over shares
 * Source  E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
 *         Journal of the American Statistical Association 22 (1927): the score interval, which
 *         stays within 0 and 1 and holds for few samples and for shares near 0 and 1
 */
#ifndef LDNQ_METRIC_INTERVAL_H
#define LDNQ_METRIC_INTERVAL_H

#include <stddef.h>

struct ldnq_interval {
    double low, high;
};

/* The 95 % interval of the share of which `hits` of `count` were seen, within 0 and 1; NaN where
 * count is 0. */
struct ldnq_interval ldnq_compute_share_interval(size_t hits, size_t count);

#endif
