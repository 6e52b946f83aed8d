/* SPDX-License-Identifier: Apache-2.0 */
/* Files under several paths: links, relative paths, files that do not exist yet, devices. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_id.h"

static char folder[] = "/tmp/ldnq-test-XXXXXX";

static int enter_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || chdir(folder) != 0 || mkdir("sub", 0777) != 0)
        return 1;
    FILE *file = fopen("a", "w");
    return !file || fclose(file) != 0 || link("a", "hard") != 0 ||
           symlink("../a", "sub/soft") != 0 || symlink("sub/../new", "dangling") != 0 ||
           symlink("loop", "loop") != 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return unlink("a") + unlink("hard") + unlink("sub/soft") + unlink("dangling") + unlink("loop") +
           rmdir("sub") + rmdir(folder);
}

static bool is_same(const char *one, const char *two)
{
    struct ldnq_file_id a, b;
    ldnq_file_identify(one, &a);
    ldnq_file_identify(two, &b);
    assert_int_equal(ldnq_file_is_same(&a, &b), ldnq_file_is_same(&b, &a));
    return ldnq_file_is_same(&a, &b);
}

static void paths_to_one_file_should_be_the_same(void **state)
{
    (void)state;
    char whole[64];
    snprintf(whole, sizeof whole, "%s/a", folder);
    assert_true(is_same("a", "a"));
    assert_true(is_same("a", whole));
    assert_true(is_same("a", "sub/../a"));
    assert_true(is_same("a", "hard"));
    assert_true(is_same("a", "sub/soft"));
    assert_false(is_same("a", "new"));
}

static void files_that_do_not_exist_yet_should_be_known_by_folder_and_name(void **state)
{
    (void)state;
    assert_true(is_same("new", "./new"));
    assert_true(is_same("new", "dangling"));
    assert_false(is_same("new", "newer"));
    assert_false(is_same("new", "sub/new"));
}

static void what_is_no_file_should_be_the_same_as_nothing(void **state)
{
    (void)state;
    assert_false(is_same("/dev/null", "/dev/null"));
    assert_false(is_same("none/x", "none/x"));
    assert_false(is_same("sub", "sub"));
    assert_true(is_same("loop", "loop")); /* opening it fails */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_to_one_file_should_be_the_same),
        cmocka_unit_test(files_that_do_not_exist_yet_should_be_known_by_folder_and_name),
        cmocka_unit_test(what_is_no_file_should_be_the_same_as_nothing),
    };
    return cmocka_run_group_tests(tests, enter_folder, remove_folder);
}
