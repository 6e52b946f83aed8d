/* choices.h: what the words on quantize's line stand for. */
#ifndef LDNQ_CLI_CHOICES_H
#define LDNQ_CLI_CHOICES_H

#include "emit/emit.h"
#include "pipeline/pipeline.h"

#include "cli/command.h"

/* Fills in what the settings decide; pool and sink are left alone. Lists point into
 * the settings. Errors: USAGE, naming the option and what there is. */
enum ldnq_status cli_choose(const struct cli_settings *settings,
                            struct ldnq_quantize_options *options, struct ldnq_emit_options *emit,
                            struct ldnq_error *err);

/* `where` is what the message begins with: the option, or the place in a file.
 * Errors: USAGE. */
enum ldnq_status cli_choose_codebook(const char *where, const char *given,
                                     const struct ldnq_codebook **codebook, struct ldnq_error *err);

#endif
