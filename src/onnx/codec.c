/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/codec.h"

#include <string.h>

#include "base/size.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "ONNX files are little-endian, and are used here without swapping"
#endif

/* ---- type, shape, size ------------------------------------------------------------ */

static enum ldnq_status read_shape(const int64_t *dims, size_t count, struct ldnq_shape *shape,
                                   struct ldnq_error *err)
{
    if (count > LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "has rank %zu; at most %d are supported", count,
                         LDNQ_MAX_RANK);
    shape->rank = (int)count;
    for (size_t i = 0; i < count; i++) {
        if (dims[i] < 0)
            return ldnq_fail(err, LDNQ_MODEL, "has a negative dimension");
        shape->dim[i] = dims[i];
    }
    return LDNQ_OK;
}

static enum ldnq_status read_header(const Onnx__TensorProto *proto, struct ldnq_tensor *tensor,
                                    size_t *count, struct ldnq_error *err)
{
    if (proto->data_type <= LDNQ_UNDEFINED || proto->data_type > LDNQ_INT2)
        return ldnq_fail(err, LDNQ_MODEL, "has element type %d, which is not one of ONNX's",
                         (int)proto->data_type);
    if (proto->segment)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "is stored in segments, which is not supported");
    tensor->dtype = (enum ldnq_dtype)proto->data_type;
    LDNQ_TRY(read_shape(proto->dims, proto->n_dims, &tensor->shape, err));
    size_t bits;
    if (!ldnq_shape_count(&tensor->shape, count) || !ldnq_size_mul(*count, 128, &bits))
        return ldnq_fail(err, LDNQ_MODEL, "has more elements than can be counted");
    return LDNQ_OK;
}

static size_t count_packed_bytes(enum ldnq_dtype dtype, size_t count)
{
    return ldnq_size_ceil_div(count * ldnq_dtype_bits(dtype), 8);
}

enum ldnq_status ldnq_codec_packed_size(const Onnx__TensorProto *proto, size_t *bytes,
                                        struct ldnq_error *err)
{
    struct ldnq_tensor tensor = { 0 };
    size_t count;
    LDNQ_TRY(read_header(proto, &tensor, &count, err));
    if (tensor.dtype == LDNQ_STRING)
        return ldnq_fail(err, LDNQ_MODEL, "strings can't be stored as plain bytes");
    *bytes = count_packed_bytes(tensor.dtype, count);
    return LDNQ_OK;
}

static enum ldnq_status check_data_size(const struct ldnq_tensor *tensor, const char *unit,
                                        size_t have, size_t want, struct ldnq_error *err)
{
    char text[LDNQ_SHAPE_TEXT];
    if (have == want)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL, "holds %zu %s where its shape %s of %s needs %zu", have, unit,
                     ldnq_shape_print(&tensor->shape, NULL, text, sizeof text),
                     ldnq_dtype_name(tensor->dtype), want);
}

/* ---- elements that are not used as they lie ------------------------------------------ */

static uint8_t load_strided_byte(const void *bytes, size_t stride, size_t i)
{
    return ((const uint8_t *)bytes)[i * stride];
}

/* Unpacks entries of `stride` bytes; each one's first byte holds 8 / bits elements,
 * lowest bits first. */
static void unpack_bits(const void *entries, size_t stride, enum ldnq_dtype dtype, size_t count,
                        uint8_t *out)
{
    unsigned bits = ldnq_dtype_bits(dtype), per_byte = 8 / bits;
    uint8_t mask = (uint8_t)((1u << bits) - 1);
    uint8_t sign = ldnq_dtype_is_integer(dtype) && ldnq_dtype_is_signed(dtype)
                       ? (uint8_t)(1u << (bits - 1))
                       : 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t byte = load_strided_byte(entries, stride, i / per_byte);
        uint8_t code = (uint8_t)(byte >> (i % per_byte * bits)) & mask;
        out[i] = (uint8_t)((code ^ sign) - sign);
    }
}

