/* SPDX-License-Identifier: Apache-2.0 */
#include "make.h"

#include "onnx/codec.h"

static struct make make;

static int begin(void **state)
{
    (void)state;
    make = make_begin(13);
    return 0;
}

static int end(void **state)
{
    (void)state;
    make_end(&make);
    return 0;
}

static const struct ldnq_tensor *decode(const Onnx__TensorProto *proto)
{
    struct ldnq_tensor *tensor;
    assert_ok(ldnq_codec_decode(proto, make.arena, &tensor, &err));
    return tensor;
}

static enum ldnq_status try_decode(const Onnx__TensorProto *proto)
{
    struct ldnq_tensor *tensor;
    return ldnq_codec_decode(proto, make.arena, &tensor, &err);
}

static void decode_should_use_raw_floats_in_place(void **state)
{
    (void)state;
    Onnx__TensorProto *proto = make_weight(&make, "w", DIMS(2, 3));
    const struct ldnq_tensor *tensor = decode(proto);
    assert_ptr_equal(tensor->data, proto->raw_data.data);
    assert_int_equal(tensor->dtype, LDNQ_FLOAT);
    assert_int_equal(tensor->shape.rank, 2);
    assert_int_equal(tensor->shape.dim[1], 3);
}

static void decode_should_copy_unaligned_data(void **state)
{
    (void)state;
    Onnx__TensorProto *proto = make_weight(&make, "w", DIMS(3));
    uint8_t *moved = ldnq_arena_alloc(make.arena, 13, 1, &err);
    memcpy(moved + 1, proto->raw_data.data, 12);
    proto->raw_data.data = moved + 1;
    const float *data = decode(proto)->data;
    assert_true((uintptr_t)data % 4 == 0 && data[2] == 2);
}

static void decode_should_unpack_small_types(void **state)
{
    (void)state;
    Onnx__TensorProto *proto = make_tensor(&make, "w", LDNQ_INT4, DIMS(3));
    make_raw(&make, proto, "\x8f\x07", 2);
    static const int8_t int4[] = { -1, -8, 7 };
    assert_memory_equal(decode(proto)->data, int4, 3);
    proto->data_type = LDNQ_UINT4;
    static const uint8_t uint4[] = { 15, 8, 7 };
    assert_memory_equal(decode(proto)->data, uint4, 3);
    proto->data_type = LDNQ_FLOAT4E2M1;
    assert_memory_equal(decode(proto)->data, uint4, 3);

    proto = make_tensor(&make, "w", LDNQ_INT2, DIMS(5));
    make_raw(&make, proto, "\xe4\x02", 2);
    static const int8_t int2[] = { 0, 1, -2, -1, -2 };
    assert_memory_equal(decode(proto)->data, int2, 5);
    proto->data_type = LDNQ_UINT2;
    static const uint8_t uint2[] = { 0, 1, 2, 3, 2 };
    assert_memory_equal(decode(proto)->data, uint2, 5);
}

static Onnx__TensorProto *int32_tensor(int32_t type, int64_t count, size_t entries, int32_t *values)
{
    Onnx__TensorProto *proto = make_tensor(&make, "w", type, DIMS(count));
    proto->int32_data = values;
    proto->n_int32_data = entries;
    return proto;
}

