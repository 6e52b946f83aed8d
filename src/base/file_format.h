/* SPDX-License-Identifier: Apache-2.0 */
/* file_format.h: what a file is that can't be read as what it should be. */
#ifndef LDNQ_BASE_FILE_FORMAT_H
#define LDNQ_BASE_FILE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

/* How many bytes of a file's start are enough to recognize every format. */
#define LDNQ_FORMAT_PREFIX ((size_t)512)

/* Recognizes the file by its first bytes. Returns the end of a message, "is a Git LFS pointer
 * ...", or NULL for a format that is not known. Call it only after the file was refused: a
 * valid model may begin with the same bytes. */
const char *ldnq_describe_format(const void *bytes, size_t size);

/* The same for pointers and pages alone. No valid model, array, tensor or picture begins like
 * one, so that it may be called before the file is read. */
const char *ldnq_describe_text_format(const void *text, size_t size);

#endif
