/* SPDX-License-Identifier: Apache-2.0 */
/* text.h: build a list in a caller's buffer, e.g. of the nodes that a message names.
 * Items that do not fit are counted instead. */
#ifndef LDNQ_BASE_TEXT_H
#define LDNQ_BASE_TEXT_H

#include <stddef.h>

struct ldnq_text {
    char *data; /* always NUL-terminated */
    size_t size, used;
    size_t items, left_out;
};

void ldnq_text_init(struct ldnq_text *text, char *data, size_t size);
/* Appends an item, preceded by the separator except for the first. Leaves room for
 * ldnq_text_append_omitted_count. */
void ldnq_text_append_item(struct ldnq_text *text, const char *separator, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Appends " and 12 more" when 12 items did not fit. */
void ldnq_text_append_omitted_count(struct ldnq_text *text);

/* Replaces by '?', in place, what is not UTF-8 and what ldnq_utf8_is_visible refuses:
 * a message stays one line of valid text, whatever the names in a file contain. */
void ldnq_text_replace_invisible(char *text);

#endif
