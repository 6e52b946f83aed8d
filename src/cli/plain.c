#include "cli/plain.h"

#include <stdio.h>

void cli_flatten(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

const char *cli_plain(const char *text, char buffer[CLI_PLAIN_SIZE])
{
    snprintf(buffer, CLI_PLAIN_SIZE, "%s", text ? text : "");
    cli_flatten(buffer);
    return buffer;
}
