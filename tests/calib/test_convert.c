/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <math.h>

static const struct ldnq_tensor *convert(struct fixture *fixture, enum ldnq_dtype from,
                                         const void *data, int count, enum ldnq_dtype to)
{
    struct ldnq_tensor tensor = { from, shape_of(1, count), (void *)data };
    const struct ldnq_tensor *out;
    assert_ok(ldnq_tensor_convert(&tensor, to, fixture->arena, &out, &err));
    assert_int_equal(out->dtype, to);
    assert_int_equal(out->shape.dim[0], count);
    return out;
}

static void refuse(struct fixture *fixture, enum ldnq_dtype from, const void *data,
                   enum ldnq_dtype to, const char *message)
{
    struct ldnq_tensor tensor = { from, shape_of(1, 1), (void *)data };
    const struct ldnq_tensor *out;
    assert_fails(ldnq_tensor_convert(&tensor, to, fixture->arena, &out, &err), LDNQ_DATA, message);
}

static void convert_to_the_same_type_should_give_the_tensor_itself(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_tensor tensor = { LDNQ_BFLOAT16, shape_of(1, 1), NULL };
    const struct ldnq_tensor *out;
    assert_ok(ldnq_tensor_convert(&tensor, LDNQ_BFLOAT16, fixture->arena, &out, &err));
    assert_ptr_equal(out, &tensor);
}

static void float16_should_become_float32_without_loss(void **state)
{
    static const uint16_t bits[] = { 0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff,
                                     0x0400, 0x0001, 0x83ff, 0x7c00, 0xfc00 };
    static const float wanted[] = { 0.0f,     -0.0f,    1.0f,        -2.0f,    65504.0f,
                                    0x1p-14f, 0x1p-24f, -0x3ffp-24f, INFINITY, -INFINITY };
    const struct ldnq_tensor *out = convert(*state, LDNQ_FLOAT16, bits, 10, LDNQ_FLOAT);
    assert_memory_equal(out->data, wanted, sizeof wanted);
    const uint16_t nan = 0x7e00;
    assert_true(isnan(((float *)convert(*state, LDNQ_FLOAT16, &nan, 1, LDNQ_FLOAT)->data)[0]));
}

static void bfloat16_should_become_float32_without_loss(void **state)
{
    static const uint16_t bits[] = { 0x3f80, 0xbfc0 };
    const float *out = convert(*state, LDNQ_BFLOAT16, bits, 2, LDNQ_FLOAT)->data;
    assert_true(out[0] == 1.0f && out[1] == -1.5f);
}

static void float64_should_round_to_the_nearest_float32(void **state)
{
    static const double values[] = { 0.1, 1 + 0x1p-30, 1e300, -1e-300 };
    static const float wanted[] = { 0.1f, 1.0f, INFINITY, -0.0f };
    assert_memory_equal(convert(*state, LDNQ_DOUBLE, values, 4, LDNQ_FLOAT)->data, wanted,
                        sizeof wanted);
}

static void integers_should_become_floats(void **state)
{
    static const uint8_t bytes[] = { 0, 255 };
    static const int64_t longs[] = { -5, 1 << 24 };
    static const uint64_t unsigned_longs[] = { UINT64_MAX };
    const float *out = convert(*state, LDNQ_UINT8, bytes, 2, LDNQ_FLOAT)->data;
    assert_true(out[0] == 0.0f && out[1] == 255.0f);
    out = convert(*state, LDNQ_INT64, longs, 2, LDNQ_FLOAT)->data;
    assert_true(out[0] == -5.0f && out[1] == 16777216.0f);
    const double *wide = convert(*state, LDNQ_UINT64, unsigned_longs, 1, LDNQ_DOUBLE)->data;
    assert_true(wide[0] == 0x1p64);
}

static void integers_should_widen_with_their_sign(void **state)
{
    static const int32_t ints[] = { -1, INT32_MIN, INT32_MAX };
    static const uint16_t shorts[] = { 65535 };
    static const int8_t bytes[] = { -128 };
    const int64_t *out = convert(*state, LDNQ_INT32, ints, 3, LDNQ_INT64)->data;
    assert_true(out[0] == -1 && out[1] == INT32_MIN && out[2] == INT32_MAX);
    out = convert(*state, LDNQ_UINT16, shorts, 1, LDNQ_INT64)->data;
    assert_int_equal(out[0], 65535);
    out = convert(*state, LDNQ_INT8, bytes, 1, LDNQ_INT64)->data;
    assert_int_equal(out[0], -128);
}

static void integers_should_narrow_only_where_every_value_fits(void **state)
{
    static const int64_t fits[] = { -128, 127 };
    static const int64_t large = 128, wide = (int64_t)1 << 31, negative = -1;
    static const uint64_t huge = UINT64_MAX;
    const int8_t *out = convert(*state, LDNQ_INT64, fits, 2, LDNQ_INT8)->data;
    assert_true(out[0] == -128 && out[1] == 127);
    refuse(*state, LDNQ_INT64, &large, LDNQ_INT8, "the value 128 does not fit int8");
    refuse(*state, LDNQ_INT64, &wide, LDNQ_INT32, "the value 2147483648 does not fit int32");
    refuse(*state, LDNQ_INT64, &negative, LDNQ_UINT64, "the value -1 does not fit uint64");
    refuse(*state, LDNQ_UINT64, &huge, LDNQ_INT64, "18446744073709551615 does not fit int64");
}

static void only_0_and_1_should_become_bool(void **state)
{
    static const int64_t values[] = { 0, 1 }, two = 2;
    assert_memory_equal(convert(*state, LDNQ_INT64, values, 2, LDNQ_BOOL)->data, "\0\1", 2);
    refuse(*state, LDNQ_INT64, &two, LDNQ_BOOL, "the value 2 does not fit bool");
}

static void floats_should_never_become_integers(void **state)
{
    static const float one = 1;
    const float large = 1e5f;
    refuse(*state, LDNQ_FLOAT, &large, LDNQ_FLOAT16, "the value 100000 does not fit float16");
    refuse(*state, LDNQ_FLOAT, &one, LDNQ_INT64, "holds float32 where int64 is wanted");
    refuse(*state, LDNQ_FLOAT, &one, LDNQ_STRING, "holds float32 where string is wanted");
    refuse(*state, LDNQ_COMPLEX64, &one, LDNQ_FLOAT, "holds complex64 where float32 is wanted");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(convert_to_the_same_type_should_give_the_tensor_itself),
        TEST(float16_should_become_float32_without_loss),
        TEST(bfloat16_should_become_float32_without_loss),
        TEST(float64_should_round_to_the_nearest_float32),
        TEST(integers_should_become_floats),
        TEST(integers_should_widen_with_their_sign),
        TEST(integers_should_narrow_only_where_every_value_fits),
        TEST(only_0_and_1_should_become_bool),
        TEST(floats_should_never_become_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
