/* SPDX-License-Identifier: Apache-2.0 */
/* sink.h: where long work reports progress and warnings. */
#ifndef LDNQ_BASE_SINK_H
#define LDNQ_BASE_SINK_H

#include <stddef.h>

#include "base/error.h"

/* Any member may be NULL; a NULL sink is silent. */
struct ldnq_sink {
    void *ctx;
    /* Any result but 0 ends the work. */
    int (*progress)(void *ctx, const struct ldnq_progress *progress);
    void (*warn)(void *ctx, const char *message);
};

/* Errors: CANCELED, when the progress function returned another value than 0. */
enum ldnq_status ldnq_sink_progress(const struct ldnq_sink *sink, const char *stage,
                                    const char *detail, size_t done, size_t total,
                                    struct ldnq_error *err);
void ldnq_sink_warn(const struct ldnq_sink *sink, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
