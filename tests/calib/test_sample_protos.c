/* SPDX-License-Identifier: Apache-2.0 */
#include "damage.h"

/* A serialized TensorProto of floats 0, 1, 2 ... + first: dims (1), data_type (2)
 * and raw_data (9). Sizes stay below 128, so that each takes one byte. */
static char *put_proto(struct fixture *fixture, const char *name, struct ldnq_shape shape,
                       int first)
{
    unsigned char bytes[256];
    size_t used = 0, count = 0;
    ldnq_shape_count(&shape, &count);
    for (int i = 0; i < shape.rank; i++) {
        bytes[used++] = 1 << 3;
        bytes[used++] = (unsigned char)shape.dim[i];
    }
    bytes[used++] = 2 << 3;
    bytes[used++] = LDNQ_FLOAT;
    bytes[used++] = 9 << 3 | 2;
    bytes[used++] = (unsigned char)(4 * count);
    for (size_t i = 0; i < count; i++, used += 4) {
        float value = (float)first + (float)i;
        memcpy(bytes + used, &value, 4);
    }
    return put_file(fixture, name, bytes, used);
}

static struct ldnq_graph *two_inputs(struct fixture *fixture)
{
    struct ldnq_graph *graph = graph_of(fixture, 2);
    add_input(graph, "a", LDNQ_FLOAT, shape_of(2, -1, 3));
    add_input(graph, "b", LDNQ_FLOAT, shape_of(2, -1, 2));
    return graph;
}

static void expect_floats(const struct ldnq_tensor *tensor, size_t count, const float *wanted)
{
    assert_int_equal(ldnq_tensor_count(tensor), count);
    assert_memory_equal(tensor->data, wanted, count * sizeof(float));
}

static void test_data_sets_should_be_one_sample_each(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_tensor *inputs[2];
    put_proto(fixture, "test_data_set_0/input_0.pb", shape_of(2, 1, 3), 0);
    put_proto(fixture, "test_data_set_0/input_1.pb", shape_of(2, 1, 2), 10);
    put_proto(fixture, "test_data_set_0/output_0.pb", shape_of(1, 1), 0);
    put_proto(fixture, "test_data_set_1/input_0.pb", shape_of(2, 1, 3), 20);
    put_proto(fixture, "test_data_set_1/input_1.pb", shape_of(2, 1, 2), 30);
    put_text(fixture, "other/README", "nothing of ours");
    assert_ok(read_all(fixture->folder, two_inputs(fixture), &options, fixture->arena, inputs));
    expect_floats(inputs[0], 6, (const float[]){ 0, 1, 2, 20, 21, 22 });
    expect_floats(inputs[1], 4, (const float[]){ 10, 11, 30, 31 });
}

static void one_folder_should_be_one_sample_of_several_inputs(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    put_proto(fixture, "input_0.pb", shape_of(2, 1, 3), 0);
    put_proto(fixture, "input_1.pb", shape_of(1, 2), 10);
    assert_ok(ldnq_samples_open(fixture->folder, two_inputs(fixture), &options, &samples, &err));
    assert_int_equal(ldnq_samples_count(samples), 1);
    assert_string_equal(ldnq_samples_name(samples, 0), fixture->folder);
    assert_int_equal(ldnq_samples_label(samples, 0), -1);
    ldnq_samples_destroy(samples);
}

static void files_should_be_a_sample_each_for_one_input(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_tensor *input;
    put_proto(fixture, "b.pb", shape_of(2, 1, 3), 10);
    put_proto(fixture, "a.pb", shape_of(1, 3), 0);
    put_proto(fixture, "output_0.pb", shape_of(1, 7), 0);
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, 3));
    assert_ok(read_all(fixture->folder, graph, &options, fixture->arena, &input));
    expect_floats(input, 6, (const float[]){ 0, 1, 2, 10, 11, 12 });
    char *path = path_of(fixture, "b.pb");
    assert_ok(read_all(path, graph, &options, fixture->arena, &input));
    expect_floats(input, 3, (const float[]){ 10, 11, 12 });
}

