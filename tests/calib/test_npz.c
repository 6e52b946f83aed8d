/* SPDX-License-Identifier: Apache-2.0 */
#include "damage.h"
#include "npz_files.h"

#include "calib/npz.h"

static enum ldnq_status attempt(struct fixture *fixture, const char *path)
{
    struct ldnq_arena *arena;
    struct ldnq_npz npz;
    (void)fixture;
    LDNQ_TRY(ldnq_arena_create(&arena, &err));
    enum ldnq_status status = ldnq_npz_open(path, arena, &npz, &err);
    if (status == LDNQ_OK)
        ldnq_npz_close(&npz);
    ldnq_arena_destroy(arena);
    return status;
}

static void expect_floats(struct fixture *fixture, const struct ldnq_array *array,
                          const struct ldnq_tensor *wanted)
{
    struct ldnq_tensor *got;
    assert_true(ldnq_shapes_are_equal(&array->shape, &wanted->shape));
    assert_ok(ldnq_array_read_tensor(array, 0, &array->shape, fixture->arena, &got, &err));
    assert_memory_equal(got->data, wanted->data, ldnq_tensor_count(wanted) * 4);
}

static void npz_should_read_stored_and_deflated_members(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_tensor *a = counting(fixture, shape_of(2, 3, 4));
    struct ldnq_tensor *b = counting(fixture, shape_of(1, 50000));
    struct npz_member members[] = { member_of(fixture, "a.npy", a),
                                    member_of(fixture, "in/b.npy", b) };
    for (int stored = 0; stored < 2; stored++) {
        struct ldnq_npz npz;
        members[0].stored = members[1].stored = stored;
        const char *path = put_npz(fixture, "x.npz", members, 2);
        assert_ok(ldnq_npz_open(path, fixture->arena, &npz, &err));
        assert_int_equal(npz.count, 2);
        assert_string_equal(npz.keys[0], "a");
        assert_string_equal(npz.keys[1], "in/b");
        expect_floats(fixture, &npz.arrays[0], a);
        expect_floats(fixture, &npz.arrays[1], b);
        ldnq_npz_close(&npz);
    }
}

static void npz_should_unpack_large_members_to_a_file_without_a_name(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_tensor *large = counting(fixture, shape_of(2, 9, (int)(LDNQ_ARRAY_IN_MEMORY / 32)));
    struct npz_member member = member_of(fixture, "a.npy", large);
    member.stored = true; /* which is quicker */
    struct ldnq_npz npz;
    struct ldnq_arena *arena;
    const char *path = put_npz(fixture, "x.npz", &member, 1);
    assert_ok(ldnq_arena_create(&arena, &err));
    setenv("TMPDIR", fixture->folder, 1);
    assert_ok(ldnq_npz_open(path, arena, &npz, &err));
    assert_null(npz.arrays[0].data);
    assert_true(ldnq_arena_bytes(arena) < 1 << 20);
    expect_floats(fixture, &npz.arrays[0], large);
    ldnq_npz_close(&npz);
    ldnq_arena_destroy(arena);
    remove(path);
    assert_int_equal(rmdir(fixture->folder), 0); /* nothing was left in it */
    assert_int_equal(mkdir(fixture->folder, 0700), 0);
    path = put_npz(fixture, "x.npz", &member, 1);
    setenv("TMPDIR", "/nowhere", 1);
    assert_fails(attempt(fixture, path), LDNQ_IO, "x.npz[a]: no temporary file");
    unsetenv("TMPDIR");
}

