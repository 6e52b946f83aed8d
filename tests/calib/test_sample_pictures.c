/* SPDX-License-Identifier: Apache-2.0 */
#include "damage.h"
#include "picture_files.h"

#include "base/pool.h"

/* The samples in order, as "name=value/label", from 8-bit flat pictures. */
static const char *describe(struct fixture *fixture, const struct ldnq_samples_options *options)
{
    static char text[4096];
    struct ldnq_graph *graph = one_input(fixture, shape_of(4, -1, 1, -2, -3));
    struct ldnq_samples *samples;
    size_t used = 0;
    text[0] = '\0';
    assert_ok(ldnq_samples_open(fixture->folder, graph, options, &samples, &err));
    for (size_t i = 0; i < ldnq_samples_count(samples); i++) {
        struct ldnq_tensor *input;
        const char *name = ldnq_samples_name(samples, i) + strlen(fixture->folder) + 1;
        assert_ok(ldnq_samples_read(samples, i, 1, NULL, fixture->arena, &input, &err));
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s=%g/%d", i ? " " : "", name,
                                 (double)((float *)input->data)[0],
                                 (int)ldnq_samples_label(samples, i));
    }
    ldnq_samples_destroy(samples);
    return text;
}

static enum ldnq_status open_only(struct fixture *fixture, struct ldnq_shape shape,
                                  const struct ldnq_samples_options *options)
{
    struct ldnq_samples *samples;
    LDNQ_TRY(
        ldnq_samples_open(fixture->folder, one_input(fixture, shape), options, &samples, &err));
    ldnq_samples_destroy(samples);
    return LDNQ_OK;
}

static enum ldnq_status open_labelled(struct fixture *fixture)
{
    struct ldnq_samples_options options = plain_options();
    options.need_labels = true;
    return open_only(fixture, shape_of(4, -1, 1, 2, 2), &options);
}

static void flat_folder_should_be_read_in_the_order_of_names(void **state)
{
    struct ldnq_samples_options options = plain_options();
    put_flat_png(*state, "b.png", 2, 2, 2);
    put_flat_png(*state, "B.PNG", 2, 2, 1);
    put_flat_png(*state, "a10.png", 2, 2, 4);
    put_flat_png(*state, "a9.png", 2, 2, 3);
    assert_string_equal(describe(*state, &options),
                        "B.PNG=1/-1 a10.png=4/-1 a9.png=3/-1 b.png=2/-1");
}

static void class_folders_should_count_in_byte_order_even_when_empty(void **state)
{
    struct ldnq_samples_options options = plain_options();
    options.need_labels = true;
    put_flat_png(*state, "cat/1.png", 2, 2, 1);
    put_flat_png(*state, "cat-fish/1.png", 2, 2, 2);
    put_flat_png(*state, "Dog/2.png", 2, 2, 3);
    put_flat_png(*state, "Dog/1.png", 2, 2, 4);
    mkdir(path_of(*state, "bird"), 0777);
    assert_string_equal(describe(*state, &options),
                        "Dog/1.png=4/0 Dog/2.png=3/0 cat/1.png=1/2 cat-fish/1.png=2/3");
}

static void what_is_clearly_no_picture_should_be_passed_over(void **state)
{
    struct ldnq_samples_options options = plain_options();
    put_flat_png(*state, "a.png", 2, 2, 1);
    put_flat_png(*state, "picture_without_extension", 2, 2, 2);
    put_text(*state, "README", "text");
    put_text(*state, "Thumbs.db", "text");
    put_text(*state, "notes.csv", "text");
    put_text(*state, "x.npy", "text");
    put_text(*state, ".hidden.png", "text");
    put_text(*state, ".hidden/x.png", "text");
    assert_string_equal(describe(*state, &options), "a.png=1/-1 picture_without_extension=2/-1");
}

static void keep_warning(void *ctx, const char *message)
{
    snprintf(ctx, 512, "%s", message);
}

