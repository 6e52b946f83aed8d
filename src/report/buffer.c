/* SPDX-License-Identifier: Apache-2.0 */
#include "report/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"

#define FIRST_CAPACITY 4096

/* Makes room for `size` more bytes; false when memory is out, or was before. */
static bool reserve_bytes(struct ldnq_buffer *buffer, size_t size)
{
    size_t need, capacity = buffer->capacity ? buffer->capacity : FIRST_CAPACITY;
    if (buffer->failed || !ldnq_size_add(buffer->size, size, &need))
        return !(buffer->failed = true);
    if (need <= buffer->capacity)
        return true;
    while (capacity < need)
        if (!ldnq_size_mul(capacity, 2, &capacity))
            return !(buffer->failed = true);
    char *data = ldnq_realloc(buffer->data, capacity);
    if (!data)
        return !(buffer->failed = true);
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void ldnq_buffer_append(struct ldnq_buffer *buffer, const void *bytes, size_t size)
{
    if (size == 0 || !reserve_bytes(buffer, size))
        return;
    memcpy(buffer->data + buffer->size, bytes, size);
    buffer->size += size;
}

void ldnq_buffer_append_text(struct ldnq_buffer *buffer, const char *text)
{
    ldnq_buffer_append(buffer, text, strlen(text));
}

void ldnq_buffer_append_format(struct ldnq_buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, format, args);
    if (length > 0 && reserve_bytes(buffer, (size_t)length + 1)) {
        vsnprintf(buffer->data + buffer->size, (size_t)length + 1, format, again);
        buffer->size += (size_t)length;
    }
    va_end(again);
    va_end(args);
}

void ldnq_buffer_append_base64(struct ldnq_buffer *buffer, const void *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    for (size_t at = 0; at < size; at += 3) {
        const size_t have = ldnq_size_min(3, size - at);
        const uint32_t word = (uint32_t)in[at] << 16 | (have > 1 ? (uint32_t)in[at + 1] << 8 : 0) |
                              (have > 2 ? in[at + 2] : 0);
        char four[4];
        for (size_t i = 0; i < 4; i++)
            four[i] = i > have ? '=' : digits[word >> (18 - 6 * i) & 63];
        ldnq_buffer_append(buffer, four, 4);
    }
}

void ldnq_buffer_finish(struct ldnq_buffer *buffer)
{
    ldnq_free(buffer->data);
    *buffer = (struct ldnq_buffer){ 0 };
}
