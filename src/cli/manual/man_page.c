/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manual/man_page.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/line.h"

/* ---- text in roff ------------------------------------------------------------------------- */

/* One character. A bare hyphen, quote, caret or tilde would be printed as a typographic one,
 * which can't be pasted into a shell. */
static void write_character(char c, bool is_first_on_line)
{
    if (c == '\\')
        fputs("\\(rs", stdout);
    else if (c == '-')
        fputs("\\-", stdout);
    else if (c == '\'')
        fputs("\\(aq", stdout);
    else if (c == '`')
        fputs("\\(ga", stdout);
    else if (c == '^')
        fputs("\\(ha", stdout);
    else if (c == '~')
        fputs("\\(ti", stdout);
    else if (c == '.' && is_first_on_line)
        fputs("\\&.", stdout);
    else
        putchar(c);
}

/* The bytes of a name that begins the text: of an option, "--fail-", or, in the line of the
 * usage, of an argument, "OUTPUT_NAME". 0 for other text. */
static size_t measure_name_length(const char *text, bool is_usage)
{
    size_t length = 0;
    if (text[0] == '-' && (text[1] == '-' || islower((unsigned char)text[1])))
        while (text[length] == '-' || islower((unsigned char)text[length]))
            length++;
    else if (is_usage)
        while (text[length] == '_' || isupper((unsigned char)text[length]))
            length++;
    return length;
}

/* Options in bold; in the line of the usage, arguments in italics. An empty line begins a
 * paragraph. */
static void write_text_with_bold_names(const char *text, bool is_usage)
{
    char before = '\n';
    while (*text) {
        if (strncmp(text, "\n\n", 2) == 0) {
            printf("\n.PP\n");
            before = '\n';
            text += 2;
            continue;
        }
        const size_t name =
            isalnum((unsigned char)before) ? 0 : measure_name_length(text, is_usage);
        const size_t length = name ? name : 1;
        if (name > 0)
            fputs(*text == '-' ? "\\fB" : "\\fI", stdout);
        for (size_t i = 0; i < length; i++) {
            write_character(text[i], before == '\n');
            before = text[i];
        }
        if (name > 0)
            fputs("\\fR", stdout);
        text += length;
    }
}

/* The first command line of the examples, with the lines that continue it. */
static size_t measure_example_length(const char *examples)
{
    size_t i = 0;
    while (examples[i] && !(examples[i] == '\n' && examples[i - 1] != '\\'))
        i++;
    return i;
}

/* One example, without the two spaces that the help indents it with. */
static void write_example(const char *text, size_t length)
{
    bool is_first = true;
    printf(".RS 4\n.nf\n");
    for (size_t i = 0; i < length; i++) {
        if (is_first && strncmp(text + i, "  ", 2) == 0)
            i += 2;
        write_character(text[i], is_first);
        is_first = text[i] == '\n';
    }
    printf("\n.fi\n.RE\n");
}

/* ---- sections ----------------------------------------------------------------------------- */

static void write_title(const char *name, const char *summary)
{
    printf(".\\\" Made from the table of options; changes here are lost.\n.TH \"");
    for (const char *c = name; *c; c++)
        write_character((char)toupper((unsigned char)*c), false);
    printf("\" 1 \"\" \"ldnq %s\" \"User Commands\"\n.nh\n.ad l\n.SH NAME\n", ldnq_version());
    write_text_with_bold_names(name, false);
    printf(" \\- ");
    write_text_with_bold_names(summary, false);
    printf("\n");
}

/* Writes a term of a list in bold. */
static void write_term(const char *term)
{
    printf(".TP\n\\fB");
    for (const char *c = term; *c; c++)
        write_character(*c, false);
    printf("\\fR\n");
}

static void write_option(const struct ldnq_option *option)
{
    printf(".TP\n");
    if (option->letter)
        printf("\\fB\\-%s\\fR, ", option->letter);
    printf("\\fB\\-\\-");
    for (const char *c = option->name; *c; c++)
        write_character(*c, false);
    printf("\\fR");
    if (option->value) {
        printf(" ");
        write_text_with_bold_names(option->value, true);
    }
    printf("\n");
    write_text_with_bold_names(option->help, false);
    if (option->value && option->default_value) {
        printf(" [");
        write_text_with_bold_names(option->default_value, false);
        printf("]");
    }
    printf("\n");
}

