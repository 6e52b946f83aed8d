/* SPDX-License-Identifier: Apache-2.0 */
/* write_manual.c: writes a manual page or a completion script to stdout. Runs as a part of the
 * build and is not installed.
 *
 *     write_manual ldnq.1 | ldnq-COMMAND.1 | ldnq | _ldnq
 *
 * The argument is the name of the installed file; "ldnq" is bash's completion, "_ldnq" zsh's. */
#include <stdio.h>
#include <string.h>

#include "cli/manual/man_page.h"
#include "cli/manual/shell_completion.h"

static bool write_file(const char *name)
{
    if (strcmp(name, "ldnq.1") == 0) {
        man_page_write_overview();
        return true;
    }
    if (strcmp(name, "ldnq") == 0) {
        shell_completion_write_bash();
        return true;
    }
    if (strcmp(name, "_ldnq") == 0) {
        shell_completion_write_zsh();
        return true;
    }
    for (size_t i = 0; cli_commands[i]; i++) {
        char page[64];
        snprintf(page, sizeof page, "ldnq-%s.1", cli_commands[i]->name);
        if (strcmp(name, page) == 0) {
            man_page_write_command(cli_commands[i]);
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    if (argc != 2 || !write_file(argv[1])) {
        fprintf(stderr, "usage: write_manual ldnq.1|ldnq-COMMAND.1|ldnq|_ldnq\n");
        return LDNQ_USAGE;
    }
    return fflush(stdout) != 0 || ferror(stdout) ? LDNQ_IO : LDNQ_OK;
}
