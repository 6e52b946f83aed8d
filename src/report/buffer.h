/* buffer.h: bytes that grow at their end. An allocation that fails is remembered, and
 * what follows does nothing: a writer of many pieces looks at `failed` once.
 *
 * Owns    data, until ldnq_buffer_finish.
 */
#ifndef LDNQ_REPORT_BUFFER_H
#define LDNQ_REPORT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct ldnq_buffer { /* zeroed is empty */
    char *data;
    size_t size, capacity;
    bool failed;
};

void ldnq_buffer_put(struct ldnq_buffer *buffer, const void *bytes, size_t size);
void ldnq_buffer_text(struct ldnq_buffer *buffer, const char *text);
/* For numbers and our own short words: at most 511 bytes, what is longer is cut. */
void ldnq_buffer_format(struct ldnq_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Base64 of the bytes. */
void ldnq_buffer_base64(struct ldnq_buffer *buffer, const void *bytes, size_t size);
void ldnq_buffer_finish(struct ldnq_buffer *buffer);

#endif
