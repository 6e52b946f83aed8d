/* SPDX-License-Identifier: Apache-2.0 */
/* rank_check.h: whether the ranks of a job (base/ranks.h) do the same: what they were given is on
 * machines of its own, where it may differ. */
#ifndef LDNQ_API_RANK_CHECK_H
#define LDNQ_API_RANK_CHECK_H

#include "api/quantize_checkpoint.h"

/* Compares kernels, model, options and samples with those of the first rank. Errors, on all ranks:
 * USAGE (the difference), NOMEM, those of ranks.h. */
enum ldnq_status ldnq_job_compare_ranks(const struct ldnq_job *job,
                                        const struct ldnq_checkpoint_inputs *inputs,
                                        struct ldnq_error *err);

/* Adds "ranks", a list with each rank's machine, its processor time and what it has sent; it is
 * empty where there is one process. Exchanges: all ranks call it. Errors: NOMEM, those of ranks.h.
 */
enum ldnq_status ldnq_job_add_ranks(const struct ldnq_job *job, cJSON *root,
                                    struct ldnq_error *err);

#endif
