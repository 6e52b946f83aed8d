/* outcome.h: what the networks say in the end, sample by sample. */
#ifndef LDNQ_REPORT_OUTCOME_H
#define LDNQ_REPORT_OUTCOME_H

#include "report/distance.h"

struct ldnq_outcome {
    struct ldnq_distance sums;
    size_t rows, agreed; /* samples with a row of scores, and those whose largest agree */
    double kl;           /* summed over them */
};

/* Adds the outputs of a batch of `samples`: t A's, y B's. Errors: NOMEM. */
enum ldnq_status ldnq_outcome_add(struct ldnq_outcome *outcome, const struct ldnq_tensor *y,
                                  const struct ldnq_tensor *t, size_t samples,
                                  struct ldnq_pool *pool, struct ldnq_error *err);

/* The class with the largest score; of equal ones the first. */
size_t ldnq_best_class(const float *row, size_t classes);

/* All but names and bound. */
void ldnq_outcome_finish(const struct ldnq_outcome *outcome, struct ldnq_diff_output *output);

#endif
