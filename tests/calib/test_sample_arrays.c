/* SPDX-License-Identifier: Apache-2.0 */
#include "damage.h"
#include "npz_files.h"

#include <math.h>

#include "base/pool.h"

static void expect_shape(const struct ldnq_tensor *tensor, struct ldnq_shape shape)
{
    if (!ldnq_shapes_are_equal(&tensor->shape, &shape)) {
        char got[LDNQ_SHAPE_TEXT], wanted[LDNQ_SHAPE_TEXT];
        fail_msg("%s instead of %s", ldnq_shape_print(&tensor->shape, NULL, got, sizeof got),
                 ldnq_shape_print(&shape, NULL, wanted, sizeof wanted));
    }
}

/* What an array of one shape is for an input of another. */
struct fit_case {
    struct ldnq_shape input, array;
    struct ldnq_shape batch; /* of all samples at once */
};

static void axes_of_an_array_should_serve_the_input(void **state)
{
    const struct fit_case cases[] = {
        /* as many axes, one more, one less */
        { shape_of(4, -1, 3, 4, 4), shape_of(4, 7, 3, 4, 4), shape_of(4, 7, 3, 4, 4) },
        { shape_of(4, -1, 3, 4, 4), shape_of(5, 7, 1, 3, 4, 4), shape_of(4, 7, 3, 4, 4) },
        { shape_of(4, -1, 3, 4, 4), shape_of(5, 7, 2, 3, 4, 4), shape_of(4, 14, 3, 4, 4) },
        { shape_of(4, -1, 3, 4, 4), shape_of(3, 3, 4, 4), shape_of(4, 1, 3, 4, 4) },
        /* a batch of 1, open sizes */
        { shape_of(4, 1, 3, 4, 4), shape_of(4, 7, 3, 4, 4), shape_of(4, 7, 3, 4, 4) },
        { shape_of(4, -1, 3, -2, -3), shape_of(4, 7, 3, 5, 6), shape_of(4, 7, 3, 5, 6) },
        /* rank 1 and 2 */
        { shape_of(2, -1, 5), shape_of(1, 5), shape_of(2, 1, 5) },
        { shape_of(1, -1), shape_of(1, 5), shape_of(1, 5) },
        { shape_of(1, -1), shape_of(0), shape_of(1, 1) },
    };
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ldnq_tensor *all, *data = counting(fixture, cases[i].array);
        const char *path = put_npy(fixture, "x.npy", data);
        assert_ok(
            read_all(path, one_input(fixture, cases[i].input), &options, fixture->arena, &all));
        expect_shape(all, cases[i].batch);
        assert_memory_equal(all->data, data->data, ldnq_tensor_count(all) * 4);
    }
}

static void inputs_without_a_batch_should_be_read_one_at_a_time(void **state)
{
    const struct fit_case cases[] = {
        { shape_of(2, 4, 3), shape_of(3, 5, 4, 3), shape_of(2, 4, 3) },
        { shape_of(2, 4, 3), shape_of(2, 4, 3), shape_of(2, 4, 3) },
        { shape_of(0), shape_of(1, 5), shape_of(0) },
        { shape_of(0), shape_of(0), shape_of(0) },
    };
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ldnq_tensor *last, *data = counting(fixture, cases[i].array);
        struct ldnq_samples *samples;
        struct ldnq_graph *graph = one_input(fixture, cases[i].input);
        const char *path = put_npy(fixture, "x.npy", data);
        assert_ok(ldnq_samples_open(path, graph, &options, &samples, &err));
        size_t count = ldnq_samples_count(samples);
        assert_int_equal(count, cases[i].array.rank > cases[i].input.rank ? 5 : 1);
        assert_false(ldnq_samples_can_stack(samples));
        assert_ok(ldnq_samples_read(samples, count - 1, 1, NULL, fixture->arena, &last, &err));
        expect_shape(last, cases[i].batch);
        size_t each = ldnq_tensor_count(last);
        assert_memory_equal(last->data, (float *)data->data + (count - 1) * each, each * 4);
        if (count > 1)
            assert_fails(ldnq_samples_read(samples, 0, 2, NULL, fixture->arena, &last, &err),
                         LDNQ_UNSUPPORTED, "samples go in one at a time");
        ldnq_samples_destroy(samples);
    }
}

