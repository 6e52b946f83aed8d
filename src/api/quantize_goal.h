/* SPDX-License-Identifier: Apache-2.0 */
/* quantize_goal.h: an accuracy goal of a quantization: options "max-drop", "min-agreement",
 * "min-sqnr", and "goal-data", or a fifth of the samples, to measure it on. */
#ifndef LDNQ_API_QUANTIZE_GOAL_H
#define LDNQ_API_QUANTIZE_GOAL_H

#include <cJSON.h>

#include "api/goal_score.h"
#include "api/quantize_plan.h"
#include "compare/comparison.h"
#include "pipeline/accuracy_goal.h"

struct ldnq_job_goal {
    struct ldnq_accuracy_goal goal;
    struct ldnq_measured_samples measured; /* NULL without a goal */
    bool holds_out;                   /* the samples to measure on are a part of those to fit on */
    struct ldnq_goal_result *reached; /* NULL without a goal */
    struct ldnq_goal_scorer scorer;   /* zero where the options have no function for it */
};

bool ldnq_job_goal_is_set(const struct ldnq_options *options);

/* Whether the samples to fit on are a part: with a goal without data of its own, and with a plan
 * that such a goal wrote. */
bool ldnq_job_goal_holds_out(const struct ldnq_job_plan *plan, const struct ldnq_options *options);

/* With a goal: opens the samples to measure on. Errors: those of ldnq_samples_open; DATA (no
 * labels for a drop). finish frees them, and accepts a zeroed goal. */
enum ldnq_status ldnq_job_goal_open(struct ldnq_job_goal *goal, const struct ldnq_job *job,
                                    const struct ldnq_dataset *dataset,
                                    const struct ldnq_graph *graph, struct ldnq_error *err);
void ldnq_job_goal_finish(struct ldnq_job_goal *goal);

/* With a goal: searches, and sets the result as the plan in `quantize`. Errors: those of
 * ldnq_reach_goal. */
enum ldnq_status ldnq_job_goal_reach(struct ldnq_job_goal *goal, const struct ldnq_job *job,
                                     const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                     struct ldnq_job_plan *plan,
                                     const struct ldnq_emit_choice *choice,
                                     struct ldnq_quantize_options *quantize,
                                     struct ldnq_error *err);

/* Adds the figures of an accuracy, with null for those that were not measured; false when memory is
 * out. */
bool ldnq_json_add_accuracy(cJSON *item, const struct ldnq_accuracy *accuracy);

/* Adds "goal", or null; false when memory is out. */
bool ldnq_job_goal_add_result_to_json(cJSON *root, const struct ldnq_job_goal *goal);

/* With a goal and a path: writes the plan. Errors: IO, NOMEM. */
enum ldnq_status ldnq_job_goal_write_plan(const struct ldnq_job_goal *goal,
                                          const struct ldnq_job *job,
                                          const struct ldnq_job_plan *plan,
                                          const struct ldnq_quantization *result,
                                          struct ldnq_error *err);

/* With a goal: lets the diff point to the steps, which live in the job's arena. Errors: NOMEM. */
enum ldnq_status ldnq_job_goal_fill_diff(const struct ldnq_job_goal *goal,
                                         const struct ldnq_job *job, struct ldnq_diff *diff,
                                         struct ldnq_error *err);

#endif
