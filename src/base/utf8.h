/* utf8.h: text of unknown origin, read as UTF-8. Names in a model are whatever bytes
 * the exporter put there; JSON and HTML have to be valid all the same. */
#ifndef LDNQ_BASE_UTF8_H
#define LDNQ_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LDNQ_UTF8_REPLACEMENT 0xfffdu

/* The code point at *at, which moves behind it; 0 at the end, where it stays. A byte
 * that begins nothing valid (overlong forms and surrogates are not) is read alone, as
 * LDNQ_UTF8_REPLACEMENT. */
uint32_t ldnq_utf8_next(const char **at);

/* Writes the code point, at most 4 bytes without a NUL; returns how many. */
size_t ldnq_utf8_put(uint32_t code, char *to);

bool ldnq_utf8_is_valid(const char *text);

#endif
