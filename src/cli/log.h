/* log.h: what is told of a quantization as it goes: a line of JSON a layer in a file
 * (--log), tables on standard error (--verbose), curves for its page (--report).
 *
 * The file grows line by line, so that a run that was cut short has its layers in it.
 */
#ifndef LDNQ_CLI_LOG_H
#define LDNQ_CLI_LOG_H

#include "pipeline/pipeline.h"

#include <cJSON.h>
#include <stdio.h>

#include "cli/curves.h"
#include "cli/session.h"

struct cli_log {
    FILE *file; /* NULL without --log */
    const char *path;
    bool verbose, failed;
    struct cli_progress *progress;
    struct cli_curves curves; /* filled where a report will show them */
    bool keeps_curves;
};

/* Opens the file, and makes the options call the log. Errors: IO. */
enum ldnq_status cli_log_open(struct cli_log *log, struct cli_session *session,
                              struct ldnq_quantize_options *options, struct ldnq_error *err);
/* The last line: the run's own figures, which `run` holds. The caller keeps it. */
void cli_log_run(struct cli_log *log, const cJSON *run);
/* Errors: IO when a line could not be written. Accepts a zeroed log. */
enum ldnq_status cli_log_close(struct cli_log *log, struct ldnq_error *err);

/* A layer's figures, added to the object; false when memory is out. */
bool cli_layer_json(cJSON *item, const struct ldnq_quantized_layer *quantized,
                    const struct ldnq_layer_diagnostics *diagnostics);

#endif