static void damaged_pictures_should_be_left_out_and_counted(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    char warning[512] = "";
    const struct ldnq_sink sink = { .ctx = warning, .warn = keep_warning };
    options.sink = &sink;
    put_flat_png(fixture, "a.png", 2, 2, 1);
    put_text(fixture, "b.png", "text");
    put_text(fixture, "c.jpg", "");
    put_flat_png(fixture, "d.png", 2, 2, 3);
    assert_string_equal(describe(fixture, &options), "a.png=1/-1 d.png=3/-1");
    assert_non_null(strstr(warning, "2 of 4 pictures are left out: "));
    assert_non_null(strstr(warning, "b.png: is neither PNG, JPEG, WebP nor TIFF, and others"));
    remove(path_of(fixture, "a.png"));
    remove(path_of(fixture, "d.png"));
    assert_fails(open_only(fixture, shape_of(4, -1, 1, 2, 2), &options), LDNQ_DATA,
                 "b.png: is neither PNG, JPEG, WebP nor TIFF");
}

static void pictures_that_are_none_should_be_named(void **state)
{
    struct ldnq_samples_options options = plain_options();
    put_flat_png(*state, "a.png", 2, 2, 1);
    options.is_strict = true;
    char *path = put_text(*state, "b.png", "text");
    assert_fails(open_only(*state, shape_of(4, -1, 1, 2, 2), &options), LDNQ_DATA,
                 "b.png: is neither PNG, JPEG, WebP nor TIFF");
    remove(path);
    put_text(*state, "c.webp", "RIFF");
    assert_fails(open_only(*state, shape_of(4, -1, 1, 2, 2), &options), LDNQ_DATA,
                 "c.webp: is neither PNG, JPEG, WebP nor TIFF");
    put_text(*state, "c.webp", "version https://git-lfs.github.com/spec/v1\n");
    assert_fails(open_only(*state, shape_of(4, -1, 1, 2, 2), &options), LDNQ_DATA,
                 "c.webp: is a Git LFS pointer");
}

static void folder_without_samples_should_be_an_error(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    assert_fails(open_only(fixture, shape_of(4, -1, 1, 2, 2), &options), LDNQ_DATA,
                 "holds no PNG, JPEG, .npy, .npz or .pb files");
    put_text(fixture, "notes.txt", "text");
    assert_fails(open_only(fixture, shape_of(4, -1, 1, 2, 2), &options), LDNQ_DATA,
                 "holds no PNG, JPEG, .npy, .npz or .pb files");
    remove_all(fixture->folder);
    assert_fails(open_only(fixture, shape_of(4, -1, 1, 2, 2), &options), LDNQ_IO, fixture->folder);
}

static void pictures_beside_class_folders_should_be_refused(void **state)
{
    struct ldnq_samples_options options = plain_options();
    put_flat_png(*state, "a.png", 2, 2, 1);
    put_flat_png(*state, "cat/b.png", 2, 2, 1);
    assert_fails(open_only(*state, shape_of(4, -1, 1, 2, 2), &options), LDNQ_DATA,
                 "only labels.csv can tell");
    put_text(*state, "labels.csv", "file,class\ncat/b.png,5\na.png,3\n");
    options.need_labels = true;
    assert_string_equal(describe(*state, &options), "a.png=1/3 cat/b.png=1/5");
}

static void single_picture_should_be_one_sample(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_tensor *input;
    const char *path = put_flat_png(fixture, "a.png", 3, 2, 9);
    assert_ok(read_all(path, one_input(fixture, shape_of(4, 1, 3, 2, 3)), &options, fixture->arena,
                       &input));
    struct ldnq_shape shape = shape_of(4, 1, 3, 2, 3);
    assert_true(ldnq_shapes_are_equal(&input->shape, &shape));
    assert_true(((float *)input->data)[17] == 9.0f);
}

/* ---- labels.csv ------------------------------------------------------------------ */

static void labels_csv_should_be_read_with_quotes_and_crlf(void **state)
{
    struct ldnq_samples_options options = plain_options();
    options.need_labels = true;
    put_flat_png(*state, "a.png", 2, 2, 1);
    put_flat_png(*state, "b, c.png", 2, 2, 2);
    put_flat_png(*state, "d\"e.png", 2, 2, 3);
    put_text(*state, "labels.csv",
             "\xef\xbb\xbf"
             "file,class\r\n\"b, c.png\",7\r\n\r\n\"d\"\"e.png\",\"0\"\na.png,999");
    assert_string_equal(describe(*state, &options), "a.png=1/999 b, c.png=2/7 d\"e.png=3/0");
}

