/* SPDX-License-Identifier: Apache-2.0 */
/* memory_report.h: says before the work how much memory a quantization takes. */
#ifndef LDNQ_API_MEMORY_REPORT_H
#define LDNQ_API_MEMORY_REPORT_H

#include "api/job.h"
#include "pipeline/pipeline.h"

/* Reports the event "memory", and a warning where what can't be limited is above the machine's
 * memory. Errors: those of ldnq_memory_need_predict. */
enum ldnq_status ldnq_job_report_memory(const struct ldnq_job *job,
                                        const struct ldnq_job_model *loaded,
                                        const struct ldnq_quantize_options *options,
                                        const struct ldnq_samples *samples, struct ldnq_error *err);

#endif
