/* SPDX-License-Identifier: Apache-2.0 */
/* html_write.h: appends pieces of HTML to a buffer. Every string of a model goes through
 * ldnq_html_write_text; only our own texts are HTML already.
 */
#ifndef LDNQ_REPORT_HTML_WRITE_H
#define LDNQ_REPORT_HTML_WRITE_H

#include <stdint.h>

#include "report/buffer.h"

/* Escapes the text for use between tags and in quoted attributes. Bytes that are not UTF-8 and
 * characters that change the direction of the text after them become U+FFFD, control characters
 * the symbols that Unicode has for them. NULL is "". */
void ldnq_html_write_text(struct ldnq_buffer *out, const char *text);
/* Writes the text escaped, inside <code>...</code>; lines may break after a '/'. */
void ldnq_html_write_code(struct ldnq_buffer *out, const char *text);
/* The same, for headings and links, which must not be empty: "(unnamed)" for "". */
void ldnq_html_write_label(struct ldnq_buffer *out, const char *text);

/* The formats of numbers. NaN is always a dash. */
enum ldnq_html_kind {
    LDNQ_HTML_COUNT,   /* 12,345 */
    LDNQ_HTML_LARGE,   /* 12.3 M */
    LDNQ_HTML_BYTES,   /* 12.3 MB */
    LDNQ_HTML_SQNR,    /* 12.3, or "exact" where it is infinite */
    LDNQ_HTML_BITS,    /* 4.13 */
    LDNQ_HTML_COSINE,  /* 0.99987 */
    LDNQ_HTML_GENERAL, /* 0.000123, 1.23e-7 */
};
void ldnq_html_write_number(struct ldnq_buffer *out, enum ldnq_html_kind kind, double value);

#endif