static void decode_should_read_int32_data_of_every_type(void **state)
{
    (void)state;
    int32_t values[] = { -3, 200, 1 };
    assert_ptr_equal(decode(int32_tensor(LDNQ_INT32, 3, 3, values))->data, values);
    static const int8_t int8[] = { -3, -56, 1 };
    assert_memory_equal(decode(int32_tensor(LDNQ_INT8, 3, 3, values))->data, int8, 3);
    static const uint8_t uint8[] = { 253, 200, 1 };
    assert_memory_equal(decode(int32_tensor(LDNQ_UINT8, 3, 3, values))->data, uint8, 3);
    assert_memory_equal(decode(int32_tensor(LDNQ_FLOAT8E5M2, 3, 3, values))->data, uint8, 3);
    static const int16_t int16[] = { -3, 200, 1 };
    assert_memory_equal(decode(int32_tensor(LDNQ_INT16, 3, 3, values))->data, int16, 6);
    assert_memory_equal(decode(int32_tensor(LDNQ_FLOAT16, 3, 3, values))->data, int16, 6);
    assert_memory_equal(decode(int32_tensor(LDNQ_BFLOAT16, 3, 3, values))->data, int16, 6);
    static const uint8_t bools[] = { 1, 1, 1 };
    assert_memory_equal(decode(int32_tensor(LDNQ_BOOL, 3, 3, values))->data, bools, 3);
    int32_t packed[] = { 0x8f, 0x07 };
    static const int8_t int4[] = { -1, -8, 7 };
    assert_memory_equal(decode(int32_tensor(LDNQ_INT4, 3, 2, packed))->data, int4, 3);
    int32_t quads[] = { 0xe4, 0x02 };
    static const int8_t int2[] = { 0, 1, -2, -1, -2 };
    assert_memory_equal(decode(int32_tensor(LDNQ_INT2, 5, 2, quads))->data, int2, 5);
}

static void decode_should_read_the_other_typed_lists(void **state)
{
    (void)state;
    float floats[] = { 1, 2, 3, 4 };
    Onnx__TensorProto *proto = make_tensor(&make, "w", LDNQ_FLOAT, DIMS(4));
    proto->float_data = floats;
    proto->n_float_data = 4;
    assert_ptr_equal(decode(proto)->data, floats);
    proto->data_type = LDNQ_COMPLEX64;
    proto->dims[0] = 2;
    assert_memory_equal(decode(proto)->data, floats, sizeof floats);

    double doubles[] = { 1, 2 };
    proto = make_tensor(&make, "w", LDNQ_DOUBLE, DIMS(2));
    proto->double_data = doubles;
    proto->n_double_data = 2;
    assert_ptr_equal(decode(proto)->data, doubles);

    int64_t longs[] = { INT64_MIN, 5 };
    proto = make_tensor(&make, "w", LDNQ_INT64, DIMS(2));
    proto->int64_data = longs;
    proto->n_int64_data = 2;
    assert_ptr_equal(decode(proto)->data, longs);

    uint64_t unsigneds[] = { 7, 4000000000u };
    proto = make_tensor(&make, "w", LDNQ_UINT64, DIMS(2));
    proto->uint64_data = unsigneds;
    proto->n_uint64_data = 2;
    assert_ptr_equal(decode(proto)->data, unsigneds);
    proto->data_type = LDNQ_UINT32;
    assert_int_equal(((const uint32_t *)decode(proto)->data)[1], 4000000000u);
}

static void decode_should_take_scalars_and_empty_tensors(void **state)
{
    (void)state;
    const struct ldnq_tensor *scalar = decode(make_weight(&make, "s", 0, NULL));
    assert_int_equal(scalar->shape.rank, 0);
    assert_true(*(const float *)scalar->data == 0);
    assert_non_null(decode(make_weight(&make, "e", DIMS(0, 7)))->data);
    assert_non_null(decode(make_tensor(&make, "e", LDNQ_INT4, DIMS(0)))->data);
}

static void decode_should_give_strings_without_data(void **state)
{
    (void)state;
    Onnx__TensorProto *proto = make_tensor(&make, "s", LDNQ_STRING, DIMS(2));
    ProtobufCBinaryData strings[2] = { { 0 }, { 0 } };
    proto->string_data = strings;
    proto->n_string_data = 2;
    const struct ldnq_tensor *tensor = decode(proto);
    assert_null(tensor->data);
    assert_int_equal(tensor->shape.dim[0], 2);
    proto->n_string_data = 1;
    assert_fails(try_decode(proto), LDNQ_MODEL, "holds 1 strings");
}

