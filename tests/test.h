/* SPDX-License-Identifier: Apache-2.0 */
/* test.h: what every test program includes: cmocka with the headers that it
 * wants first, and the helpers that tests share. */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "base/base.h"

/* The call must succeed; its message is printed when it does not. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        enum ldnq_status test_status_ = (call);                                                    \
        if (test_status_ != LDNQ_OK)                                                               \
            fail_msg("%s: %s: %s", #call, ldnq_status_name(test_status_), err.message);            \
    } while (0)

/* The call must fail with this status and a message that contains the text. */
#define assert_fails(call, status_, text_)                                                         \
    do {                                                                                           \
        err.message[0] = '\0';                                                                     \
        enum ldnq_status test_status_ = (call);                                                    \
        if (test_status_ != (status_))                                                             \
            fail_msg("%s: %s (%s), expected %s", #call, ldnq_status_name(test_status_),            \
                     err.message, ldnq_status_name(status_));                                      \
        if (!strstr(err.message, (text_)))                                                         \
            fail_msg("%s: message \"%s\" does not contain \"%s\"", #call, err.message, (text_));   \
    } while (0)

/* The numbers must differ by at most `tolerance`. A NaN anywhere fails, which
 * cmocka's assert_float_equal lets pass. */
#define assert_within(got, want, tolerance)                                                        \
    assert_within_at((double)(got), (double)(want), (double)(tolerance), #got, __FILE__, __LINE__)

static inline void assert_within_at(double got, double want, double tolerance, const char *text,
                                    const char *file, int line)
{
    if (fabs(got - want) <= tolerance)
        return;
    print_error("%s is %.17g, expected %.17g within %g\n", text, got, want, tolerance);
    _fail(file, line);
}

#endif
