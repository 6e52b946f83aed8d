/* array.h: an array of a .npy file or a .npz member, read piece by piece.
 *
 * Owns    the descriptor (ldnq_array_close); data held whole are the arena's
 * Threads ldnq_array_read is safe on one array
 */
#ifndef LDNQ_CALIB_ARRAY_H
#define LDNQ_CALIB_ARRAY_H

#include "calib/npy.h"

struct ldnq_array {
    const char *name; /* for messages: "x.npy", "x.npz[input]" */
    enum ldnq_dtype dtype;
    struct ldnq_shape shape;
    const unsigned char *data; /* row-major; NULL where it is in the file */
    int fd;                    /* -1: none */
    size_t offset;             /* of the data in fd */
};

/* A .npy file. Errors: IO, DATA (also a size other than the header's), NOMEM. */
enum ldnq_status ldnq_array_open(const char *path, struct ldnq_arena *arena, struct ldnq_array *out,
                                 struct ldnq_error *err);
/* Accepts an array that was never opened, but set to { .fd = -1 }. */
void ldnq_array_close(struct ldnq_array *array);

/* Bytes at .. at+size-1 of the row-major data. Errors: IO. */
enum ldnq_status ldnq_array_read(const struct ldnq_array *array, size_t at, size_t size, void *to,
                                 struct ldnq_error *err);
/* `count` elements from element `at` on as a tensor of this shape, which has as
 * many. Errors: IO, NOMEM. */
enum ldnq_status ldnq_array_slice(const struct ldnq_array *array, size_t at,
                                  const struct ldnq_shape *shape, struct ldnq_arena *arena,
                                  struct ldnq_tensor **out, struct ldnq_error *err);

/* Takes over what the header says; in Fortran order reads all of the data and
 * holds them row-major. array->name, fd and offset, or data, are set. */
enum ldnq_status ldnq_array_settle(struct ldnq_array *array, const struct ldnq_npy_header *header,
                                   struct ldnq_arena *arena, struct ldnq_error *err);

#endif