static void samples_without_elements_should_be_refused(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, -2));
    const char *path = put_npy(fixture, "x.npy", counting(fixture, shape_of(2, 100000000, 0)));
    assert_fails(ldnq_samples_open(path, graph, &options, &samples, &err), LDNQ_DATA,
                 "x.npy: announces 100000000 samples and holds no elements");
}

static void input_of_unknown_rank_should_take_the_arrays(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_tensor *all;
    struct ldnq_graph *graph = one_input(fixture, shape_of(LDNQ_RANK_UNKNOWN));
    const char *path = put_npy(fixture, "x.npy", counting(fixture, shape_of(3, 5, 4, 3)));
    assert_ok(read_all(path, graph, &options, fixture->arena, &all));
    expect_shape(all, shape_of(3, 5, 4, 3));
}

static void array_that_does_not_fit_should_name_both_shapes(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    struct ldnq_graph *graph = one_input(fixture, shape_of(4, -1, 3, 32, 32));
    const struct ldnq_shape shapes[] = { shape_of(4, 5, 3, 40, 32), shape_of(2, 3, 32), shape_of(0),
                                         shape_of(6, 1, 1, 1, 3, 32, 32) };
    for (size_t i = 0; i < 4; i++) {
        const char *path = put_npy(fixture, "x.npy", counting(fixture, shapes[i]));
        assert_fails(ldnq_samples_open(path, graph, &options, &samples, &err), LDNQ_DATA,
                     "where input 'input' is (N,3,32,32)");
    }
    const char *path = put_npy(fixture, "x.npy", counting(fixture, shapes[0]));
    assert_fails(ldnq_samples_open(path, graph, &options, &samples, &err), LDNQ_DATA,
                 "x.npy: is (5,3,40,32) where");
    path = put_npy(fixture, "x.npy", counting(fixture, shape_of(4, 0, 3, 32, 32)));
    assert_fails(ldnq_samples_open(path, graph, &options, &samples, &err), LDNQ_DATA,
                 "x.npy: holds no samples");
}

static void arrays_should_get_the_type_of_the_input(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_shape shape = shape_of(2, 3, 2);
    struct ldnq_tensor *doubles, *ints, *all;
    assert_ok(ldnq_tensor_create(fixture->arena, LDNQ_DOUBLE, &shape, &doubles, &err));
    assert_ok(ldnq_tensor_create(fixture->arena, LDNQ_INT32, &shape, &ints, &err));
    ((double *)doubles->data)[5] = 0.1;
    ((int32_t *)ints->data)[5] = -7;
    const char *path = put_npy(fixture, "x.npy", doubles);
    assert_ok(
        read_all(path, one_input(fixture, shape_of(2, -1, 2)), &options, fixture->arena, &all));
    assert_true(all->dtype == LDNQ_FLOAT && ((float *)all->data)[5] == 0.1f);
    struct ldnq_graph *graph = graph_of(fixture, 1);
    add_input(graph, "ids", LDNQ_INT64, shape_of(2, -1, 2));
    path = put_npy(fixture, "y.npy", ints);
    assert_ok(read_all(path, graph, &options, fixture->arena, &all));
    assert_true(all->dtype == LDNQ_INT64 && ((int64_t *)all->data)[5] == -7);
    assert_fails(
        read_all(put_npy(fixture, "x.npy", doubles), graph, &options, fixture->arena, &all),
        LDNQ_DATA, "x.npy[0]: input 'ids': holds float64 where int64 is wanted");
}

