/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/calib.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/size.h"
#include "calib/array.h"

enum ldnq_status ldnq_npy_read(const char *path, struct ldnq_arena *arena, struct ldnq_tensor **out,
                               struct ldnq_error *err)
{
    struct ldnq_array array;
    LDNQ_TRY(ldnq_array_open(path, arena, &array, err));
    enum ldnq_status status = ldnq_array_read_tensor(&array, 0, &array.shape, arena, out, err);
    ldnq_array_close(&array);
    return status;
}

static const char *find_npy_type_string(enum ldnq_dtype dtype)
{
    switch (dtype) {
    case LDNQ_FLOAT16:
        return "<f2";
    case LDNQ_FLOAT:
        return "<f4";
    case LDNQ_DOUBLE:
        return "<f8";
    case LDNQ_INT8:
        return "|i1";
    case LDNQ_INT16:
        return "<i2";
    case LDNQ_INT32:
        return "<i4";
    case LDNQ_INT64:
        return "<i8";
    case LDNQ_UINT8:
        return "|u1";
    case LDNQ_UINT16:
        return "<u2";
    case LDNQ_UINT32:
        return "<u4";
    case LDNQ_UINT64:
        return "<u8";
    case LDNQ_BOOL:
        return "|b1";
    default:
        return NULL;
    }
}

bool ldnq_npy_has_type(enum ldnq_dtype dtype)
{
    return find_npy_type_string(dtype) != NULL;
}

/* Writes the whole header, padded so that the data start at a multiple of 64 bytes. 256
 * bytes are enough for LDNQ_MAX_RANK sizes of 20 digits. */
static size_t format_npy_header(const struct ldnq_tensor *tensor, const char *descr, char text[256])
{
    char *dict = text + 10, shape[200] = "";
    size_t used = 0;
    for (int axis = 0; axis < tensor->shape.rank; axis++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%s%" PRId64, axis ? ", " : "",
                                 tensor->shape.dim[axis]);
    int length = snprintf(dict, 246, "{'descr': '%s', 'fortran_order': False, 'shape': (%s%s), }",
                          descr, shape, tensor->shape.rank == 1 ? "," : "");
    size_t whole = ldnq_size_ceil_div(10 + (size_t)length + 1, 64) * 64;
    memset(dict + length, ' ', whole - 10 - (size_t)length);
    text[whole - 1] = '\n';
    memcpy(text, LDNQ_NPY_MAGIC "\x01\x00", 8);
    text[8] = (char)((whole - 10) & 0xff);
    text[9] = (char)((whole - 10) >> 8);
    return whole;
}

enum ldnq_status ldnq_npy_write(const char *path, const struct ldnq_tensor *tensor,
                                struct ldnq_error *err)
{
    const char *descr = find_npy_type_string(tensor->dtype);
    if (!descr)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "%s: a .npy file can't hold %s", path,
                         ldnq_dtype_name(tensor->dtype));
    char header[256];
    size_t size = format_npy_header(tensor, descr, header);
    size_t bytes = ldnq_tensor_count(tensor) * ldnq_dtype_size(tensor->dtype);
    struct ldnq_file_writer writer = { 0 };
    enum ldnq_status status = ldnq_file_writer_init(&writer, path, err);
    if (status == LDNQ_OK)
        status = ldnq_file_writer_write(&writer, header, size, err);
    if (status == LDNQ_OK)
        status = ldnq_file_writer_write(&writer, tensor->data, bytes, err);
    if (status == LDNQ_OK)
        status = ldnq_file_writer_commit(&writer, err);
    ldnq_file_writer_finish(&writer);
    return status;
}
