/* SPDX-License-Identifier: Apache-2.0 */
/* test_man_page.c: text that roff would read as a request or an escape. What tools make of the
 * real pages is tested in tests/python/test_manual.py. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

#include "cli/line.h"
#include "cli/manual/man_page.h"

static const struct cli_command cli_command_odd = {
    .name = "odd",
    .job = LDNQ_JOB_INSPECT,
    .arguments = "MODEL [NAME=]FILE.npy --dim N",
    .summary = "read 'it'",
    .details = ".npy at the start\n'quoted' and back\\slash, ~ ^ ` top-1 --top-k\n\n.second",
    .examples = "  ldnq odd -x \\\n       '.^~'\n  .dot \"\\n\"",
};
const struct cli_command *const cli_commands[] = { &cli_command_odd, NULL };
const struct cli_general_option cli_general_options[] = { { "--help", ".help" }, { NULL, NULL } };
const struct cli_exit_code cli_exit_codes[] = { { LDNQ_OK, ".done" }, { LDNQ_OK, NULL } };

bool cli_command_has_option(const struct cli_command *command, const struct ldnq_option *option)
{
    return (option->jobs & command->job) != 0;
}

/* The page of the command, or the overview for NULL. */
static void read_page(const struct cli_command *command, char *text, size_t size)
{
    FILE *file = tmpfile();
    const int saved = dup(STDOUT_FILENO);
    assert_non_null(file);
    fflush(stdout);
    assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
    if (command)
        man_page_write_command(command);
    else
        man_page_write_overview();
    fflush(stdout);
    assert_true(dup2(saved, STDOUT_FILENO) >= 0);
    close(saved);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

static void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not on the page: %s", part, text);
}

static void text_should_not_become_a_request(void **state)
{
    (void)state;
    char page[8192];
    read_page(&cli_command_odd, page, sizeof page);
    assert_contains(page, ".SH DESCRIPTION\n\\&.npy at the start\n\\(aqquoted\\(aq and ");
    assert_contains(page, "\n.PP\n\\&.second\n");
    assert_contains(page, "\\fB0\\fR\n\\&.done\n");
    read_page(NULL, page, sizeof page);
    assert_contains(page, "\\fB\\-\\-help\\fR\n\\&.help\n");
}

static void characters_of_a_shell_should_be_printed_as_they_are(void **state)
{
    (void)state;
    char page[8192];
    read_page(&cli_command_odd, page, sizeof page);
    assert_contains(page, " back\\(rsslash, \\(ti \\(ha \\(ga top\\-1 \\fB\\-\\-top\\-k\\fR\n");
    assert_contains(page, ".nf\nldnq odd \\-x \\(rs\n     \\(aq.\\(ha\\(ti\\(aq\n.fi\n");
    assert_contains(page, ".PP\n.RS 4\n.nf\n\\&.dot \"\\(rsn\"\n.fi\n.RE\n");
}

static void names_should_be_marked_in_the_synopsis_alone(void **state)
{
    (void)state;
    char page[8192];
    read_page(&cli_command_odd, page, sizeof page);
    assert_contains(page, "\\fBldnq odd\\fR \\fIMODEL\\fR [\\fINAME\\fR=]\\fIFILE\\fR.npy "
                          "\\fB\\-\\-dim\\fR \\fIN\\fR\n");
    assert_contains(page, "\nldnq\\-odd \\- read \\(aqit\\(aq\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_should_not_become_a_request),
        cmocka_unit_test(characters_of_a_shell_should_be_printed_as_they_are),
        cmocka_unit_test(names_should_be_marked_in_the_synopsis_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
