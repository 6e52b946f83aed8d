/* SPDX-License-Identifier: Apache-2.0 */
/* input_figures.h: what preprocessing has made of the samples, and a warning where it looks
 * forgotten. */
#ifndef LDNQ_API_INPUT_FIGURES_H
#define LDNQ_API_INPUT_FIGURES_H

#include <cJSON.h>

#include "api/job.h"
#include "calib/input_moments.h"

struct ldnq_input_figures {
    size_t count;
    const char **names;                 /* (count) of the inputs */
    struct ldnq_input_moments *moments; /* (count) */
};

/* Measures the inputs, and warns of pictures that do not look normalized: values up to 255, or
 * colours from 0 to 1 where neither mean nor std is set. Networks that normalize their input are
 * left out. Inputs of another form are measured alone: ids, masks and audio have no usual range.
 * Errors: those of ldnq_samples_read; NOMEM. */
enum ldnq_status ldnq_job_measure_inputs(const struct ldnq_job *job, const struct ldnq_graph *graph,
                                         struct ldnq_samples *samples,
                                         struct ldnq_input_figures *figures,
                                         struct ldnq_error *err);

/* Adds the list "inputs"; false when memory is out. */
bool ldnq_input_figures_add_json(cJSON *root, const struct ldnq_input_figures *figures);

#endif
