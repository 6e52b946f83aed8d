/* SPDX-License-Identifier: Apache-2.0 */
/* batch_check.h: whether a network computes each sample of a batch on its own.
 *
 * An open first axis need not be the batch: it may be time, or a Reshape may fold the samples
 * into an axis that an attention runs over. Then samples of one batch mix, and no error says so.
 */
#ifndef LDNQ_METRIC_BATCH_CHECK_H
#define LDNQ_METRIC_BATCH_CHECK_H

#include "base/sink.h"
#include "calib/calib.h"

/* Runs two different samples together and each alone. Unless they give the same, but for rounding,
 * the samples are run one at a time from then on (ldnq_samples_run_singly), and a warning says
 * so. Does nothing where they are anyway, or where a single sample can't be run.
 * Errors: those of ldnq_samples_read; NOMEM. */
enum ldnq_status ldnq_check_batch(const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                  struct ldnq_pool *pool, const struct ldnq_sink *sink,
                                  struct ldnq_error *err);

#endif
