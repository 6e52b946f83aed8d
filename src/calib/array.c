/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/array.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/size.h"

enum ldnq_status ldnq_array_read(const struct ldnq_array *array, size_t at, size_t size, void *to,
                                 struct ldnq_error *err)
{
    if (array->data) {
        memcpy(to, array->data + at, size);
        return LDNQ_OK;
    }
    unsigned char *next = to;
    for (size_t done = 0; done < size;) {
        ssize_t got =
            pread(array->fd, next + done, size - done, (off_t)(array->offset + at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ldnq_fail(err, LDNQ_IO, "%s: can't be read: %s", array->name,
                             got < 0 ? strerror(errno) : "it became shorter");
        done += (size_t)got;
    }
    return LDNQ_OK;
}

/* NumPy reads any byte but 0 as true; the rest of the program expects 0 or 1. */
static void normalize_bools(struct ldnq_tensor *tensor, size_t count)
{
    unsigned char *bytes = tensor->data;
    if (tensor->dtype == LDNQ_BOOL)
        for (size_t i = 0; i < count; i++)
            bytes[i] = bytes[i] != 0;
}

enum ldnq_status ldnq_array_read_tensor(const struct ldnq_array *array, size_t at,
                                        const struct ldnq_shape *shape, struct ldnq_arena *arena,
                                        struct ldnq_tensor **out, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_tensor_create(arena, array->dtype, shape, out, err));
    size_t count = ldnq_tensor_count(*out), width = ldnq_dtype_size(array->dtype);
    LDNQ_TRY(ldnq_array_read(array, at * width, count * width, (*out)->data, err));
    normalize_bools(*out, count);
    return LDNQ_OK;
}

/* Copies column-major `from` to row-major `to`; an element has `width` bytes. */
static void convert_column_to_row_major(const struct ldnq_shape *shape, size_t width,
                                        const unsigned char *from, unsigned char *to, size_t count)
{
    size_t index[LDNQ_MAX_RANK] = { 0 }, stride[LDNQ_MAX_RANK], step = width;
    for (int axis = 0; axis < shape->rank; axis++) {
        stride[axis] = step;
        step *= (size_t)shape->dim[axis];
    }
    size_t source = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(to + i * width, from + source, width);
        for (int axis = shape->rank - 1; axis >= 0; axis--) {
            source += stride[axis];
            if (++index[axis] < (size_t)shape->dim[axis])
                break;
            source -= stride[axis] * index[axis];
            index[axis] = 0;
        }
    }
}

static enum ldnq_status load_row_major(struct ldnq_array *array, size_t bytes,
                                       struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    unsigned char *raw = ldnq_arena_alloc(scratch, bytes, 1, err);
    unsigned char *data = raw ? ldnq_arena_alloc(arena, bytes, 1, err) : NULL;
    enum ldnq_status status = data ? ldnq_array_read(array, 0, bytes, raw, err) : LDNQ_NOMEM;
    if (status == LDNQ_OK) {
        size_t width = ldnq_dtype_size(array->dtype);
        convert_column_to_row_major(&array->shape, width, raw, data, bytes / width);
        array->data = data;
    }
    ldnq_arena_destroy(scratch);
    return status;
}

enum ldnq_status ldnq_array_apply_header(struct ldnq_array *array,
                                         const struct ldnq_npy_header *header,
                                         struct ldnq_arena *arena, struct ldnq_error *err)
{
    array->dtype = header->dtype;
    array->shape = header->shape;
    if (!header->fortran || header->shape.rank < 2)
        return LDNQ_OK;
    return load_row_major(array, header->bytes, arena, err);
}

static enum ldnq_status read_npy_header(struct ldnq_array *array, size_t file_size,
                                        struct ldnq_arena *scratch, struct ldnq_npy_header *header,
                                        struct ldnq_error *err)
{
    size_t size = ldnq_size_min(file_size, LDNQ_NPY_PREFIX);
    void *prefix = ldnq_arena_alloc(scratch, size, 1, err);
    if (!prefix)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_array_read(array, 0, size, prefix, err));
    LDNQ_TRY(ldnq_npy_parse(prefix, size, array->name, header, err));
    if (file_size - header->offset != header->bytes)
        return ldnq_fail(err, LDNQ_DATA, "%s: has %zu bytes of data where its header counts %zu",
                         array->name, file_size - header->offset, header->bytes);
    return LDNQ_OK;
}

static enum ldnq_status read_npy_array_file(struct ldnq_array *array, size_t size,
                                            struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    struct ldnq_npy_header header;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    enum ldnq_status status = read_npy_header(array, size, scratch, &header, err);
    ldnq_arena_destroy(scratch);
    LDNQ_TRY(status);
    array->offset = header.offset;
    return ldnq_array_apply_header(array, &header, arena, err);
}

enum ldnq_status ldnq_array_open(const char *path, struct ldnq_arena *arena, struct ldnq_array *out,
                                 struct ldnq_error *err)
{
    *out = (struct ldnq_array){ .fd = -1 };
    out->name = ldnq_arena_strdup(arena, path, err);
    if (!out->name)
        return LDNQ_NOMEM;
    size_t size;
    LDNQ_TRY(ldnq_file_open(path, &out->fd, &size, err));
    enum ldnq_status status = read_npy_array_file(out, size, arena, err);
    if (status != LDNQ_OK)
        ldnq_array_close(out);
    return status;
}

void ldnq_array_close(struct ldnq_array *array)
{
    if (array->fd >= 0)
        close(array->fd);
    array->fd = -1;
}

/* ---- temporary files ------------------------------------------------------------- */

/* The file is unlinked at once, so that it disappears with the process. */
enum ldnq_status ldnq_array_create_temporary(struct ldnq_array *array, struct ldnq_error *err)
{
    array->fd = ldnq_file_create_unnamed(ldnq_temporary_folder());
    if (array->fd < 0)
        return ldnq_fail(err, LDNQ_IO, "%s: no temporary file to unpack it to: %s", array->name,
                         strerror(errno));
    return LDNQ_OK;
}

enum ldnq_status ldnq_array_append(struct ldnq_array *array, const void *bytes, size_t size,
                                   struct ldnq_error *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t wrote = write(array->fd, (const char *)bytes + done, size - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return ldnq_fail(err, LDNQ_IO, "%s: can't be unpacked to a temporary file: %s",
                             array->name, strerror(errno));
        done += (size_t)wrote;
    }
    return LDNQ_OK;
}
