/* SPDX-License-Identifier: Apache-2.0 */
#include "api/quantize_events.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/growing_list.h"
#include "base/json_add.h"

/* ---- curves ------------------------------------------------------------------------------- */

static void append_layer_curve(struct ldnq_quantize_events *events, const char *node)
{
    if (ldnq_list_reserve(NULL, &events->curves, events->curve_count, &events->curve_capacity,
                          sizeof *events->curves, NULL) != LDNQ_OK) {
        events->failed = true;
        return;
    }
    events->curves[events->curve_count++] = (struct ldnq_curve){ .node = node };
}

/* Rows before the first layer are those of a budget's measurements, and are not kept. */
static void append_curve_row(struct ldnq_quantize_events *events, const struct ldnq_trace_row *row)
{
    struct ldnq_curve *curve =
        events->curve_count ? &events->curves[events->curve_count - 1] : NULL;
    if (!curve || events->failed)
        return;
    if (ldnq_list_reserve(NULL, &curve->rows, curve->count, &curve->capacity, sizeof *curve->rows,
                          NULL) != LDNQ_OK) {
        events->failed = true;
        return;
    }
    curve->rows[curve->count++] = (struct ldnq_diff_iteration){
        .iteration = row->iteration,
        .objective = row->objective,
        .residual = row->residual,
        .changed = row->changed,
        .active = row->active,
        .rho = row->rho,
    };
}

void ldnq_quantize_events_fill_diff(const struct ldnq_quantize_events *events,
                                    struct ldnq_diff *diff)
{
    for (size_t i = 0; i < events->curve_count; i++)
        for (size_t k = 0; k < diff->layer_count; k++)
            if (strcmp(events->curves[i].node, diff->layers[k].node) == 0) {
                diff->layers[k].trace = events->curves[i].rows;
                diff->layers[k].trace_count = events->curves[i].count;
            }
}

/* ---- events ------------------------------------------------------------------------------- */

static bool add_layer_choice(cJSON *item, const struct ldnq_layer_choice *choice)
{
    /* In the order of enum ldnq_layer_fit. */
    static const char *const names[] = { "fitted", "damped", "rounded" };
    return ldnq_json_add_text(item, "fit", names[choice->fit]) &&
           ldnq_json_add_number(item, "fit_damping", choice->damping) &&
           ldnq_json_add_number(item, "held_out_fitted", choice->fitted_error) &&
           ldnq_json_add_number(item, "held_out_damped", choice->damped_error) &&
           ldnq_json_add_number(item, "held_out_rounded", choice->rounded_error);
}

/* The part of the weight that is held at the code 0. */
static double compute_share_of_zeros(const struct ldnq_quantized_layer *quantized)
{
    const size_t elements = ldnq_layer_elements(&quantized->layer);
    size_t count = 0;
    for (size_t i = 0; quantized->zeros && i < elements; i++)
        count += quantized->zeros[i];
    return (double)count / (double)elements;
}

bool ldnq_json_add_layer_figures(cJSON *item, const struct ldnq_quantized_layer *quantized,
                                 const struct ldnq_layer_diagnostics *diagnostics)
{
    const struct ldnq_layer *layer = &quantized->layer;
    const struct ldnq_solver *solver = diagnostics->solver;
    float low, high;
    ldnq_quantized_scale_range(quantized, &low, &high);
    return ldnq_json_add_text(item, "node", layer->label) &&
           ldnq_json_add_text(item, "op", layer->node->op_type) &&
           ldnq_json_add_number(item, "groups", (double)layer->geometry.groups) &&
           ldnq_json_add_number(item, "outputs", (double)layer->geometry.rows) &&
           ldnq_json_add_number(item, "inputs", (double)layer->geometry.cols) &&
           ldnq_json_add_number(item, "positions", (double)diagnostics->positions) &&
           ldnq_json_add_number(item, "block_size", (double)quantized->block_size) &&
           ldnq_json_add_number(item, "scale_min", (double)low) &&
           ldnq_json_add_number(item, "scale_max", (double)high) &&
           ldnq_json_add_number(item, "lambda", diagnostics->lambda) &&
           ldnq_json_add_number(item, "damping", diagnostics->damping) &&
           ldnq_json_add_number(item, "zeros_kept", compute_share_of_zeros(quantized)) &&
           ldnq_json_add_number(item, "held_out_left", diagnostics->remaining_error) &&
           ldnq_json_add_text(item, "weights", quantized->codebook->name) &&
           ldnq_json_add_text(item, "solver", solver ? solver->name : "shared") &&
           add_layer_choice(item, &diagnostics->choice) &&
           ldnq_json_add_number(item, "rho", diagnostics->rho) &&
           ldnq_json_add_number(item, "iterations", diagnostics->iterations) &&
           ldnq_json_add_number(item, "error_start", diagnostics->error_start) &&
           ldnq_json_add_number(item, "error", quantized->error) &&
           ldnq_json_add_number(item, "change", diagnostics->change) &&
           ldnq_json_add_number(item, "cascade_error_start", diagnostics->cascade_start) &&
           ldnq_json_add_number(item, "cascade_error", diagnostics->cascade_error) &&
           ldnq_json_add_number(item, "seconds", diagnostics->seconds) &&
           ldnq_json_add_number(item, "solver_seconds", diagnostics->solver_seconds);
}

