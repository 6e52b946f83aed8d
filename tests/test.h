/* test.h: what every test program includes: cmocka with the headers that it
 * wants first, and the helpers that tests share. */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"

#include <stdio.h>

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

#endif