static void labels_csv_should_be_told_by_line_when_it_is_wrong(void **state)
{
    static const char *const cases[][2] = {
        { "a.png,1\n", "labels.csv:1: the first line is not 'file,class'" },
        { "file,class\na.png,1\nb.png,2\n", "labels.csv:3: there is no picture 'b.png'" },
        { "file,class\na.png,1\n\nz.png,2\nb.png,2\n",
          "labels.csv:4: there is no picture 'z.png'" },
        { "file,class\na.png,-1\n", "labels.csv:2: '-1' is not a class number" },
        { "file,class\na.png,cat\n", "labels.csv:2: 'cat' is not a class number" },
        { "file,class\na.png,99999999999999999999\n", "is not a class number" },
        { "file,class\na.png,\n", "labels.csv:2: '' is not a class number" },
        { "file,class\na.png,1\na.png,1\n", "labels.csv:3: 'a.png' is on line 2 already" },
        { "file,class\na.png\n", "labels.csv:2: is not of the form file,class" },
        { "file,class\na.png,1,2\n", "labels.csv:2: is not of the form file,class" },
        { "file,class\n\"a.png,1\n", "labels.csv:2: is not of the form file,class" },
        { "file,class\n\"a.png\"x,1\n", "labels.csv:2: is not of the form file,class" },
        { "file,class\r\n", "a.png: has no line in" },
        { "", "a.png: has no line in" },
    };
    put_flat_png(*state, "a.png", 2, 2, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_text(*state, "labels.csv", cases[i][0]);
        assert_fails(open_labelled(*state), LDNQ_DATA, cases[i][1]);
    }
    put_file(*state, "labels.csv", "file,class\na\0,1\n", 16);
    assert_fails(open_labelled(*state), LDNQ_DATA, "labels.csv: is not a text file");
}

static void labels_csv_should_not_be_read_for_calibration(void **state)
{
    struct ldnq_samples_options options = plain_options();
    put_flat_png(*state, "a.png", 2, 2, 1);
    put_text(*state, "labels.csv", "nonsense");
    assert_string_equal(describe(*state, &options), "a.png=1/-1");
}

static void flat_folder_without_labels_should_be_refused_where_they_are_needed(void **state)
{
    put_flat_png(*state, "a.png", 2, 2, 1);
    assert_fails(open_labelled(*state), LDNQ_DATA, "has no classes");
}

/* ---- shapes ------------------------------------------------------------------------ */

static void picture_of_another_size_should_name_both_shapes(void **state)
{
    struct ldnq_samples_options options = plain_options();
    put_flat_png(*state, "x.png", 32, 40, 1);
    assert_fails(open_only(*state, shape_of(4, -1, 3, 32, 32), &options), LDNQ_DATA,
                 "x.png: is (3,40,32) after preprocessing where input 'input' is (N,3,32,32); use "
                 "the options resize and crop");
    options.preprocess.crop = 32;
    assert_ok(open_only(*state, shape_of(4, -1, 3, 32, 32), &options));
}

static void pictures_of_different_sizes_should_have_shapes_of_their_own(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    struct ldnq_tensor *input;
    put_flat_png(fixture, "a.png", 4, 4, 1);
    put_flat_png(fixture, "b.png", 5, 4, 1);
    struct ldnq_graph *graph = one_input(fixture, shape_of(4, -1, 1, -2, -3));
    assert_ok(ldnq_samples_open(fixture->folder, graph, &options, &samples, &err));
    assert_true(ldnq_samples_differ_in_shape(samples));
    assert_int_equal(ldnq_samples_choose_batch_size(samples, graph, 8), 1);
    assert_non_null(strstr(ldnq_samples_single_reason(samples), "resize and crop"));
    assert_ok(ldnq_samples_read(samples, 1, 1, NULL, fixture->arena, &input, &err));
    assert_true(
        ldnq_shapes_are_equal(&input->shape, &(struct ldnq_shape[]){ shape_of(4, 1, 1, 4, 5) }[0]));
    ldnq_samples_destroy(samples);
}

