/* SPDX-License-Identifier: Apache-2.0 */
/* sample_failure.h: names the sample that a run of a batch failed on. */
#ifndef LDNQ_METRIC_SAMPLE_FAILURE_H
#define LDNQ_METRIC_SAMPLE_FAILURE_H

#include "calib/calib.h"
#include "ir/ir.h"

/* `status` and the message are the outcome of running samples first .. first+count-1 as one batch
 * of the graph. With DATA or MODEL, runs them again one by one, appends the name of the first that
 * fails to the message, and returns DATA: what the model alone decides was checked before. Any
 * other outcome stays as it is. */
enum ldnq_status ldnq_name_failed_sample(enum ldnq_status status, const struct ldnq_graph *graph,
                                         struct ldnq_samples *samples, size_t first, size_t count,
                                         struct ldnq_error *err);

#endif
