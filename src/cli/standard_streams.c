/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/standard_streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/failure.h"
#include "cli/line.h"

#define FIRST_BYTES ((size_t)1 << 16)

enum ldnq_status cli_read_standard_input(void **bytes, size_t *size, struct ldnq_error *err)
{
    size_t room = 0, used = 0;
    char *data = NULL;
    do {
        if (used == room) {
            room = room ? 2 * room : FIRST_BYTES;
            char *larger = realloc(data, room);
            if (!larger) {
                free(data);
                return cli_fail(err, LDNQ_NOMEM, "standard input: out of memory");
            }
            data = larger;
        }
        used += fread(data + used, 1, room - used, stdin);
    } while (!feof(stdin) && !ferror(stdin));
    if (ferror(stdin) || used == 0) {
        free(data);
        return cli_fail(err, LDNQ_IO, "standard input %s",
                        used ? "can't be read" : "is empty, where a model is expected");
    }
    *bytes = data;
    *size = used;
    return LDNQ_OK;
}

/* ---- samples ------------------------------------------------------------------------------- */

const char cli_standard_input_path[] = "/dev/stdin";

/* A file that standard input is the start of. */
static bool is_regular_file_at_start(void)
{
    struct stat info;
    return fstat(STDIN_FILENO, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 &&
           lseek(STDIN_FILENO, 0, SEEK_CUR) == 0;
}

static enum ldnq_status copy_standard_input(FILE *file, struct ldnq_error *err)
{
    char block[FIRST_BYTES];
    size_t size, all = 0;
    while ((size = fread(block, 1, sizeof block, stdin)) > 0) {
        if (fwrite(block, 1, size, file) != size)
            return cli_fail(err, LDNQ_IO, "standard input: no room for it in a temporary file");
        all += size;
    }
    if (ferror(stdin) || all == 0)
        return cli_fail(err, LDNQ_IO, "standard input %s",
                        all ? "can't be read" : "is empty, where samples are expected");
    if (fflush(file) != 0 || dup2(fileno(file), STDIN_FILENO) < 0)
        return cli_fail(err, LDNQ_IO, "standard input: no room for it in a temporary file");
    return LDNQ_OK;
}

enum ldnq_status cli_make_standard_input_a_file(struct ldnq_error *err)
{
    if (is_regular_file_at_start())
        return LDNQ_OK;
    if (isatty(STDIN_FILENO))
        return cli_fail(err, LDNQ_USAGE,
                        "standard input is a terminal, where samples (.npy, .npz) are expected");
    FILE *file = tmpfile();
    if (!file)
        return cli_fail(err, LDNQ_IO, "standard input: no temporary file for it");
    const enum ldnq_status status = copy_standard_input(file, err);
    fclose(file);
    return status;
}

/* ---- outputs ------------------------------------------------------------------------------- */

/* Outputs that can go to standard output, and the part of the result that they are. */
static const struct streamed_output {
    const char *option, *part;
    unsigned jobs;
} streamed_outputs[] = {
    { "output", "model", LDNQ_JOB_QUANTIZE },
    { "report", "html", LDNQ_JOB_QUANTIZE },
    { "html", "html", LDNQ_JOB_DIFF },
};

static enum ldnq_status stream_output(struct cli_line *line, const struct cli_command *command,
                                      const struct streamed_output *output, struct ldnq_error *err)
{
    const bool is_model = strcmp(output->part, "model") == 0;
    if (line->streamed || cli_line_has_flag(line, "json"))
        return cli_fail(
            err, LDNQ_USAGE, "%s: --%s '-' wants standard output, where %s goes; choose a path",
            command->name, output->option, line->streamed ? "another output" : "the JSON");
    if (is_model && isatty(STDOUT_FILENO))
        return cli_fail(err, LDNQ_USAGE,
                        "%s: --output '-' is standard output, which is a terminal; choose a path, "
                        "or write into a pipe",
                        command->name);
    line->streamed = output->part;
    const enum ldnq_status status = ldnq_options_set(line->options, output->option, NULL, err);
    return status == LDNQ_OK && !is_model ? ldnq_options_set(line->options, "page", "1", err)
                                          : status;
}

enum ldnq_status cli_line_stream_output(struct cli_line *line, const struct cli_command *command,
                                        struct ldnq_error *err)
{
    enum ldnq_status status = LDNQ_OK;
    const size_t count = sizeof streamed_outputs / sizeof *streamed_outputs;
    for (size_t i = 0; status == LDNQ_OK && i < count; i++) {
        const struct streamed_output *output = &streamed_outputs[i];
        const char *path = cli_line_text(line, output->option);
        if ((output->jobs & command->job) && path && strcmp(path, "-") == 0)
            status = stream_output(line, command, output, err);
    }
    return status;
}

enum ldnq_status cli_write_streamed(const struct cli_line *line, const struct ldnq_result *result,
                                    struct ldnq_error *err)
{
    size_t size;
    const void *bytes = ldnq_result_bytes(result, line->streamed, &size);
    if (fwrite(bytes, 1, size, stdout) != size)
        return cli_fail(err, LDNQ_IO, "standard output can't be written");
    return LDNQ_OK;
}