static void inputs_that_no_picture_fits_should_be_told(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_samples *samples;
    put_flat_png(fixture, "a.png", 4, 4, 1);
    assert_fails(open_only(fixture, shape_of(4, 1, 4, 4, 4), &options), LDNQ_DATA,
                 "input 'input' is (1,4,4,4) float32; they need (N,C,H,W) or (N,H,W,C)");
    assert_fails(open_only(fixture, shape_of(4, 2, 3, 4, 4), &options), LDNQ_DATA,
                 "holds 1 pictures where input 'input' takes 2 at a time");
    assert_fails(open_only(fixture, shape_of(2, -1, 16), &options), LDNQ_DATA, "(N,16) float32");
    struct ldnq_graph *graph = graph_of(fixture, 2);
    add_input(graph, "a", LDNQ_INT64, shape_of(4, -1, 3, 4, 4));
    assert_fails(ldnq_samples_open(fixture->folder, graph, &options, &samples, &err), LDNQ_DATA,
                 "(N,3,4,4) int64");
    add_input(graph, "b", LDNQ_FLOAT, shape_of(4, -1, 3, 4, 4));
    assert_fails(ldnq_samples_open(fixture->folder, graph, &options, &samples, &err), LDNQ_DATA,
                 "the model has 2 inputs");
}

static void channels_should_follow_the_model_and_be_rgb_where_it_leaves_them_open(void **state)
{
    static const int channels[][2] = { { 1, 1 }, { 3, 3 }, { -2, 3 } };
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    put_flat_png(fixture, "a.png", 4, 4, 1);
    for (int i = 0; i < 3; i++) {
        struct ldnq_tensor *input;
        struct ldnq_graph *graph = one_input(fixture, shape_of(4, -1, channels[i][0], 4, 4));
        assert_ok(read_all(fixture->folder, graph, &options, fixture->arena, &input));
        assert_int_equal(input->shape.dim[1], channels[i][1]);
    }
}

static void mean_of_another_count_than_the_channels_should_be_a_usage_error(void **state)
{
    struct ldnq_samples_options options = plain_options();
    options.preprocess.mean_count = 3;
    put_flat_png(*state, "a.png", 4, 4, 1);
    assert_fails(open_only(*state, shape_of(4, -1, 1, 4, 4), &options), LDNQ_USAGE,
                 "mean has 3 values where the input has 1 channel");
}

/* ---- many -------------------------------------------------------------------------- */

static void put_many(struct fixture *fixture, int count)
{
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "%03d.png", i);
        put_flat_png(fixture, name, 4, 4, (unsigned char)i);
    }
}

static struct ldnq_samples *open_folder(struct fixture *fixture,
                                        const struct ldnq_samples_options *options)
{
    struct ldnq_samples *samples;
    struct ldnq_graph *graph = one_input(fixture, shape_of(4, -1, 1, 4, 4));
    assert_ok(ldnq_samples_open(fixture->folder, graph, options, &samples, &err));
    return samples;
}

static void draw_should_depend_on_the_seed_alone_and_keep_file_order(void **state)
{
    struct fixture *fixture = *state;
    char drawn[3][256];
    put_many(fixture, 60);
    for (int run = 0; run < 3; run++) {
        struct ldnq_samples_options options = plain_options();
        options.max_samples = 10;
        options.seed = run == 2;
        struct ldnq_samples *samples = open_folder(fixture, &options);
        assert_int_equal(ldnq_samples_count(samples), 10);
        drawn[run][0] = '\0';
        for (size_t i = 0; i < 10; i++) {
            strcat(drawn[run], strrchr(ldnq_samples_name(samples, i), '/'));
            if (i)
                assert_true(
                    strcmp(ldnq_samples_name(samples, i - 1), ldnq_samples_name(samples, i)) < 0);
        }
        ldnq_samples_destroy(samples);
    }
    assert_string_equal(drawn[0], drawn[1]);
    assert_string_not_equal(drawn[0], drawn[2]);
}

static void draw_of_more_than_there_are_should_take_all(void **state)
{
    struct ldnq_samples_options options = plain_options();
    put_many(*state, 5);
    options.max_samples = 6;
    struct ldnq_samples *samples = open_folder(*state, &options);
    assert_int_equal(ldnq_samples_count(samples), 5);
    ldnq_samples_destroy(samples);
}

static uint64_t hash_of(struct fixture *fixture, size_t max_samples)
{
    struct ldnq_samples_options options = plain_options();
    uint64_t hash;
    options.max_samples = max_samples;
    struct ldnq_samples *samples = open_folder(fixture, &options);
    assert_ok(ldnq_samples_hash(samples, &hash, &err));
    ldnq_samples_destroy(samples);
    return hash;
}

