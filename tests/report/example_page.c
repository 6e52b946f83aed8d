/* SPDX-License-Identifier: Apache-2.0 */
/* example_page KIND FOLDER: writes FOLDER/page.html and FOLDER/diff.json of a diff that is
 * made by hand, for tests/python/test_report_page.py and for looking at. */
#include "report/report.h"

#include <stdio.h>

#include "base/file.h"
#include "sample_diff.h"

static const struct kind {
    const char *name;
    struct sample_options options;
} kinds[] = {
    { "full", { 54, true, true, true } },
    { "many", { 300, true, true, true } },
    { "one", { 1, true, true, true } },
    { "still", { 54, true, false, false } }, /* no samples */
    { "float", { 12, false, true, false } }, /* float against float */
    { "bare", { 3, false, false, false } },
    { "empty", { 0, false, false, false } },
};

static enum ldnq_status write_both(const struct ldnq_diff *diff, const char *folder,
                                   struct ldnq_error *err)
{
    char path[1024], *text;
    snprintf(path, sizeof path, "%s/page.html", folder);
    LDNQ_TRY(ldnq_diff_write_html(diff, path, err));
    LDNQ_TRY(ldnq_diff_print_json(diff, &text, err));
    snprintf(path, sizeof path, "%s/diff.json", folder);
    const enum ldnq_status status = ldnq_file_write(path, text, strlen(text), err);
    ldnq_report_free(text);
    return status;
}

int main(int argc, char **argv)
{
    static struct ldnq_error err;
    struct ldnq_arena *arena;
    for (size_t i = 0; argc == 3 && i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, argv[1]) != 0)
            continue;
        enum ldnq_status status = ldnq_arena_create(&arena, &err);
        if (status == LDNQ_OK)
            status = write_both(sample_diff(arena, &kinds[i].options), argv[2], &err);
        ldnq_arena_destroy(arena);
        if (status != LDNQ_OK)
            fprintf(stderr, "%s\n", err.message);
        return (int)status;
    }
    fprintf(stderr, "example_page KIND FOLDER; kinds:");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        fprintf(stderr, " %s", kinds[i].name);
    fprintf(stderr, "\n");
    return LDNQ_USAGE;
}
