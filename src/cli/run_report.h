/* run_report.h: the page of a quantization's own run. */
#ifndef LDNQ_CLI_RUN_REPORT_H
#define LDNQ_CLI_RUN_REPORT_H

#include "cli/curves.h"
#include "cli/session.h"

/* After the output was written: compares it with the float file, on the first of the
 * calibration samples, and writes --report's page with the solver's curves. Errors: those of
 * ldnq_diff_create and ldnq_diff_html. */
enum ldnq_status cli_run_report(struct cli_session *session, struct ldnq_samples *samples,
                                const struct cli_curves *curves, struct ldnq_error *err);

#endif