static void hash_should_be_of_the_contents_in_use_and_not_of_names(void **state)
{
    struct fixture *fixture = *state;
    put_many(fixture, 5);
    uint64_t all = hash_of(fixture, 0);
    assert_true(all == hash_of(fixture, 5));
    assert_true(all != hash_of(fixture, 4));
    rename(path_of(fixture, "004.png"), path_of(fixture, "zzz.png"));
    assert_true(all == hash_of(fixture, 0));
    rename(path_of(fixture, "zzz.png"), path_of(fixture, "0.png"));
    assert_true(all != hash_of(fixture, 0));
}

static void parallel_read_should_equal_one_after_the_other(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_tensor *serial, *parallel;
    struct ldnq_pool *pool;
    put_many(fixture, 50);
    struct ldnq_samples *samples = open_folder(fixture, &options);
    assert_ok(ldnq_pool_create(4, &pool, &err));
    assert_ok(ldnq_samples_read(samples, 10, 40, NULL, fixture->arena, &serial, &err));
    assert_ok(ldnq_samples_read(samples, 10, 40, pool, fixture->arena, &parallel, &err));
    assert_int_equal(serial->shape.dim[0], 40);
    assert_true(((float *)serial->data)[39 * 16] == 49.0f);
    assert_memory_equal(serial->data, parallel->data, 40 * 16 * sizeof(float));
    ldnq_pool_destroy(pool);
    ldnq_samples_destroy(samples);
}

static void of_several_damaged_files_the_first_should_be_told(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_samples_options options = plain_options();
    struct ldnq_tensor *input;
    struct ldnq_pool *pool;
    options.is_strict = true; /* else they are left out when the set is opened */
    put_many(fixture, 50);
    assert_int_equal(truncate(path_of(fixture, "013.png"), 40), 0);
    assert_int_equal(truncate(path_of(fixture, "012.png"), 60), 0);
    assert_int_equal(truncate(path_of(fixture, "044.png"), 20), 0);
    struct ldnq_samples *samples = open_folder(fixture, &options);
    assert_ok(ldnq_pool_create(4, &pool, &err));
    for (int i = 0; i < 20; i++)
        assert_fails(ldnq_samples_read(samples, 0, 50, pool, fixture->arena, &input, &err),
                     LDNQ_DATA, "012.png: is a damaged PNG: it is truncated");
    ldnq_pool_destroy(pool);
    ldnq_samples_destroy(samples);
}

static void picture_folders_should_survive_lack_of_memory(void **state)
{
    struct fixture *fixture = *state;
    put_many(fixture, 3);
    put_text(fixture, "labels.csv", "file,class\n000.png,0\n001.png,1\n002.png,2\n");
    set_graph = one_input(fixture, shape_of(4, -1, 3, 6, 6));
    survive_lack_of_memory(fixture, fixture->folder, attempt_set);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(flat_folder_should_be_read_in_the_order_of_names),
        TEST(class_folders_should_count_in_byte_order_even_when_empty),
        TEST(what_is_clearly_no_picture_should_be_passed_over),
        TEST(damaged_pictures_should_be_left_out_and_counted),
        TEST(pictures_that_are_none_should_be_named),
        TEST(folder_without_samples_should_be_an_error),
        TEST(pictures_beside_class_folders_should_be_refused),
        TEST(single_picture_should_be_one_sample),
        TEST(labels_csv_should_be_read_with_quotes_and_crlf),
        TEST(labels_csv_should_be_told_by_line_when_it_is_wrong),
        TEST(labels_csv_should_not_be_read_for_calibration),
        TEST(flat_folder_without_labels_should_be_refused_where_they_are_needed),
        TEST(picture_of_another_size_should_name_both_shapes),
        TEST(pictures_of_different_sizes_should_have_shapes_of_their_own),
        TEST(inputs_that_no_picture_fits_should_be_told),
        TEST(channels_should_follow_the_model_and_be_rgb_where_it_leaves_them_open),
        TEST(mean_of_another_count_than_the_channels_should_be_a_usage_error),
        TEST(draw_should_depend_on_the_seed_alone_and_keep_file_order),
        TEST(draw_of_more_than_there_are_should_take_all),
        TEST(hash_should_be_of_the_contents_in_use_and_not_of_names),
        TEST(parallel_read_should_equal_one_after_the_other),
        TEST(of_several_damaged_files_the_first_should_be_told),
        TEST(picture_folders_should_survive_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