static void report_start(void *ctx, const struct ldnq_layer *layer)
{
    struct ldnq_quantize_events *events = ctx;
    if (events->keeps_curves)
        append_layer_curve(events, layer->label);
    if (!events->has_events)
        return;
    cJSON *item = cJSON_CreateObject();
    if (item && ldnq_json_add_text(item, "event", "layer_start") &&
        ldnq_json_add_text(item, "node", layer->label) &&
        ldnq_json_add_text(item, "op", layer->node->op_type) &&
        ldnq_json_add_number(item, "groups", (double)layer->geometry.groups) &&
        ldnq_json_add_number(item, "outputs", (double)layer->geometry.rows) &&
        ldnq_json_add_number(item, "inputs", (double)layer->geometry.cols))
        ldnq_job_report_event(events->job, item);
    cJSON_Delete(item);
}

static void report_iteration(void *ctx, const struct ldnq_trace_row *row)
{
    struct ldnq_quantize_events *events = ctx;
    if (events->keeps_curves)
        append_curve_row(events, row);
    if (!events->has_events)
        return;
    cJSON *item = cJSON_CreateObject();
    if (item && ldnq_json_add_text(item, "event", "iteration") &&
        ldnq_json_add_number(item, "iteration", row->iteration) &&
        ldnq_json_add_number(item, "objective", row->objective) &&
        ldnq_json_add_number(item, "residual", row->residual) &&
        ldnq_json_add_number(item, "rho", row->rho) &&
        ldnq_json_add_number(item, "changed", (double)row->changed) &&
        ldnq_json_add_number(item, "active", (double)row->active))
        ldnq_job_report_event(events->job, item);
    cJSON_Delete(item);
}

static void write_log_line(struct ldnq_quantize_events *events, const cJSON *item)
{
    char *text = item ? ldnq_json_print(item, LDNQ_JSON_LINE) : NULL;
    const size_t length = text ? strlen(text) : 0;
    if (text)
        text[length] = '\n'; /* in place of the NUL */
    errno = text ? 0 : ENOMEM;
    if ((!text || fwrite(text, 1, length + 1, events->log) != length + 1 ||
         fflush(events->log) != 0) &&
        events->log_failure == 0)
        events->log_failure = errno ? errno : EIO;
    ldnq_free(text);
}

static void report_layer(void *ctx, const struct ldnq_quantized_layer *quantized,
                         const struct ldnq_layer_diagnostics *diagnostics)
{
    struct ldnq_quantize_events *events = ctx;
    if (!events->log && !events->has_events)
        return;
    cJSON *item = cJSON_CreateObject();
    const bool filled = item && ldnq_json_add_text(item, "event", "layer") &&
                        ldnq_json_add_layer_figures(item, quantized, diagnostics) &&
                        ldnq_json_add_number(item, "varying", (double)diagnostics->varying) &&
                        ldnq_json_add_number(item, "rank", (double)diagnostics->rank);
    if (events->log)
        write_log_line(events, filled ? item : NULL);
    if (events->has_events && filled)
        ldnq_job_report_event(events->job, item);
    cJSON_Delete(item);
}

void ldnq_quantize_events_report_result(struct ldnq_quantize_events *events, const cJSON *run)
{
    const bool has_callback = events->job->options && events->job->options->event;
    if (!events->log && !has_callback)
        return;
    cJSON *item = cJSON_Duplicate(run, true);
    cJSON_DeleteItemFromObject(item, "layers");
    const bool filled = item && ldnq_json_add_text(item, "event", "run");
    if (events->log)
        write_log_line(events, filled ? item : NULL);
    if (filled)
        ldnq_job_report_event(events->job, item);
    cJSON_Delete(item);
}

/* ---- the start and the end --------------------------------------------------------------------
 */

void ldnq_quantize_events_init(struct ldnq_quantize_events *events, const struct ldnq_job *job,
                               bool keeps_curves, struct ldnq_quantize_options *quantize)
{
    *events = (struct ldnq_quantize_events){
        .job = job,
        .has_events =
            job->options && job->options->event && ldnq_option_flag(job->options, OPTION_VERBOSE),
        .keeps_curves = keeps_curves,
        .log_path = ldnq_option_text(job->options, OPTION_LOG),
    };
    if (!events->log_path && !events->has_events && !keeps_curves)
        return;
    quantize->layer_ctx = quantize->solver_options.trace_ctx = events;
    quantize->layer_start = report_start;
    quantize->layer_done = report_layer;
    quantize->solver_options.trace = events->has_events || keeps_curves ? report_iteration : NULL;
}

enum ldnq_status ldnq_quantize_events_open_log(struct ldnq_quantize_events *events,
                                               struct ldnq_error *err)
{
    if (events->log_path && !(events->log = ldnq_file_create(events->log_path)))
        return ldnq_fail(err, LDNQ_IO, "%s: can't be written: %s", events->log_path,
                         strerror(errno));
    return LDNQ_OK;
}

enum ldnq_status ldnq_quantize_events_close_log(struct ldnq_quantize_events *events,
                                                struct ldnq_error *err)
{
    if (!events->log)
        return LDNQ_OK;
    const bool closed = fclose(events->log) == 0;
    events->log = NULL;
    if (closed && events->log_failure == 0)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_IO, "%s: can't be written: %s", events->log_path,
                     strerror(events->log_failure ? events->log_failure : errno));
}

void ldnq_quantize_events_finish(struct ldnq_quantize_events *events, enum ldnq_status status)
{
    struct stat info;
    for (size_t i = 0; i < events->curve_count; i++)
        ldnq_free(events->curves[i].rows);
    ldnq_free(events->curves);
    events->curves = NULL;
    events->curve_count = 0;
    if (!events->log)
        return;
    fclose(events->log);
    events->log = NULL;
    if (status == LDNQ_CANCELED && lstat(events->log_path, &info) == 0 && S_ISREG(info.st_mode))
        unlink(events->log_path);
}
