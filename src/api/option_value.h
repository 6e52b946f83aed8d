/* SPDX-License-Identifier: Apache-2.0 */
/* option_value.h: the text of an option as a value. All return false for text that is none,
 * and leave *out unspecified then. */
#ifndef LDNQ_API_OPTION_VALUE_H
#define LDNQ_API_OPTION_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "ldnq.h"

/* Parses a whole number. */
bool ldnq_parse_count(const char *text, size_t *out);
/* Parses a whole number of bytes; one above 0 may have K, M or G after it. */
bool ldnq_parse_bytes(const char *text, size_t *out);
/* Parses a finite number. */
bool ldnq_parse_number(const char *text, double *out);
/* Parses a number or a fraction that is not 0: "0.5", "1/255". */
bool ldnq_parse_ratio(const char *text, float *out);
/* Parses up to `most` numbers with commas between them. */
bool ldnq_parse_channels(const char *text, float *values, size_t most, size_t *count);
/* Parses "NAME=N", split at the last '='; the name is truncated to fit `size`. */
bool ldnq_parse_dim(const char *text, char *name, size_t size, size_t *out);

/* Parses "N" (*height becomes 0) or "WxH". */
bool ldnq_parse_pixels(const char *text, size_t *width, size_t *height);

enum ldnq_amount { LDNQ_AMOUNT_BITS, LDNQ_AMOUNT_RATIO, LDNQ_AMOUNT_BYTES };
/* Parses a budget: "3bits", "8x", "200K". */
bool ldnq_parse_budget(const char *text, enum ldnq_amount *unit, double *out);

/* The index of the word of `length` letters in "a|b|c"; SIZE_MAX for none. */
size_t ldnq_choice_find(const char *choices, const char *word, size_t length);

/* Whether the text is a value of the option. Errors: USAGE; the message begins with the
 * option's name. */
enum ldnq_status ldnq_option_check(const struct ldnq_option *option, const char *text,
                                   struct ldnq_error *err);

#endif
