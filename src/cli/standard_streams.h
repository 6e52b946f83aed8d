/* SPDX-License-Identifier: Apache-2.0 */
/* standard_streams.h: '-' on the command line: a model or samples from standard input, a result
 * to standard output. */
#ifndef LDNQ_CLI_STANDARD_STREAMS_H
#define LDNQ_CLI_STANDARD_STREAMS_H

#include "cli/command.h"

/* Reads standard input to its end; the caller frees *bytes. Errors: IO (it can't be read, or is
 * empty), NOMEM. */
enum ldnq_status cli_read_standard_input(void **bytes, size_t *size, struct ldnq_error *err);

/* The path by which the library opens standard input. */
extern const char cli_standard_input_path[];

/* Samples are read more than once: copies a pipe into a temporary file without a name, which then
 * is standard input. Errors: USAGE (a terminal), IO (empty, or can't be read or copied). */
enum ldnq_status cli_make_standard_input_a_file(struct ldnq_error *err);

/* Replaces an output '-' of the line by the part of the result that line->streamed names.
 * Errors: USAGE (a second one, --json beside it, a terminal for a model). */
enum ldnq_status cli_line_stream_output(struct cli_line *line, const struct cli_command *command,
                                        struct ldnq_error *err);

/* Writes the part that line->streamed names to standard output. Errors: IO. */
enum ldnq_status cli_write_streamed(const struct cli_line *line, const struct ldnq_result *result,
                                    struct ldnq_error *err);

#endif
