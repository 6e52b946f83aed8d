#include "report/outcome.h"

#include <math.h>

/* Probabilities that a network rounded to 0. */
#define LEAST 1e-12

/* (N, C), and (N, C, 1, 1) of networks that end in a convolution. */
static size_t classes_of(const struct ldnq_tensor *t, size_t samples)
{
    const size_t count = ldnq_tensor_count(t);
    if (t->shape.rank < 2 || (size_t)t->shape.dim[0] != samples || samples == 0)
        return 0;
    for (int d = 2; d < t->shape.rank; d++)
        if (t->shape.dim[d] != 1)
            return 0;
    return count / samples >= 2 ? count / samples : 0;
}

size_t ldnq_best_class(const float *row, size_t classes)
{
    size_t best = 0;
    for (size_t i = 1; i < classes; i++)
        if (row[i] > row[best])
            best = i;
    return best;
}

static bool is_distribution(const float *row, size_t classes)
{
    double sum = 0;
    for (size_t i = 0; i < classes; i++) {
        if (!(row[i] >= 0))
            return false;
        sum += (double)row[i];
    }
    return fabs(sum - 1) < 1e-3;
}

/* log sum exp of a row, so that log softmax is row - that. */
static double log_sum(const float *row, size_t classes)
{
    const double most = (double)row[ldnq_best_class(row, classes)];
    double sum = 0;
    for (size_t i = 0; i < classes; i++)
        sum += exp((double)row[i] - most);
    return most + log(sum);
}

static double divergence(const float *t, const float *y, size_t classes)
{
    double sum = 0;
    if (is_distribution(t, classes) && is_distribution(y, classes)) {
        for (size_t i = 0; i < classes; i++)
            if (t[i] > 0)
                sum += (double)t[i] * log((double)t[i] / fmax((double)y[i], LEAST));
        return sum;
    }
    const double p = log_sum(t, classes), q = log_sum(y, classes);
    for (size_t i = 0; i < classes; i++)
        sum += exp((double)t[i] - p) * (((double)t[i] - p) - ((double)y[i] - q));
    return sum;
}

enum ldnq_status ldnq_outcome_add(struct ldnq_outcome *outcome, const struct ldnq_tensor *y,
                                  const struct ldnq_tensor *t, size_t samples,
                                  struct ldnq_pool *pool, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_distance_add(&outcome->sums, y, t, pool, err));
    const size_t classes = outcome->sums.failed ? 0 : classes_of(t, samples);
    for (size_t i = 0; classes && i < samples; i++) {
        const float *p = (const float *)t->data + i * classes;
        const float *q = (const float *)y->data + i * classes;
        outcome->agreed += ldnq_best_class(p, classes) == ldnq_best_class(q, classes);
        outcome->kl += divergence(p, q, classes);
        outcome->rows++;
    }
    return LDNQ_OK;
}

void ldnq_outcome_finish(const struct ldnq_outcome *outcome, struct ldnq_diff_output *output)
{
    const struct ldnq_distance *sums = &outcome->sums;
    const bool measured = !sums->failed && sums->count > 0;
    output->error = ldnq_distance_error(sums);
    output->relative = output->max_error = output->agreement = output->kl = NAN;
    if (!measured)
        return;
    output->max_error = sums->most;
    output->relative = sums->ee == 0 ? 0 : sums->ee / sums->tt;
    if (outcome->rows) {
        output->agreement = (double)outcome->agreed / (double)outcome->rows;
        output->kl = outcome->kl / (double)outcome->rows;
    }
}
