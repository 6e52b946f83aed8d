/* SPDX-License-Identifier: Apache-2.0 */
#include "api/memory_report.h"

#include "base/alloc.h"
#include "base/json_add.h"
#include "pipeline/memory_need.h"

static void report_need(const struct ldnq_job *job, const struct ldnq_memory_need *need,
                        size_t limit)
{
    cJSON *event = cJSON_CreateObject();
    if (event && ldnq_json_add_text(event, "event", "memory") &&
        ldnq_json_add_number(event, "bytes", (double)need->total) &&
        ldnq_json_add_number(event, "live", (double)need->live) &&
        ldnq_json_add_number(event, "floor", (double)need->floor) &&
        ldnq_json_add_number(event, "limit", (double)limit) &&
        ldnq_json_add_text(event, "layer", need->largest ? need->largest->label : "") &&
        ldnq_json_add_number(event, "layer_bytes", (double)need->layer))
        ldnq_job_report_event(job, event);
    cJSON_Delete(event);
}

enum ldnq_status ldnq_job_report_memory(const struct ldnq_job *job,
                                        const struct ldnq_job_model *loaded,
                                        const struct ldnq_quantize_options *options,
                                        const struct ldnq_samples *samples, struct ldnq_error *err)
{
    const struct ldnq_memory_input input = {
        .graph = loaded->graph,
        .options = options,
        .model_bytes = ldnq_model_bytes(loaded->model),
        .mapped_bytes = ldnq_model_data_bytes(loaded->model),
        .samples = samples,
    };
    const size_t limit = ldnq_get_max_bytes(options);
    struct ldnq_memory_need need;
    LDNQ_TRY(ldnq_memory_need_predict(&input, job->arena, &need, err));
    report_need(job, &need, limit);
    if (need.total > ldnq_memory_size())
        ldnq_sink_warn(&job->sink,
                       "about %zu MB of memory are needed, and there are %zu: layer '%s' alone "
                       "takes %zu",
                       need.total >> 20, ldnq_memory_size() >> 20,
                       need.largest ? need.largest->label : "", need.layer >> 20);
    return LDNQ_OK;
}
