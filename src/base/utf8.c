/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

/* Number of continuation bytes after a lead byte; -1 for a byte that leads nothing. */
static int count_continuation_bytes(unsigned char lead)
{
    if (lead < 0x80)
        return 0;
    if (lead >= 0xc2 && lead < 0xe0)
        return 1;
    if (lead >= 0xe0 && lead < 0xf0)
        return 2;
    return lead >= 0xf0 && lead < 0xf5 ? 3 : -1;
}

/* The code point of a lead byte and `count` continuation bytes; 0 for an invalid one. */
static uint32_t read_sequence(const unsigned char *bytes, int count)
{
    static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
    uint32_t code = bytes[0] & (0x3fu >> count);
    for (int i = 1; i <= count; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (bytes[i] & 0x3f);
    }
    const bool is_surrogate = code >= 0xd800 && code < 0xe000;
    return code < least[count] || code > 0x10ffff || is_surrogate ? 0 : code;
}

/* Also reports whether the text held the code point itself: U+FFFD may be valid text. */
static uint32_t read_code_point(const char **at, bool *valid)
{
    const unsigned char *bytes = (const unsigned char *)*at;
    *valid = true;
    if (!bytes[0])
        return 0;
    const int count = count_continuation_bytes(bytes[0]);
    const uint32_t code = count > 0 ? read_sequence(bytes, count) : count == 0 ? bytes[0] : 0;
    *valid = code != 0;
    *at += code ? count + 1 : 1;
    return code ? code : LDNQ_UTF8_REPLACEMENT;
}

uint32_t ldnq_utf8_decode(const char **at)
{
    bool valid;
    return read_code_point(at, &valid);
}

bool ldnq_utf8_is_valid(const char *text)
{
    bool valid = true;
    while (valid && read_code_point(&text, &valid))
        ;
    return valid;
}

bool ldnq_utf8_is_visible(uint32_t code)
{
    const bool is_control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    const bool turns_direction = code == 0x61c || code == 0x200e || code == 0x200f ||
                                 (code >= 0x202a && code <= 0x202e) ||
                                 (code >= 0x2066 && code <= 0x2069);
    const bool separates_lines = code == 0x2028 || code == 0x2029;
    return !is_control && !turns_direction && !separates_lines;
}

size_t ldnq_utf8_encode(uint32_t code, char *to)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    const size_t count = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = count; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 0x3f));
    to[0] = (char)(lead[count] | code);
    return count + 1;
}
