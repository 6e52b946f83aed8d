/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manual/shell_completion.h"

#include <stdio.h>
#include <string.h>

#include "cli/line.h"

/* Writes the words of "a|b|c" with spaces between them. */
static void write_choices(const char *choices)
{
    for (; *choices; choices++)
        putchar(*choices == '|' ? ' ' : *choices);
}

/* Whether some command of the program has the option. */
static bool is_for_program(const struct ldnq_option *option)
{
    for (size_t i = 0; cli_commands[i]; i++)
        if (cli_command_has_option(cli_commands[i], option))
            return true;
    return false;
}

/* ---- bash --------------------------------------------------------------------------------- */

/* Writes the option's names as a bash pattern: "--output|-o". */
static void write_bash_pattern(const struct ldnq_option *option)
{
    printf("--%s%s%s", option->name, option->letter ? "|-" : "",
           option->letter ? option->letter : "");
}

static void write_bash_options(const struct cli_command *command)
{
    const struct ldnq_option *option;
    const char *space = "";
    printf("    %s) words='", command->name);
    for (size_t i = 0; (option = ldnq_options_describe(i)) != NULL; i++) {
        if (!cli_command_has_option(command, option))
            continue;
        printf("%s--%s%s%s", space, option->name, option->letter ? " -" : "",
               option->letter ? option->letter : "");
        space = " ";
    }
    printf("' ;;\n");
}

/* Values of the options that have a fixed set of them, then all other options with a value. */
static void write_bash_values(void)
{
    const struct ldnq_option *option;
    const char *bar = "";
    for (size_t i = 0; (option = ldnq_options_describe(i)) != NULL; i++) {
        if (!option->choices || !is_for_program(option))
            continue;
        printf("    ");
        write_bash_pattern(option);
        printf(") words='");
        write_choices(option->choices);
        printf("'%s ;;\n", option->type == LDNQ_OPTION_CHOICES ? " is_list=1" : "");
    }
    printf("    ");
    for (size_t i = 0; (option = ldnq_options_describe(i)) != NULL; i++) {
        if (!option->value || option->choices || !is_for_program(option))
            continue;
        printf("%s", bar);
        write_bash_pattern(option);
        bar = "|";
    }
    printf(") return ;;\n");
}

