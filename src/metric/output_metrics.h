/* SPDX-License-Identifier: Apache-2.0 */
/* output_metrics.h: how an output y of a network differs from the reference network's t,
 * over all samples.
 *
 * Classes  an output is taken for a classifier's where each sample has one row of two scores or
 *          more: floats of shape (N, C), with any number of dimensions of 1 before or after C, or
 *          (C) for a single sample. Nothing in a file says more, so that a regression or an
 *          embedding of such a shape counts as one too
 */
#ifndef LDNQ_METRIC_OUTPUT_METRICS_H
#define LDNQ_METRIC_OUTPUT_METRICS_H

#include "metric/distance.h"
#include "metric/interval.h"

/* Start from zeros. */
struct ldnq_output_sums {
    struct ldnq_distance distance;
    size_t rows, agreed;   /* samples with a row of scores; those whose largest scores agree */
    bool has_other_shapes; /* some samples have no row of scores, so that none count */
    double kl;             /* summed over the rows */
};

/* NaN where it was not measured. */
struct ldnq_output_metrics {
    double sqnr, cosine;    /* as in distance.h */
    double noise_to_signal; /* |y - t|^2 / |t|^2 */
    double max_error;       /* the largest |y - t| */
    double agreement;       /* share of the samples whose largest score has the same index, 0..1 */
    struct ldnq_interval agreement_interval;
    double kl; /* mean of sum p log(p/q) in nats: p of t, q of y; softmax of the rows,
                  or the rows themselves where those of both are distributions */
};

/* Adds the outputs of a batch of `samples`. Errors: NOMEM. */
enum ldnq_status ldnq_output_sums_add(struct ldnq_output_sums *sums, const struct ldnq_tensor *y,
                                      const struct ldnq_tensor *t, size_t samples,
                                      struct ldnq_pool *pool, struct ldnq_error *err);

/* Adds the sums of later batches. */
void ldnq_output_sums_merge(struct ldnq_output_sums *sums, const struct ldnq_output_sums *later);

struct ldnq_output_metrics ldnq_output_metrics_compute(const struct ldnq_output_sums *sums);

/* C of an output of `samples` whose rows are scores of C classes, as above; 0 for others. */
size_t ldnq_count_classes(const struct ldnq_tensor *t, size_t samples);

/* The index of the largest score; the first of equal ones. */
size_t ldnq_find_best_class(const float *row, size_t classes);

#endif
