/* outfile.h: a look at where a result is to go, before the work. */
#ifndef LDNQ_CLI_OUTFILE_H
#define LDNQ_CLI_OUTFILE_H

#include "base/base.h"

/* Hours of work should not end at a folder that isn't there. Errors: IO. */
enum ldnq_status cli_check_outfile(const char *path, struct ldnq_error *err);

#endif
