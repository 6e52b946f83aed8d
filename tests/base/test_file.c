/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

static struct ldnq_error err;

struct fixture {
    char folder[64], path[128];
    struct ldnq_arena *arena;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    strcpy(fixture->folder, "/tmp/ldnq-file-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->path, sizeof fixture->path, "%s/out", fixture->folder);
    assert_ok(ldnq_arena_create(&fixture->arena, &err));
    *state = fixture;
    return 0;
}

/* How many files there are in the folder; deletes them when asked to. */
static size_t count_files(const struct fixture *fixture, bool delete)
{
    size_t count = 0;
    DIR *stream = opendir(fixture->folder);
    for (struct dirent *entry; (entry = readdir(stream));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count++;
        if (delete)
            unlinkat(dirfd(stream), entry->d_name, entry->d_type == DT_DIR ? AT_REMOVEDIR : 0);
    }
    closedir(stream);
    return count;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    ldnq_alloc_fail_after(-1);
    chmod(fixture->folder, 0700);
    count_files(fixture, true);
    rmdir(fixture->folder);
    ldnq_arena_destroy(fixture->arena);
    free(fixture);
    return 0;
}

static void assert_content(struct fixture *fixture, const char *path, const char *content)
{
    void *bytes;
    size_t size;
    assert_ok(ldnq_file_read(path, fixture->arena, &bytes, &size, &err));
    assert_int_equal(size, strlen(content));
    assert_memory_equal(bytes, content, size);
}

static void put(const char *path, const char *content)
{
    assert_ok(ldnq_file_write(path, content, strlen(content), &err));
}

/* ---- reading ------------------------------------------------------------------ */

static void what_was_written_should_be_read_back(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->path, "some content");
    assert_content(fixture, fixture->path, "some content");
    put(fixture->path, "");
    assert_content(fixture, fixture->path, "");
    assert_int_equal(count_files(fixture, false), 1);
}

static void read_should_name_the_file_and_the_reason(void **state)
{
    struct fixture *fixture = *state;
    void *bytes;
    size_t size;
    assert_fails(ldnq_file_read(fixture->path, fixture->arena, &bytes, &size, &err), LDNQ_IO,
                 "/out: can't be opened: No such file");
    assert_fails(ldnq_file_read(fixture->folder, fixture->arena, &bytes, &size, &err), LDNQ_IO,
                 "is not a regular file");
    assert_non_null(strstr(err.message, fixture->folder));
    put(fixture->path, "content");
    ldnq_alloc_fail_after(0);
    assert_fails(ldnq_file_read(fixture->path, fixture->arena, &bytes, &size, &err), LDNQ_NOMEM,
                 fixture->path);
}

/* The alarm ends a read that waits for a writer. */
static void a_pipe_should_be_refused_without_waiting(void **state)
{
    struct fixture *fixture = *state;
    void *bytes;
    size_t size;
    char prefix[8];
    assert_int_equal(mkfifo(fixture->path, 0600), 0);
    alarm(10);
    assert_fails(ldnq_file_read(fixture->path, fixture->arena, &bytes, &size, &err), LDNQ_IO,
                 "/out: is not a regular file");
    assert_fails(ldnq_file_read_prefix(fixture->path, prefix, sizeof prefix, &size, &err), LDNQ_IO,
                 "/out: is not a regular file");
    assert_fails(ldnq_file_read("/dev/zero", fixture->arena, &bytes, &size, &err), LDNQ_IO,
                 "/dev/zero: is not a regular file");
    alarm(0);
}

static void a_prefix_should_end_with_the_file(void **state)
{
    struct fixture *fixture = *state;
    char prefix[8];
    size_t size;
    put(fixture->path, "content");
    assert_ok(ldnq_file_read_prefix(fixture->path, prefix, 3, &size, &err));
    assert_int_equal(size, 3);
    assert_memory_equal(prefix, "con", 3);
    assert_ok(ldnq_file_read_prefix(fixture->path, prefix, sizeof prefix, &size, &err));
    assert_int_equal(size, 7);
}

/* ---- writing ------------------------------------------------------------------ */