static void nan_and_infinity_should_be_told_with_their_place(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_tensor *data = counting(fixture, shape_of(2, 4, 3)), *all;
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, 3));
    ((float *)data->data)[11] = INFINITY;
    assert_fails(read_all(put_npy(fixture, "x.npy", data), graph, &options, fixture->arena, &all),
                 LDNQ_DATA, "x.npy[3]: its data for input 'input' hold infinity at element 2");
    ((float *)data->data)[6] = NAN;
    assert_fails(read_all(put_npy(fixture, "x.npy", data), graph, &options, fixture->arena, &all),
                 LDNQ_DATA, "x.npy[2]: its data for input 'input' hold NaN at element 0");
}

static void npy_should_be_read_slice_by_slice(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_tensor *data = counting(fixture, shape_of(2, 600, 1000)), *part;
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, 1000));
    struct ldnq_samples *samples;
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(4, &pool, &err));
    options.max_samples = 50;
    options.seed = 3;
    assert_ok(ldnq_samples_open(put_npy(fixture, "x.npy", data), graph, &options, &samples, &err));
    assert_ok(ldnq_samples_read(samples, 10, 40, pool, fixture->arena, &part, &err));
    for (size_t i = 0; i < 40; i++) {
        size_t item = strtoul(strrchr(ldnq_samples_name(samples, 10 + i), '[') + 1, NULL, 10);
        assert_memory_equal((float *)part->data + i * 1000, (float *)data->data + item * 1000,
                            4000);
    }
    ldnq_samples_destroy(samples);
    ldnq_pool_destroy(pool);
}

/* The same draw is cut in two: nothing is in both, nothing is left out. */
static void fitted_and_held_out_samples_should_be_all_of_them(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    const char *path = put_npy(fixture, "x.npy", counting(fixture, shape_of(2, 43, 1)));
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, 1));
    struct ldnq_tensor *fitted, *held_out, *all;
    bool seen[43] = { false };
    options.shuffle = true;
    options.max_samples = 42;
    options.seed = 3;
    assert_ok(read_all(path, graph, &options, fixture->arena, &all));
    options.part = LDNQ_SAMPLES_FITTED;
    assert_ok(read_all(path, graph, &options, fixture->arena, &fitted));
    options.part = LDNQ_SAMPLES_HELD_OUT;
    assert_ok(read_all(path, graph, &options, fixture->arena, &held_out));
    assert_int_equal(held_out->shape.dim[0], 8);
    assert_int_equal(fitted->shape.dim[0], 34);
    const float *parts[] = { fitted->data, held_out->data };
    for (size_t p = 0; p < 2; p++)
        for (size_t i = 0; i < (p ? 8u : 34u); i++) {
            assert_false(seen[(size_t)parts[p][i]]);
            seen[(size_t)parts[p][i]] = true;
        }
    for (size_t i = 0; i < 42; i++)
        assert_true(seen[(size_t)((const float *)all->data)[i]]);
    options.max_samples = 4;
    assert_int_equal(read_all(path, graph, &options, fixture->arena, &all), LDNQ_DATA);
}

static uint64_t hash_of(struct fixture *fixture, const char *path, size_t max_samples)
{
    struct ldnq_samples_options options = plain_options();
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, -2));
    struct ldnq_samples *samples;
    uint64_t hash;
    options.max_samples = max_samples;
    assert_ok(ldnq_samples_open(path, graph, &options, &samples, &err));
    assert_ok(ldnq_samples_hash(samples, &hash, &err));
    ldnq_samples_destroy(samples);
    return hash;
}

