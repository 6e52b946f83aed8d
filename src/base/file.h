/* file.h: whole files in, and files out that are never seen half written. */
#ifndef LDNQ_BASE_FILE_H
#define LDNQ_BASE_FILE_H

#include "base/base.h"

#include <stdio.h>

/* The whole file into the arena. Errors: IO (with the system's reason; a folder
 * is one), NOMEM. */
enum ldnq_status ldnq_file_read(const char *path, struct ldnq_arena *arena, void **bytes,
                                size_t *size, struct ldnq_error *err);

/* A file that takes its name only when it is whole. What is not a regular file
 * (/dev/null, a pipe) keeps its place and is written to directly. */
struct ldnq_file_writer {
    FILE *stream;
    char *path, *temporary;
};

/* Creates the temporary beside `path`. Errors: IO, NOMEM. */
enum ldnq_status ldnq_file_writer_init(struct ldnq_file_writer *writer, const char *path,
                                       struct ldnq_error *err);
enum ldnq_status ldnq_file_writer_put(struct ldnq_file_writer *writer, const void *bytes,
                                      size_t size, struct ldnq_error *err);
/* Flushes, syncs and renames. Errors: IO (disk full among them). */
enum ldnq_status ldnq_file_writer_commit(struct ldnq_file_writer *writer, struct ldnq_error *err);
/* Removes the temporary unless it was committed. Accepts a zeroed writer. */
void ldnq_file_writer_finish(struct ldnq_file_writer *writer);

/* All at once. */
enum ldnq_status ldnq_file_write(const char *path, const void *bytes, size_t size,
                                 struct ldnq_error *err);

#endif