static void decode_should_refuse_wrong_sizes(void **state)
{
    (void)state;
    Onnx__TensorProto *proto = make_weight(&make, "w", DIMS(3, 2));
    proto->raw_data.len = 12;
    assert_fails(try_decode(proto), LDNQ_MODEL,
                 "tensor 'w': holds 12 bytes where its shape (3,2) of float32 needs 24");
    proto->raw_data.len = 0;
    assert_fails(try_decode(proto), LDNQ_MODEL, "holds 0 numbers");
    int32_t values[3] = { 0 };
    assert_fails(try_decode(int32_tensor(LDNQ_INT4, 3, 3, values)), LDNQ_MODEL,
                 "holds 3 numbers where its shape (3) of int4 needs 2");
}

static void decode_should_refuse_impossible_headers(void **state)
{
    (void)state;
    Onnx__TensorProto *proto = make_weight(&make, "w", DIMS(3, 2));
    proto->data_type = 27;
    assert_fails(try_decode(proto), LDNQ_MODEL, "element type 27");
    proto->data_type = 0;
    assert_fails(try_decode(proto), LDNQ_MODEL, "element type 0");
    proto->data_type = LDNQ_FLOAT;
    proto->dims[0] = -3;
    assert_fails(try_decode(proto), LDNQ_MODEL, "negative dimension");
    proto->dims[0] = INT64_MAX;
    assert_fails(try_decode(proto), LDNQ_MODEL, "more elements than can be counted");
    proto = make_weight(&make, "w", DIMS(1, 1, 1, 1, 1, 1, 1, 1, 1));
    assert_fails(try_decode(proto), LDNQ_UNSUPPORTED, "has rank 9");
}

/* ---- sparse --------------------------------------------------------------------------------- */

static Onnx__SparseTensorProto *sparse_tensor(int64_t rank, int64_t *dims, int64_t nonzero,
                                              const int64_t *indices, bool linear)
{
    Onnx__SparseTensorProto *sparse = make_message(&make, &onnx__sparse_tensor_proto__descriptor);
    sparse->values = make_weight(&make, "s", DIMS(nonzero));
    sparse->indices = linear ? make_tensor(&make, "", LDNQ_INT64, DIMS(nonzero))
                             : make_tensor(&make, "", LDNQ_INT64, DIMS(nonzero, rank));
    make_raw(&make, sparse->indices, indices, (size_t)(linear ? nonzero : nonzero * rank) * 8);
    sparse->dims = dims;
    sparse->n_dims = (size_t)rank;
    return sparse;
}

static void decode_sparse_should_write_out_zeros(void **state)
{
    (void)state;
    struct ldnq_tensor *dense;
    int64_t dims[] = { 2, 3 };
    static const float want[] = { 0, 0, 0, 0, 1, 0 };
    const int64_t linear[] = { 1, 4 }, pairs[] = { 0, 1, 1, 1 };
    assert_ok(ldnq_codec_decode_sparse(sparse_tensor(2, dims, 2, linear, true), make.arena, &dense,
                                       &err));
    assert_memory_equal(dense->data, want, sizeof want);
    assert_ok(ldnq_codec_decode_sparse(sparse_tensor(2, dims, 2, pairs, false), make.arena, &dense,
                                       &err));
    assert_memory_equal(dense->data, want, sizeof want);
}

static void decode_sparse_should_refuse_bad_indices(void **state)
{
    (void)state;
    struct ldnq_tensor *dense;
    int64_t dims[] = { 2, 3 }, huge[] = { INT64_MAX, 2 };
    const int64_t linear[] = { 1, 6 }, negative[] = { 0, -1 }, pairs[] = { 0, 1, 1, 3 };
    assert_fails(
        ldnq_codec_decode_sparse(sparse_tensor(2, dims, 2, linear, true), make.arena, &dense, &err),
        LDNQ_MODEL, "sparse tensor 's': its index 1 is outside");
    assert_fails(ldnq_codec_decode_sparse(sparse_tensor(2, dims, 2, negative, true), make.arena,
                                          &dense, &err),
                 LDNQ_MODEL, "outside");
    assert_fails(
        ldnq_codec_decode_sparse(sparse_tensor(2, dims, 2, pairs, false), make.arena, &dense, &err),
        LDNQ_MODEL, "outside");
    assert_fails(
        ldnq_codec_decode_sparse(sparse_tensor(2, huge, 2, linear, true), make.arena, &dense, &err),
        LDNQ_UNSUPPORTED, "too large");
}