/* Any other byte than 0 and 1 would be undefined behaviour in a bool. */
static void unpack_bools(const void *entries, size_t stride, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = load_strided_byte(entries, stride, i) != 0;
}

/* Copies the low bytes of wider entries: values out of range wrap, as in ONNX Runtime. */
static void copy_low_bytes(const void *entries, size_t stride, size_t size, size_t count,
                           uint8_t *out)
{
    for (size_t i = 0; i < count; i++)
        memcpy(out + i * size, (const uint8_t *)entries + i * stride, size);
}

/* Sets tensor->data from entries that are `stride` bytes apart: points to them when
 * they have the layout of struct ldnq_tensor, else converts a copy. */
static enum ldnq_status store_tensor_elements(struct ldnq_tensor *tensor, size_t count,
                                              const void *entries, size_t stride,
                                              struct ldnq_arena *arena, struct ldnq_error *err)
{
    size_t size = ldnq_dtype_size(tensor->dtype);
    bool plain = ldnq_dtype_bits(tensor->dtype) >= 8 && tensor->dtype != LDNQ_BOOL;
    if (plain && stride == size && count && (uintptr_t)entries % ldnq_size_min(size, 8) == 0) {
        tensor->data = (void *)(uintptr_t)entries;
        return LDNQ_OK;
    }
    tensor->data = ldnq_arena_alloc(arena, count, size, err);
    if (!tensor->data)
        return LDNQ_NOMEM;
    if (!plain && tensor->dtype != LDNQ_BOOL)
        unpack_bits(entries, stride, tensor->dtype, count, tensor->data);
    else if (!plain)
        unpack_bools(entries, stride, count, tensor->data);
    else
        copy_low_bytes(entries, stride, size, count, tensor->data);
    return LDNQ_OK;
}

/* ---- where the elements are ------------------------------------------------------------ */

struct typed_list {
    const void *entries;
    size_t count;  /* number of entries */
    size_t stride; /* bytes per element; a complex number takes two entries */
    size_t per_element;
};

static struct typed_list find_typed_list(const Onnx__TensorProto *proto)
{
    switch ((enum ldnq_dtype)proto->data_type) {
    case LDNQ_FLOAT:
        return (struct typed_list){ proto->float_data, proto->n_float_data, 4, 1 };
    case LDNQ_COMPLEX64:
        return (struct typed_list){ proto->float_data, proto->n_float_data, 8, 2 };
    case LDNQ_DOUBLE:
        return (struct typed_list){ proto->double_data, proto->n_double_data, 8, 1 };
    case LDNQ_COMPLEX128:
        return (struct typed_list){ proto->double_data, proto->n_double_data, 16, 2 };
    case LDNQ_INT64:
        return (struct typed_list){ proto->int64_data, proto->n_int64_data, 8, 1 };
    case LDNQ_UINT32:
    case LDNQ_UINT64:
        return (struct typed_list){ proto->uint64_data, proto->n_uint64_data, 8, 1 };
    default:
        return (struct typed_list){ proto->int32_data, proto->n_int32_data, 4, 1 };
    }
}

static enum ldnq_status decode_typed(const Onnx__TensorProto *proto, struct ldnq_tensor *tensor,
                                     size_t count, struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct typed_list list = find_typed_list(proto);
    unsigned bits = ldnq_dtype_bits(tensor->dtype);
    size_t want = bits < 8 ? count_packed_bytes(tensor->dtype, count) : count * list.per_element;
    LDNQ_TRY(check_data_size(tensor, "numbers", list.count, want, err));
    return store_tensor_elements(tensor, count, list.entries, list.stride, arena, err);
}

