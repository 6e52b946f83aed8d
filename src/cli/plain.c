/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plain.h"

#include <stdbool.h>
#include <stdio.h>

/* Size in bytes of the character, if a terminal would obey it instead of showing it:
 * control characters (C1 too: U+009B starts an escape sequence), marks that turn the
 * direction of text, and line separators; else 0. Text is UTF-8. */
static size_t count_control_char_bytes(const unsigned char *at)
{
    if (at[0] < 0x20 || at[0] == 0x7f)
        return 1;
    if ((at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0) || (at[0] == 0xd8 && at[1] == 0x9c))
        return 2;
    const bool is_mark = at[0] == 0xe2 && at[1] == 0x80 &&
                         (at[2] == 0x8e || at[2] == 0x8f || (at[2] >= 0xa8 && at[2] <= 0xae));
    const bool is_isolate = at[0] == 0xe2 && at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9;
    return is_mark || is_isolate ? 3 : 0;
}

void cli_replace_control_chars(char *text)
{
    char *end = text;
    for (const char *at = text; *at;) {
        const size_t size = count_control_char_bytes((const unsigned char *)at);
        *end++ = size ? '?' : *at;
        at += size ? size : 1;
    }
    *end = '\0';
}

const char *cli_copy_printable(const char *text, char buffer[CLI_PLAIN_SIZE])
{
    snprintf(buffer, CLI_PLAIN_SIZE, "%s", text ? text : "");
    cli_replace_control_chars(buffer);
    return buffer;
}
