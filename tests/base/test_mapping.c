/* SPDX-License-Identifier: Apache-2.0 */
/* Memory whose contents are in a file: its pages go and come back. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/mapping.h"

#define SIZE ((size_t)4 << 20)

static struct ldnq_error err;

/* Bytes of the process that are in memory. */
static size_t read_resident_bytes(void)
{
    size_t size = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &size, &pages), 2);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void fill(char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 31 + i / 4096);
}

static void assert_filled(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        assert_int_equal(bytes[i], (char)(i * 31 + i / 4096));
}

static void released_pages_should_leave_memory_and_keep_their_contents(void **state)
{
    (void)state;
    char *bytes = ldnq_mapping_create(SIZE);
    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(bytes[i], 0);
    fill(bytes, SIZE);
    const size_t before = read_resident_bytes();
    ldnq_mapping_release_pages(bytes + 5, SIZE - 5);
    assert_true(read_resident_bytes() + SIZE / 2 < before);
    assert_filled(bytes, SIZE);
    ldnq_mapping_destroy(bytes);
}

static void other_memory_should_not_be_released(void **state)
{
    (void)state;
    char *mapped = ldnq_mapping_create(SIZE), *heap = malloc(SIZE);
    assert_non_null(mapped);
    assert_non_null(heap);
    fill(heap, SIZE);
    ldnq_mapping_release_pages(heap, SIZE);
    assert_filled(heap, SIZE);
    ldnq_mapping_release_pages(mapped + SIZE / 2, SIZE); /* beyond the end of the mapping */
    ldnq_mapping_release_pages(NULL, 0);
    free(heap);
    ldnq_mapping_destroy(mapped);
    ldnq_mapping_destroy(NULL);
}

static void a_file_that_was_written_to_should_be_named(void **state)
{
    (void)state;
    char path[] = "/tmp/ldnq-test-XXXXXX", *written = malloc(SIZE);
    void *bytes;
    size_t size;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    fill(written, SIZE);
    assert_int_equal(write(fd, written, SIZE), SIZE);
    assert_ok(ldnq_mapping_open(path, &bytes, &size, &err));
    assert_ok(ldnq_mapping_check_unchanged(bytes, path, &err));
    assert_int_equal(ftruncate(fd, SIZE / 2), 0);
    assert_int_equal(ldnq_mapping_check_unchanged(bytes, path, &err), LDNQ_IO);
    assert_non_null(strstr(err.message, path));
    unlink(path); /* what has no name any more can't be told, and is as it was mapped */
    assert_ok(ldnq_mapping_check_unchanged(bytes, path, &err));
    ldnq_mapping_destroy(bytes);
    close(fd);
    free(written);
}

static void a_file_should_be_mapped_as_a_whole(void **state)
{
    (void)state;
    char path[] = "/tmp/ldnq-test-XXXXXX", *written = malloc(SIZE);
    void *bytes;
    size_t size;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_ok(ldnq_mapping_open(path, &bytes, &size, &err));
    assert_int_equal(size, 0);
    assert_non_null(bytes);
    ldnq_mapping_destroy(bytes);
    fill(written, SIZE);
    assert_int_equal(write(fd, written, SIZE), SIZE);
    close(fd);
    assert_ok(ldnq_mapping_open(path, &bytes, &size, &err));
    assert_int_equal(size, SIZE);
    assert_memory_equal(bytes, written, SIZE);
    ldnq_mapping_destroy(bytes);
    ldnq_alloc_fail_after(0);
    assert_int_equal(ldnq_mapping_open(path, &bytes, &size, &err), LDNQ_NOMEM);
    ldnq_alloc_fail_after(-1);
    unlink(path);
    assert_int_equal(ldnq_mapping_open(path, &bytes, &size, &err), LDNQ_IO);
    free(written);
}

static void an_arena_should_map_large_objects_beyond_its_limit(void **state)
{
    (void)state;
    struct ldnq_arena *arena;
    assert_ok(ldnq_arena_create(&arena, &err));
    ldnq_arena_limit_memory(arena, SIZE);
    char *objects[4];
    const size_t before = ldnq_arena_bytes(arena);
    for (size_t i = 0; i < 4; i++) {
        objects[i] = ldnq_arena_alloc(arena, SIZE - 64, 1, &err);
        assert_non_null(objects[i]);
        for (size_t b = 0; b < SIZE - 64; b++)
            assert_int_equal(objects[i][b], 0);
        fill(objects[i], SIZE - 64);
    }
    assert_true(ldnq_arena_bytes(arena) - before <= SIZE);
    ldnq_alloc_fail_after(0);
    assert_null(ldnq_arena_alloc(arena, SIZE, 1, &err));
    ldnq_alloc_fail_after(-1);
    for (size_t i = 0; i < 4; i++) {
        ldnq_mapping_release_pages(objects[i], SIZE - 64);
        assert_filled(objects[i], SIZE - 64);
    }
    ldnq_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(released_pages_should_leave_memory_and_keep_their_contents),
        cmocka_unit_test(other_memory_should_not_be_released),
        cmocka_unit_test(a_file_should_be_mapped_as_a_whole),
        cmocka_unit_test(a_file_that_was_written_to_should_be_named),
        cmocka_unit_test(an_arena_should_map_large_objects_beyond_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
