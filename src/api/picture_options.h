/* SPDX-License-Identifier: Apache-2.0 */
/* picture_options.h: the options of preprocessing. */
#ifndef LDNQ_API_PICTURE_OPTIONS_H
#define LDNQ_API_PICTURE_OPTIONS_H

#include "api/options.h"
#include "calib/calib.h"

/* Reads the preset and what was set besides it. Errors: USAGE (options that exclude each other). */
enum ldnq_status ldnq_preprocess_read_options(const struct ldnq_options *options,
                                              struct ldnq_preprocess *preprocess,
                                              struct ldnq_error *err);

/* Refuses preprocessing of samples that are no pictures: ignoring it would leave the user to
 * believe that it was done. Errors: USAGE. */
enum ldnq_status ldnq_preprocess_check_samples(const struct ldnq_options *options,
                                               const struct ldnq_samples *samples,
                                               struct ldnq_error *err);

#endif
