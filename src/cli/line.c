/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/line.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/failure.h"

bool cli_command_has_option(const struct cli_command *command, const struct ldnq_option *option)
{
    return (option->jobs & command->job) && option->scope != LDNQ_OPTION_LIBRARY;
}

/* Finds the option of "--name", "--name=value" or "-n". */
static const struct ldnq_option *find_option(const struct cli_command *command, const char *word,
                                             const char **value)
{
    const struct ldnq_option *option;
    const bool is_long = word[1] == '-';
    const char *name = word + 1 + is_long;
    const char *equals = is_long ? strchr(name, '=') : NULL;
    const size_t length = equals ? (size_t)(equals - name) : strlen(name);
    *value = equals ? equals + 1 : NULL;
    for (size_t i = 0; (option = ldnq_options_describe(i)) != NULL; i++) {
        const char *own = is_long ? option->name : option->letter;
        if (own && cli_command_has_option(command, option) && strlen(own) == length &&
            strncmp(own, name, length) == 0)
            return option;
    }
    return NULL;
}

static enum ldnq_status refuse_unknown_option(const struct cli_command *command, const char *word,
                                              struct ldnq_error *err)
{
    char name[64], hint[96] = "";
    const bool is_long = word[1] == '-';
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 1 + is_long, "="), word + 1 + is_long);
    const struct ldnq_option *nearest = ldnq_options_nearest(name, command->job);
    if (is_long && nearest && cli_command_has_option(command, nearest))
        snprintf(hint, sizeof hint, "did you mean --%s? ", nearest->name);
    return cli_fail(err, LDNQ_USAGE, "%s: unknown option '%s'; %s'ldnq %s --help' lists them",
                    command->name, word, hint, command->name);
}

static enum ldnq_status parse_option(struct cli_line *line, const struct cli_command *command,
                                     int argc, char **argv, int *at, struct ldnq_error *err)
{
    const char *value, *word = argv[*at];
    const struct ldnq_option *option = find_option(command, word, &value);
    if (!option)
        return refuse_unknown_option(command, word, err);
    if (!option->value && value)
        return cli_fail(err, LDNQ_USAGE, "%s: --%s takes no value", command->name, option->name);
    if (option->value && !value) {
        if (*at + 1 >= argc)
            return cli_fail(err, LDNQ_USAGE, "%s: --%s needs %s", command->name, option->name,
                            option->value);
        value = argv[++*at];
    }
    /* A later number replaces an earlier one, but two paths are two wishes. */
    if (option->type == LDNQ_OPTION_PATH && !option->repeats && cli_line_text(line, option->name))
        return cli_fail(err, LDNQ_USAGE, "%s: --%s is set twice, to '%s' and '%s'; it takes one",
                        command->name, option->name, cli_line_text(line, option->name), value);
    const enum ldnq_status status =
        ldnq_options_set(line->options, option->name, value ? value : "1", err);
    if (status != LDNQ_OK) {
        cli_add_dashes(err);
        cli_add_command(err, command->name);
    }
    return status;
}

static enum ldnq_status check_model_count(const struct cli_line *line,
                                          const struct cli_command *command, struct ldnq_error *err)
{
    if (cli_line_has_flag(line, "help"))
        return LDNQ_OK;
    if (line->model_count < command->models_min)
        return cli_fail(err, LDNQ_USAGE, "%s: %s; usage: ldnq %s %s", command->name,
                        line->model_count ? "another model is missing" : "no model is given",
                        command->name, command->arguments);
    if (line->model_count > command->models_max)
        return cli_fail(err, LDNQ_USAGE, "%s: '%s' is one argument too many; usage: ldnq %s %s",
                        command->name, line->models[command->models_max], command->name,
                        command->arguments);
    return LDNQ_OK;
}

enum ldnq_status cli_line_parse(struct cli_line *line, const struct cli_command *command, int argc,
                                char **argv, struct ldnq_error *err)
{
    bool only_models = false;
    *line = (struct cli_line){ .models = malloc(((size_t)argc + 1) * sizeof *line->models) };
    enum ldnq_status status = ldnq_options_create(&line->options, err);
    if (status != LDNQ_OK)
        return status;
    if (!line->models)
        return cli_fail(err, LDNQ_NOMEM, "out of memory");
    for (int at = 0; at < argc && status == LDNQ_OK; at++) {
        if (!only_models && strcmp(argv[at], "--") == 0)
            only_models = true;
        else if (!only_models && argv[at][0] == '-' && argv[at][1])
            status = parse_option(line, command, argc, argv, &at, err);
        else
            line->models[line->model_count++] = argv[at];
    }
    return status == LDNQ_OK ? check_model_count(line, command, err) : status;
}

void cli_line_finish(struct cli_line *line)
{
    ldnq_options_destroy(line->options);
    free(line->models);
}

/* ---- values ------------------------------------------------------------------------------- */

bool cli_line_has_flag(const struct cli_line *line, const char *name)
{
    const char *text = cli_line_text(line, name);
    return text && strcmp(text, "1") == 0;
}

const char *cli_line_text(const struct cli_line *line, const char *name)
{
    return ldnq_options_get(line->options, name, 0);
}

double cli_line_number(const struct cli_line *line, const char *name)
{
    const char *text = cli_line_text(line, name);
    char *unit;
    if (!text)
        return NAN;
    const double value = strtod(text, &unit);
    return value * (*unit == 'K' ? 0x1p10 : *unit == 'M' ? 0x1p20 : *unit == 'G' ? 0x1p30 : 1);
}
