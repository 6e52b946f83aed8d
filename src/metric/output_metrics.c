/* SPDX-License-Identifier: Apache-2.0 */
#include "metric/output_metrics.h"

#include <math.h>

/* The least probability in a logarithm: networks may round one to 0. */
#define MIN_PROBABILITY 1e-12

size_t ldnq_count_classes(const struct ldnq_tensor *t, size_t samples)
{
    const size_t count = ldnq_tensor_count(t);
    const bool is_one_row = samples == 1 && t->shape.rank == 1;
    if (t->dtype != LDNQ_FLOAT || samples == 0 || t->shape.rank < 1)
        return 0;
    if (!is_one_row && (t->shape.rank < 2 || (size_t)t->shape.dim[0] != samples))
        return 0;
    const size_t classes = count / samples;
    for (int d = is_one_row ? 0 : 1; d < t->shape.rank; d++)
        if (t->shape.dim[d] != 1 && (size_t)t->shape.dim[d] != classes)
            return 0;
    return classes >= 2 ? classes : 0;
}

size_t ldnq_find_best_class(const float *row, size_t classes)
{
    size_t best = 0;
    for (size_t i = 1; i < classes; i++)
        if (row[i] > row[best])
            best = i;
    return best;
}

static bool is_probability_distribution(const float *row, size_t classes)
{
    double sum = 0;
    for (size_t i = 0; i < classes; i++) {
        if (!(row[i] >= 0))
            return false;
        sum += (double)row[i];
    }
    return fabs(sum - 1) < 1e-3;
}

/* log softmax of a row is the row minus this. */
static double compute_log_sum_exp(const float *row, size_t classes)
{
    const double most = (double)row[ldnq_find_best_class(row, classes)];
    double sum = 0;
    for (size_t i = 0; i < classes; i++)
        sum += exp((double)row[i] - most);
    return most + log(sum);
}

/* t and y are rows of one sample. */
static double compute_kl_divergence(const float *t, const float *y, size_t classes)
{
    double sum = 0;
    if (is_probability_distribution(t, classes) && is_probability_distribution(y, classes)) {
        for (size_t i = 0; i < classes; i++)
            if (t[i] > 0)
                sum += (double)t[i] * log((double)t[i] / fmax((double)y[i], MIN_PROBABILITY));
        return sum;
    }
    const double p = compute_log_sum_exp(t, classes), q = compute_log_sum_exp(y, classes);
    for (size_t i = 0; i < classes; i++)
        sum += exp((double)t[i] - p) * (((double)t[i] - p) - ((double)y[i] - q));
    return sum;
}

enum ldnq_status ldnq_output_sums_add(struct ldnq_output_sums *sums, const struct ldnq_tensor *y,
                                      const struct ldnq_tensor *t, size_t samples,
                                      struct ldnq_pool *pool, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_distance_add(&sums->distance, y, t, pool, err));
    const size_t classes = sums->distance.failed ? 0 : ldnq_count_classes(t, samples);
    sums->has_other_shapes |= classes == 0;
    for (size_t i = 0; classes && i < samples; i++) {
        const float *p = (const float *)t->data + i * classes;
        const float *q = (const float *)y->data + i * classes;
        sums->agreed += ldnq_find_best_class(p, classes) == ldnq_find_best_class(q, classes);
        sums->kl += compute_kl_divergence(p, q, classes);
        sums->rows++;
    }
    return LDNQ_OK;
}

void ldnq_output_sums_merge(struct ldnq_output_sums *sums, const struct ldnq_output_sums *later)
{
    ldnq_distance_merge(&sums->distance, &later->distance);
    sums->rows += later->rows;
    sums->agreed += later->agreed;
    sums->has_other_shapes |= later->has_other_shapes;
    sums->kl += later->kl;
}

struct ldnq_output_metrics ldnq_output_metrics_compute(const struct ldnq_output_sums *sums)
{
    const struct ldnq_distance *distance = &sums->distance;
    struct ldnq_output_metrics metrics = { NAN, NAN, NAN, NAN, NAN, { NAN, NAN }, NAN };
    if (distance->failed || distance->count == 0)
        return metrics;
    metrics.sqnr = ldnq_distance_compute_sqnr(distance);
    metrics.cosine = ldnq_distance_compute_cosine(distance);
    metrics.max_error = distance->max_error;
    metrics.noise_to_signal = distance->ee == 0 ? 0 : distance->ee / distance->tt;
    if (sums->rows && !sums->has_other_shapes) {
        metrics.agreement = (double)sums->agreed / (double)sums->rows;
        metrics.agreement_interval = ldnq_compute_share_interval(sums->agreed, sums->rows);
        metrics.kl = sums->kl / (double)sums->rows;
    }
    return metrics;
}
