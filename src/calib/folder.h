/* SPDX-License-Identifier: Apache-2.0 */
/* folder.h: list a folder, or what a pattern matches, in an order that does not depend on the file
 * system. */
#ifndef LDNQ_CALIB_FOLDER_H
#define LDNQ_CALIB_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

struct ldnq_entry {
    const char *name;
    const char *path; /* FOLDER/NAME */
    bool is_folder;   /* else a regular file */
};

struct ldnq_folder {
    size_t count, capacity;
    struct ldnq_entry *entries; /* sorted by the bytes of their names */
};

/* Lists folders and regular files. Names that start with a dot are left out, as are
 * devices and pipes. Where `path` is a pattern, the entries are the files and folders that it
 * matches. Errors: IO (also a link to nothing), NOMEM. */
enum ldnq_status ldnq_folder_list(const char *path, struct ldnq_arena *arena,
                                  struct ldnq_folder *out, struct ldnq_error *err);

/* Whether the path is a pattern such as "samples/s*.npy": it has *, ? or [ in it, and no file or
 * folder is called so. */
bool ldnq_is_pattern(const char *path);

/* Whether the path is a folder, or a pattern that its files match. */
bool ldnq_is_folder_or_pattern(const char *path);

/* Whether the name has the extension, such as ".png", in any case of letters. */
bool ldnq_name_ends(const char *name, const char *extension);

#endif
