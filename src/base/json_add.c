/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_add.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/utf8.h"

/* \uXXXX holds it, as no code point above U+FFFF is invisible; and a NUL */
#define ESCAPE_SIZE 7

bool ldnq_json_add_number(cJSON *item, const char *name, double value)
{
    return isfinite(value) ? cJSON_AddNumberToObject(item, name, value) != NULL
                           : cJSON_AddNullToObject(item, name) != NULL;
}

bool ldnq_json_add_text(cJSON *item, const char *name, const char *text)
{
    return text ? cJSON_AddStringToObject(item, name, text) != NULL
                : cJSON_AddNullToObject(item, name) != NULL;
}

/* Writes one code point of printed JSON; returns its number of bytes. cJSON has escaped
 * the control characters below 0x20; those that are left indent the text. */
static size_t write_json_code_point(uint32_t code, char to[ESCAPE_SIZE])
{
    if (code < 0x20 || ldnq_utf8_is_visible(code))
        return ldnq_utf8_encode(code, to);
    return (size_t)snprintf(to, ESCAPE_SIZE, "\\u%04x", (unsigned)code & 0xffff);
}

/* A copy of printed JSON in which all strings are valid and visible. */
static char *copy_as_visible_text(const char *text)
{
    char bytes[ESCAPE_SIZE];
    size_t size = 1;
    const char *at = text;
    for (uint32_t code; (code = ldnq_utf8_decode(&at)) != 0;)
        size += write_json_code_point(code, bytes);
    char *copy = ldnq_malloc(size), *end = copy;
    if (!copy)
        return NULL;
    for (uint32_t code; (code = ldnq_utf8_decode(&text)) != 0;) {
        const size_t length = write_json_code_point(code, bytes);
        memcpy(end, bytes, length);
        end += length;
    }
    *end = '\0';
    return copy;
}

char *ldnq_json_print(const cJSON *item, enum ldnq_json_layout layout)
{
    char *text = layout == LDNQ_JSON_LINE ? cJSON_PrintUnformatted(item) : cJSON_Print(item);
    char *safe = text ? copy_as_visible_text(text) : NULL;
    cJSON_free(text);
    return safe;
}