static void rows_of_a_batch_should_be_samples(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    struct ldnq_tensor *inputs[2];
    put_proto(fixture, "input_0.pb", shape_of(2, 4, 3), 0);
    put_proto(fixture, "input_1.pb", shape_of(2, 4, 2), 20);
    assert_ok(ldnq_samples_open(fixture->folder, two_inputs(fixture), &options, &samples, &err));
    assert_int_equal(ldnq_samples_count(samples), 4);
    assert_non_null(strstr(ldnq_samples_name(samples, 3), "[3]"));
    assert_ok(ldnq_samples_read(samples, 2, 2, NULL, fixture->arena, inputs, &err));
    expect_floats(inputs[0], 6, (const float[]){ 6, 7, 8, 9, 10, 11 });
    expect_floats(inputs[1], 4, (const float[]){ 24, 25, 26, 27 });
    ldnq_samples_destroy(samples);
}

/* Nothing but the size that it announces is large in such a file: each sample costs memory. */
static void samples_without_elements_should_be_refused(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    static const unsigned char many[] = { 8, 0x80, 0xc2, 0xd7, 0x2f, 8, 0, 16, LDNQ_FLOAT };
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, -2));
    const char *path = put_file(fixture, "many.pb", many, sizeof many);
    assert_fails(ldnq_samples_open(path, graph, &options, &samples, &err), LDNQ_DATA,
                 "many.pb: announces 100000000 samples and holds no elements");
    path = put_proto(fixture, "one.pb", shape_of(2, 1, 0), 0);
    assert_ok(ldnq_samples_open(path, graph, &options, &samples, &err));
    ldnq_samples_destroy(samples);
}

/* A file of several samples is decoded once: it may be gone when they are read. */
static void rows_should_be_read_once(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    struct ldnq_tensor *input;
    uint64_t hash, other;
    char *path = put_proto(fixture, "x.pb", shape_of(2, 4, 3), 0);
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, 3));
    assert_ok(ldnq_samples_open(path, graph, &options, &samples, &err));
    remove(path);
    assert_ok(ldnq_samples_read(samples, 1, 2, NULL, fixture->arena, &input, &err));
    expect_floats(input, 6, (const float[]){ 3, 4, 5, 6, 7, 8 });
    assert_ok(ldnq_samples_hash(samples, &hash, &err));
    ldnq_samples_destroy(samples);
    path = put_proto(fixture, "x.pb", shape_of(2, 4, 3), 1);
    assert_ok(ldnq_samples_open(path, graph, &options, &samples, &err));
    assert_ok(ldnq_samples_hash(samples, &other, &err));
    assert_true(hash != other);
    ldnq_samples_destroy(samples);
}

/* More than LDNQ_ARRAY_IN_MEMORY: dims 3, 2^22 and as many floats in raw_data. */
static void large_files_should_be_read_in_rows(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    struct ldnq_tensor *input;
    static const unsigned char head[] = { 8,  3, 8,          0x80, 0x80, 0x80, 2,
                                          16, 1, 9 << 3 | 2, 0x80, 0x80, 0x80, 24 };
    const size_t row = (size_t)1 << 22, size = sizeof head + 12 * row;
    unsigned char *bytes = ldnq_arena_alloc(fixture->arena, size, 1, &err);
    memcpy(bytes, head, sizeof head);
    for (size_t i = 0; i < 3; i++) {
        float value = 1.5f + (float)i;
        memcpy(bytes + sizeof head + 4 * i * row, &value, 4);
    }
    char *path = put_file(fixture, "x.pb", bytes, size);
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, (int)row));
    assert_ok(ldnq_samples_open(path, graph, &options, &samples, &err));
    remove(path);
    assert_ok(ldnq_samples_read(samples, 1, 2, NULL, fixture->arena, &input, &err));
    assert_true(((float *)input->data)[0] == 2.5f && ((float *)input->data)[row] == 3.5f);
    ldnq_samples_destroy(samples);
}

