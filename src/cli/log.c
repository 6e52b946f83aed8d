#include "cli/log.h"

#include <errno.h>
#include <string.h>

#include "base/json_add.h"
#include "cli/json.h"
#include "cli/plain.h"

/* Every so many iterations are a row of the table. */
#define TRACE_EVERY 25

bool cli_layer_json(cJSON *item, const struct ldnq_quantized_layer *quantized,
                    const struct ldnq_layer_diagnostics *diagnostics)
{
    const struct ldnq_layer *layer = &quantized->layer;
    float low, high;
    ldnq_quantized_scale_range(quantized, &low, &high);
    return cJSON_AddStringToObject(item, "node", layer->node->label) &&
           cJSON_AddStringToObject(item, "op", layer->node->op_type) &&
           cJSON_AddNumberToObject(item, "groups", (double)layer->geometry.groups) &&
           cJSON_AddNumberToObject(item, "outputs", (double)layer->geometry.rows) &&
           cJSON_AddNumberToObject(item, "inputs", (double)layer->geometry.cols) &&
           cJSON_AddNumberToObject(item, "positions", (double)diagnostics->positions) &&
           cJSON_AddNumberToObject(item, "block_size", (double)quantized->block_size) &&
           cJSON_AddNumberToObject(item, "scale_min", (double)low) &&
           cJSON_AddNumberToObject(item, "scale_max", (double)high) &&
           cJSON_AddNumberToObject(item, "lambda", diagnostics->lambda) &&
           cJSON_AddNumberToObject(item, "damping", diagnostics->damping) &&
           ldnq_json_add_number(item, "held_out_left", diagnostics->remaining_error) &&
           cJSON_AddStringToObject(item, "weights", quantized->codebook->name) &&
           cJSON_AddStringToObject(item, "solver",
                                   diagnostics->solver ? diagnostics->solver->name : "shared") &&
           cJSON_AddNumberToObject(item, "rho", diagnostics->rho) &&
           cJSON_AddNumberToObject(item, "iterations", diagnostics->iterations) &&
           cJSON_AddNumberToObject(item, "error_start", diagnostics->error_start) &&
           cJSON_AddNumberToObject(item, "error", quantized->error) &&
           cJSON_AddNumberToObject(item, "change", diagnostics->change) &&
           ldnq_json_add_number(item, "cascade_error_start", diagnostics->cascade_start) &&
           ldnq_json_add_number(item, "cascade_error", diagnostics->cascade_error) &&
           cJSON_AddNumberToObject(item, "seconds", diagnostics->seconds) &&
           cJSON_AddNumberToObject(item, "solver_seconds", diagnostics->solver_seconds);
}

/* ---- the file ----------------------------------------------------------------------- */

static void write_line(struct cli_log *log, const cJSON *item)
{
    char *text = item ? cJSON_PrintUnformatted(item) : NULL;
    if (!text || fprintf(log->file, "%s\n", text) < 0 || fflush(log->file) != 0)
        log->failed = true;
    cJSON_free(text);
}

static void write_layer(struct cli_log *log, const struct ldnq_quantized_layer *quantized,
                        const struct ldnq_layer_diagnostics *diagnostics)
{
    cJSON *item = cJSON_CreateObject();
    const bool filled = item && cJSON_AddStringToObject(item, "event", "layer") &&
                        cli_layer_json(item, quantized, diagnostics) &&
                        cJSON_AddNumberToObject(item, "varying", (double)diagnostics->varying) &&
                        cJSON_AddNumberToObject(item, "rank", (double)diagnostics->rank);
    write_line(log, filled ? item : NULL);
    cJSON_Delete(item);
}

void cli_log_run(struct cli_log *log, const cJSON *run)
{
    cJSON *item = log->file ? cJSON_Duplicate(run, true) : NULL;
    if (!log->file)
        return;
    cJSON_DeleteItemFromObject(item, "layers"); /* which have their lines */
    const bool filled = item && cJSON_AddStringToObject(item, "event", "run");
    write_line(log, filled ? item : NULL);
    cJSON_Delete(item);
}

