/* distance.h: how far one tensor is from another, summed over batches. */
#ifndef LDNQ_REPORT_DISTANCE_H
#define LDNQ_REPORT_DISTANCE_H

#include "report/report.h"

struct ldnq_distance {
    double tt, yy, ty, ee; /* t t, y y, t y and (y - t)^2 */
    double most;           /* the largest |y - t| */
    bool failed;           /* the tensors could not be compared */
    size_t count;          /* elements; 0: nothing was measured */
};

/* Float tensors of one shape; else, or for NULL, the sums are `failed` for good. The result
 * does not depend on the number of threads. Errors: NOMEM. */
enum ldnq_status ldnq_distance_add(struct ldnq_distance *sums, const struct ldnq_tensor *y,
                                   const struct ldnq_tensor *t, struct ldnq_pool *pool,
                                   struct ldnq_error *err);

struct ldnq_diff_error ldnq_distance_error(const struct ldnq_distance *sums);

#endif
