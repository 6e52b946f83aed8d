/* SPDX-License-Identifier: Apache-2.0 */
/* size.h: overflow-checked arithmetic on sizes.
 *
 * The functions return false when the result does not fit; *out is then unspecified.
 */
#ifndef LDNQ_BASE_SIZE_H
#define LDNQ_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool ldnq_size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool ldnq_size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool ldnq_int64_mul(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool ldnq_int64_add(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline size_t ldnq_size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t ldnq_size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* a / b, rounded up; b > 0. */
static inline size_t ldnq_size_ceil_div(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

#endif
