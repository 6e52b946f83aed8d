/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers and widths are those of ONNX's TensorProto.DataType. */
#include "test.h"

#include <string.h>

#include "ir/ir.h"

struct fact {
    int number;
    const char *name;
    size_t size;
    unsigned bits;
    bool is_signed, is_integer;
};

static const struct fact facts[] = {
    { 0, "undefined", 0, 0, false, false },
    { 1, "float32", 4, 32, true, false },
    { 2, "uint8", 1, 8, false, true },
    { 3, "int8", 1, 8, true, true },
    { 4, "uint16", 2, 16, false, true },
    { 5, "int16", 2, 16, true, true },
    { 6, "int32", 4, 32, true, true },
    { 7, "int64", 8, 64, true, true },
    { 8, "string", 0, 0, false, false },
    { 9, "bool", 1, 8, false, false },
    { 10, "float16", 2, 16, true, false },
    { 11, "float64", 8, 64, true, false },
    { 12, "uint32", 4, 32, false, true },
    { 13, "uint64", 8, 64, false, true },
    { 14, "complex64", 8, 64, true, false },
    { 15, "complex128", 16, 128, true, false },
    { 16, "bfloat16", 2, 16, true, false },
    { 17, "float8e4m3fn", 1, 8, true, false },
    { 18, "float8e4m3fnuz", 1, 8, true, false },
    { 19, "float8e5m2", 1, 8, true, false },
    { 20, "float8e5m2fnuz", 1, 8, true, false },
    { 21, "uint4", 1, 4, false, true },
    { 22, "int4", 1, 4, true, true },
    { 23, "float4e2m1", 1, 4, true, false },
    { 24, "float8e8m0", 1, 8, false, false },
    { 25, "uint2", 1, 2, false, true },
    { 26, "int2", 1, 2, true, true },
};

static void facts_should_be_onnxs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        enum ldnq_dtype dtype = (enum ldnq_dtype)facts[i].number;
        assert_string_equal(ldnq_dtype_name(dtype), facts[i].name);
        assert_int_equal(ldnq_dtype_size(dtype), facts[i].size);
        assert_int_equal(ldnq_dtype_bits(dtype), facts[i].bits);
        assert_int_equal(ldnq_dtype_is_signed(dtype), facts[i].is_signed);
        assert_int_equal(ldnq_dtype_is_integer(dtype), facts[i].is_integer);
    }
}

static void a_number_outside_the_list_should_be_undefined(void **state)
{
    (void)state;
    static const int outside[] = { -1, 27, 28, 255, 1 << 30 };
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        enum ldnq_dtype dtype = (enum ldnq_dtype)outside[i];
        assert_string_equal(ldnq_dtype_name(dtype), "undefined");
        assert_int_equal(ldnq_dtype_size(dtype), 0);
        assert_int_equal(ldnq_dtype_bits(dtype), 0);
        assert_false(ldnq_dtype_is_signed(dtype));
        assert_false(ldnq_dtype_is_integer(dtype));
    }
}

#define CHECK_INTEGER(DTYPE, T, value)                                                             \
    do {                                                                                           \
        T data[2] = { 0, (T)(value) };                                                             \
        const struct ldnq_tensor tensor = { DTYPE, { 1, { 2 } }, data };                           \
        assert_int_equal(ldnq_tensor_load_integer(&tensor, 0), 0);                                 \
        assert_true(ldnq_tensor_load_integer(&tensor, 1) == (int64_t)(T)(value));                  \
    } while (0)

static void integers_of_all_types_should_load_with_their_sign(void **state)
{
    (void)state;
    CHECK_INTEGER(LDNQ_INT4, int8_t, -8);
    CHECK_INTEGER(LDNQ_UINT4, uint8_t, 15);
    CHECK_INTEGER(LDNQ_BOOL, uint8_t, 1);
    CHECK_INTEGER(LDNQ_INT8, int8_t, -128);
    CHECK_INTEGER(LDNQ_UINT8, uint8_t, 255);
    CHECK_INTEGER(LDNQ_INT16, int16_t, -32768);
    CHECK_INTEGER(LDNQ_UINT16, uint16_t, 65535);
    CHECK_INTEGER(LDNQ_INT32, int32_t, INT32_MIN);
    CHECK_INTEGER(LDNQ_UINT32, uint32_t, UINT32_MAX);
    CHECK_INTEGER(LDNQ_INT64, int64_t, INT64_MIN);
    CHECK_INTEGER(LDNQ_UINT64, uint64_t, UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_should_be_onnxs),
        cmocka_unit_test(a_number_outside_the_list_should_be_undefined),
        cmocka_unit_test(integers_of_all_types_should_load_with_their_sign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
