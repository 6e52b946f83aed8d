/* SPDX-License-Identifier: Apache-2.0 */
/* quantize_events.h: what a quantization reports as it goes: a line of JSON per layer in a file
 * (option "log"), events for the caller (option "verbose"), the solver's curves for the page.
 *
 * The file grows line by line, so that a run that was cut short has its layers in it. */
#ifndef LDNQ_API_QUANTIZE_EVENTS_H
#define LDNQ_API_QUANTIZE_EVENTS_H

#include <stdio.h>

#include "api/job.h"
#include "compare/comparison.h"
#include "pipeline/pipeline.h"

struct ldnq_curve {
    const char *node; /* the layer's label */
    struct ldnq_diff_iteration *rows;
    size_t count, capacity;
};

struct ldnq_quantize_events {
    const struct ldnq_job *job;
    bool has_events, keeps_curves;
    FILE *log; /* NULL without the option */
    const char *log_path;
    int log_failure; /* errno of the first line that could not be written; 0: none */
    bool failed;     /* out of memory: the curves stay as they are */
    struct ldnq_curve *curves;
    size_t curve_count, curve_capacity;
};

/* Makes `quantize` call the events where anything asks for them. finish has to follow. */
void ldnq_quantize_events_init(struct ldnq_quantize_events *events, const struct ldnq_job *job,
                               bool keeps_curves, struct ldnq_quantize_options *quantize);

/* Empties and opens the log, if the options ask for one. Errors: IO. */
enum ldnq_status ldnq_quantize_events_open_log(struct ldnq_quantize_events *events,
                                               struct ldnq_error *err);

/* Closes the log, if there is one. Errors: IO (also a line that could not be written before). */
enum ldnq_status ldnq_quantize_events_close_log(struct ldnq_quantize_events *events,
                                                struct ldnq_error *err);

/* Frees the curves, and closes a log that is still open, which is removed when the job was
 * canceled. Accepts zeroed events. */
void ldnq_quantize_events_finish(struct ldnq_quantize_events *events, enum ldnq_status status);

/* Reports the result of the run, without its layers, which have had their events. */
void ldnq_quantize_events_report_result(struct ldnq_quantize_events *events, const cJSON *run);

/* Lets the diff's layers point to their curves, which have to outlive it. */
void ldnq_quantize_events_fill_diff(const struct ldnq_quantize_events *events,
                                    struct ldnq_diff *diff);

/* Adds the figures of a layer to the object; false when memory is out. */
bool ldnq_json_add_layer_figures(cJSON *item, const struct ldnq_quantized_layer *quantized,
                                 const struct ldnq_layer_diagnostics *diagnostics);

#endif
