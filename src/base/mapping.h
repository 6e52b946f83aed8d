/* SPDX-License-Identifier: Apache-2.0 */
/* mapping.h: memory whose contents are in a file, so that its pages can leave the process and
 * come back when they are read: the weights of a model whose data are in files of their own,
 * and what is computed for all layers but read one layer at a time.
 *
 * Owns    each mapping until it is destroyed; all are known, so that a caller with a pointer
 *         need not know whether it leads into one
 * Threads safe; pages may be released while others read them
 */
#ifndef LDNQ_BASE_MAPPING_H
#define LDNQ_BASE_MAPPING_H

#include <stddef.h>

#include "base/error.h"

/* Zeroed memory in a temporary file. NULL when there is no room for it, on disk or in the
 * address space. */
void *ldnq_mapping_create(size_t size);
/* Maps a regular file, read-only. An empty file has an address too. The file must stay as it is:
 * to read what was cut off its end raises SIGBUS. Errors: IO, NOMEM. */
enum ldnq_status ldnq_mapping_open(const char *path, void **bytes, size_t *size,
                                   struct ldnq_error *err);
/* Accepts NULL. */
void ldnq_mapping_destroy(void *bytes);

/* Whether the file at `path` that was mapped to `bytes` was written to since then; one that
 * replaced it by its name does not count. Errors: IO. */
enum ldnq_status ldnq_mapping_check_unchanged(const void *bytes, const char *path,
                                              struct ldnq_error *err);

/* Lets the pages go that are wholly between data and data + size. Their contents stay. Does
 * nothing for other memory. */
void ldnq_mapping_release_pages(const void *data, size_t size);

#endif
