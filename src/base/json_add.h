/* SPDX-License-Identifier: Apache-2.0 */
/* json_add.h: JSON that is valid whatever a model contains: numbers that are not finite,
 * names that are not UTF-8, control characters that a terminal would obey.
 *
 * Errors  false or NULL when memory is out
 */
#ifndef LDNQ_BASE_JSON_ADD_H
#define LDNQ_BASE_JSON_ADD_H

#include <stdbool.h>

#include <cJSON.h>

/* Adds the number, or null for NaN and infinity. */
bool ldnq_json_add_number(cJSON *item, const char *name, double value);

/* Adds the text, or null for NULL. */
bool ldnq_json_add_text(cJSON *item, const char *name, const char *text);

enum ldnq_json_layout { LDNQ_JSON_LINE, LDNQ_JSON_INDENTED };

/* The item as UTF-8 text that the caller releases with ldnq_free. Each byte of a string
 * that is not UTF-8 becomes U+FFFD; what ldnq_utf8_is_visible refuses is escaped as
 * \uXXXX. All JSON that leaves the program is printed here. */
char *ldnq_json_print(const cJSON *item, enum ldnq_json_layout layout);

#endif
