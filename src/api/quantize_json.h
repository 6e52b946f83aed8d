/* SPDX-License-Identifier: Apache-2.0 */
/* quantize_json.h: a quantization as JSON, and as the metadata of the model. */
#ifndef LDNQ_API_QUANTIZE_JSON_H
#define LDNQ_API_QUANTIZE_JSON_H

#include "api/input_figures.h"
#include "api/job.h"
#include "api/quantize_goal.h"
#include "api/quantize_plan.h"
#include "emit/emit.h"
#include "pipeline/pipeline.h"

/* All that a quantization has found out. */
struct ldnq_quantize_summary {
    const struct ldnq_job *job;
    const struct ldnq_model *model; /* the model that is written */
    const char *model_name;
    const char *output; /* NULL for a model that stays in memory */
    const struct ldnq_quantize_options *quantize;
    const struct ldnq_emit_choice *choice;
    enum ldnq_storage storage; /* storage that the options ask for */
    const struct ldnq_quantization *result;
    const struct ldnq_job_plan *plan;
    const struct ldnq_job_goal *goal;
    size_t samples;
    size_t held_out; /* samples of those, or beside them with a goal, that nothing is fitted on */
    const char *single_reason; /* why one run takes one sample; NULL: it takes several */
    struct ldnq_input_figures inputs;
    size_t bytes_before, bytes_after; /* with external data; after: 0 for a pipe or a device */
    size_t data_bytes_before, data_bytes_after; /* those of them in data files */
    double seconds;
};

/* Sets "ldnq.version", "ldnq.options", "ldnq.kernels", "ldnq.model" and "ldnq.data". Errors: NOMEM.
 */
enum ldnq_status ldnq_quantize_write_metadata(const struct ldnq_quantize_summary *summary,
                                              struct ldnq_model *model, uint64_t model_hash,
                                              uint64_t data_hash, struct ldnq_error *err);

/* Adds all members of src/api/quantize.schema.json; false when memory is out. */
bool ldnq_quantize_add_json(cJSON *root, const struct ldnq_quantize_summary *summary);

#endif