static enum ldnq_status decode_raw(const Onnx__TensorProto *proto, struct ldnq_tensor *tensor,
                                   size_t count, struct ldnq_arena *arena, struct ldnq_error *err)
{
    size_t want = count_packed_bytes(tensor->dtype, count);
    LDNQ_TRY(check_data_size(tensor, "bytes", proto->raw_data.len, want, err));
    size_t stride = ldnq_dtype_bits(tensor->dtype) < 8 ? 1 : ldnq_dtype_size(tensor->dtype);
    return store_tensor_elements(tensor, count, proto->raw_data.data, stride, arena, err);
}

static enum ldnq_status decode_elements(const Onnx__TensorProto *proto, struct ldnq_tensor *tensor,
                                        struct ldnq_arena *arena, struct ldnq_error *err)
{
    size_t count;
    LDNQ_TRY(read_header(proto, tensor, &count, err));
    if (tensor->dtype == LDNQ_STRING)
        return check_data_size(tensor, "strings", proto->n_string_data, count, err);
    if (proto->raw_data.len || ldnq_is_external(proto))
        return decode_raw(proto, tensor, count, arena, err);
    return decode_typed(proto, tensor, count, arena, err);
}

enum ldnq_status ldnq_codec_decode(const Onnx__TensorProto *proto, struct ldnq_arena *arena,
                                   struct ldnq_tensor **out, struct ldnq_error *err)
{
    *out = ldnq_arena_alloc(arena, 1, sizeof **out, err);
    if (!*out)
        return LDNQ_NOMEM;
    enum ldnq_status status = decode_elements(proto, *out, arena, err);
    if (status != LDNQ_OK)
        ldnq_fail_within(err, status, "tensor '%s'", ldnq_or_empty(proto->name));
    return status;
}

/* ---- out ----------------------------------------------------------------------------------- */

static void pack_bits(const uint8_t *elements, enum ldnq_dtype dtype, size_t count, uint8_t *out)
{
    unsigned bits = ldnq_dtype_bits(dtype), per_byte = 8 / bits;
    unsigned mask = (1u << bits) - 1;
    for (size_t i = 0; i < count; i++)
        out[i / per_byte] |= (uint8_t)((elements[i] & mask) << (i % per_byte * bits));
}

static enum ldnq_status encode_data(const struct ldnq_tensor *tensor, Onnx__TensorProto *proto,
                                    struct ldnq_arena *arena, struct ldnq_error *err)
{
    size_t count = ldnq_tensor_count(tensor);
    size_t bytes = count_packed_bytes(tensor->dtype, count);
    proto->has_raw_data = 1;
    proto->raw_data.len = bytes;
    proto->raw_data.data = ldnq_arena_alloc(arena, bytes, 1, err);
    if (!proto->raw_data.data)
        return LDNQ_NOMEM;
    if (ldnq_dtype_bits(tensor->dtype) < 8)
        pack_bits(tensor->data, tensor->dtype, count, proto->raw_data.data);
    else if (bytes)
        memcpy(proto->raw_data.data, tensor->data, bytes);
    return LDNQ_OK;
}

enum ldnq_status ldnq_codec_encode(const struct ldnq_tensor *tensor, const char *name,
                                   struct ldnq_arena *arena, Onnx__TensorProto **out,
                                   struct ldnq_error *err)
{
    Onnx__TensorProto *proto = ldnq_arena_alloc(arena, 1, sizeof *proto, err);
    *out = proto;
    if (!proto)
        return LDNQ_NOMEM;
    onnx__tensor_proto__init(proto);
    proto->has_data_type = 1;
    proto->data_type = (int32_t)tensor->dtype;
    proto->n_dims = (size_t)tensor->shape.rank;
    proto->dims = ldnq_arena_alloc(arena, proto->n_dims, sizeof *proto->dims, err);
    proto->name = ldnq_arena_strdup(arena, name, err);
    if (!proto->dims || !proto->name)
        return LDNQ_NOMEM;
    memcpy(proto->dims, tensor->shape.dim, proto->n_dims * sizeof *proto->dims);
    return encode_data(tensor, proto, arena, err);
}
