/* SPDX-License-Identifier: Apache-2.0 */
/* array.h: an array of a .npy file or a .npz member, read in slices.
 *
 * Owns    the descriptor (ldnq_array_close); data read as a whole belong to the arena
 * Threads ldnq_array_read is safe on one array
 */
#ifndef LDNQ_CALIB_ARRAY_H
#define LDNQ_CALIB_ARRAY_H

#include "calib/npy.h"

/* Bytes of decoded data that stay in memory; more go to a temporary file. */
#define LDNQ_ARRAY_IN_MEMORY ((size_t)32 << 20)

struct ldnq_array {
    const char *name; /* the array's name in messages: "x.npy", "x.npz[input]" */
    enum ldnq_dtype dtype;
    struct ldnq_shape shape;
    const unsigned char *data; /* row-major; NULL while the data are in the file */
    int fd;                    /* -1: none */
    size_t offset;             /* offset of the data in fd */
};

/* Opens a .npy file. Errors: IO, DATA (also a file size that contradicts the header), NOMEM. */
enum ldnq_status ldnq_array_open(const char *path, struct ldnq_arena *arena, struct ldnq_array *out,
                                 struct ldnq_error *err);
/* Accepts an array that was never opened if it was set to { .fd = -1 }. */
void ldnq_array_close(struct ldnq_array *array);

/* Reads bytes at .. at+size-1 of the row-major data. Errors: IO. */
enum ldnq_status ldnq_array_read(const struct ldnq_array *array, size_t at, size_t size, void *to,
                                 struct ldnq_error *err);
/* Returns elements at .. at+count-1 as a tensor of `shape`, which has `count` elements.
 * Errors: IO, NOMEM. */
enum ldnq_status ldnq_array_read_tensor(const struct ldnq_array *array, size_t at,
                                        const struct ldnq_shape *shape, struct ldnq_arena *arena,
                                        struct ldnq_tensor **out, struct ldnq_error *err);

/* Creates an unnamed temporary file for the array's data. Errors: IO. */
enum ldnq_status ldnq_array_create_temporary(struct ldnq_array *array, struct ldnq_error *err);
/* Appends bytes to that file. Errors: IO. */
enum ldnq_status ldnq_array_append(struct ldnq_array *array, const void *bytes, size_t size,
                                   struct ldnq_error *err);

/* Copies type and shape from the header. An array in Fortran order is read as a whole
 * and stored row-major. The caller has set array->name, and either fd and offset or
 * data. */
enum ldnq_status ldnq_array_apply_header(struct ldnq_array *array,
                                         const struct ldnq_npy_header *header,
                                         struct ldnq_arena *arena, struct ldnq_error *err);

#endif
