/* SPDX-License-Identifier: Apache-2.0 */
/* quantize_settings.h: what the texts of the options mean for a quantization. */
#ifndef LDNQ_API_QUANTIZE_SETTINGS_H
#define LDNQ_API_QUANTIZE_SETTINGS_H

#include "api/options.h"
#include "emit/emit.h"
#include "pipeline/pipeline.h"

/* Fills in what the options decide, presets too; pool, sink and callbacks are left alone.
 * Lists point into the options. Errors: USAGE (options that contradict each other). */
enum ldnq_status ldnq_quantize_read_settings(const struct ldnq_options *options,
                                             struct ldnq_quantize_options *quantize,
                                             struct ldnq_emit_options *emit,
                                             struct ldnq_error *err);

/* Chooses a solver for the codebooks, those of the plan included, unless the options name one.
 * `choices`, if there are any, replace the codebook of layers without a plan. With a solver that
 * reads means alone, every picture is read once; those that are chosen here read a part of the
 * positions. */
void ldnq_settings_choose_solver(const struct ldnq_options *options,
                                 const struct ldnq_codebook *const *choices, size_t choice_count,
                                 struct ldnq_quantize_options *quantize);

/* Reads each sample once where it is no picture, or where there are many and the solver is not
 * named. */
void ldnq_settings_limit_copies(const struct ldnq_options *options, bool are_pictures, size_t count,
                                struct ldnq_quantize_options *quantize);

/* The codebook of that name. `where` begins the message. Errors: USAGE, with all names. */
enum ldnq_status ldnq_settings_find_codebook(const char *where, const char *name,
                                             const struct ldnq_codebook **out,
                                             struct ldnq_error *err);

/* Names that the option "granularity" has, by enum ldnq_granularity. */
const char *ldnq_granularity_name(enum ldnq_granularity granularity);

#endif
