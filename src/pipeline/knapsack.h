/* SPDX-License-Identifier: Apache-2.0 */
/* knapsack.h: choose one item per row with the least sum of errors within a budget of costs
 * (the multiple-choice knapsack problem). */
#ifndef LDNQ_PIPELINE_KNAPSACK_H
#define LDNQ_PIPELINE_KNAPSACK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* error and cost are (rows, choices), finite; chosen is (rows). Exact dynamic programming while
 * the Pareto front of the first rows has at most 10,000 sums. Beyond that it is thinned
 * evenly by cost, and the result is never worse than the best single choice for all rows.
 * *fits is false when even the cheapest choices exceed the budget.
 * Errors: NOMEM. */
enum ldnq_status ldnq_knapsack_solve(size_t rows, size_t choices, const double *error,
                                     const double *cost, double budget, size_t *chosen, bool *fits,
                                     struct ldnq_error *err);

#endif
