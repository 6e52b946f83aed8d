/* main.c: finds the command and runs it; the help and version of the program. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/failure.h"
#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/line.h"
#include "cli/output_paths.h"
#include "cli/start.h"

static void print_overview(FILE *stream)
{
    fprintf(stream, "usage: ldnq COMMAND ...\n\n"
                    "Quantizes float ONNX models from a handful of samples.\n\ncommands:\n");
    for (size_t i = 0; cli_commands[i]; i++)
        fprintf(stream, "  %-10s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fprintf(stream, "\n'ldnq COMMAND --help' explains a command.\n\noptions:\n");
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

static enum ldnq_status run_command(const struct cli_command *command, int argc, char **argv,
                                    struct ldnq_error *err)
{
    struct cli_line line;
    enum ldnq_status status = cli_line_parse(&line, command, argc, argv, err);
    if (status == LDNQ_OK && cli_line_has_flag(&line, "help")) {
        cli_print_help(command);
    } else if (status == LDNQ_OK) {
        status = cli_check_output_paths(&line, command->name, err);
        if (status == LDNQ_OK)
            status = command->run(&line, err);
        if (status == LDNQ_USAGE)
            cli_add_dashes(err);
    }
    cli_line_finish(&line);
    return status;
}

/* Flushes the output, which may fail too; prints the failure and returns the exit code. */
static int flush_output_and_report(enum ldnq_status status, struct ldnq_error *err)
{
    if (status == LDNQ_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = cli_fail(err, LDNQ_IO, "standard output can't be written");
    if (status != LDNQ_OK)
        fprintf(stderr, "ldnq: %s\n", err->message);
    return status == LDNQ_CANCELED && cli_interrupt_signal() ? cli_interrupt_exit_code()
                                                             : (int)status;
}

static const struct cli_command *find_command(const char *name)
{
    size_t i = 0;
    while (cli_commands[i] && strcmp(cli_commands[i]->name, name) != 0)
        i++;
    return cli_commands[i];
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
    cli_keep_freed_memory();
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
        strcmp(argv[1], "help") == 0) {
        print_overview(stdout);
        return flush_output_and_report(LDNQ_OK, &err);
    }
    if (strcmp(argv[1], "--help-json") == 0)
        return flush_output_and_report(cli_print_help_json(&err), &err);
    if (strcmp(argv[1], "--version") == 0) {
        print_version();
        return flush_output_and_report(LDNQ_OK, &err);
    }
    cli_interrupt_catch_bus_error();
    const struct cli_command *command = find_command(argv[1]);
    if (!command)
        return flush_output_and_report(
            cli_fail(&err, LDNQ_USAGE, "unknown command '%s'; 'ldnq --help' lists them", argv[1]),
            &err);
    return flush_output_and_report(run_command(command, argc - 2, argv + 2, &err), &err);
}
