/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <stdbool.h>

#include "base/text.h"

enum ldnq_status ldnq_fail(struct ldnq_error *err, enum ldnq_status status, const char *format, ...)
{
    if (!err)
        return status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    ldnq_text_replace_invisible(err->message);
    err->status = status;
    return status;
}

enum ldnq_status ldnq_fail_within(struct ldnq_error *err, enum ldnq_status status,
                                  const char *format, ...)
{
    if (!err)
        return status;
    char context[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    size_t shift = strlen(context) + 2;
    size_t keep = strnlen(err->message, sizeof err->message - 1);
    if (keep > sizeof err->message - 1 - shift)
        keep = sizeof err->message - 1 - shift;
    memmove(err->message + shift, err->message, keep);
    err->message[shift + keep] = '\0';
    memcpy(err->message, context, shift - 2);
    memcpy(err->message + shift - 2, ": ", 2);
    ldnq_text_replace_invisible(err->message); /* the end may have cut a character */
    err->status = status;
    return status;
}

const char *ldnq_message_strip(const char *message, const char *context)
{
    char prefix[LDNQ_ERROR_SIZE];
    snprintf(prefix, sizeof prefix, "%s", context);
    ldnq_text_replace_invisible(prefix); /* as it was when the message was written */
    const size_t length = strlen(prefix);
    const bool has_prefix =
        strncmp(message, prefix, length) == 0 && strncmp(message + length, ": ", 2) == 0;
    return has_prefix ? message + length + 2 : message;
}

const char *ldnq_status_name(enum ldnq_status status)
{
    switch (status) {
    case LDNQ_OK:
        return "ok";
    case LDNQ_USAGE:
        return "usage";
    case LDNQ_IO:
        return "io";
    case LDNQ_MODEL:
        return "model";
    case LDNQ_UNSUPPORTED:
        return "unsupported";
    case LDNQ_DATA:
        return "data";
    case LDNQ_NUMERIC:
        return "numeric";
    case LDNQ_NOMEM:
        return "nomem";
    case LDNQ_GATE:
        return "gate";
    case LDNQ_CANCELED:
        return "canceled";
    }
    return "unknown";
}
