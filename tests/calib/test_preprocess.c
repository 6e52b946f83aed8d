/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "calib/preprocess.h"

static const struct ldnq_picture_layout channels_first = { .is_bytes = false };

static struct ldnq_preprocess plain(void)
{
    struct ldnq_preprocess preprocess;
    ldnq_preprocess_defaults(&preprocess);
    preprocess.scale = 1;
    return preprocess;
}

/* Pixel (y,x) of channel c is 40 y + 10 x + c. */
static struct ldnq_picture ramp(struct fixture *fixture, size_t width, size_t height,
                                size_t channels)
{
    struct ldnq_picture picture = { .width = width, .height = height, .channels = channels };
    assert_ok(ldnq_picture_create("ramp", fixture->arena, &picture, &err));
    unsigned char *to = picture.pixels;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            for (size_t c = 0; c < channels; c++)
                *to++ = (unsigned char)(40 * y + 10 * x + c);
    return picture;
}

static struct ldnq_tensor *run(struct fixture *fixture, const struct ldnq_preprocess *preprocess,
                               const struct ldnq_picture *picture)
{
    struct ldnq_tensor *out;
    assert_ok(ldnq_preprocess_run(preprocess, "x.png", picture, &channels_first, fixture->arena,
                                  &out, &err));
    return out;
}

static void defaults_should_scale_bytes_to_0_to_1(void **state)
{
    struct ldnq_preprocess preprocess;
    struct ldnq_picture picture = { 2, 1, 1, 0, (unsigned char *)"\0\xff" };
    ldnq_preprocess_defaults(&preprocess);
    const float *out = run(*state, &preprocess, &picture)->data;
    assert_true(out[0] == 0.0f && out[1] == 1.0f);
}

static void channels_should_come_first(void **state)
{
    struct ldnq_preprocess preprocess = plain();
    struct ldnq_picture picture = ramp(*state, 3, 2, 3);
    struct ldnq_tensor *out = run(*state, &preprocess, &picture);
    struct ldnq_shape shape = shape_of(3, 3, 2, 3);
    assert_true(ldnq_shapes_are_equal(&out->shape, &shape));
    for (int i = 0; i < 18; i++)
        assert_true(((float *)out->data)[i] == (float)(40 * (i / 3 % 2) + 10 * (i % 3) + i / 6));
}

static void mean_and_std_should_apply_after_scale_channel_by_channel(void **state)
{
    struct ldnq_preprocess preprocess = {
        .scale = 2, .mean_count = 3, .mean = { 1, 2, 3 }, .std_count = 3, .std = { 1, 2, -4 }
    };
    struct ldnq_picture picture = { 1, 1, 3, 0, (unsigned char *)"\10\20\30" };
    const float *out = run(*state, &preprocess, &picture)->data;
    assert_true(out[0] == 15.0f && out[1] == 15.0f && out[2] == -11.25f);
    preprocess.mean_count = preprocess.std_count = 1;
    out = run(*state, &preprocess, &picture)->data;
    assert_true(out[0] == 15.0f && out[1] == 31.0f && out[2] == 47.0f);
}

