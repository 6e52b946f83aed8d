/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/failure.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/plain.h"

enum ldnq_status cli_fail(struct ldnq_error *err, enum ldnq_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    cli_replace_control_chars(err->message);
    err->status = status;
    return status;
}

/* Inserts the text at the offset, which is inside the message; the end is cut. */
static void insert_into_message(struct ldnq_error *err, size_t offset, const char *text)
{
    const size_t length = strlen(text), used = strlen(err->message);
    size_t kept = used - offset;
    if (offset + length + 1 > sizeof err->message)
        return;
    if (kept > sizeof err->message - 1 - offset - length)
        kept = sizeof err->message - 1 - offset - length;
    memmove(err->message + offset + length, err->message + offset, kept);
    memcpy(err->message + offset, text, length);
    err->message[offset + length + kept] = '\0';
}

static bool starts_with_option(const char *text)
{
    const struct ldnq_option *option;
    for (size_t i = 0; (option = ldnq_options_describe(i)) != NULL; i++) {
        const size_t length = strlen(option->name);
        if (strncmp(text, option->name, length) == 0 && text[length] == ' ')
            return true;
    }
    return false;
}

void cli_add_dashes(struct ldnq_error *err)
{
    if (starts_with_option(err->message))
        insert_into_message(err, 0, "--");
    const char *end = strstr(err->message, ": ");
    if (end && starts_with_option(end + 2))
        insert_into_message(err, (size_t)(end + 2 - err->message), "--");
}

void cli_add_command(struct ldnq_error *err, const char *command)
{
    insert_into_message(err, 0, ": ");
    insert_into_message(err, 0, command);
}
