/* SPDX-License-Identifier: Apache-2.0 */
/* run_time.h: how long a runtime computes, predicted from a graph.
 *
 * The prediction counts what kernels do (products of convolutions, elements that are converted ...)
 * and multiplies the counts by the costs in the target's record. Works on float graphs and on QDQ
 * graphs of any tool, imported and folded (ldnq_pass_bind_and_fold), whose sizes are known: the
 * batch among them.
 *
 * Units   picoseconds on one core of the machine that the costs were measured on: what carries over
 *         to other machines is the ratio of two graphs
 */
#ifndef LDNQ_TARGET_RUN_TIME_H
#define LDNQ_TARGET_RUN_TIME_H

#include "target/target.h"

/* Counts what the runtime's kernels do, by enum ldnq_kernel_work: NaN where sizes are open.
 * Errors: NOMEM. */
enum ldnq_status ldnq_count_kernel_work(const struct ldnq_graph *graph,
                                        const struct ldnq_target *target, struct ldnq_arena *arena,
                                        double work[LDNQ_KERNEL_WORK_COUNT],
                                        struct ldnq_error *err);

/* The predicted time; NaN where sizes are open, or the target's record has no costs.
 * Errors: NOMEM. */
enum ldnq_status ldnq_predict_run_time(const struct ldnq_graph *graph,
                                       const struct ldnq_target *target, struct ldnq_arena *arena,
                                       double *picoseconds, struct ldnq_error *err);

#endif
