/* SPDX-License-Identifier: Apache-2.0 */
/* without_samples.h: a quantization without samples. */
#ifndef LDNQ_API_WITHOUT_SAMPLES_H
#define LDNQ_API_WITHOUT_SAMPLES_H

#include "api/options.h"
#include "base/sink.h"
#include "ldnq.h"

/* The options with what can be done without samples: weights are rounded, and activations stay
 * float. The caller destroys *out. Errors: USAGE (an option that needs samples), NOMEM. */
enum ldnq_status ldnq_options_without_samples(const struct ldnq_options *options,
                                              struct ldnq_options **out, struct ldnq_error *err);

/* Says what a quantization without samples costs. */
void ldnq_warn_without_samples(const struct ldnq_sink *sink);

#endif
