/* text.h: a line built up piece by piece in a caller's buffer, e.g. the list of
 * all nodes that a message names. What does not fit is counted, not written. */
#ifndef LDNQ_BASE_TEXT_H
#define LDNQ_BASE_TEXT_H

#include <stddef.h>

struct ldnq_text {
    char *data; /* always NUL-terminated */
    size_t size, used;
    size_t items, left_out;
};

void ldnq_text_init(struct ldnq_text *text, char *data, size_t size);
/* Adds one item, with ", " (or another separator) in front of all but the
 * first; keeps room to say how many were left out. */
void ldnq_text_item(struct ldnq_text *text, const char *separator, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds " and 12 more" when items were left out. */
void ldnq_text_end(struct ldnq_text *text);

/* Replaces by '?', in place, what is not UTF-8 and what ldnq_utf8_is_visible refuses:
 * a message stays one line of valid text, whatever the names in a file contain. */
void ldnq_text_flatten(char *text);

#endif
