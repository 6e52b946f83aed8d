/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: finds the command and runs it; the help and version of the program. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/failure.h"
#include "cli/heap.h"
#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/json.h"
#include "cli/line.h"
#include "cli/output_paths.h"
#include "cli/standard_streams.h"
#include "cli/start.h"

#define MOST_COMMANDS 16

static void print_overview(FILE *stream)
{
    fprintf(stream, "usage: ldnq COMMAND ...\n\n"
                    "Quantizes float ONNX models from a handful of samples.\n\ncommands:\n");
    for (size_t i = 0; cli_commands[i]; i++)
        fprintf(stream, "  %-10s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fprintf(stream, "\n'ldnq help COMMAND' explains a command.\n\noptions:\n");
    for (size_t i = 0; cli_general_options[i].name; i++)
        fprintf(stream, "  %-12s %s\n", cli_general_options[i].name, cli_general_options[i].help);
    fprintf(stream, "\nexit codes:\n");
    for (size_t i = 0; cli_exit_codes[i].meaning; i++)
        fprintf(stream, "  %-3d  %s\n", cli_exit_codes[i].code, cli_exit_codes[i].meaning);
}

static void print_version(void)
{
    printf("ldnq %s\nblas: %s\ncpu: %s\n", ldnq_version(), ldnq_blas_info(), ldnq_cpu_info());
}

static int find_exit_code(enum ldnq_status status)
{
    return status == LDNQ_CANCELED && cli_interrupt_signal() ? cli_interrupt_exit_code()
                                                             : (int)status;
}

/* Whether a failure is to be reported as JSON too: a line that can't be parsed says so as well. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

static enum ldnq_status run_command(const struct cli_command *command, int argc, char **argv,
                                    struct ldnq_error *err)
{
    struct cli_line line;
    enum ldnq_status status = cli_line_parse(&line, command, argc, argv, err);
    if (status == LDNQ_OK && cli_line_has_flag(&line, "help")) {
        cli_print_help(command);
    } else if (status == LDNQ_OK) {
        status = cli_line_stream_output(&line, command, err);
        if (status == LDNQ_OK)
            status = cli_check_output_paths(&line, command->name, err);
        /* Results are printed once. */
        if (status == LDNQ_OK && !ldnq_is_reporter() && !freopen("/dev/null", "w", stdout))
            status = cli_fail(err, LDNQ_IO, "/dev/null can't be opened");
        if (status == LDNQ_OK)
            status = command->run(&line, err);
        if (status == LDNQ_USAGE)
            cli_add_dashes(err);
    }
    if (status != LDNQ_OK && !line.has_result && wants_json(argc, argv))
        cli_json_print_failure(err, find_exit_code(status));
    cli_line_finish(&line);
    return status;
}

/* Colours are for people at a terminal who want them (https://no-color.org). */
static bool wants_colours(void)
{
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(STDERR_FILENO) && !(no_colour && *no_colour) &&
           !(terminal && strcmp(terminal, "dumb") == 0);
}

static void print_failure(const char *message)
{
    if (wants_colours())
        fprintf(stderr, "\033[1;31mldnq:\033[0m %s\n", message);
    else
        fprintf(stderr, "ldnq: %s\n", message);
}

/* Flushes the output, which may fail too; prints the failure and returns the exit code. */
static int flush_output_and_report(enum ldnq_status status, struct ldnq_error *err)
{
    if (status == LDNQ_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = cli_fail(err, LDNQ_IO, "standard output can't be written");
    if (status != LDNQ_OK && ldnq_is_reporter())
        print_failure(err->message);
    return find_exit_code(status);
}

static const struct cli_command *find_command(const char *name)
{
    size_t i = 0;
    while (cli_commands[i] && strcmp(cli_commands[i]->name, name) != 0)
        i++;
    return cli_commands[i];
}

static enum ldnq_status refuse_unknown_command(const char *name, struct ldnq_error *err)
{
    const char *names[MOST_COMMANDS + 1] = { NULL };
    for (size_t i = 0; cli_commands[i] && i < MOST_COMMANDS; i++)
        names[i] = cli_commands[i]->name;
    const char *nearest = ldnq_nearest_name(name, names);
    return cli_fail(err, LDNQ_USAGE, "unknown command '%s'; %s%s%s'ldnq --help' lists them", name,
                    nearest ? "did you mean " : "", nearest ? nearest : "", nearest ? "? " : "");
}

/* "ldnq help COMMAND"; without a command, the overview. */
static enum ldnq_status print_help_of(const char *name, struct ldnq_error *err)
{
    const struct cli_command *command = name ? find_command(name) : NULL;
    if (name && !command)
        return refuse_unknown_command(name, err);
    if (command)
        cli_print_help(command);
    else
        print_overview(stdout);
    return LDNQ_OK;
}

/* Opens those of the standard streams that are closed, so that no file gets their numbers. The
 * direction is the wrong one: what is printed or read still fails, as without it. */
static bool open_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    struct ldnq_error err = { .status = LDNQ_OK };
    cli_restore_processors();
    cli_keep_freed_memory(INFINITY);
    if (!open_standard_streams())
        return LDNQ_IO;
    if (!cli_request_stack())
        return flush_output_and_report(
            cli_fail(&err, LDNQ_NOMEM, "out of memory: no room for the stack"), &err);
    if (argc < 2) {
        print_overview(stderr);
        return LDNQ_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return flush_output_and_report(print_help_of(argc > 2 ? argv[2] : NULL, &err), &err);
    if (strcmp(argv[1], "--help-json") == 0)
        return flush_output_and_report(cli_print_help_json(&err), &err);
    if (strcmp(argv[1], "--version") == 0) {
        print_version();
        return flush_output_and_report(LDNQ_OK, &err);
    }
    cli_interrupt_catch_bus_error();
    const struct cli_command *command = find_command(argv[1]);
    if (!command) {
        const enum ldnq_status status = refuse_unknown_command(argv[1], &err);
        if (wants_json(argc, argv))
            cli_json_print_failure(&err, find_exit_code(status));
        return flush_output_and_report(status, &err);
    }
    return flush_output_and_report(run_command(command, argc - 2, argv + 2, &err), &err);
}
