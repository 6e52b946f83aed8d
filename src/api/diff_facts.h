/* SPDX-License-Identifier: Apache-2.0 */
/* diff_facts.h: what a page says on how to get the same result again. */
#ifndef LDNQ_API_DIFF_FACTS_H
#define LDNQ_API_DIFF_FACTS_H

#include "api/options.h"
#include "base/arena.h"
#include "compare/comparison.h"
#include "onnx/onnx.h"

/* Lets the diff point to the command of the job, and to versions, kernels, hashes and the seed:
 * those that made `quantized`, where its metadata has them; NULL where there are several. All of it
 * lives in the arena. Errors: NOMEM. */
enum ldnq_status ldnq_diff_fill_reproduction(const char *job, const char *const *models,
                                             size_t model_count, const struct ldnq_options *options,
                                             const struct ldnq_model *quantized,
                                             struct ldnq_arena *arena, struct ldnq_diff *diff,
                                             struct ldnq_error *err);

#endif
