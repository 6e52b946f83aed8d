/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output_paths.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/failure.h"
#include "cli/line.h"

/* Whether what is written to the path appears where the descriptor writes. What /dev/null gets is
 * never seen. A file gets another inode when it is replaced, and so would the link /dev/stdout. */
static bool leads_to_stream(const char *path, int descriptor)
{
    struct stat file, stream;
    return stat(path, &file) == 0 && fstat(descriptor, &stream) == 0 &&
           file.st_dev == stream.st_dev && file.st_ino == stream.st_ino &&
           (!S_ISCHR(file.st_mode) || isatty(descriptor));
}

/* A result in a pipe has no summary, so that standard output may be that pipe. */
static bool is_alone_in_pipe(const struct cli_line *line, const char *option, int descriptor)
{
    struct stat stream;
    return descriptor == STDOUT_FILENO && strcmp(option, "output") == 0 &&
           !cli_line_has_flag(line, "json") && fstat(descriptor, &stream) == 0 &&
           S_ISFIFO(stream.st_mode);
}

enum ldnq_status cli_check_output_paths(const struct cli_line *line, const char *command,
                                        struct ldnq_error *err)
{
    static const char *const options[] = {
        "output", "report", "html", "log", "plan", "checkpoint"
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const char *path = cli_line_text(line, options[i]);
        if (!path)
            continue;
        if (strcmp(path, "-") == 0)
            return cli_fail(err, LDNQ_USAGE,
                            "%s: --%s takes a path, not '-'; './-' is a file of that name", command,
                            options[i]);
        for (int stream = STDOUT_FILENO; stream <= STDERR_FILENO; stream++)
            if (leads_to_stream(path, stream) && !is_alone_in_pipe(line, options[i], stream))
                return cli_fail(err, LDNQ_USAGE,
                                "%s: --%s '%s' is also standard %s, which the program prints to; "
                                "choose another path",
                                command, options[i], path,
                                stream == STDOUT_FILENO ? "output" : "error");
    }
    return LDNQ_OK;
}
