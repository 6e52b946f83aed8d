/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.h: decode text of unknown origin as UTF-8. The names in a model are whatever
 * bytes the exporter wrote; JSON, HTML and messages must be valid all the same. */
#ifndef LDNQ_BASE_UTF8_H
#define LDNQ_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LDNQ_UTF8_REPLACEMENT 0xfffdu

/* Returns the code point at *at and advances *at past it; at the end returns 0 and
 * does not advance. A byte that starts no valid sequence (overlong forms and
 * surrogates are not valid) is consumed alone, as LDNQ_UTF8_REPLACEMENT. */
uint32_t ldnq_utf8_decode(const char **at);

/* Writes the code point to `to`, at most 4 bytes without a NUL; returns their number. */
size_t ldnq_utf8_encode(uint32_t code, char *to);

bool ldnq_utf8_is_valid(const char *text);

/* Whether a terminal or a browser shows the code point as a character of its own.
 * False for control characters (C1 too: U+009B starts an escape sequence), for marks
 * that turn the direction of the text around them, and for line separators. */
bool ldnq_utf8_is_visible(uint32_t code);

#endif