static void hash_should_be_of_the_rows_in_use_wherever_they_stand(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_tensor *data = counting(fixture, shape_of(2, 4, 6));
    struct ldnq_tensor *other = counting(fixture, shape_of(2, 6, 4));
    struct npz_member member = member_of(fixture, "any.npy", data);
    const char *npy = put_npy(fixture, "x.npy", data);
    const char *npz = put_npz(fixture, "x.npz", &member, 1);
    uint64_t hash = hash_of(fixture, npy, 0);
    assert_true(hash == hash_of(fixture, npz, 0));
    assert_true(hash != hash_of(fixture, npy, 3));
    assert_true(hash != hash_of(fixture, put_npy(fixture, "y.npy", other), 0));
}

/* ---- several inputs ------------------------------------------------------------------ */

static struct ldnq_graph *two_inputs(struct fixture *fixture)
{
    struct ldnq_graph *graph = graph_of(fixture, 2);
    add_input(graph, "a", LDNQ_FLOAT, shape_of(2, -1, 3));
    add_input(graph, "b/c:0", LDNQ_FLOAT, shape_of(1, -1));
    return graph;
}

static void npz_should_give_each_input_the_array_of_its_name(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_tensor *a = counting(fixture, shape_of(2, 4, 3)), *inputs[2];
    struct ldnq_tensor *b = counting(fixture, shape_of(1, 4));
    struct npz_member members[] = { member_of(fixture, "b/c:0.npy", b),
                                    member_of(fixture, "a.npy", a) };
    const char *path = put_npz(fixture, "x.npz", members, 2);
    assert_ok(read_all(path, two_inputs(fixture), &options, fixture->arena, inputs));
    expect_shape(inputs[0], a->shape);
    expect_shape(inputs[1], b->shape);
    assert_memory_equal(inputs[0]->data, a->data, 48);
    assert_memory_equal(inputs[1]->data, b->data, 16);
}

static enum ldnq_status open_npz(struct fixture *fixture, const struct ldnq_graph *graph,
                                 const struct npz_member *members, size_t count, bool need_labels)
{
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    options.need_labels = need_labels;
    LDNQ_TRY(ldnq_samples_open(put_npz(fixture, "x.npz", members, count), graph, &options, &samples,
                               &err));
    ldnq_samples_destroy(samples);
    return LDNQ_OK;
}

static void npz_that_does_not_fit_the_inputs_should_say_how(void **state)
{
    struct fixture *fixture = *state;
    struct npz_member members[] = {
        member_of(fixture, "a.npy", counting(fixture, shape_of(2, 4, 3))),
        member_of(fixture, "b/c:0.npy", counting(fixture, shape_of(1, 5))),
    };
    struct ldnq_graph *graph = two_inputs(fixture);
    assert_fails(open_npz(fixture, graph, members, 1, false), LDNQ_DATA,
                 "x.npz: has no array for input 'b/c:0'");
    assert_fails(open_npz(fixture, graph, members, 2, false), LDNQ_DATA,
                 "x.npz[b/c:0]: holds 5 samples where ");
    const char *path = put_npy(fixture, "x.npy", counting(fixture, shape_of(2, 4, 3)));
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    assert_fails(ldnq_samples_open(path, graph, &options, &samples, &err), LDNQ_DATA,
                 "x.npy: is one array, but the model has 2 inputs");
}

static void store_warning(void *ctx, const char *message)
{
    snprintf(ctx, 256, "%s", message);
}

static void an_array_that_no_input_reads_should_be_a_warning(void **state)
{
    struct fixture *fixture = *state;
    char warning[256] = "";
    const struct ldnq_sink sink = { .ctx = warning, .warn = store_warning };
    struct npz_member members[] = {
        member_of(fixture, "a.npy", counting(fixture, shape_of(2, 4, 3))),
        member_of(fixture, "b/c:0.npy", counting(fixture, shape_of(1, 4))),
        member_of(fixture, "d.npy", counting(fixture, shape_of(1, 5))),
    };
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    options.sink = &sink;
    const char *path = put_npz(fixture, "x.npz", members, 3);
    assert_ok(ldnq_samples_open(path, two_inputs(fixture), &options, &samples, &err));
    assert_non_null(strstr(warning, "x.npz[d]: is not read, as no input that is used has that"));
    assert_int_equal(ldnq_samples_count(samples), 4);
    ldnq_samples_destroy(samples);
}

