/* html_write.h: pieces of HTML into a buffer. What comes from a model goes through
 * ldnq_html_text; all else are our own words.
 */
#ifndef LDNQ_REPORT_HTML_WRITE_H
#define LDNQ_REPORT_HTML_WRITE_H

#include <stdint.h>

#include "report/buffer.h"

/* The text as it may stand between tags and in quoted attributes. What is not UTF-8
 * becomes U+FFFD, and so do characters that turn the direction of what is behind them;
 * control characters get the pictures that Unicode has for them. NULL is "". */
void ldnq_html_text(struct ldnq_buffer *out, const char *text);
/* The same, as a name: <code>...</code>. */
void ldnq_html_name(struct ldnq_buffer *out, const char *text);
/* A name that heads what is said of its bearer, or is clicked on: never nothing. */
void ldnq_html_label(struct ldnq_buffer *out, const char *text);

/* What a number is, and so how it is written. NaN is always a dash. */
enum ldnq_html_kind {
    LDNQ_HTML_COUNT,   /* 12,345 */
    LDNQ_HTML_LARGE,   /* 12.3 M */
    LDNQ_HTML_BYTES,   /* 12.3 MB */
    LDNQ_HTML_SQNR,    /* 12.3, or "exact" where it is infinite */
    LDNQ_HTML_BITS,    /* 4.13 */
    LDNQ_HTML_COSINE,  /* 0.99987 */
    LDNQ_HTML_GENERAL, /* 0.000123, 1.23e-7 */
};
void ldnq_html_number(struct ldnq_buffer *out, enum ldnq_html_kind kind, double value);

#endif
