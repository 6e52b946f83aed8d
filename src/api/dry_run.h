/* SPDX-License-Identifier: Apache-2.0 */
/* dry_run.h: what a quantization would do, without doing it: the option "dry-run". */
#ifndef LDNQ_API_DRY_RUN_H
#define LDNQ_API_DRY_RUN_H

#include "api/job.h"
#include "api/result.h"
#include "pipeline/pipeline.h"

struct ldnq_dry_run {
    const struct ldnq_job *job;
    const struct ldnq_job_model *loaded;
    const struct ldnq_quantize_options *options;
    const struct ldnq_samples *fitted; /* NULL: without samples */
    const char *target;
    bool searches; /* a budget or a goal chooses the codebooks */
};

/* Lets *copy have the options without those that name files to write. The caller destroys it.
 * Errors: NOMEM. */
enum ldnq_status ldnq_options_for_dry_run(const struct ldnq_options *options,
                                          struct ldnq_options **copy, struct ldnq_error *err);

/* Prints dry-run.schema.json into the result. Errors: those of ldnq_select_layers, NOMEM. */
enum ldnq_status ldnq_dry_run_print(const struct ldnq_dry_run *run, struct ldnq_result *result,
                                    struct ldnq_error *err);

#endif
