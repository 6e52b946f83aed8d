/* SPDX-License-Identifier: Apache-2.0 */
/* file.h: read whole files, and write files that appear only when they are complete. */
#ifndef LDNQ_BASE_FILE_H
#define LDNQ_BASE_FILE_H

#include "base/arena.h"

#include <stdio.h>

/* Files of the library never get the descriptors 0 to 2: a host that has closed one of its
 * standard streams may still print to its number, and would print into the file. */

/* Opens an empty file for writing, in place. NULL, with errno, when that fails. */
FILE *ldnq_file_create(const char *path);
/* Creates a temporary file without a name in `folder`; it ends with its descriptor. -1, with
 * errno, when that fails. */
int ldnq_file_create_unnamed(const char *folder);
/* The folder for such files: TMPDIR, or /tmp. */
const char *ldnq_temporary_folder(void);

/* Opens a regular file for reading; *size is its length. What else has a name (a folder, a
 * pipe, a device) is refused, and never waited for. The caller closes *fd. Errors: IO. */
enum ldnq_status ldnq_file_open(const char *path, int *fd, size_t *size, struct ldnq_error *err);

/* Reads up to `capacity` bytes of a regular file's start; *size is how many there were.
 * Errors: IO. */
enum ldnq_status ldnq_file_read_prefix(const char *path, void *bytes, size_t capacity, size_t *size,
                                       struct ldnq_error *err);

/* Reads a regular file as a whole into the arena. Errors: IO (with the system's reason),
 * NOMEM. */
enum ldnq_status ldnq_file_read(const char *path, struct ldnq_arena *arena, void **bytes,
                                size_t *size, struct ldnq_error *err);

/* A file that has no name while it is written, where the file system allows that, or else a
 * temporary one, and gets its own at the end. Devices and
 * pipes (/dev/null) are written to directly. */
struct ldnq_file_writer {
    FILE *stream;
    char *path, *temporary;
    int unnamed; /* descriptor of the file while it has no name; else -1 */
};

/* Creates the temporary file in the folder of `path`. Errors: IO, NOMEM. */
enum ldnq_status ldnq_file_writer_init(struct ldnq_file_writer *writer, const char *path,
                                       struct ldnq_error *err);
enum ldnq_status ldnq_file_writer_write(struct ldnq_file_writer *writer, const void *bytes,
                                        size_t size, struct ldnq_error *err);
/* Changes the path that commit renames to; in the same folder. Errors: NOMEM. */
enum ldnq_status ldnq_file_writer_set_path(struct ldnq_file_writer *writer, const char *path,
                                           struct ldnq_error *err);
/* Flushes, syncs and closes; the file does not get its name yet. Errors: IO (disk full among
 * them). */
enum ldnq_status ldnq_file_writer_close(struct ldnq_file_writer *writer, struct ldnq_error *err);
/* Closes if that has not been done, and renames. Errors: IO. */
enum ldnq_status ldnq_file_writer_commit(struct ldnq_file_writer *writer, struct ldnq_error *err);
/* Removes the temporary unless it was committed. Accepts a zeroed writer. */
void ldnq_file_writer_finish(struct ldnq_file_writer *writer);

/* The same for bytes in memory, in one call. */
enum ldnq_status ldnq_file_write(const char *path, const void *bytes, size_t size,
                                 struct ldnq_error *err);

#endif
