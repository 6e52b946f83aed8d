/* json.h: JSON for programs, on stdout. */
#ifndef LDNQ_CLI_JSON_H
#define LDNQ_CLI_JSON_H

#include "base/base.h"

#include <cJSON.h>

/* Prints and deletes root. filled is false when building it ran out of memory. */
enum ldnq_status cli_json_print(cJSON *root, bool filled, struct ldnq_error *err);

#endif
