/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define ROOM_TO_END 32

void ldnq_text_init(struct ldnq_text *text, char *data, size_t size)
{
    *text = (struct ldnq_text){ .data = data, .size = size };
    if (size)
        data[0] = '\0';
}

void ldnq_text_append_item(struct ldnq_text *text, const char *separator, const char *format, ...)
{
    char item[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(item, sizeof item, format, args);
    va_end(args);
    const char *between = text->items++ ? separator : "";
    size_t need = strlen(between) + strlen(item);
    if (text->left_out || text->used + need + ROOM_TO_END >= text->size) {
        text->left_out++;
        return;
    }
    text->used +=
        (size_t)snprintf(text->data + text->used, text->size - text->used, "%s%s", between, item);
}

void ldnq_text_append_omitted_count(struct ldnq_text *text)
{
    if (text->left_out)
        snprintf(text->data + text->used, text->size - text->used, " and %zu more", text->left_out);
}

void ldnq_text_replace_invisible(char *text)
{
    char *end = text; /* never ahead of what is read: '?' is the shortest sequence */
    const char *at = text, *start = text;
    for (uint32_t code; (code = ldnq_utf8_decode(&at)) != 0; start = at) {
        const size_t size = (size_t)(at - start);
        const bool is_invalid = code == LDNQ_UTF8_REPLACEMENT && size == 1;
        if (is_invalid || !ldnq_utf8_is_visible(code)) {
            *end++ = '?';
            continue;
        }
        memmove(end, start, size);
        end += size;
    }
    *end = '\0';
}
