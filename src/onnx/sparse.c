/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/codec.h"

#include <string.h>

/* A few bytes of a file can claim any size; no real sparse weight has this many elements. */
#define DENSE_LIMIT ((size_t)1 << 26)

struct sparse {
    const struct ldnq_tensor *values, *indices;
    size_t nonzero;
    struct ldnq_tensor *dense;
};

static enum ldnq_status decode_values_and_indices(const Onnx__SparseTensorProto *proto,
                                                  struct ldnq_arena *arena, struct sparse *sparse,
                                                  struct ldnq_error *err)
{
    struct ldnq_tensor *values, *indices;
    if (!proto->values || !proto->indices)
        return ldnq_fail(err, LDNQ_MODEL, "has no values or no indices");
    LDNQ_TRY(ldnq_codec_decode(proto->values, arena, &values, err));
    LDNQ_TRY(ldnq_codec_decode(proto->indices, arena, &indices, err));
    sparse->values = values;
    sparse->indices = indices;
    sparse->nonzero = ldnq_tensor_count(values);
    if (values->dtype == LDNQ_STRING)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "is sparse and of strings");
    bool linear = indices->shape.rank == 1;
    bool fits = indices->dtype == LDNQ_INT64 && values->shape.rank == 1 &&
                (linear || indices->shape.rank == 2) &&
                (size_t)indices->shape.dim[0] == sparse->nonzero &&
                (linear || (size_t)indices->shape.dim[1] == proto->n_dims);
    if (!fits)
        return ldnq_fail(err, LDNQ_MODEL, "its values and indices don't fit together");
    return LDNQ_OK;
}

static enum ldnq_status create_dense(const Onnx__SparseTensorProto *proto, struct ldnq_arena *arena,
                                     struct sparse *sparse, struct ldnq_error *err)
{
    struct ldnq_shape shape = { .rank = (int)proto->n_dims };
    size_t count;
    if (proto->n_dims > LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "has rank %zu; at most %d are supported",
                         proto->n_dims, LDNQ_MAX_RANK);
    for (size_t i = 0; i < proto->n_dims; i++)
        shape.dim[i] = proto->dims[i];
    if (!ldnq_shape_count(&shape, &count) || count > DENSE_LIMIT)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "is sparse and too large to be written out");
    return ldnq_tensor_create(arena, sparse->values->dtype, &shape, &sparse->dense, err);
}

static bool compute_dense_offset(const struct sparse *sparse, size_t nth, size_t *place)
{
    const struct ldnq_shape *shape = &sparse->dense->shape;
    const int64_t *indices = sparse->indices->data;
    if (sparse->indices->shape.rank == 1) {
        *place = (size_t)indices[nth];
        return indices[nth] >= 0 && *place < ldnq_tensor_count(sparse->dense);
    }
    *place = 0;
    for (int i = 0; i < shape->rank; i++) {
        int64_t index = indices[nth * (size_t)shape->rank + (size_t)i];
        if (index < 0 || index >= shape->dim[i])
            return false;
        *place = *place * (size_t)shape->dim[i] + (size_t)index;
    }
    return shape->rank > 0;
}

static enum ldnq_status scatter_into_dense(const Onnx__SparseTensorProto *proto,
                                           struct ldnq_arena *arena, struct sparse *sparse,
                                           struct ldnq_error *err)
{
    LDNQ_TRY(decode_values_and_indices(proto, arena, sparse, err));
    LDNQ_TRY(create_dense(proto, arena, sparse, err));
    size_t size = ldnq_dtype_size(sparse->values->dtype), place;
    for (size_t i = 0; i < sparse->nonzero; i++) {
        if (!compute_dense_offset(sparse, i, &place))
            return ldnq_fail(err, LDNQ_MODEL, "its index %zu is outside of the shape", i);
        memcpy((char *)sparse->dense->data + place * size,
               (const char *)sparse->values->data + i * size, size);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_codec_decode_sparse(const Onnx__SparseTensorProto *proto,
                                          struct ldnq_arena *arena, struct ldnq_tensor **out,
                                          struct ldnq_error *err)
{
    struct sparse sparse = { 0 };
    enum ldnq_status status = scatter_into_dense(proto, arena, &sparse, err);
    if (status != LDNQ_OK)
        ldnq_fail_within(err, status, "sparse tensor '%s'",
                         proto->values ? ldnq_or_empty(proto->values->name) : "");
    *out = sparse.dense;
    return status;
}
