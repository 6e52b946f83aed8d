/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/ir.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"

bool ldnq_shape_count_range(const struct ldnq_shape *shape, int first, int last, size_t *count)
{
    size_t product = 1;
    if (shape->rank < 0)
        return false;
    for (int i = first; i < last; i++) {
        if (shape->dim[i] < 0 || (uint64_t)shape->dim[i] > SIZE_MAX ||
            !ldnq_size_mul(product, (size_t)shape->dim[i], &product))
            return false;
    }
    *count = product;
    return true;
}

bool ldnq_shape_count(const struct ldnq_shape *shape, size_t *count)
{
    return ldnq_shape_count_range(shape, 0, shape->rank, count);
}

bool ldnq_shapes_are_equal(const struct ldnq_shape *a, const struct ldnq_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

bool ldnq_shape_is_known(const struct ldnq_shape *shape)
{
    for (int i = 0; i < shape->rank; i++)
        if (shape->dim[i] < 0)
            return false;
    return shape->rank >= 0;
}

bool ldnq_tensor_bytes(const struct ldnq_tensor *tensor, size_t *bytes)
{
    size_t count;
    return ldnq_shape_count(&tensor->shape, &count) &&
           ldnq_size_mul(count, ldnq_dtype_size(tensor->dtype), bytes);
}

size_t ldnq_tensor_count(const struct ldnq_tensor *tensor)
{
    size_t count = 0;
    return ldnq_shape_count(&tensor->shape, &count) ? count : 0;
}

bool ldnq_tensor_is_finite(const struct ldnq_tensor *tensor, size_t *index)
{
    const float *data = tensor->data;
    for (size_t i = 0, count = ldnq_tensor_count(tensor); i < count; i++)
        if (!isfinite(data[i])) {
            if (index)
                *index = i;
            return false;
        }
    return true;
}

/* Appends as much of the text as fits with its NUL; returns the new length. */
static size_t append_text(char *out, size_t size, size_t used, const char *text)
{
    size_t length = ldnq_size_min(strlen(text), size - 1 - used);
    memcpy(out + used, text, length);
    out[used + length] = '\0';
    return used + length;
}

int64_t ldnq_tensor_load_integer(const struct ldnq_tensor *tensor, size_t i)
{
    const void *data = tensor->data;
    const bool is_signed = ldnq_dtype_is_signed(tensor->dtype);
    switch (ldnq_dtype_size(tensor->dtype)) {
    case 1:
        return is_signed ? ((const int8_t *)data)[i] : (int64_t)((const uint8_t *)data)[i];
    case 2:
        return is_signed ? ((const int16_t *)data)[i] : (int64_t)((const uint16_t *)data)[i];
    case 4:
        return is_signed ? ((const int32_t *)data)[i] : (int64_t)((const uint32_t *)data)[i];
    default:
        return ((const int64_t *)data)[i];
    }
}

char *ldnq_shape_print(const struct ldnq_shape *shape, const struct ldnq_graph *graph, char *out,
                       size_t size)
{
    if (size == 0)
        return out;
    size_t used = append_text(out, size, 0, shape->rank < 0 ? "(unknown rank" : "(");
    for (int i = 0; i < shape->rank; i++) {
        char number[24] = "?";
        const char *name = graph ? ldnq_graph_symbol_name(graph, shape->dim[i]) : NULL;
        if (!ldnq_is_symbol(shape->dim[i]))
            snprintf(number, sizeof number, "%" PRId64, shape->dim[i]);
        used = append_text(out, size, used, i ? "," : "");
        used = append_text(out, size, used, name ? name : number);
    }
    append_text(out, size, used, ")");
    return out;
}

enum ldnq_status ldnq_tensor_create(struct ldnq_arena *arena, enum ldnq_dtype dtype,
                                    const struct ldnq_shape *shape, struct ldnq_tensor **out,
                                    struct ldnq_error *err)
{
    size_t bytes;
    struct ldnq_tensor probe = { .dtype = dtype, .shape = *shape };
    if (!ldnq_tensor_bytes(&probe, &bytes)) {
        char text[LDNQ_SHAPE_TEXT];
        return ldnq_fail(err, LDNQ_NOMEM, "a tensor of shape %s is too large",
                         ldnq_shape_print(shape, NULL, text, sizeof text));
    }
    *out = ldnq_arena_alloc(arena, 1, sizeof **out, err);
    if (!*out)
        return LDNQ_NOMEM;
    **out = probe;
    (*out)->data = ldnq_arena_alloc(arena, bytes, 1, err);
    return (*out)->data ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_tensor_copy(struct ldnq_arena *arena, const struct ldnq_tensor *from,
                                  struct ldnq_tensor **out, struct ldnq_error *err)
{
    size_t bytes;
    LDNQ_TRY(ldnq_tensor_create(arena, from->dtype, &from->shape, out, err));
    if (ldnq_tensor_bytes(from, &bytes) && bytes > 0)
        memcpy((*out)->data, from->data, bytes);
    return LDNQ_OK;
}
