/* SPDX-License-Identifier: Apache-2.0 */
/* buffer.h: a growing buffer of bytes. A failed allocation sets `failed`, and all later calls
 * do nothing: a writer of many pieces checks once, at the end.
 *
 * Owns    data, until ldnq_buffer_finish
 */
#ifndef LDNQ_REPORT_BUFFER_H
#define LDNQ_REPORT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct ldnq_buffer { /* starts zeroed */
    char *data;
    size_t size, capacity;
    bool failed;
};

void ldnq_buffer_append(struct ldnq_buffer *buffer, const void *bytes, size_t size);
void ldnq_buffer_append_text(struct ldnq_buffer *buffer, const char *text);
/* For numbers and short texts of our own: cut after 511 bytes. */
void ldnq_buffer_append_format(struct ldnq_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Appends the bytes in base64. */
void ldnq_buffer_append_base64(struct ldnq_buffer *buffer, const void *bytes, size_t size);
void ldnq_buffer_finish(struct ldnq_buffer *buffer);

#endif
