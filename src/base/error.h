/* SPDX-License-Identifier: Apache-2.0 */
/* error.h: status codes and messages.
 *
 * Every fallible function of the library returns enum ldnq_status and fills in
 * a struct ldnq_error whose message is complete enough to print as it is.
 * Nothing in the library prints, exits, or asserts on input.
 */
#ifndef LDNQ_BASE_ERROR_H
#define LDNQ_BASE_ERROR_H

#include "ldnq.h" /* enum ldnq_status, struct ldnq_error */

/* Writes the message, sets and returns `status`. err may be NULL. */
enum ldnq_status ldnq_fail(struct ldnq_error *err, enum ldnq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Inserts "context: " before the message that a callee left; sets and returns `status`. */
enum ldnq_status ldnq_fail_within(struct ldnq_error *err, enum ldnq_status status,
                                  const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The part of the message after the "context: " that it starts with, for use inside a
 * message with the same context; all of it when it starts otherwise. */
const char *ldnq_message_strip(const char *message, const char *context);

/* The only control-flow macro: hands a failure on to the caller. */
#define LDNQ_TRY(call)                                                                             \
    do {                                                                                           \
        enum ldnq_status ldnq_try_status_ = (call);                                                \
        if (ldnq_try_status_ != LDNQ_OK)                                                           \
            return ldnq_try_status_;                                                               \
    } while (0)

#endif
