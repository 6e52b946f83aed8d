/* main.c: ldnq's commands, and what all of them share: help, version, exit codes. */
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "linalg/blas.h"

#include "cli/options.h"

static const struct cli_command *const commands[] = {
    &cli_cmd_quantize, &cli_cmd_diff, &cli_cmd_eval, &cli_cmd_run, &cli_cmd_inspect,
};

#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void print_overview(FILE *stream)
{
    fprintf(stream, "usage: ldnq COMMAND ...\n\n"
                    "Quantizes float ONNX models from a handful of samples.\n\ncommands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(stream, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(stream,
            "\n'ldnq COMMAND --help' tells more; 'ldnq --version' names the version, the\n"
            "BLAS and the processor's features in use.\n\n"
            "exit codes: 0 done, 2 usage, 3 file, 4 damaged or invalid model,\n"
            "5 unsupported, 6 data, 7 numeric, 8 out of memory, 9 a --fail- gate said no\n");
}

static void print_version(void)
{
    char blas[128], cpu[128];
    ldnq_blas_acquire();
    printf("ldnq %s\nblas: %s\ncpu: %s\n", LDNQ_VERSION, ldnq_blas_describe(blas, sizeof blas),
           ldnq_cpu_describe(cpu, sizeof cpu));
    ldnq_blas_release();
}

static enum ldnq_status run(const struct cli_command *command, int argc, char **argv,
                            struct ldnq_error *err)
{
    struct cli_settings settings;
    enum ldnq_status status = cli_settings_parse(&settings, command, argc, argv, err);
    if (status == LDNQ_OK && settings.help)
        cli_print_help(command);
    else if (status == LDNQ_OK)
        status = command->run(&settings, err);
    cli_settings_finish(&settings);
    return status;
}

/* What was printed counts as done only when it got through; returns the exit code. */
static int finish(enum ldnq_status status, struct ldnq_error *err)
{
    if (status == LDNQ_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = ldnq_fail(err, LDNQ_IO, "standard output can't be written");
    if (status != LDNQ_OK)
        fprintf(stderr, "ldnq: %s\n", err->message);
    return (int)status;
}

static const struct cli_command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    struct ldnq_error err = { 0 };
    if (argc < 2) {
        print_overview(stderr);
        return LDNQ_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_overview(stdout);
        return finish(LDNQ_OK, &err);
    }
    if (strcmp(argv[1], "--version") == 0) {
        print_version();
        return finish(LDNQ_OK, &err);
    }
    const struct cli_command *command = find(argv[1]);
    if (!command)
        return finish(
            ldnq_fail(&err, LDNQ_USAGE, "unknown command '%s'; 'ldnq --help' lists them", argv[1]),
            &err);
    return finish(run(command, argc - 2, argv + 2, &err), &err);
}