/* ---- out ------------------------------------------------------------------------------------ */

static void encode_should_give_back_what_was_decoded(void **state)
{
    (void)state;
    static const enum ldnq_dtype types[] = { LDNQ_FLOAT, LDNQ_INT8,  LDNQ_INT4,
                                             LDNQ_UINT4, LDNQ_INT2,  LDNQ_UINT2,
                                             LDNQ_INT32, LDNQ_INT64, LDNQ_BOOL };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct ldnq_tensor *tensor;
        Onnx__TensorProto *proto;
        const struct ldnq_shape shape = { .rank = 2, .dim = { 3, 3 } };
        assert_ok(ldnq_tensor_create(make.arena, types[i], &shape, &tensor, &err));
        *(int8_t *)tensor->data = types[i] == LDNQ_INT4 || types[i] == LDNQ_INT2 ? -1 : 1;
        ((int8_t *)tensor->data)[8] = 1;
        assert_ok(ldnq_codec_encode(tensor, "w", make.arena, &proto, &err));
        size_t bits = 9 * ldnq_dtype_bits(types[i]);
        assert_int_equal(proto->raw_data.len, (bits + 7) / 8);
        assert_memory_equal(decode(proto)->data, tensor->data, 9 * ldnq_dtype_size(types[i]));
    }
}

static void encode_should_put_the_first_element_lowest(void **state)
{
    (void)state;
    int8_t values[] = { -1, -8, 7 };
    const struct ldnq_tensor tensor = { LDNQ_INT4, { .rank = 1, .dim = { 3 } }, values };
    Onnx__TensorProto *proto;
    assert_ok(ldnq_codec_encode(&tensor, "w", make.arena, &proto, &err));
    assert_memory_equal(proto->raw_data.data, "\x8f\x07", 2);
}

static void tensorproto_decode_should_read_one_tensor(void **state)
{
    (void)state;
    struct ldnq_tensor *tensor;
    const char *name;
    Onnx__TensorProto *proto = make_weight(&make, "w", DIMS(2));
    uint8_t bytes[64];
    size_t size = onnx__tensor_proto__pack(proto, bytes);
    assert_ok(ldnq_tensorproto_decode(bytes, size, make.arena, &tensor, &name, &err));
    assert_string_equal(name, "w");
    assert_true(((const float *)tensor->data)[1] == 1);
    assert_fails(ldnq_tensorproto_decode(bytes, size - 1, make.arena, &tensor, &name, &err),
                 LDNQ_MODEL, "not a TensorProto");
    proto->name = NULL;
    size = onnx__tensor_proto__pack(proto, bytes);
    assert_ok(ldnq_tensorproto_decode(bytes, size, make.arena, &tensor, &name, &err));
    assert_string_equal(name, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(decode_should_use_raw_floats_in_place),
        TEST(decode_should_copy_unaligned_data),
        TEST(decode_should_unpack_small_types),
        TEST(decode_should_read_int32_data_of_every_type),
        TEST(decode_should_read_the_other_typed_lists),
        TEST(decode_should_take_scalars_and_empty_tensors),
        TEST(decode_should_give_strings_without_data),
        TEST(decode_should_refuse_wrong_sizes),
        TEST(decode_should_refuse_impossible_headers),
        TEST(decode_sparse_should_write_out_zeros),
        TEST(decode_sparse_should_refuse_bad_indices),
        TEST(encode_should_give_back_what_was_decoded),
        TEST(encode_should_put_the_first_element_lowest),
        TEST(tensorproto_decode_should_read_one_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
