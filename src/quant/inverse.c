#include "quant/inverse.h"

#include <math.h>
#include <stdlib.h>

#include "base/pool.h"
#include "linalg/cholesky.h"
#include "quant/problem.h"

/* Added to the diagonal, in units of its mean; the larger ones are for centred
 * matrices that have lost their definiteness to the statistics' rounding. */
static const double dampings[] = { 0.01, 0.1, 1, 10 };

struct factoring {
    const struct ldnq_layer_problem *problem;
    size_t inputs;
    struct ldnq_column *columns;
    double *factor;
    bool *indefinite; /* (G) */
};

static double centred(const struct factoring *f, size_t group, size_t i, size_t j)
{
    const struct ldnq_layer_problem *problem = f->problem;
    const size_t inputs = f->inputs;
    const double power = problem->gram[(group * inputs + i) * inputs + j];
    if (!problem->mean)
        return power;
    const double *mean = problem->mean + group * inputs;
    return power - mean[i] * mean[j];
}

static int by_variance(const void *left, const void *right)
{
    const struct ldnq_column *a = left, *b = right;
    if (a->variance != b->variance)
        return a->variance < b->variance ? -1 : 1;
    return a->input > b->input ? -1 : a->input < b->input;
}

/* Returns the mean of the variances. */
static double order_columns(const struct factoring *f, size_t group)
{
    const size_t inputs = f->inputs;
    const double *gram = f->problem->gram + group * inputs * inputs;
    struct ldnq_column *columns = f->columns + group * inputs;
    double mean = 0;
    for (size_t i = 0; i < inputs; i++) {
        const double variance = centred(f, group, i, i);
        const bool constant = fabs(variance) <= LDNQ_CONSTANT_INPUT * gram[i * inputs + i];
        columns[i] = (struct ldnq_column){ constant ? 0 : variance, i };
        mean += columns[i].variance / (double)inputs;
    }
    if (inputs)
        qsort(columns, inputs, sizeof *columns, by_variance);
    return mean;
}

/* The lower triangle in units of `mean`, so that its scale can't overflow, plus the
 * damping. A constant input is bound to no other: it gets its nearest code. */
static void arrange(const struct factoring *f, size_t group, double mean, double damping)
{
    const size_t inputs = f->inputs;
    const struct ldnq_column *columns = f->columns + group * inputs;
    double *factor = f->factor + group * inputs * inputs;
    for (size_t i = 0; i < inputs; i++) {
        double *row = factor + i * inputs;
        for (size_t j = 0; j <= i; j++) {
            const bool bound = columns[i].variance != 0 && columns[j].variance != 0;
            row[j] = bound ? centred(f, group, columns[i].input, columns[j].input) / mean : 0;
        }
        row[i] += damping;
    }
}

/* Without any variance all codes are as good as the start's, which X = I gives. */
static void factor_group(void *ctx, size_t group, size_t thread)
{
    (void)thread;
    struct factoring *f = ctx;
    const size_t inputs = f->inputs, levels = sizeof dampings / sizeof *dampings;
    double *factor = f->factor + group * inputs * inputs;
    const double mean = order_columns(f, group);
    enum ldnq_status status = LDNQ_NUMERIC;
    for (size_t i = 0; i < levels && status != LDNQ_OK; i++) {
        arrange(f, group, mean > 0 ? mean : 1, mean > 0 ? dampings[i] : 1);
        status = ldnq_cholesky_factor(inputs, factor, NULL);
    }
    if (status == LDNQ_OK)
        ldnq_cholesky_invert(inputs, factor);
    f->indefinite[group] = status != LDNQ_OK;
}

/* No product overflows: the caller holds arrays of this order. */
enum ldnq_status ldnq_inverse_init(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                                   struct ldnq_inverse *inverse, struct ldnq_arena *arena,
                                   struct ldnq_error *err)
{
    const size_t groups = problem->groups, k = problem->inputs;
    struct factoring f = { .problem = problem, .inputs = k };
    f.columns = inverse->columns = ldnq_arena_alloc(arena, groups * k, sizeof *f.columns, err);
    f.factor = inverse->factor = ldnq_arena_alloc(arena, groups * k * k, sizeof *f.factor, err);
    f.indefinite = ldnq_arena_alloc(arena, groups, sizeof *f.indefinite, err);
    if (!f.columns || !f.factor || !f.indefinite)
        return LDNQ_NOMEM;
    ldnq_pool_run(pool, groups, factor_group, &f);
    for (size_t group = 0; group < groups; group++)
        if (f.indefinite[group])
            return ldnq_fail(err, LDNQ_NUMERIC,
                             "the gram matrix of group %zu is not positive semidefinite, nor is "
                             "it with ten times its mean diagonal added",
                             group);
    return LDNQ_OK;
}
