/* SPDX-License-Identifier: Apache-2.0 */
/* npz.h: the arrays in a .npz file, a ZIP archive of .npy members.
 *
 * Owns    the arrays' descriptors: ldnq_npz_close
 * Memory  a member is unpacked once: into the arena, or, when it is larger than
 *         LDNQ_ARRAY_IN_MEMORY, into an unnamed temporary file. Its header is read first,
 *         and no more bytes are unpacked than the header announces.
 */
#ifndef LDNQ_CALIB_NPZ_H
#define LDNQ_CALIB_NPZ_H

#include "calib/array.h"

struct ldnq_npz {
    size_t count;
    const char **keys; /* the members' names without ".npy" */
    struct ldnq_array *arrays;
};

/* Errors: IO, DATA (not an archive; a member that is not an array; a name twice; a size
 * other than the header's), NOMEM. After an error *out needs no close. */
enum ldnq_status ldnq_npz_open(const char *path, struct ldnq_arena *arena, struct ldnq_npz *out,
                               struct ldnq_error *err);
void ldnq_npz_close(struct ldnq_npz *npz);

#endif
