/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sink.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"

enum ldnq_status ldnq_sink_progress(const struct ldnq_sink *sink, const char *stage,
                                    const char *detail, size_t done, size_t total,
                                    struct ldnq_error *err)
{
    if (!sink || !sink->progress)
        return LDNQ_OK;
    char name[512];
    snprintf(name, sizeof name, "%s", detail ? detail : "");
    ldnq_text_replace_invisible(name);
    struct ldnq_progress progress = {
        .stage = stage, .detail = detail ? name : NULL, .done = done, .total = total
    };
    if (sink->progress(sink->ctx, &progress) != 0)
        return ldnq_fail(err, LDNQ_CANCELED, "canceled");
    return LDNQ_OK;
}

void ldnq_sink_warn(const struct ldnq_sink *sink, const char *format, ...)
{
    if (!sink || !sink->warn)
        return;
    char message[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    ldnq_text_replace_invisible(message);
    sink->warn(sink->ctx, message);
}
