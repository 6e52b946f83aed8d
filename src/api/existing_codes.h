/* SPDX-License-Identifier: Apache-2.0 */
/* existing_codes.h: the option requantize: codes that the model has become floats. */
#ifndef LDNQ_API_EXISTING_CODES_H
#define LDNQ_API_EXISTING_CODES_H

#include "api/job.h"

/* Does nothing without the option. Warns where the model has no pairs to take apart, and of
 * operators that compute with codes themselves: they stay. Errors: those of
 * ldnq_emit_remove_pairs and of the import. */
enum ldnq_status ldnq_job_remove_codes(const struct ldnq_job *job, struct ldnq_job_model *loaded,
                                       struct ldnq_error *err);

#endif
