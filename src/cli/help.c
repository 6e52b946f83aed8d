/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cJSON.h>

#include "cli/failure.h"
#include "cli/line.h"

/* ---- for people --------------------------------------------------------------------------- */

#define HELP_COLUMN 28
#define LAST_COLUMN 79

/* The longest part of the text that fits on a line, cut at a space. */
static int find_line_break(const char *text)
{
    const int length = (int)strlen(text), most = LAST_COLUMN - HELP_COLUMN;
    if (length <= most)
        return length;
    for (int i = most; i > 0; i--)
        if (text[i] == ' ')
            return i;
    return length;
}

static void print_option(const struct ldnq_option *option)
{
    char help[1024];
    const bool has_default = option->value && option->default_value;
    snprintf(help, sizeof help, "%s%s%s%s", option->help, has_default ? " [" : "",
             has_default ? option->default_value : "", has_default ? "]" : "");
    int used = printf("  %s%s%s--%s%s%s", option->letter ? "-" : "",
                      option->letter ? option->letter : "", option->letter ? ", " : "",
                      option->name, option->value ? " " : "", option->value ? option->value : "");
    if (used > HELP_COLUMN - 2) {
        printf("\n");
        used = 0;
    }
    for (const char *text = help; *text; used = 0) {
        const int length = find_line_break(text);
        printf("%*s%.*s\n", HELP_COLUMN - used, "", length, text);
        text += length + (text[length] == ' ');
    }
}

void cli_print_help(const struct cli_command *command)
{
    const struct ldnq_option *option;
    printf("usage: ldnq %s %s\n\n%s\n\nexamples:\n%s\n\noptions:\n", command->name,
           command->arguments, command->details, command->examples);
    for (size_t i = 0; (option = ldnq_options_describe(i)) != NULL; i++)
        if (cli_command_has_option(command, option))
            print_option(option);
}

/* ---- for programs -------------------------------------------------------------------------- */

static bool add_json_text(cJSON *item, const char *name, const char *text)
{
    return (text ? cJSON_AddStringToObject(item, name, text) : cJSON_AddNullToObject(item, name)) !=
           NULL;
}

static bool add_json_number_or_null(cJSON *item, const char *name, double value)
{
    return (isfinite(value) ? cJSON_AddNumberToObject(item, name, value)
                            : cJSON_AddNullToObject(item, name)) != NULL;
}

static const char *option_type_name(enum ldnq_option_type type)
{
    static const char *const names[] = {
        [LDNQ_OPTION_FLAG] = "flag",       [LDNQ_OPTION_TEXT] = "text",
        [LDNQ_OPTION_PATH] = "path",       [LDNQ_OPTION_CHOICE] = "choice",
        [LDNQ_OPTION_CHOICES] = "choices", [LDNQ_OPTION_COUNT] = "count",
        [LDNQ_OPTION_BYTES] = "bytes",     [LDNQ_OPTION_NUMBER] = "number",
        [LDNQ_OPTION_RATIO] = "ratio",     [LDNQ_OPTION_CHANNELS] = "channels",
        [LDNQ_OPTION_DIM] = "dim",         [LDNQ_OPTION_BUDGET] = "budget",
        [LDNQ_OPTION_PIXELS] = "pixels",
    };
    return names[type];
}

static bool add_choices_json(cJSON *item, const char *choices)
{
    cJSON *list = cJSON_AddArrayToObject(item, "choices");
    while (list && choices && *choices) {
        char word[64];
        const size_t length = strcspn(choices, "|");
        snprintf(word, sizeof word, "%.*s", (int)length, choices);
        if (!cJSON_AddItemToArray(list, cJSON_CreateString(word)))
            return false;
        choices += length + (choices[length] == '|');
    }
    return list != NULL;
}

static bool add_option_json(cJSON *list, const struct ldnq_option *option)
{
    cJSON *item = cJSON_CreateObject();
    const bool has_range = option->type == LDNQ_OPTION_COUNT || option->type == LDNQ_OPTION_NUMBER;
    return item && cJSON_AddItemToArray(list, item) && add_json_text(item, "name", option->name) &&
           add_json_text(item, "letter", option->letter) &&
           add_json_text(item, "type", option_type_name(option->type)) &&
           cJSON_AddBoolToObject(item, "repeats", option->repeats) &&
           add_json_text(item, "value", option->value) && add_choices_json(item, option->choices) &&
           add_json_number_or_null(item, "least", has_range ? option->least : NAN) &&
           add_json_number_or_null(item, "most", has_range ? option->most : NAN) &&
           add_json_text(item, "default", option->default_value) &&
           add_json_text(item, "help", option->help) && add_json_text(item, "since", option->since);
}

static bool add_command_json(cJSON *list, const struct cli_command *command)
{
    const struct ldnq_option *option;
    cJSON *item = cJSON_CreateObject();
    if (!item || !cJSON_AddItemToArray(list, item) || !add_json_text(item, "name", command->name) ||
        !add_json_text(item, "arguments", command->arguments) ||
        !add_json_text(item, "summary", command->summary) ||
        !add_json_text(item, "details", command->details) ||
        !add_json_text(item, "examples", command->examples))
        return false;
    cJSON *options = cJSON_AddArrayToObject(item, "options");
    for (size_t i = 0; options && (option = ldnq_options_describe(i)) != NULL; i++)
        if (cli_command_has_option(command, option) && !add_option_json(options, option))
            return false;
    return options != NULL;
}

enum ldnq_status cli_print_help_json(struct ldnq_error *err)
{
    cJSON *root = cJSON_CreateObject();
    bool filled = root && add_json_text(root, "version", ldnq_version());
    cJSON *list = filled ? cJSON_AddArrayToObject(root, "commands") : NULL;
    filled = list != NULL;
    for (size_t i = 0; filled && cli_commands[i]; i++)
        filled = add_command_json(list, cli_commands[i]);
    char *text = filled ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    if (!text)
        return cli_fail(err, LDNQ_NOMEM, "out of memory");
    puts(text);
    cJSON_free(text);
    return LDNQ_OK;
}
