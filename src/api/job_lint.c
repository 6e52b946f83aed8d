/* SPDX-License-Identifier: Apache-2.0 */
/* job_lint.c: which rules of a target runtime a QDQ model breaks, and where. */
#include "api/job.h"
#include "api/json_graph.h"
#include "api/option_value.h"
#include "api/result.h"
#include "base/json_add.h"
#include "passes/passes.h"
#include "target/lint.h"

struct lint_job {
    struct ldnq_job job;
    struct ldnq_job_model loaded;
    const struct ldnq_target *target;
    const struct ldnq_lint *lint;
    const char *refused; /* message of the inference that failed; NULL when all nodes passed */
};

static enum ldnq_status lint_model(struct lint_job *lint, const struct ldnq_onnx *onnx,
                                   struct ldnq_error *err)
{
    struct ldnq_job *job = &lint->job;
    struct ldnq_lint *found;
    lint->target = ldnq_target_find(ldnq_option_text(job->options, OPTION_TARGET));
    job->form = LDNQ_FORM_FILE;
    LDNQ_TRY(ldnq_job_load(job, onnx, &lint->loaded, err));
    const enum ldnq_status status = ldnq_pass_bind_and_fold(lint->loaded.graph, err);
    if (status != LDNQ_UNSUPPORTED)
        LDNQ_TRY(status);
    else if (!(lint->refused = ldnq_arena_strdup(job->arena, err->message, err)))
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_lint_run(lint->loaded.graph, lint->target,
                           (int)ldnq_model_opset(lint->loaded.model), job->arena, &found, err));
    lint->lint = found;
    return LDNQ_OK;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static size_t count_findings(const struct ldnq_lint *lint, enum ldnq_severity severity)
{
    size_t count = 0;
    for (size_t i = 0; i < lint->count; i++)
        count += lint->findings[i].severity == severity;
    return count;
}

static bool add_severity_counts(cJSON *root, const struct ldnq_lint *lint)
{
    cJSON *item = cJSON_AddObjectToObject(root, "counts");
    for (int i = LDNQ_NOTE; item && i <= LDNQ_BROKEN; i++)
        if (!ldnq_json_add_number(item, ldnq_severity_name((enum ldnq_severity)i),
                                  (double)count_findings(lint, (enum ldnq_severity)i)))
            return false;
    return item != NULL;
}

static bool add_finding_json(cJSON *list, const struct ldnq_finding *finding)
{
    cJSON *item = ldnq_json_append_object(list);
    return item && ldnq_json_add_text(item, "severity", ldnq_severity_name(finding->severity)) &&
           ldnq_json_add_text(item, "rule", finding->rule) &&
           ldnq_json_add_text(item, "node", finding->node ? finding->node->label : NULL) &&
           ldnq_json_add_text(item, "op", finding->node ? finding->node->op_type : NULL) &&
           ldnq_json_add_text(item, "message", finding->message) &&
           ldnq_json_add_text(item, "advice", finding->advice) &&
           ldnq_json_add_text(item, "cost", finding->cost);
}

/* Adds the findings, the most severe first; within a severity in the order of the nodes. */
static bool add_findings_json(cJSON *root, const struct ldnq_lint *lint)
{
    cJSON *list = cJSON_AddArrayToObject(root, "findings");
    for (int severity = LDNQ_BROKEN; list && severity >= LDNQ_NOTE; severity--)
        for (size_t i = 0; i < lint->count; i++)
            if ((int)lint->findings[i].severity == severity &&
                !add_finding_json(list, &lint->findings[i]))
                return false;
    return list != NULL;
}

static bool fill_result_json(cJSON *root, const struct lint_job *lint)
{
    const struct ldnq_lint *found = lint->lint;
    return ldnq_json_add_text(root, "file", lint->loaded.graph->file) &&
           ldnq_json_add_number(root, "opset", (double)ldnq_model_opset(lint->loaded.model)) &&
           ldnq_json_add_text(root, "target", lint->target->name) &&
           ldnq_json_add_text(root, "unchecked", lint->refused) &&
           ldnq_json_add_number(root, "integer_nodes", (double)found->integer_nodes) &&
           ldnq_json_add_number(root, "float_nodes", (double)found->float_nodes) &&
           add_severity_counts(root, found) && add_findings_json(root, found);
}

/* ---- the job ----------------------------------------------------------------------------------
 */

enum ldnq_status ldnq_lint(const struct ldnq_onnx *onnx, const struct ldnq_options *options,
                           struct ldnq_result **out, struct ldnq_error *err)
{
    struct lint_job lint = { .lint = NULL };
    struct ldnq_result *result = NULL;
    enum ldnq_status status = ldnq_job_init(&lint.job, options, err);
    if (status == LDNQ_OK)
        status = ldnq_result_create(&result, err);
    if (status == LDNQ_OK)
        status = lint_model(&lint, onnx, err);
    if (status == LDNQ_OK) {
        cJSON *root = cJSON_CreateObject();
        status = ldnq_result_print(result, root, root && fill_result_json(root, &lint), err);
    }
    ldnq_model_destroy(lint.loaded.model);
    ldnq_job_finish(&lint.job);
    return ldnq_result_return_or_destroy(result, status, out);
}
