/* SPDX-License-Identifier: Apache-2.0 */
/* goal_score.h: the drop of an accuracy goal as the fall of a score that the caller computes.
 *
 * Each state of the search is quantized in the graph of a model of its own, which is then written
 * to memory as the result will be, and scored. The model is read from bytes that are made once:
 * the loaded one, with its opset raised and its operators rewritten, is the same for all states.
 */
#ifndef LDNQ_API_GOAL_SCORE_H
#define LDNQ_API_GOAL_SCORE_H

#include "api/job.h"
#include "emit/emit.h"
#include "pipeline/accuracy_goal.h"

struct ldnq_goal_scorer {
    const struct ldnq_job *job;
    const struct ldnq_emit_choice *choice;
    const char *name; /* of the model, for messages */
    void *bytes;      /* the float model; ldnq_model_free_bytes */
    size_t size;
    double reference;            /* the float model's score */
    struct ldnq_job_model state; /* the model of the state that is measured */
};

/* Scores the float model. Does nothing where the options have no function for it. finish accepts a
 * zeroed scorer. Errors: UNSUPPORTED (a model that is too large for bytes), DATA (a score that is
 * no finite number), CANCELED, NOMEM. */
enum ldnq_status ldnq_goal_scorer_init(struct ldnq_goal_scorer *scorer, const struct ldnq_job *job,
                                       const struct ldnq_job_model *loaded,
                                       const struct ldnq_emit_choice *choice,
                                       struct ldnq_error *err);
void ldnq_goal_scorer_finish(struct ldnq_goal_scorer *scorer);

/* The functions of the search, which call the scorer. */
struct ldnq_goal_score ldnq_goal_scorer_functions(struct ldnq_goal_scorer *scorer);

#endif
