#include "report/html_write.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define DASH "\xe2\x80\x93"
#define MINUS "\xe2\x88\x92"
#define THIN_SPACE "\xe2\x80\xaf" /* that no line is broken at */

/* U+202A and the like, with which a name could make a line read otherwise. */
static bool turns_direction(uint32_t code)
{
    return code == 0x61c || code == 0x200e || code == 0x200f ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/* What HTML has no right to hold, or a reader could not see. */
static uint32_t make_visible(uint32_t code)
{
    if (code < 0x20)
        return 0x2400 + code;
    if (code == 0x7f)
        return 0x2421;
    const bool is_control = code >= 0x80 && code < 0xa0;
    const bool is_none = (code & 0xfffe) == 0xfffe || (code >= 0xfdd0 && code <= 0xfdef);
    return is_control || is_none || turns_direction(code) ? LDNQ_UTF8_REPLACEMENT : code;
}

static const char *entity_of(uint32_t code)
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

void ldnq_html_text(struct ldnq_buffer *out, const char *text)
{
    if (!text)
        return;
    for (uint32_t code = ldnq_utf8_next(&text); code; code = ldnq_utf8_next(&text)) {
        char bytes[4];
        const char *entity = entity_of(code);
        if (entity)
            ldnq_buffer_text(out, entity);
        else
            ldnq_buffer_put(out, bytes, ldnq_utf8_put(make_visible(code), bytes));
    }
}

void ldnq_html_name(struct ldnq_buffer *out, const char *text)
{
    ldnq_buffer_text(out, "<code>");
    ldnq_html_text(out, text);
    ldnq_buffer_text(out, "</code>");
}

void ldnq_html_label(struct ldnq_buffer *out, const char *text)
{
    if (text && *text)
        ldnq_html_name(out, text);
    else
        ldnq_buffer_text(out, "(unnamed)");
}

/* ---- numbers ------------------------------------------------------------------------- */

/* Our own digits, with a minus that is as wide as a plus, and exponents without zeros. */
static void put_digits(struct ldnq_buffer *out, const char *digits)
{
    for (const char *at = digits; *at; at++) {
        if (*at == '-')
            ldnq_buffer_text(out, MINUS);
        else if (*at != '+')
            ldnq_buffer_put(out, at, 1);
        const bool in_exponent = at > digits && at[-1] == 'e';
        if (in_exponent && at[1] == '0' && at[2])
            at++;
    }
}

static void put_count(struct ldnq_buffer *out, double value)
{
    char digits[400]; /* a double's 309 */
    snprintf(digits, sizeof digits, "%.0f", fabs(value));
    const size_t length = strlen(digits);
    if (value < 0)
        ldnq_buffer_text(out, MINUS);
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            ldnq_buffer_text(out, ",");
        ldnq_buffer_put(out, digits + i, 1);
    }
}

/* Three digits and a prefix: "12.3 M". */
static void put_prefixed(struct ldnq_buffer *out, double value, const char *unit)
{
    static const char *const prefixes[] = { "", "k", "M", "G", "T", "P" };
    size_t of = 0;
    /* 999.5 would be written as 1000. */
    for (; of < 5 && value >= 999.5; of++)
        value /= 1000;
    char digits[32];
    const int decimals = of == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(digits, sizeof digits, "%.*f", decimals, value);
    put_digits(out, digits);
    if (of > 0 || *unit)
        ldnq_buffer_format(out, THIN_SPACE "%s%s", prefixes[of], unit);
}

/* With so many decimals; negative: with so many digits. */
static void put_rounded(struct ldnq_buffer *out, int decimals, double value)
{
    char digits[400]; /* a double's 309, the point and decimals */
    if (decimals >= 0)
        snprintf(digits, sizeof digits, "%.*f", decimals, value);
    else
        snprintf(digits, sizeof digits, "%.*g", -decimals, value);
    put_digits(out, digits);
}

void ldnq_html_number(struct ldnq_buffer *out, enum ldnq_html_kind kind, double value)
{
    static const int decimals[] = {
        [LDNQ_HTML_SQNR] = 1,
        [LDNQ_HTML_BITS] = 2,
        [LDNQ_HTML_COSINE] = 5,
        [LDNQ_HTML_GENERAL] = -3,
    };
    if (isnan(value))
        ldnq_buffer_text(out, DASH);
    else if (isinf(value))
        ldnq_buffer_text(out, kind == LDNQ_HTML_SQNR && value > 0 ? "exact"
                              : value > 0                         ? "\xe2\x88\x9e"
                                                                  : MINUS "\xe2\x88\x9e");
    else if (kind == LDNQ_HTML_COUNT)
        put_count(out, value);
    else if (kind == LDNQ_HTML_LARGE)
        put_prefixed(out, value, "");
    else if (kind == LDNQ_HTML_BYTES)
        put_prefixed(out, value, "B");
    else
        put_rounded(out, decimals[kind], value);
}