static void write_options(const struct cli_command *command)
{
    const struct ldnq_option *option;
    printf(".SH OPTIONS\nDefaults are in brackets. The value of a long option may also follow an\n"
           "equals sign: \\-\\-\\fINAME\\fR=\\fIVALUE\\fR.\n");
    for (size_t i = 0; (option = ldnq_options_describe(i)) != NULL; i++)
        if (cli_command_has_option(command, option))
            write_option(option);
}

static void write_exit_codes(void)
{
    printf(".SH EXIT STATUS\n");
    for (size_t i = 0; cli_exit_codes[i].meaning; i++) {
        printf(".TP\n\\fB%d\\fR\n", cli_exit_codes[i].code);
        write_text_with_bold_names(cli_exit_codes[i].meaning, false);
        printf("\n");
    }
}

/* All pages but one command's own; NULL for those of all commands. */
static void write_see_also(const struct cli_command *own)
{
    const char *comma = "";
    printf(".SH SEE ALSO\n");
    if (own) {
        printf("\\fBldnq\\fR(1)");
        comma = ",\n";
    }
    for (size_t i = 0; cli_commands[i]; i++) {
        if (cli_commands[i] == own)
            continue;
        printf("%s\\fBldnq\\-%s\\fR(1)", comma, cli_commands[i]->name);
        comma = ",\n";
    }
    printf(",\n\\fBldnq\\-guide\\-deploy\\fR(7)\n");
}

/* ---- pages -------------------------------------------------------------------------------- */

void man_page_write_overview(void)
{
    write_title("ldnq", "quantize float ONNX models from a handful of samples");
    printf(".SH SYNOPSIS\n\\fBldnq\\fR \\fICOMMAND\\fR ...\n");
    for (size_t i = 0; cli_general_options[i].name; i++) {
        printf(".br\n\\fBldnq\\fR ");
        write_text_with_bold_names(cli_general_options[i].name, false);
        printf("\n");
    }
    printf(".SH DESCRIPTION\n");
    printf("Replaces the weights of a float ONNX model by low\\-bit integers, from 8 bits down to\n"
           "the three values of ternary weights, and writes a QDQ ONNX file. The integers are\n"
           "fitted layer by layer to a handful of samples, without labels.\n.PP\n"
           "Other commands compare the two models layer by layer, measure their accuracy, run\n"
           "them, and list their layers.\n");
    printf(".SH COMMANDS\n");
    for (size_t i = 0; cli_commands[i]; i++) {
        printf(".TP\n\\fBldnq\\-%s\\fR(1)\n", cli_commands[i]->name);
        write_text_with_bold_names(cli_commands[i]->summary, false);
        printf("\n");
    }
    printf(".SH OPTIONS\n");
    for (size_t i = 0; cli_general_options[i].name; i++) {
        write_term(cli_general_options[i].name);
        write_text_with_bold_names(cli_general_options[i].help, false);
        printf("\n");
    }
    write_exit_codes();
    printf(".SH EXAMPLES\n");
    for (size_t i = 0; cli_commands[i]; i++) {
        printf("%s", i ? ".PP\n" : "");
        write_example(cli_commands[i]->examples, measure_example_length(cli_commands[i]->examples));
    }
    write_see_also(NULL);
}

void man_page_write_command(const struct cli_command *command)
{
    char name[64];
    snprintf(name, sizeof name, "ldnq-%s", command->name);
    write_title(name, command->summary);
    printf(".SH SYNOPSIS\n\\fBldnq %s\\fR ", command->name);
    write_text_with_bold_names(command->arguments, true);
    printf("\n.SH DESCRIPTION\n");
    write_text_with_bold_names(command->details, false);
    printf("\n");
    write_options(command);
    write_exit_codes();
    printf(".SH EXAMPLES\n");
    for (const char *text = command->examples; *text;) {
        const size_t length = measure_example_length(text);
        printf("%s", text > command->examples ? ".PP\n" : "");
        write_example(text, length);
        text += length + (text[length] == '\n');
    }
    write_see_also(command);
}
