/* SPDX-License-Identifier: Apache-2.0 */
#include "damage.h"

struct header_case {
    const char *header, *message;
};

/* A .npy file of this version around a header's text, with `size` bytes of data. */
static char *put_raw(struct fixture *fixture, int version, const char *header, size_t size)
{
    size_t length = strlen(header), start = version == 1 ? 10 : 12;
    unsigned char *bytes = ldnq_arena_alloc(fixture->arena, start + length + size, 1, &err);
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = (unsigned char)version;
    bytes[8] = (unsigned char)length;
    bytes[9] = (unsigned char)(length >> 8);
    memcpy(bytes + start, header, length);
    for (size_t i = 0; i < size; i++)
        bytes[start + length + i] = (unsigned char)i;
    return put_file(fixture, "x.npy", bytes, start + length + size);
}

static void npy_should_give_back_every_type_that_was_written(void **state)
{
    static const enum ldnq_dtype types[] = {
        LDNQ_FLOAT16, LDNQ_FLOAT, LDNQ_DOUBLE, LDNQ_INT8,   LDNQ_INT16,  LDNQ_INT32,
        LDNQ_INT64,   LDNQ_UINT8, LDNQ_UINT16, LDNQ_UINT32, LDNQ_UINT64, LDNQ_BOOL,
    };
    struct fixture *fixture = *state;
    struct ldnq_shape shape = shape_of(3, 2, 3, 4);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        struct ldnq_tensor *written, *read;
        assert_ok(ldnq_tensor_create(fixture->arena, types[t], &shape, &written, &err));
        size_t bytes = 24 * ldnq_dtype_size(types[t]);
        for (size_t i = 0; i < bytes; i++)
            ((unsigned char *)written->data)[i] = types[t] == LDNQ_BOOL ? i % 2 : (i * 7) & 0xff;
        assert_ok(ldnq_npy_read(put_npy(fixture, "x.npy", written), fixture->arena, &read, &err));
        assert_int_equal(read->dtype, types[t]);
        assert_true(ldnq_shapes_are_equal(&read->shape, &shape));
        assert_memory_equal(read->data, written->data, bytes);
    }
}

static void npy_should_give_back_every_rank_and_empty_arrays(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_shape shapes[] = {
        shape_of(0),
        shape_of(1, 5),
        shape_of(2, 3, 0),
        shape_of(2, 100, 21),
        shape_of(8, 1, 2, 1, 2, 1, 2, 1, 2),
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct ldnq_tensor *written = counting(fixture, shapes[i]), *read;
        const char *path = put_npy(fixture, "x.npy", written);
        assert_ok(ldnq_npy_read(path, fixture->arena, &read, &err));
        assert_true(ldnq_shapes_are_equal(&read->shape, &shapes[i]));
        assert_memory_equal(read->data, written->data, ldnq_tensor_count(written) * 4);
    }
}

static void npy_data_should_begin_at_a_multiple_of_64(void **state)
{
    struct fixture *fixture = *state;
    size_t size;
    const char *path = put_npy(fixture, "x.npy", counting(fixture, shape_of(2, 3, 4)));
    unsigned char *bytes = get_file(fixture, path, &size);
    assert_int_equal(size, 128 + 48);
    assert_int_equal(10 + bytes[8], 128);
    assert_int_equal(bytes[127], '\n');
}

static void npy_should_read_versions_1_to_3(void **state)
{
    struct fixture *fixture = *state;
    for (int version = 1; version <= 3; version++) {
        struct ldnq_tensor *read;
        const char *path = put_raw(
            fixture, version, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }\n", 6);
        assert_ok(ldnq_npy_read(path, fixture->arena, &read, &err));
        assert_memory_equal(read->data, "\0\1\2\3\4\5", 6);
    }
    assert_fails(ldnq_npy_read(put_raw(fixture, 4, "{}", 0), fixture->arena,
                               &(struct ldnq_tensor *){ NULL }, &err),
                 LDNQ_DATA, "version 4.0 is not known");
}

static void npy_header_should_be_read_in_any_spelling_of_the_dict(void **state)
{
    static const char *const headers[] = {
        "{'shape':(2L,3L),'fortran_order':False,'descr':'<i1'}",
        "{\"descr\" : \"|i1\" , \"fortran_order\" : False , \"shape\" : ( 2 , 3 , ) } \n",
        " {'fortran_order': False, 'descr': '|i1', 'shape': (2,\t3)}   \n",
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct ldnq_tensor *read;
        const char *path = put_raw(fixture, 1, headers[i], 6);
        assert_ok(ldnq_npy_read(path, fixture->arena, &read, &err));
        assert_int_equal(read->dtype, LDNQ_INT8);
        assert_int_equal(read->shape.dim[1], 3);
    }
}

static void npy_should_read_fortran_order_as_row_major(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_tensor *read;
    const char *path =
        put_raw(fixture, 1, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 4), }", 24);
    assert_ok(ldnq_npy_read(path, fixture->arena, &read, &err));
    for (int i = 0; i < 24; i++) {
        int a = i / 12, b = i / 4 % 3, c = i % 4;
        assert_int_equal(((unsigned char *)read->data)[i], a + 2 * b + 6 * c);
    }
}

static void npy_bools_should_be_0_or_1(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_tensor *read;
    const char *path =
        put_raw(fixture, 1, "{'descr': '|b1', 'fortran_order': False, 'shape': (4,), }", 4);
    assert_ok(ldnq_npy_read(path, fixture->arena, &read, &err));
    assert_memory_equal(read->data, "\0\1\1\1", 4);
}

