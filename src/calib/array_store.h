/* SPDX-License-Identifier: Apache-2.0 */
/* array_store.h: decoded arrays of many files, in memory as long as there is room, then in one
 * temporary file.
 *
 * Owns  the temporary file (ldnq_array_store_close); data in memory belong to the arena
 */
#ifndef LDNQ_CALIB_ARRAY_STORE_H
#define LDNQ_CALIB_ARRAY_STORE_H

#include "calib/array.h"

struct ldnq_array_store {
    size_t held;                 /* bytes of all arrays in memory */
    struct ldnq_array temporary; /* file of those that memory should not hold */
    size_t written;              /* bytes of that file */
};

void ldnq_array_store_init(struct ldnq_array_store *store);
void ldnq_array_store_close(struct ldnq_array_store *store);

/* Lets `out` be a copy of `from` that needs no ldnq_array_close; its name is not copied.
 * Errors: IO, DATA (a type without a size), NOMEM. */
enum ldnq_status ldnq_array_store_add(struct ldnq_array_store *store, const struct ldnq_array *from,
                                      struct ldnq_arena *arena, struct ldnq_array *out,
                                      struct ldnq_error *err);

#endif
