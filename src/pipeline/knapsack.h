/* knapsack.h: one choice a row, the least sum of errors within a budget of costs. */
#ifndef LDNQ_PIPELINE_KNAPSACK_H
#define LDNQ_PIPELINE_KNAPSACK_H

#include "base/base.h"

/* error and cost are (rows, choices), finite. Exact as long as no more than 10,000 sums
 * of the first rows are worth keeping (no other costs less and errs less); beyond that
 * they are thinned out evenly by cost, and the result is never worse than the best
 * single choice for all rows. chosen (rows). *fits is false when the least costs
 * together are above the budget.
 * Errors: NOMEM. */
enum ldnq_status ldnq_knapsack(size_t rows, size_t choices, const double *error, const double *cost,
                               double budget, size_t *chosen, bool *fits, struct ldnq_error *err);

#endif