static void npy_should_refuse_headers_that_are_not_numpys(void **state)
{
    static const struct header_case cases[] = {
        { "", "not a dict" },
        { "[]", "not a dict" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", "not a dict" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", "something follows" },
        { "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}", "not a dict" },
        { "{'descr': '<f4', 'fortran_order': False}", "lacks descr" },
        { "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "too many" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", "too many" },
        { "{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", "big-endian" },
        { "{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", "'<c8' is none of" },
        { "{'descr': '|f4', 'fortran_order': False, 'shape': (1,)}", "'|f4' is none of" },
        { "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "'|O' is none of" },
        { "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "plain type" },
        { "{'descr': '<f\\x34', 'fortran_order': False, 'shape': (1,)}", "plain type" },
        { "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", "neither True nor False" },
        { "{'descr': '<f4', 'fortran_order': Falsehood, 'shape': (1,)}", "not a dict" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': 1}", "not a tuple" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1)}", "not a tuple" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "not a size" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}", "not a size" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2)}", "comma is missing" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1e3,)}", "comma is missing" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "size" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
          "too large" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952,)}",
          "too large" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
          "more than 8 axes" },
    };
    struct fixture *fixture = *state;
    struct ldnq_tensor *read;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(
            ldnq_npy_read(put_raw(fixture, 1, cases[i].header, 4), fixture->arena, &read, &err),
            LDNQ_DATA, cases[i].message);
}

static void npy_should_refuse_data_of_another_size_than_the_headers(void **state)
{
    static const char header[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }";
    struct fixture *fixture = *state;
    struct ldnq_tensor *read;
    assert_fails(ldnq_npy_read(put_raw(fixture, 1, header, 47), fixture->arena, &read, &err),
                 LDNQ_DATA, "x.npy: has 47 bytes of data where its header counts 48");
    assert_fails(ldnq_npy_read(put_raw(fixture, 1, header, 49), fixture->arena, &read, &err),
                 LDNQ_DATA, "x.npy: has 49 bytes of data where its header counts 48");
}

static void npy_should_name_files_that_cannot_be_read(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_tensor *read;
    assert_fails(ldnq_npy_read(path_of(fixture, "none.npy"), fixture->arena, &read, &err), LDNQ_IO,
                 "none.npy: can't be opened");
    assert_fails(ldnq_npy_read(fixture->folder, fixture->arena, &read, &err), LDNQ_IO,
                 "not a regular file");
    assert_fails(ldnq_npy_read(put_text(fixture, "x.npy", "hello"), fixture->arena, &read, &err),
                 LDNQ_DATA, "x.npy: is not a valid .npy array: it does not begin as one");
}

static void npy_write_should_refuse_types_that_numpy_lacks(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_tensor tensor = { .dtype = LDNQ_BFLOAT16, .shape = { .rank = 0 } };
    assert_fails(ldnq_npy_write(path_of(fixture, "x.npy"), &tensor, &err), LDNQ_UNSUPPORTED,
                 "x.npy: a .npy file can't hold bfloat16");
    assert_int_not_equal(access(path_of(fixture, "x.npy"), F_OK), 0);
}

static void npy_write_should_name_a_folder_that_is_not_there(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/none/x.npy", fixture->folder);
    assert_fails(ldnq_npy_write(path, counting(fixture, shape_of(1, 3)), &err), LDNQ_IO,
                 "none/x.npy: can't be created");
}

static enum ldnq_status attempt(struct fixture *fixture, const char *path)
{
    struct ldnq_arena *arena;
    struct ldnq_tensor *read;
    (void)fixture;
    LDNQ_TRY(ldnq_arena_create(&arena, &err));
    enum ldnq_status status = ldnq_npy_read(path, arena, &read, &err);
    ldnq_arena_destroy(arena);
    return status;
}

static void npy_should_refuse_every_truncation(void **state)
{
    struct fixture *fixture = *state;
    const char *path = put_npy(fixture, "x.npy", counting(fixture, shape_of(2, 3, 4)));
    refuse_truncations(fixture, path, attempt, 1);
    survive_changes(fixture, path, attempt, 500);
}

static void npy_should_survive_lack_of_memory(void **state)
{
    struct fixture *fixture = *state;
    survive_lack_of_memory(
        fixture,
        put_raw(fixture, 1, "{'descr': '|u1', 'fortran_order': True, 'shape': (90, 99), }", 8910),
        attempt);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(npy_should_give_back_every_type_that_was_written),
        TEST(npy_should_give_back_every_rank_and_empty_arrays),
        TEST(npy_data_should_begin_at_a_multiple_of_64),
        TEST(npy_should_read_versions_1_to_3),
        TEST(npy_header_should_be_read_in_any_spelling_of_the_dict),
        TEST(npy_should_read_fortran_order_as_row_major),
        TEST(npy_bools_should_be_0_or_1),
        TEST(npy_should_refuse_headers_that_are_not_numpys),
        TEST(npy_should_refuse_data_of_another_size_than_the_headers),
        TEST(npy_should_name_files_that_cannot_be_read),
        TEST(npy_write_should_refuse_types_that_numpy_lacks),
        TEST(npy_write_should_name_a_folder_that_is_not_there),
        TEST(npy_should_refuse_every_truncation),
        TEST(npy_should_survive_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
