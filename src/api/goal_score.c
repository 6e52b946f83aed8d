/* SPDX-License-Identifier: Apache-2.0 */
#include "api/goal_score.h"

#include <math.h>

#include "onnx/onnx.h"
#include "passes/passes.h"

static enum ldnq_status call_score(const struct ldnq_goal_scorer *scorer, const void *bytes,
                                   size_t size, double *value, struct ldnq_error *err)
{
    const struct ldnq_options *options = scorer->job->options;
    *value = NAN;
    if (options->score(options->score_ctx, bytes, size, value) != 0)
        return ldnq_fail(err, LDNQ_CANCELED,
                         "%s: the function that scores models asked for the end", scorer->name);
    return isfinite(*value)
               ? LDNQ_OK
               : ldnq_fail(err, LDNQ_DATA, "%s: its score is not a finite number", scorer->name);
}

enum ldnq_status ldnq_goal_scorer_init(struct ldnq_goal_scorer *scorer, const struct ldnq_job *job,
                                       const struct ldnq_job_model *loaded,
                                       const struct ldnq_emit_choice *choice,
                                       struct ldnq_error *err)
{
    if (!job->options || !job->options->score)
        return LDNQ_OK;
    *scorer =
        (struct ldnq_goal_scorer){ .job = job, .choice = choice, .name = loaded->graph->file };
    LDNQ_TRY(ldnq_model_pack(loaded->model, &scorer->bytes, &scorer->size, err));
    return call_score(scorer, scorer->bytes, scorer->size, &scorer->reference, err);
}

void ldnq_goal_scorer_finish(struct ldnq_goal_scorer *scorer)
{
    ldnq_model_destroy(scorer->state.model);
    ldnq_model_free_bytes(scorer->bytes);
    *scorer = (struct ldnq_goal_scorer){ .size = 0 };
}

/* ---- for the search ------------------------------------------------------------------------- */

static enum ldnq_status load_candidate_graph(void *ctx, struct ldnq_arena *arena,
                                             struct ldnq_graph **out, struct ldnq_error *err)
{
    struct ldnq_goal_scorer *scorer = ctx;
    struct ldnq_job job = *scorer->job;
    job.arena = arena; /* as large as a graph: it must not stay until the job ends */
    LDNQ_TRY(ldnq_model_load_memory(scorer->bytes, scorer->size, scorer->name, &scorer->state.model,
                                    err));
    LDNQ_TRY(ldnq_job_import(&job, &scorer->state, err));
    LDNQ_TRY(ldnq_passes_widen_and_run(scorer->state.graph, err));
    *out = scorer->state.graph;
    return LDNQ_OK;
}

static void close_state_graph(void *ctx)
{
    struct ldnq_goal_scorer *scorer = ctx;
    ldnq_model_destroy(scorer->state.model);
    scorer->state = (struct ldnq_job_model){ NULL, NULL };
}

static enum ldnq_status measure_candidate_drop(void *ctx, const struct ldnq_quantization *result,
                                               double *drop, struct ldnq_error *err)
{
    struct ldnq_goal_scorer *scorer = ctx;
    void *bytes;
    size_t size;
    double value;
    LDNQ_TRY(ldnq_emit(scorer->state.model, &result->network, scorer->choice, err));
    LDNQ_TRY(ldnq_model_pack(scorer->state.model, &bytes, &size, err));
    const enum ldnq_status status = call_score(scorer, bytes, size, &value, err);
    ldnq_model_free_bytes(bytes);
    *drop = scorer->reference - value;
    return status;
}

struct ldnq_goal_score ldnq_goal_scorer_functions(struct ldnq_goal_scorer *scorer)
{
    return (struct ldnq_goal_score){ .ctx = scorer,
                                     .open_graph = load_candidate_graph,
                                     .measure_drop = measure_candidate_drop,
                                     .close_graph = close_state_graph };
}