static void npz_should_refuse_members_that_are_not_arrays(void **state)
{
    struct fixture *fixture = *state;
    struct npz_member text = { "a.txt", "hello", 5, false }, fake = { "a.npy", "hello", 5, false };
    assert_fails(attempt(fixture, put_npz(fixture, "x.npz", &text, 1)), LDNQ_DATA,
                 "x.npz: its member 'a.txt' is not a .npy array");
    assert_fails(attempt(fixture, put_npz(fixture, "x.npz", &fake, 1)), LDNQ_DATA,
                 "x.npz[a]: is not a valid .npy array");
    assert_fails(attempt(fixture, put_text(fixture, "x.npz", "PK\3\4 and then nothing")), LDNQ_DATA,
                 "x.npz: can't be read as .npz");
    assert_fails(attempt(fixture, path_of(fixture, "none.npz")), LDNQ_IO, "none.npz");
}

static void npz_should_refuse_a_name_twice(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_tensor *a = counting(fixture, shape_of(1, 4));
    struct npz_member members[] = { member_of(fixture, "a.npy", a),
                                    member_of(fixture, "b.npy", a) };
    size_t size;
    char *path = put_npz(fixture, "x.npz", members, 2);
    unsigned char *bytes = get_file(fixture, path, &size);
    for (size_t i = 0; i + 5 < size; i++)
        if (memcmp(bytes + i, "b.npy", 5) == 0)
            bytes[i] = 'a';
    put_file(fixture, "x.npz", bytes, size);
    assert_fails(attempt(fixture, path), LDNQ_DATA, "x.npz: has two arrays 'a'");
}

/* A member whose header counts less, or more, than the archive holds. */
static void npz_should_unpack_no_more_than_the_header_counts(void **state)
{
    struct fixture *fixture = *state;
    struct npz_member member = member_of(fixture, "a.npy", counting(fixture, shape_of(1, 8)));
    size_t larger = 4 << 20;
    unsigned char *bomb = ldnq_arena_alloc(fixture->arena, larger, 1, &err);
    memcpy(bomb, member.bytes, member.size);
    struct npz_member bombs[] = { { "a.npy", bomb, larger, false },
                                  { "a.npy", bomb, member.size - 1, false } };
    for (size_t i = 0; i < 2; i++)
        assert_fails(attempt(fixture, put_npz(fixture, "x.npz", &bombs[i], 1)), LDNQ_DATA,
                     "bytes of data where its header counts 32");
}

static void npz_should_compare_checksums(void **state)
{
    struct fixture *fixture = *state;
    struct npz_member member = member_of(fixture, "a.npy", counting(fixture, shape_of(1, 100)));
    size_t size;
    member.stored = true;
    char *path = put_npz(fixture, "x.npz", &member, 1);
    unsigned char *bytes = get_file(fixture, path, &size);
    bytes[300] ^= 1; /* in the data: 35 bytes of local header and 128 of .npy before */
    put_file(fixture, "x.npz", bytes, size);
    assert_fails(attempt(fixture, path), LDNQ_DATA, "x.npz[a]: is damaged: CRC error");
}

static void npz_should_refuse_every_truncation(void **state)
{
    struct fixture *fixture = *state;
    struct npz_member member = member_of(fixture, "a.npy", counting(fixture, shape_of(2, 9, 99)));
    const char *path = put_npz(fixture, "x.npz", &member, 1);
    refuse_truncations(fixture, path, attempt, 3);
    survive_changes(fixture, path, attempt, 200);
}

static void npz_should_survive_lack_of_memory(void **state)
{
    struct fixture *fixture = *state;
    struct npz_member member = member_of(fixture, "a.npy", counting(fixture, shape_of(2, 9, 99)));
    survive_lack_of_memory(fixture, put_npz(fixture, "x.npz", &member, 1), attempt);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(npz_should_read_stored_and_deflated_members),
        TEST(npz_should_unpack_large_members_to_a_file_without_a_name),
        TEST(npz_should_refuse_members_that_are_not_arrays),
        TEST(npz_should_refuse_a_name_twice),
        TEST(npz_should_unpack_no_more_than_the_header_counts),
        TEST(npz_should_compare_checksums),
        TEST(npz_should_refuse_every_truncation),
        TEST(npz_should_survive_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
