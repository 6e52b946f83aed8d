/* SPDX-License-Identifier: Apache-2.0 */
#include "report/html_write.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define DASH "\xe2\x80\x93"
#define MINUS "\xe2\x88\x92"
#define THIN_SPACE "\xe2\x80\xaf" /* lines don't break at it */

/* Replaces what HTML may not contain and what a reader could not see. */
static uint32_t replace_invisible_character(uint32_t code)
{
    if (code < 0x20)
        return 0x2400 + code;
    if (code == 0x7f)
        return 0x2421;
    const bool is_noncharacter = (code & 0xfffe) == 0xfffe || (code >= 0xfdd0 && code <= 0xfdef);
    return is_noncharacter || !ldnq_utf8_is_visible(code) ? LDNQ_UTF8_REPLACEMENT : code;
}

static const char *find_html_entity(uint32_t code)
{
    switch (code) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static void write_escaped(struct ldnq_buffer *out, const char *text, bool breaks_at_slashes)
{
    if (!text)
        return;
    for (uint32_t code = ldnq_utf8_decode(&text); code; code = ldnq_utf8_decode(&text)) {
        char bytes[4];
        const char *entity = find_html_entity(code);
        if (entity)
            ldnq_buffer_append_text(out, entity);
        else
            ldnq_buffer_append(out, bytes,
                               ldnq_utf8_encode(replace_invisible_character(code), bytes));
        if (code == '/' && breaks_at_slashes)
            ldnq_buffer_append_text(out, "<wbr>");
    }
}

void ldnq_html_write_text(struct ldnq_buffer *out, const char *text)
{
    write_escaped(out, text, false);
}

void ldnq_html_write_code(struct ldnq_buffer *out, const char *text)
{
    ldnq_buffer_append_text(out, "<code>");
    write_escaped(out, text, true);
    ldnq_buffer_append_text(out, "</code>");
}

void ldnq_html_write_label(struct ldnq_buffer *out, const char *text)
{
    if (text && *text)
        ldnq_html_write_code(out, text);
    else
        ldnq_buffer_append_text(out, "(unnamed)");
}

/* ---- numbers ------------------------------------------------------------------------- */

/* Digits of printf, with a true minus sign and exponents without leading zeros. */
static void write_digits_typographically(struct ldnq_buffer *out, const char *digits)
{
    for (const char *at = digits; *at; at++) {
        if (*at == '-')
            ldnq_buffer_append_text(out, MINUS);
        else if (*at != '+')
            ldnq_buffer_append(out, at, 1);
        const bool in_exponent = at > digits && at[-1] == 'e';
        if (in_exponent && at[1] == '0' && at[2])
            at++;
    }
}

static void write_count(struct ldnq_buffer *out, double value)
{
    char digits[400]; /* a double's 309 */
    snprintf(digits, sizeof digits, "%.0f", fabs(value));
    const size_t length = strlen(digits);
    if (value < 0)
        ldnq_buffer_append_text(out, MINUS);
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            ldnq_buffer_append_text(out, ",");
        ldnq_buffer_append(out, digits + i, 1);
    }
}

/* Three digits and a prefix: "12.3 M". */
static void write_with_unit_prefix(struct ldnq_buffer *out, double value, const char *unit)
{
    static const char *const prefixes[] = { "", "k", "M", "G", "T", "P" };
    size_t prefix = 0;
    /* 999.5 would be rounded to 1000. */
    for (; prefix < 5 && value >= 999.5; prefix++)
        value /= 1000;
    char digits[32];
    const int decimals = prefix == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(digits, sizeof digits, "%.*f", decimals, value);
    write_digits_typographically(out, digits);
    if (prefix > 0 || *unit)
        ldnq_buffer_append_format(out, THIN_SPACE "%s%s", prefixes[prefix], unit);
}

/* With `decimals` decimals, or with -decimals significant digits. */
static void write_rounded(struct ldnq_buffer *out, int decimals, double value)
{
    char digits[400]; /* a double's 309, the point and decimals */
    if (decimals >= 0)
        snprintf(digits, sizeof digits, "%.*f", decimals, value);
    else
        snprintf(digits, sizeof digits, "%.*g", -decimals, value);
    write_digits_typographically(out, digits);
}

void ldnq_html_write_number(struct ldnq_buffer *out, enum ldnq_html_kind kind, double value)
{
    static const int decimals[] = {
        [LDNQ_HTML_SQNR] = 1,
        [LDNQ_HTML_BITS] = 2,
        [LDNQ_HTML_COSINE] = 5,
        [LDNQ_HTML_GENERAL] = -3,
    };
    if (isnan(value))
        ldnq_buffer_append_text(out, DASH);
    else if (isinf(value))
        ldnq_buffer_append_text(out, kind == LDNQ_HTML_SQNR && value > 0 ? "exact"
                                     : value > 0                         ? "\xe2\x88\x9e"
                                                                         : MINUS "\xe2\x88\x9e");
    else if (kind == LDNQ_HTML_COUNT)
        write_count(out, value);
    else if (kind == LDNQ_HTML_LARGE)
        write_with_unit_prefix(out, value, "");
    else if (kind == LDNQ_HTML_BYTES)
        write_with_unit_prefix(out, value, "B");
    else
        write_rounded(out, decimals[kind], value);
}
