/* SPDX-License-Identifier: Apache-2.0 */
/* expected_speed.h: how much faster the quantized model of a comparison will run. */
#ifndef LDNQ_API_EXPECTED_SPEED_H
#define LDNQ_API_EXPECTED_SPEED_H

#include "api/job.h"
#include "compare/comparison.h"
#include "onnx/onnx.h"

/* Fills diff->speed, for the target that `quantized` was written for by its metadata; files of
 * other tools, and those whose weights alone are codes, are taken to run in ONNX Runtime. Graphs of
 * its own are made and freed again. Errors: NOMEM. */
enum ldnq_status ldnq_diff_fill_speed(const struct ldnq_job *job,
                                      const struct ldnq_model *reference,
                                      const struct ldnq_model *quantized, struct ldnq_diff *diff,
                                      struct ldnq_error *err);

#endif