void shell_completion_write_bash(void)
{
    printf("# bash completion for ldnq. Made from the table of options; changes here are lost.\n"
           "# An empty COMPREPLY leaves the word to bash, which completes files.\n\n"
           "_ldnq() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before='' words='' is_list='' list=''\n"
           "    COMPREPLY=()\n"
           "    if ((COMP_CWORD == 1)); then\n"
           "        words='");
    for (size_t i = 0; cli_commands[i]; i++)
        printf("%s ", cli_commands[i]->name);
    for (size_t i = 0; cli_general_options[i].name; i++)
        printf("%s%s", i ? " " : "", cli_general_options[i].name);
    printf("'\n"
           "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
           "        return\n"
           "    fi\n"
           "    # bash splits \"--weights=in\" into three words.\n"
           "    before=${COMP_WORDS[COMP_CWORD - 1]}\n"
           "    if [[ $word == '=' ]]; then\n"
           "        word=''\n"
           "    elif [[ $before == '=' ]]; then\n"
           "        before=${COMP_WORDS[COMP_CWORD - 2]}\n"
           "    fi\n"
           "    case $before in\n");
    write_bash_values();
    printf("    esac\n"
           "    if [[ $is_list && $word == *,* ]]; then\n"
           "        list=${word%%,*},\n"
           "    fi\n"
           "    if [[ $words ]]; then\n"
           "        COMPREPLY=($(compgen -P \"$list\" -W \"$words\" -- \"${word#\"$list\"}\"))\n"
           "        return\n"
           "    fi\n"
           "    [[ $word == -* ]] || return\n"
           "    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; cli_commands[i]; i++)
        write_bash_options(cli_commands[i]);
    printf("    esac\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
           "}\n\n"
           "complete -o default -F _ldnq ldnq\n");
}

/* ---- zsh ---------------------------------------------------------------------------------- */

/* Text inside single quotes, with a backslash before the characters in `special`. */
static void write_zsh_text(const char *text, size_t length, const char *special)
{
    for (size_t i = 0; i < length; i++) {
        if (strchr(special, text[i]))
            putchar('\\');
        if (text[i] == '\'')
            printf("'\\''");
        else
            putchar(text[i]);
    }
}

/* The first sentence of the help, which has to fit on a line beside the option. */
static size_t measure_help_length(const char *help)
{
    size_t i = 0;
    int depth = 0; /* open parentheses */
    for (; help[i] && (depth > 0 || (help[i] != ';' && strncmp(help + i, ". ", 2) != 0)); i++)
        depth += (help[i] == '(') - (help[i] == ')');
    return i;
}

/* Whether files can be a value, or end it: "[NAME=]FILE.npy". */
static bool option_takes_file(const struct ldnq_option *option)
{
    return option->type == LDNQ_OPTION_PATH || strstr(option->value, "FILE");
}

/* Writes one argument of zsh's _arguments: the option "--NAME" or "-n". */
static void write_zsh_option(const struct ldnq_option *option, bool is_letter)
{
    printf(" \\\n            '");
    if (option->repeats)
        printf("*");
    else if (option->letter)
        printf("(-%s --%s)", option->letter, option->name);
    printf("%s%s%s[", is_letter ? "-" : "--", is_letter ? option->letter : option->name,
           option->value && !is_letter ? "=" : "");
    write_zsh_text(option->help, measure_help_length(option->help), "\\[]");
    printf("]");
    if (option->value) {
        printf(":");
        write_zsh_text(option->value, strlen(option->value), "\\:");
        printf(":");
        if (option->choices) {
            const bool is_list = option->type == LDNQ_OPTION_CHOICES;
            printf("%s", is_list ? "_values -s , value " : "(");
            write_choices(option->choices);
            printf("%s", is_list ? "" : ")");
        } else {
            printf("%s", option_takes_file(option) ? "_files" : " ");
        }
    }
    printf("'");
}

static void write_zsh_command(const struct cli_command *command)
{
    const struct ldnq_option *option;
    printf("    %s)\n        _arguments", command->name);
    for (size_t i = 0; (option = ldnq_options_describe(i)) != NULL; i++) {
        if (!cli_command_has_option(command, option))
            continue;
        if (option->letter)
            write_zsh_option(option, true);
        write_zsh_option(option, false);
    }
    printf(" \\\n            '*:model:_files'\n        ;;\n");
}

void shell_completion_write_zsh(void)
{
    printf("#compdef ldnq\n"
           "# Made from the table of options; changes here are lost.\n\n"
           "_ldnq() {\n"
           "    local -a commands options\n"
           "    commands=(");
    for (size_t i = 0; cli_commands[i]; i++) {
        printf("\n        '%s:", cli_commands[i]->name);
        write_zsh_text(cli_commands[i]->summary, strlen(cli_commands[i]->summary), "");
        printf("'");
    }
    printf("\n    )\n    options=(");
    for (size_t i = 0; cli_general_options[i].name; i++) {
        printf("\n        '%s:", cli_general_options[i].name);
        write_zsh_text(cli_general_options[i].help, strlen(cli_general_options[i].help), "");
        printf("'");
    }
    printf("\n    )\n"
           "    if ((CURRENT == 2)); then\n"
           "        _describe -t commands command commands\n"
           "        _describe -o -t options option options\n"
           "        return\n"
           "    fi\n"
           "    shift words\n"
           "    ((CURRENT--))\n"
           "    case $words[1] in\n");
    for (size_t i = 0; cli_commands[i]; i++)
        write_zsh_command(cli_commands[i]);
    printf("    esac\n"
           "}\n\n"
           "_ldnq \"$@\"\n");
}
