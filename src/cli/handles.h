/* handles.h: the handles that a command line describes. */
#ifndef LDNQ_CLI_HANDLES_H
#define LDNQ_CLI_HANDLES_H

#include "cli/line.h"
#include "cli/progress.h"

/* Models, samples, progress and the result of one handles. Zeroed is empty. */
struct cli_handles {
    struct ldnq_onnx **models; /* (model_count) */
    size_t model_count;
    struct ldnq_dataset *samples; /* NULL without */
    struct cli_progress progress;
    struct ldnq_result *result;
};

/* Makes the models of the line, and samples of the path, which may be NULL; the options call
 * the job's progress from then on. finish accepts what failed. Errors: NOMEM. */
enum ldnq_status cli_handles_init(struct cli_handles *handles, const struct cli_line *line,
                                  const char *samples, struct ldnq_error *err);
void cli_handles_finish(struct cli_handles *handles);

#endif