/* ---- the tables ----------------------------------------------------------------------- */

static void show_start(void *ctx, const struct ldnq_layer *layer)
{
    struct cli_log *log = ctx;
    char label[CLI_PLAIN_SIZE];
    if (log->keeps_curves)
        cli_curves_start(&log->curves, layer->node->label);
    if (!log->verbose)
        return;
    cli_progress_finish(log->progress);
    fprintf(stderr, "\n%s '%s': %zu x %zu x %zu\n", layer->node->op_type,
            cli_plain(layer->node->label, label), layer->geometry.groups, layer->geometry.rows,
            layer->geometry.cols);
}

static void show_iteration(void *ctx, const struct ldnq_trace_row *row)
{
    struct cli_log *log = ctx;
    if (log->keeps_curves)
        cli_curves_add(&log->curves, row);
    if (!log->verbose)
        return;
    if (row->iteration != 1 && row->iteration % TRACE_EVERY != 0)
        return;
    cli_progress_finish(log->progress);
    if (row->iteration == 1)
        fprintf(stderr, "  iter   objective    residual     rho   changed    active\n");
    fprintf(stderr, "%6d  %10.4e  %10.4e  %6.3g  %8zu  %8zu\n", row->iteration, row->objective,
            row->residual, row->rho, row->changed, row->active);
}

static void show_layer(struct cli_log *log, const struct ldnq_quantized_layer *quantized,
                       const struct ldnq_layer_diagnostics *diagnostics)
{
    cli_progress_finish(log->progress);
    fprintf(stderr,
            "  %s, %s: objective %.4e -> %.4e, %zu positions, rank %zu of %zu, lambda %.3g, "
            "%.2f s\n",
            quantized->codebook->name,
            diagnostics->solver ? diagnostics->solver->name : "shared codes",
            diagnostics->error_start, quantized->error, diagnostics->positions, diagnostics->rank,
            quantized->layer.geometry.cols, diagnostics->lambda, diagnostics->seconds);
}

/* ---- both ---------------------------------------------------------------------------- */

static void layer_done(void *ctx, const struct ldnq_quantized_layer *quantized,
                       const struct ldnq_layer_diagnostics *diagnostics)
{
    struct cli_log *log = ctx;
    if (log->file)
        write_layer(log, quantized, diagnostics);
    if (log->verbose)
        show_layer(log, quantized, diagnostics);
}

enum ldnq_status cli_log_open(struct cli_log *log, struct cli_session *session,
                              struct ldnq_quantize_options *options, struct ldnq_error *err)
{
    const struct cli_settings *settings = session->settings;
    *log = (struct cli_log){ .path = settings->log,
                             .progress = &session->progress,
                             .verbose = settings->verbose && !settings->quiet,
                             .keeps_curves = settings->report != NULL };
    if (log->path && !(log->file = fopen(log->path, "w")))
        return ldnq_fail(err, LDNQ_IO, "%s: can't be written: %s", log->path, strerror(errno));
    if (!log->file && !log->verbose && !log->keeps_curves)
        return LDNQ_OK;
    options->layer_ctx = options->solver_options.trace_ctx = log;
    options->layer_start = show_start;
    options->layer_done = layer_done;
    options->solver_options.trace = log->verbose || log->keeps_curves ? show_iteration : NULL;
    return LDNQ_OK;
}

enum ldnq_status cli_log_close(struct cli_log *log, struct ldnq_error *err)
{
    cli_curves_finish(&log->curves);
    if (!log->file)
        return LDNQ_OK;
    const bool closed = fclose(log->file) == 0;
    log->file = NULL;
    if (!closed || log->failed)
        return ldnq_fail(err, LDNQ_IO, "%s: could not be written", log->path);
    return LDNQ_OK;
}
