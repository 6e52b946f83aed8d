/* SPDX-License-Identifier: Apache-2.0 */
/* diff_gates.h: the limits that a comparison has to keep: the options "fail-below-sqnr",
 * "fail-below-agreement" and "fail-size-above", and the goal of a quantization. */
#ifndef LDNQ_API_DIFF_GATES_H
#define LDNQ_API_DIFF_GATES_H

#include "api/options.h"
#include "base/arena.h"
#include "compare/comparison.h"

/* Lets the diff point to the verdict on each limit that is set. What can't be measured fails. The
 * list lives in the arena. Errors: NOMEM. */
enum ldnq_status ldnq_diff_judge_gates(const struct ldnq_options *options, struct ldnq_arena *arena,
                                       struct ldnq_diff *diff, struct ldnq_error *err);

#endif
