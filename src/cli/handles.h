/* SPDX-License-Identifier: Apache-2.0 */
/* handles.h: the handles that a command line describes. */
#ifndef LDNQ_CLI_HANDLES_H
#define LDNQ_CLI_HANDLES_H

#include "cli/line.h"
#include "cli/progress.h"

/* The models, samples, progress and result of one command. A zeroed struct has none. */
struct cli_handles {
    struct ldnq_onnx **models; /* (model_count) */
    size_t model_count;
    bool has_standard_input;      /* a model or samples are '-' */
    void *standard_input;         /* the bytes of the model '-'; NULL for none */
    struct ldnq_dataset *samples; /* NULL for none */
    struct cli_progress progress;
    struct ldnq_result *result;
};

/* Creates handles for the models on the line and for the samples at the paths of `option` (NULL:
 * none), '-' being standard input. From then on the options report to handles->progress. After an
 * error, finish still frees what was created. Errors: USAGE (a second '-'), IO (standard input),
 * NOMEM. */
enum ldnq_status cli_handles_init(struct cli_handles *handles, const struct cli_line *line,
                                  const char *option, struct ldnq_error *err);
void cli_handles_finish(struct cli_handles *handles);

#endif