static void sets_that_do_not_fit_should_say_how(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    struct ldnq_graph *graph = two_inputs(fixture);
    char *first = put_proto(fixture, "input_0.pb", shape_of(2, 1, 3), 0);
    assert_fails(ldnq_samples_open(fixture->folder, graph, &options, &samples, &err), LDNQ_DATA,
                 "has no input_1.pb for input 'b'");
    put_proto(fixture, "input_1.pb", shape_of(2, 1, 4), 0);
    assert_fails(ldnq_samples_open(fixture->folder, graph, &options, &samples, &err), LDNQ_DATA,
                 "input_1.pb: is (1,4) where input 'b' is (N,2)");
    put_proto(fixture, "input_1.pb", shape_of(2, 3, 2), 0);
    assert_fails(ldnq_samples_open(fixture->folder, graph, &options, &samples, &err), LDNQ_DATA,
                 "input_1.pb: holds 3 samples where ");
    char *more = put_proto(fixture, "input_2.pb", shape_of(0), 0);
    assert_fails(ldnq_samples_open(fixture->folder, graph, &options, &samples, &err), LDNQ_DATA,
                 "input_2.pb: the model has only 2 inputs");
    remove(more);
    assert_fails(ldnq_samples_open(first, graph, &options, &samples, &err), LDNQ_DATA,
                 "input_0.pb: is one tensor, but the model has 2 inputs");
}

static void samples_should_have_shapes_of_their_own(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, -2));
    struct ldnq_samples *samples;
    struct ldnq_tensor *input;
    put_proto(fixture, "a.pb", shape_of(2, 1, 3), 0);
    put_proto(fixture, "b.pb", shape_of(2, 2, 5), 0);
    assert_ok(ldnq_samples_open(fixture->folder, graph, &options, &samples, &err));
    assert_int_equal(ldnq_samples_count(samples), 3);
    assert_int_equal(ldnq_samples_choose_batch_size(samples, graph, 8), 1);
    assert_ok(ldnq_samples_read(samples, 0, 1, NULL, fixture->arena, &input, &err));
    assert_true(
        ldnq_shapes_are_equal(&input->shape, &(struct ldnq_shape[]){ shape_of(2, 1, 3) }[0]));
    assert_ok(ldnq_samples_read(samples, 2, 1, NULL, fixture->arena, &input, &err));
    assert_true(
        ldnq_shapes_are_equal(&input->shape, &(struct ldnq_shape[]){ shape_of(2, 1, 5) }[0]));
    assert_true(((const float *)input->data)[4] == 9);
    ldnq_samples_destroy(samples);
}

static void damaged_files_should_be_named(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, 3));
    const char *path = put_text(fixture, "x.pb", "");
    assert_fails(ldnq_samples_open(path, graph, &options, &samples, &err), LDNQ_DATA,
                 "x.pb: is empty");
    path = put_text(fixture, "x.pb", "this is not a tensor");
    assert_fails(ldnq_samples_open(path, graph, &options, &samples, &err), LDNQ_DATA, "x.pb: ");
}

static enum ldnq_status attempt(struct fixture *fixture, const char *path)
{
    struct ldnq_samples_options options = plain_options();
    struct ldnq_tensor *input;
    struct ldnq_samples *samples = NULL;
    struct ldnq_arena *arena;
    uint64_t hash;
    (void)fixture;
    LDNQ_TRY(ldnq_arena_create(&arena, &err));
    enum ldnq_status status = ldnq_samples_open(path, set_graph, &options, &samples, &err);
    if (status == LDNQ_OK)
        status = ldnq_samples_read(samples, 0, 1, NULL, arena, &input, &err);
    if (status == LDNQ_OK)
        status = ldnq_samples_hash(samples, &hash, &err);
    ldnq_samples_destroy(samples);
    ldnq_arena_destroy(arena);
    return status;
}

static void protos_should_survive_damage_and_lack_of_memory(void **state)
{
    struct fixture *fixture = *state;
    const char *path = put_proto(fixture, "x.pb", shape_of(2, 4, 3), 0);
    set_graph = one_input(fixture, shape_of(2, -1, 3));
    survive_lack_of_memory(fixture, path, attempt);
    refuse_truncations(fixture, path, attempt, 1);
    survive_changes(fixture, path, attempt, 500);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_data_sets_should_be_one_sample_each),
        TEST(one_folder_should_be_one_sample_of_several_inputs),
        TEST(files_should_be_a_sample_each_for_one_input),
        TEST(rows_of_a_batch_should_be_samples),
        TEST(samples_without_elements_should_be_refused),
        TEST(rows_should_be_read_once),
        TEST(large_files_should_be_read_in_rows),
        TEST(sets_that_do_not_fit_should_say_how),
        TEST(samples_should_have_shapes_of_their_own),
        TEST(damaged_files_should_be_named),
        TEST(protos_should_survive_damage_and_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