static void a_file_should_take_its_name_only_when_it_is_whole(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_file_writer writer;
    put(fixture->path, "old");
    assert_ok(ldnq_file_writer_init(&writer, fixture->path, &err));
    assert_ok(ldnq_file_writer_write(&writer, "new ", 4, &err));
    assert_ok(ldnq_file_writer_write(&writer, "content", 7, &err));
    fflush(writer.stream);
    assert_content(fixture, fixture->path, "old");
    assert_ok(ldnq_file_writer_commit(&writer, &err));
    ldnq_file_writer_finish(&writer);
    assert_content(fixture, fixture->path, "new content");
    assert_int_equal(count_files(fixture, false), 1);
}

static void a_writer_that_is_given_up_should_leave_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_file_writer writer;
    put(fixture->path, "old");
    assert_ok(ldnq_file_writer_init(&writer, fixture->path, &err));
    assert_ok(ldnq_file_writer_write(&writer, "new", 3, &err));
    assert_in_range(count_files(fixture, false), 1, 2); /* unnamed, or temporary */
    ldnq_file_writer_finish(&writer);
    assert_int_equal(count_files(fixture, false), 1);
    assert_content(fixture, fixture->path, "old");
    ldnq_file_writer_finish(&writer);
}

static void permissions_should_be_those_of_an_ordinary_file(void **state)
{
    struct fixture *fixture = *state;
    struct stat info;
    mode_t mask = umask(027);
    put(fixture->path, "x");
    umask(mask);
    assert_int_equal(stat(fixture->path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
}

/* The stream's own descriptor is taken away, so that flushing must fail. */
static void a_failing_commit_should_leave_the_old_content(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_file_writer writer;
    put(fixture->path, "old");
    assert_ok(ldnq_file_writer_init(&writer, fixture->path, &err));
    assert_ok(ldnq_file_writer_write(&writer, "new", 3, &err));
    int full = open("/dev/full", O_WRONLY);
    assert_true(full >= 0);
    dup2(full, fileno(writer.stream));
    close(full);
    assert_fails(ldnq_file_writer_commit(&writer, &err), LDNQ_IO, "No space left on device");
    assert_non_null(strstr(err.message, fixture->path));
    ldnq_file_writer_finish(&writer);
    assert_content(fixture, fixture->path, "old");
    assert_int_equal(count_files(fixture, false), 1);
}

static void a_disk_that_fills_up_should_be_an_error_that_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    static char large[300000];
    struct rlimit limit, small;
    put(fixture->path, "old");
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    small = limit;
    small.rlim_cur = 100000;
    setrlimit(RLIMIT_FSIZE, &small);
    /* A single byte beyond the limit comes out only when it is flushed. */
    enum ldnq_status in_put = ldnq_file_write(fixture->path, large, sizeof large, NULL);
    enum ldnq_status in_commit = ldnq_file_write(fixture->path, large, 100001, &err);
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, before);
    assert_int_equal(in_put, LDNQ_IO);
    assert_int_equal(in_commit, LDNQ_IO);
    assert_non_null(strstr(err.message, "can't be written: File too large"));
    assert_content(fixture, fixture->path, "old");
    assert_int_equal(count_files(fixture, false), 1);
}

static void a_folder_that_is_not_there_should_be_named(void **state)
{
    struct fixture *fixture = *state;
    char path[160];
    snprintf(path, sizeof path, "%s/none/out", fixture->folder);
    assert_fails(ldnq_file_write(path, "x", 1, &err), LDNQ_IO,
                 "/none/out: can't be created: No such file or directory");
}

static void an_unwritable_folder_should_be_named(void **state)
{
    struct fixture *fixture = *state;
    bool is_root = geteuid() == 0; /* whom no permission stops */
    chmod(fixture->folder, 0555);
    if (is_root)
        assert_int_equal(seteuid(65534), 0);
    enum ldnq_status status = ldnq_file_write(fixture->path, "x", 1, &err);
    if (is_root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(status, LDNQ_IO);
    assert_non_null(strstr(err.message, "/out: can't be created: Permission denied"));
}

static void a_folder_in_the_files_place_should_be_refused_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_file_writer writer;
    assert_int_equal(mkdir(fixture->path, 0777), 0);
    assert_fails(ldnq_file_writer_init(&writer, fixture->path, &err), LDNQ_IO,
                 "/out: can't be created: Is a directory");
    ldnq_file_writer_finish(&writer);
    assert_int_equal(count_files(fixture, false), 1);
}

