/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/inverse.h"

#include <math.h>
#include <stdlib.h>

#include "base/pool.h"
#include "linalg/cholesky.h"
#include "quant/gram_results.h"
#include "quant/problem.h"

/* Added to the diagonal, in units of its mean. The larger ones are for centred matrices
 * that rounding of the statistics has made indefinite. */
static const double dampings[] = { 0.01, 0.1, 1, 10 };

struct inverse_workspace {
    const struct ldnq_layer_problem *problem;
    size_t k;
    struct ldnq_column *columns;
    double *factor;
    double *units, *dampings; /* (G) */
    bool *indefinite;         /* (G) */
};

static double compute_covariance(const struct inverse_workspace *f, size_t group, size_t i,
                                 size_t j)
{
    const struct ldnq_layer_problem *problem = f->problem;
    const size_t k = f->k;
    const double power = problem->gram[(group * k + i) * k + j];
    if (!problem->mean)
        return power;
    const double *mean = problem->mean + group * k;
    return power - mean[i] * mean[j];
}

static int compare_variances(const void *left, const void *right)
{
    const struct ldnq_column *a = left, *b = right;
    if (a->variance != b->variance)
        return a->variance < b->variance ? -1 : 1;
    return a->col > b->col ? -1 : a->col < b->col;
}

double ldnq_order_columns(size_t count, struct ldnq_column *columns)
{
    double mean = 0;
    for (size_t i = 0; i < count; i++)
        mean += columns[i].variance / (double)count;
    if (count)
        qsort(columns, count, sizeof *columns, compare_variances);
    return mean;
}

/* Sorts a group's columns and returns the mean of their variances. */
static double order_group_columns(const struct inverse_workspace *f, size_t group)
{
    const size_t k = f->k;
    const double *gram = f->problem->gram + group * k * k;
    struct ldnq_column *columns = f->columns + group * k;
    for (size_t i = 0; i < k; i++) {
        const double variance = compute_covariance(f, group, i, i);
        const bool constant = fabs(variance) <= LDNQ_CONSTANT_INPUT * gram[i * k + i];
        columns[i] = (struct ldnq_column){ constant ? 0 : variance, i };
    }
    return ldnq_order_columns(k, columns);
}

/* Writes the permuted and damped lower triangle, in units of `mean`, so that it can't
 * overflow. A constant column gets no off-diagonal elements: it is rounded on its own. */
static void load_matrix(const struct inverse_workspace *f, size_t group, double mean,
                        double damping)
{
    const size_t k = f->k;
    const struct ldnq_column *columns = f->columns + group * k;
    double *factor = f->factor + group * k * k;
    for (size_t i = 0; i < k; i++) {
        double *row = factor + i * k;
        for (size_t j = 0; j <= i; j++) {
            const bool is_coupled = columns[i].variance != 0 && columns[j].variance != 0;
            row[j] = is_coupled
                         ? compute_covariance(f, group, columns[i].col, columns[j].col) / mean
                         : 0;
        }
        row[i] += damping;
    }
}

/* Without any variance all codes are equally good; X = I then leaves the start's. */
static void factor_damped_covariance(void *ctx, size_t group, size_t thread)
{
    (void)thread;
    struct inverse_workspace *f = ctx;
    const size_t k = f->k, levels = sizeof dampings / sizeof *dampings;
    double *factor = f->factor + group * k * k;
    const double mean = order_group_columns(f, group);
    enum ldnq_status status = LDNQ_NUMERIC;
    for (size_t i = 0; i < levels && status != LDNQ_OK; i++) {
        f->units[group] = mean > 0 ? mean : 1;
        f->dampings[group] = mean > 0 ? dampings[i] : 1;
        load_matrix(f, group, f->units[group], f->dampings[group]);
        status = ldnq_cholesky_factor(k, factor, NULL);
    }
    if (status == LDNQ_OK)
        ldnq_cholesky_invert(k, factor);
    f->indefinite[group] = status != LDNQ_OK;
}

/* No product of sizes overflows: the caller holds arrays that large. */
enum ldnq_status ldnq_inverse_init(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                                   struct ldnq_inverse *inverse, struct ldnq_arena *arena,
                                   struct ldnq_error *err)
{
    const size_t groups = problem->groups, k = problem->cols;
    struct inverse_workspace f = { .problem = problem, .k = k };
    struct ldnq_gram_result *known = ldnq_gram_results_find(problem);
    if (known && known->inverse.factor) {
        *inverse = known->inverse;
        return LDNQ_OK;
    }
    if (known)
        arena = problem->gram_results->arena;
    f.columns = inverse->columns = ldnq_arena_alloc(arena, groups * k, sizeof *f.columns, err);
    f.factor = inverse->factor = ldnq_arena_alloc(arena, groups * k * k, sizeof *f.factor, err);
    f.indefinite = ldnq_arena_alloc(arena, groups, sizeof *f.indefinite, err);
    f.units = inverse->units = ldnq_arena_alloc(arena, groups, sizeof *f.units, err);
    f.dampings = inverse->dampings = ldnq_arena_alloc(arena, groups, sizeof *f.dampings, err);
    if (!f.columns || !f.factor || !f.indefinite || !f.units || !f.dampings)
        return LDNQ_NOMEM;
    ldnq_pool_run(pool, groups, factor_damped_covariance, &f);
    for (size_t group = 0; group < groups; group++)
        if (f.indefinite[group])
            return ldnq_fail(err, LDNQ_NUMERIC,
                             "the gram matrix of group %zu is not positive semidefinite, nor is "
                             "it with ten times its mean diagonal added",
                             group);
    if (known)
        known->inverse = *inverse;
    return LDNQ_OK;
}