static void npz_with_one_array_should_serve_the_one_input_whatever_its_name(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, 3));
    struct npz_member members[] = {
        member_of(fixture, "arr_0.npy", counting(fixture, shape_of(2, 4, 3))),
        member_of(fixture, "arr_1.npy", counting(fixture, shape_of(2, 4, 3))),
    };
    assert_ok(open_npz(fixture, graph, members, 1, false));
    assert_fails(open_npz(fixture, graph, members, 2, false), LDNQ_DATA,
                 "x.npz: has no array for input 'input', and ");
    assert_fails(open_npz(fixture, graph, members, 0, false), LDNQ_IO, "x.npz");
}

static struct npz_member labels_of(struct fixture *fixture, const char *name, int count, int first)
{
    struct ldnq_tensor *labels;
    struct ldnq_shape shape = shape_of(1, count);
    assert_ok(ldnq_tensor_create(fixture->arena, LDNQ_INT32, &shape, &labels, &err));
    for (int i = 0; i < count; i++)
        ((int32_t *)labels->data)[i] = first + i;
    return member_of(fixture, name, labels);
}

static void npz_labels_should_be_the_classes(void **state)
{
    static const char *const names[] = { "labels.npy", "label.npy", "y.npy" };
    struct fixture *fixture = *state;
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, 3));
    struct npz_member data = member_of(fixture, "x.npy", counting(fixture, shape_of(2, 4, 3)));
    for (int i = 0; i < 3; i++) {
        struct npz_member members[] = { labels_of(fixture, names[i], 4, 10), data };
        struct ldnq_samples_options options = plain_options();
        struct ldnq_samples *samples;
        options.need_labels = true;
        assert_ok(ldnq_samples_open(put_npz(fixture, "x.npz", members, 2), graph, &options,
                                    &samples, &err));
        assert_int_equal(ldnq_samples_label(samples, 0), 10);
        assert_int_equal(ldnq_samples_label(samples, 3), 13);
        ldnq_samples_destroy(samples);
    }
}

static void npz_labels_that_are_none_should_be_told_where_they_are_needed(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, 3));
    struct npz_member data = member_of(fixture, "x.npy", counting(fixture, shape_of(2, 4, 3)));
    struct npz_member few[] = { data, labels_of(fixture, "labels.npy", 3, 0) };
    struct npz_member negative[] = { data, labels_of(fixture, "labels.npy", 4, -1) };
    struct npz_member floats[] = { data,
                                   member_of(fixture, "y.npy", counting(fixture, shape_of(1, 4))) };
    struct npz_member two[] = { data, labels_of(fixture, "labels.npy", 4, 0),
                                labels_of(fixture, "y.npy", 4, 0) };
    assert_fails(open_npz(fixture, graph, few, 2, true), LDNQ_DATA,
                 "x.npz[labels]: is (3) int32 where 4 integers are wanted");
    assert_fails(open_npz(fixture, graph, negative, 2, true), LDNQ_DATA,
                 "x.npz[labels]: -1 at element 0 is not a class");
    assert_fails(open_npz(fixture, graph, floats, 2, true), LDNQ_DATA, "is (4) float32 where");
    assert_fails(open_npz(fixture, graph, two, 3, true), LDNQ_DATA, "may be the classes");
    assert_fails(open_npz(fixture, graph, &data, 1, true), LDNQ_DATA, "has no classes");
    assert_ok(open_npz(fixture, graph, few, 2, false));
}