static void a_device_or_pipe_should_be_written_to_and_not_replaced(void **state)
{
    struct fixture *fixture = *state;
    struct stat info;
    char text[16] = "";
    assert_int_equal(mkfifo(fixture->path, 0600), 0);
    int reader = open(fixture->path, O_RDONLY | O_NONBLOCK);
    put(fixture->path, "through");
    assert_int_equal(read(reader, text, sizeof text), 7);
    assert_string_equal(text, "through");
    close(reader);
    assert_int_equal(stat(fixture->path, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    assert_int_equal(count_files(fixture, false), 1);
    char null[160];
    snprintf(null, sizeof null, "%s/link", fixture->folder);
    assert_int_equal(symlink("/dev/null", null), 0);
    put(null, "nowhere");
    assert_int_equal(stat(null, &info), 0);
    assert_true(S_ISCHR(info.st_mode));
}

static void a_failing_allocator_should_leave_nothing(void **state)
{
    struct fixture *fixture = *state;
    for (long allowed = 0; allowed < 2; allowed++) {
        ldnq_alloc_fail_after(allowed);
        assert_fails(ldnq_file_write(fixture->path, "x", 1, &err), LDNQ_NOMEM, "memory");
        assert_int_equal(count_files(fixture, false), 0);
    }
}

/* ---- descriptors -------------------------------------------------------------------------- */

static void files_should_never_get_the_descriptor_of_a_standard_stream(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_file_writer writer;
    size_t size;
    int fds[4];
    const int input = dup(STDIN_FILENO);
    assert_true(input > STDERR_FILENO);
    close(STDIN_FILENO);
    fds[0] = ldnq_file_create_unnamed(fixture->folder);
    assert_ok(ldnq_file_writer_init(&writer, fixture->path, &err));
    fds[1] = fileno(writer.stream);
    assert_ok(ldnq_file_writer_commit(&writer, &err));
    ldnq_file_writer_finish(&writer);
    assert_ok(ldnq_file_open(fixture->path, &fds[2], &size, &err));
    FILE *stream = ldnq_file_create(fixture->path);
    fds[3] = fileno(stream);
    const bool is_free = fcntl(STDIN_FILENO, F_GETFD) < 0;
    dup2(input, STDIN_FILENO);
    close(input);
    for (int i = 0; i < 4; i++)
        assert_true(fds[i] > STDERR_FILENO);
    assert_true(is_free);
    fclose(stream);
    close(fds[2]);
    close(fds[0]);
    assert_int_equal(count_files(fixture, false), 1); /* the unnamed one has no name */
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(files_should_never_get_the_descriptor_of_a_standard_stream),
        WITH_FOLDER(what_was_written_should_be_read_back),
        WITH_FOLDER(read_should_name_the_file_and_the_reason),
        WITH_FOLDER(a_pipe_should_be_refused_without_waiting),
        WITH_FOLDER(a_prefix_should_end_with_the_file),
        WITH_FOLDER(a_file_should_take_its_name_only_when_it_is_whole),
        WITH_FOLDER(a_writer_that_is_given_up_should_leave_nothing),
        WITH_FOLDER(permissions_should_be_those_of_an_ordinary_file),
        WITH_FOLDER(a_failing_commit_should_leave_the_old_content),
        WITH_FOLDER(a_disk_that_fills_up_should_be_an_error_that_leaves_nothing),
        WITH_FOLDER(a_folder_that_is_not_there_should_be_named),
        WITH_FOLDER(an_unwritable_folder_should_be_named),
        WITH_FOLDER(a_folder_in_the_files_place_should_be_refused_at_once),
        WITH_FOLDER(a_device_or_pipe_should_be_written_to_and_not_replaced),
        WITH_FOLDER(a_failing_allocator_should_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