/* Half a pixel of margin goes to the even side, as Python's round has it. */
static void crop_should_stand_where_torchvision_puts_it(void **state)
{
    static const struct {
        size_t width, crop, left;
    } cases[] = { { 4, 2, 1 }, { 5, 2, 2 }, { 6, 5, 0 }, { 7, 2, 2 }, { 9, 2, 4 }, { 2, 2, 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ldnq_preprocess preprocess = plain();
        struct ldnq_picture picture = ramp(*state, cases[i].width, cases[i].crop, 1);
        preprocess.crop = cases[i].crop;
        struct ldnq_tensor *out = run(*state, &preprocess, &picture);
        assert_int_equal(out->shape.dim[2], cases[i].crop);
        assert_true(((float *)out->data)[0] == (float)(10 * cases[i].left));
    }
}

static void crop_larger_than_the_picture_should_name_both_sizes(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_preprocess preprocess = plain();
    struct ldnq_picture picture = ramp(fixture, 4, 6, 1);
    struct ldnq_tensor *out;
    preprocess.crop = 5;
    assert_fails(ldnq_preprocess_run(&preprocess, "d/x.png", &picture, &channels_first,
                                     fixture->arena, &out, &err),
                 LDNQ_DATA, "d/x.png: is 4 x 6 pixels, from which crop 5 can't take 5 x 5");
}

static void resize_should_bring_the_shorter_side_to_size_and_cut_the_longer(void **state)
{
    static const struct {
        size_t width, height, resize, to_width, to_height;
    } cases[] = { { 10, 7, 5, 7, 5 }, { 7, 10, 5, 5, 7 }, { 3, 3, 8, 8, 8 },
                  { 9, 2, 2, 9, 2 },  { 1, 6, 1, 1, 6 },  { 4, 6, 1, 1, 1 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ldnq_preprocess preprocess = plain();
        struct ldnq_picture picture = ramp(*state, cases[i].width, cases[i].height, 3);
        preprocess.resize = cases[i].resize;
        struct ldnq_tensor *out = run(*state, &preprocess, &picture);
        assert_int_equal(out->shape.dim[1], cases[i].to_height);
        assert_int_equal(out->shape.dim[2], cases[i].to_width);
    }
}

static void resize_should_keep_a_flat_picture_flat(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_picture picture = { 37, 23, 1, 0, ldnq_arena_alloc(fixture->arena, 37, 23, &err) };
    memset(picture.pixels, 201, 37 * 23);
    for (size_t size = 1; size < 64; size++) {
        struct ldnq_preprocess preprocess = plain();
        preprocess.resize = size;
        struct ldnq_tensor *out = run(fixture, &preprocess, &picture);
        for (size_t i = 0; i < ldnq_tensor_count(out); i++)
            assert_true(((float *)out->data)[i] == 201.0f);
    }
}

/* Two to one: triangles over four pixels weigh 1 3 3 1. */
static void resize_should_average_as_wide_as_it_shrinks(void **state)
{
    struct ldnq_preprocess preprocess = plain();
    struct ldnq_picture picture = { 8, 2, 1, 0,
                                    (unsigned char *)"\0\0\0\x80\0\0\0\0\0\0\0\x80\0\0\0\0" };
    preprocess.resize = 1;
    struct ldnq_tensor *out = run(*state, &preprocess, &picture);
    const float wanted[] = { 0, 48, 16, 0 };
    assert_memory_equal(out->data, wanted, sizeof wanted);
}

static void resize_beyond_all_measure_should_be_refused(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_picture picture = ramp(fixture, 4, 6, 1);
    struct ldnq_tensor *out;
    struct ldnq_preprocess preprocess = plain();
    preprocess.resize = (size_t)1 << 40;
    assert_fails(ldnq_preprocess_run(&preprocess, "x.png", &picture, &channels_first,
                                     fixture->arena, &out, &err),
                 LDNQ_DATA, "x.png:");
    preprocess.resize = SIZE_MAX;
    assert_fails(ldnq_preprocess_run(&preprocess, "x.png", &picture, &channels_first,
                                     fixture->arena, &out, &err),
                 LDNQ_USAGE, "is too large");
}

static void values_that_do_not_serve_should_be_refused(void **state)
{
    struct ldnq_preprocess mean = { .scale = 1, .mean_count = 2 };
    struct ldnq_preprocess zero = { .scale = 1, .std_count = 1, .std = { 0 } };
    struct ldnq_preprocess nan = { .scale = 1, .mean_count = 1, .mean = { (float)(0.0 / 0.0) } };
    struct ldnq_preprocess scale = { .scale = 0 };
    struct ldnq_preprocess right = { .scale = 1, .mean_count = 3, .std_count = 1, .std = { 1 } };
    (void)state;
    assert_fails(ldnq_preprocess_check(&mean, 3, &err), LDNQ_USAGE,
                 "mean has 2 values where the input has 3 channels");
    assert_fails(ldnq_preprocess_check(&right, 1, &err), LDNQ_USAGE,
                 "mean has 3 values where the input has 1 channel");
    assert_fails(ldnq_preprocess_check(&zero, 1, &err), LDNQ_USAGE, "std can't be 0");
    assert_fails(ldnq_preprocess_check(&nan, 1, &err), LDNQ_USAGE, "mean can't be ");
    assert_fails(ldnq_preprocess_check(&scale, 1, &err), LDNQ_USAGE, "scale can't be 0");
    assert_ok(ldnq_preprocess_check(&right, 3, &err));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_should_scale_bytes_to_0_to_1),
        TEST(channels_should_come_first),
        TEST(mean_and_std_should_apply_after_scale_channel_by_channel),
        TEST(crop_should_stand_where_torchvision_puts_it),
        TEST(crop_larger_than_the_picture_should_name_both_sizes),
        TEST(resize_should_bring_the_shorter_side_to_size_and_cut_the_longer),
        TEST(resize_should_keep_a_flat_picture_flat),
        TEST(resize_should_average_as_wide_as_it_shrinks),
        TEST(resize_beyond_all_measure_should_be_refused),
        TEST(values_that_do_not_serve_should_be_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
