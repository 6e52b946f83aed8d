/* main.c: ldnq's commands, and what all of them share: help, version, exit codes. */
#include <stdio.h>
#include <string.h>

#include "cli/failure.h"
#include "cli/help.h"
#include "cli/line.h"

static const struct cli_command *const commands[] = {
    &cli_cmd_quantize, &cli_cmd_diff, &cli_cmd_eval, &cli_cmd_run, &cli_cmd_inspect, NULL,
};

static void print_overview(FILE *stream)
{
    fprintf(stream, "usage: ldnq COMMAND ...\n\n"
                    "Quantizes float ONNX models from a handful of samples.\n\ncommands:\n");
    for (size_t i = 0; commands[i]; i++)
        fprintf(stream, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(stream,
            "\n'ldnq COMMAND --help' explains each; 'ldnq --help-json' prints the options of all\n"
            "as JSON; 'ldnq --version' names the version, the BLAS and the processor's features\n"
            "in use.\n\n"
            "exit codes: 0 done, 2 usage, 3 file, 4 damaged or invalid model,\n"
            "5 unsupported, 6 data, 7 numeric, 8 out of memory, 9 a --fail- limit is exceeded\n");
}

static void print_version(void)
{
    printf("ldnq %s\nblas: %s\ncpu: %s\n", ldnq_version(), ldnq_blas_info(), ldnq_cpu_info());
}

static enum ldnq_status run(const struct cli_command *command, int argc, char **argv,
                            struct ldnq_error *err)
{
    struct cli_line line;
    enum ldnq_status status = cli_line_parse(&line, command, argc, argv, err);
    if (status == LDNQ_OK && cli_line_flag(&line, "help")) {
        cli_print_help(command);
    } else if (status == LDNQ_OK) {
        status = command->run(&line, err);
        if (status == LDNQ_USAGE)
            cli_add_dashes(err);
    }
    cli_line_finish(&line);
    return status;
}

/* What was printed counts as done only when it got through; returns the exit code. */
static int finish(enum ldnq_status status, struct ldnq_error *err)
{
    if (status == LDNQ_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = cli_fail(err, LDNQ_IO, "standard output can't be written");
    if (status != LDNQ_OK)
        fprintf(stderr, "ldnq: %s\n", err->message);
    return (int)status;
}

static const struct cli_command *find(const char *name)
{
    size_t i = 0;
    while (commands[i] && strcmp(commands[i]->name, name) != 0)
        i++;
    return commands[i];
}

int main(int argc, char **argv)
{
    struct ldnq_error err = { .status = LDNQ_OK };
    if (argc < 2) {
        print_overview(stderr);
        return LDNQ_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_overview(stdout);
        return finish(LDNQ_OK, &err);
    }
    if (strcmp(argv[1], "--help-json") == 0)
        return finish(cli_print_help_json(commands, &err), &err);
    if (strcmp(argv[1], "--version") == 0) {
        print_version();
        return finish(LDNQ_OK, &err);
    }
    const struct cli_command *command = find(argv[1]);
    if (!command)
        return finish(
            cli_fail(&err, LDNQ_USAGE, "unknown command '%s'; 'ldnq --help' lists them", argv[1]),
            &err);
    return finish(run(command, argc - 2, argv + 2, &err), &err);
}
