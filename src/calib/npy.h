/* SPDX-License-Identifier: Apache-2.0 */
/* npy.h: the header of NumPy's .npy format.
 *
 * Source  numpy/lib/format.py. Versions 1 to 3; the header is a Python dict with
 *         exactly the keys descr, fortran_order and shape; only this form of dict is
 *         parsed.
 */
#ifndef LDNQ_CALIB_NPY_H
#define LDNQ_CALIB_NPY_H

#include "ir/ir.h"

#define LDNQ_NPY_MAGIC "\x93NUMPY"
#define LDNQ_NPY_MAGIC_SIZE 6
/* The largest accepted header, with the magic, version and length before it. */
#define LDNQ_NPY_PREFIX ((size_t)65536 + 12)

struct ldnq_npy_header {
    enum ldnq_dtype dtype;
    bool fortran;
    struct ldnq_shape shape;
    size_t offset; /* offset of the data in the file */
    size_t bytes;  /* size of the data */
};

/* Reads the header from the file's first bytes: all of them, or at least
 * LDNQ_NPY_PREFIX. `name` is for messages. Errors: DATA. */
enum ldnq_status ldnq_npy_parse(const void *prefix, size_t size, const char *name,
                                struct ldnq_npy_header *out, struct ldnq_error *err);

#endif
