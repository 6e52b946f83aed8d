/* json_add.h: what cJSON would write as no JSON at all: numbers that are none, text that
 * is not UTF-8. Functions return false when memory is out. */
#ifndef LDNQ_BASE_JSON_ADD_H
#define LDNQ_BASE_JSON_ADD_H

#include <stdbool.h>

#include <cJSON.h>

/* Adds the number, or null for NaN and infinity. */
bool ldnq_json_add_number(cJSON *item, const char *name, double value);

/* Adds the text with U+FFFD for each byte that is not UTF-8, or null for NULL. */
bool ldnq_json_add_text(cJSON *item, const char *name, const char *text);

#endif
