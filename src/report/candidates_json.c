/* SPDX-License-Identifier: Apache-2.0 */
/* candidates_json.c: writes the JSON that candidates.schema.json describes. */
#include "report/report.h"

#include <math.h>

#include "base/json_add.h"
#include "report/verdict.h"

static bool add_candidate(cJSON *list, const struct ldnq_diff *diff)
{
    const struct ldnq_diff_output *output = ldnq_diff_judge(diff).output;
    const double sqnr = output ? output->error.sqnr : NAN;
    cJSON *item = cJSON_CreateObject();
    return item && cJSON_AddItemToArray(list, item) &&
           ldnq_json_add_text(item, "path", diff->b.path) &&
           ldnq_diff_json_add_judgement(item, diff) &&
           ldnq_json_add_number(item, "bytes", (double)diff->b.bytes) &&
           ldnq_json_add_number(item, "bits",
                                8.0 * (double)diff->b.weight_bytes / (double)diff->b.weights) &&
           ldnq_json_add_text(item, "output", output ? output->name : NULL) &&
           ldnq_json_add_number(item, "sqnr_db", sqnr) &&
           cJSON_AddBoolToObject(item, "exact", isinf(sqnr)) &&
           ldnq_json_add_number(item, "agreement", output ? output->agreement : NAN) &&
           ldnq_json_add_number(item, "agreement_low", output ? output->agreement_low : NAN) &&
           ldnq_json_add_number(item, "agreement_high", output ? output->agreement_high : NAN);
}

static bool add_candidates(cJSON *root, struct ldnq_diff *const *candidates, size_t count)
{
    const struct ldnq_diff *first = candidates[0];
    if (!ldnq_json_add_text(root, "format", "ldnq-candidates") ||
        !ldnq_json_add_number(root, "version", 1) ||
        !ldnq_json_add_text(root, "path", first->a.path) ||
        !ldnq_json_add_number(root, "bytes", (double)first->a.bytes) ||
        !ldnq_json_add_number(root, "samples", (double)first->samples) ||
        !ldnq_json_add_text(root, "measured_on", first->measured_on))
        return false;
    cJSON *list = cJSON_AddArrayToObject(root, "candidates");
    for (size_t i = 0; list && i < count; i++)
        if (!add_candidate(list, candidates[i]))
            return false;
    return list != NULL;
}

enum ldnq_status ldnq_candidates_print_json(struct ldnq_diff *const *candidates, size_t count,
                                            char **text, struct ldnq_error *err)
{
    cJSON *root = cJSON_CreateObject();
    *text = root && add_candidates(root, candidates, count)
                ? ldnq_json_print(root, LDNQ_JSON_INDENTED)
                : NULL;
    cJSON_Delete(root);
    return *text ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}