static void file_of_no_known_kind_should_be_refused(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, 3));
    struct ldnq_samples *samples;
    assert_fails(
        ldnq_samples_open(put_text(fixture, "x.txt", "hello"), graph, &options, &samples, &err),
        LDNQ_DATA, "x.txt: is text, not samples");
    const char *pointer =
        put_text(fixture, "x.npy", "version https://git-lfs.github.com/spec/v1\n");
    assert_fails(ldnq_samples_open(pointer, graph, &options, &samples, &err), LDNQ_DATA,
                 "x.npy: is a Git LFS pointer");
    assert_fails(ldnq_samples_open(put_text(fixture, "x.npy", ""), graph, &options, &samples, &err),
                 LDNQ_DATA, "x.npy: is not a valid .npy array: it is empty");
    assert_fails(ldnq_samples_open(path_of(fixture, "none"), graph, &options, &samples, &err),
                 LDNQ_IO, "none: can't be opened");
    assert_fails(ldnq_samples_open("/dev/null", graph, &options, &samples, &err), LDNQ_IO,
                 "/dev/null: is neither a regular file nor a folder");
    graph->input_count = 0;
    assert_fails(ldnq_samples_open(put_npy(fixture, "x.npy", counting(fixture, shape_of(0))), graph,
                                   &options, &samples, &err),
                 LDNQ_DATA, "x.npy: the model has no inputs");
}

static void array_that_shrinks_while_in_use_should_be_an_error(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, 3));
    struct ldnq_tensor *all;
    struct ldnq_samples *samples;
    const char *path = put_npy(fixture, "x.npy", counting(fixture, shape_of(2, 4, 3)));
    assert_ok(ldnq_samples_open(path, graph, &options, &samples, &err));
    assert_int_equal(truncate(path, 150), 0);
    assert_fails(ldnq_samples_read(samples, 0, 4, NULL, fixture->arena, &all, &err), LDNQ_IO,
                 "x.npy: can't be read: it became shorter");
    ldnq_samples_destroy(samples);
}

static void arrays_should_survive_lack_of_memory(void **state)
{
    struct fixture *fixture = *state;
    struct npz_member members[] = {
        member_of(fixture, "x.npy", counting(fixture, shape_of(2, 4, 3))),
        labels_of(fixture, "labels.npy", 4, 0),
    };
    const char *path = put_npz(fixture, "x.npz", members, 2);
    set_graph = one_input(fixture, shape_of(2, -1, 3));
    survive_lack_of_memory(fixture, path, attempt_set);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- parts of a set ---------------------------------------------------------------------- */

static void a_slice_should_be_samples_of_the_set(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    const struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, 3));
    const char *path = put_npy(fixture, "x.npy", counting(fixture, shape_of(2, 9, 3)));
    struct ldnq_samples *samples, *slice;
    struct ldnq_tensor *all, *part;
    uint64_t hash;
    options.shuffle = true;
    assert_ok(ldnq_samples_open(path, graph, &options, &samples, &err));
    for (int hashed = 0; hashed < 2; hashed++) {
        assert_ok(ldnq_samples_slice(samples, 6, 3, fixture->arena, &slice, &err));
        assert_int_equal(ldnq_samples_count(slice), 3);
        assert_string_equal(ldnq_samples_name(slice, 1), ldnq_samples_name(samples, 7));
        assert_ok(ldnq_samples_read(samples, 0, 9, NULL, fixture->arena, &all, &err));
        assert_ok(ldnq_samples_read(slice, 0, 3, NULL, fixture->arena, &part, &err));
        assert_memory_equal(part->data, (float *)all->data + 6 * 3, 9 * sizeof(float));
        assert_ok(ldnq_samples_hash(samples, &hash, &err));
    }
    ldnq_samples_destroy(samples);
}

