/* SPDX-License-Identifier: Apache-2.0 */
/* json.h: the members of a result. All functions accept NULL items and members that are not
 * there. */
#ifndef LDNQ_CLI_JSON_H
#define LDNQ_CLI_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include <cJSON.h>

#include "cli/command.h"

/* Prints the result, which is then the line's only JSON on standard output. */
void cli_json_print_result(struct cli_line *line, const struct ldnq_result *result);
/* Prints {"status": "usage", "exit_code": 2, "message": ...}, for programs that read standard
 * output alone; without memory nothing. */
void cli_json_print_failure(const struct ldnq_error *err, int exit_code);

/* The result's JSON as a tree, which the caller deletes with cJSON_Delete. Errors: NOMEM. */
enum ldnq_status cli_json_parse(const struct ldnq_result *result, cJSON **root,
                                struct ldnq_error *err);

/* Prints the result as JSON where the line asks for that, else by `print`. Errors: NOMEM. */
enum ldnq_status cli_json_print_or(struct cli_line *line, const struct ldnq_result *result,
                                   void (*print)(const cJSON *root), struct ldnq_error *err);

const cJSON *cli_json_item(const cJSON *item, const char *name);
/* The member as a number; NaN for null. */
double cli_json_number(const cJSON *item, const char *name);
/* The member as text; NULL for null. */
const char *cli_json_text(const cJSON *item, const char *name);
bool cli_json_flag(const cJSON *item, const char *name);
size_t cli_json_read_count(const cJSON *item, const char *name);

/* Writes a shape, "(N,3,?)" or "(unknown rank)"; returns `text`. */
const char *cli_json_shape(const cJSON *shape, char *text, size_t size);

#endif
