#include "cli/plain.h"

#include <stdio.h>

#include "base/text.h"

const char *cli_plain(const char *text, char buffer[CLI_PLAIN_SIZE])
{
    snprintf(buffer, CLI_PLAIN_SIZE, "%s", text);
    ldnq_text_flatten(buffer);
    return buffer;
}