static void few_samples_should_hold_out_a_fifth_and_many_a_tenth(void **state)
{
    (void)state;
    const size_t cases[][2] = { { 0, 0 },  { 4, 0 },  { 5, 1 },    { 23, 4 },
                                { 50, 8 }, { 90, 9 }, { 500, 50 }, { 100000, 256 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(ldnq_samples_choose_held_out(cases[i][0]), cases[i][1]);
}

/* Sample i has 2 + i elements: i, i, ... */
static int write_shape_of_sample(void *ctx, size_t sample, size_t input, int64_t *sizes)
{
    const size_t *fails_at = ctx;
    sizes[0] = 2 + (int64_t)sample;
    return sample == *fails_at || input != 0;
}

static int fill_sample(void *ctx, size_t sample, size_t input, void *data, size_t size)
{
    float *to = data;
    (void)ctx;
    for (size_t i = 0; i < size / sizeof *to; i++)
        to[i] = (float)sample;
    return input != 0 || size != (2 + sample) * sizeof *to;
}

static void a_reader_should_give_samples_of_several_shapes(void **state)
{
    struct fixture *fixture = *state;
    const struct ldnq_samples_options options = plain_options();
    const struct ldnq_memory_array array = { "input",
                                             { .dtype = LDNQ_FLOAT, .shape = shape_of(1, 0) } };
    size_t fails_at = 9;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const struct ldnq_samples_memory memory = { .arrays = &array,
                                                .array_count = 1,
                                                .read = fill_sample,
                                                .shape = write_shape_of_sample,
                                                .ctx = &fails_at,
                                                .lock = &lock,
                                                .sample_count = 4 };
    struct ldnq_samples *samples;
    struct ldnq_tensor *input;
    struct ldnq_graph *graph = one_input(fixture, shape_of(2, -1, -2));
    assert_ok(ldnq_samples_open_memory(&memory, graph, &options, &samples, &err));
    assert_true(ldnq_samples_differ_in_shape(samples));
    assert_ok(ldnq_samples_read(samples, 3, 1, NULL, fixture->arena, &input, &err));
    assert_int_equal(input->shape.dim[0], 1);
    assert_int_equal(input->shape.dim[1], 5);
    for (size_t i = 0; i < 5; i++)
        assert_true(((const float *)input->data)[i] == 3);
    ldnq_samples_destroy(samples);
    fails_at = 2;
    assert_ok(ldnq_samples_open_memory(&memory, graph, &options, &samples, &err));
    assert_fails(ldnq_samples_read(samples, 2, 1, NULL, fixture->arena, &input, &err), LDNQ_DATA,
                 "samples[2]: the caller's function has no shape of it");
    ldnq_samples_destroy(samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(axes_of_an_array_should_serve_the_input),
        TEST(inputs_without_a_batch_should_be_read_one_at_a_time),
        TEST(samples_without_elements_should_be_refused),
        TEST(input_of_unknown_rank_should_take_the_arrays),
        TEST(array_that_does_not_fit_should_name_both_shapes),
        TEST(arrays_should_get_the_type_of_the_input),
        TEST(nan_and_infinity_should_be_told_with_their_place),
        TEST(npy_should_be_read_slice_by_slice),
        TEST(hash_should_be_of_the_rows_in_use_wherever_they_stand),
        TEST(npz_should_give_each_input_the_array_of_its_name),
        TEST(npz_that_does_not_fit_the_inputs_should_say_how),
        TEST(an_array_that_no_input_reads_should_be_a_warning),
        TEST(npz_with_one_array_should_serve_the_one_input_whatever_its_name),
        TEST(npz_labels_should_be_the_classes),
        TEST(npz_labels_that_are_none_should_be_told_where_they_are_needed),
        TEST(file_of_no_known_kind_should_be_refused),
        TEST(array_that_shrinks_while_in_use_should_be_an_error),
        TEST(arrays_should_survive_lack_of_memory),
        TEST(fitted_and_held_out_samples_should_be_all_of_them),
        TEST(a_slice_should_be_samples_of_the_set),
        TEST(few_samples_should_hold_out_a_fifth_and_many_a_tenth),
        TEST(a_reader_should_give_samples_of_several_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
