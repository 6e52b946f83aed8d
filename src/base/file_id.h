/* SPDX-License-Identifier: Apache-2.0 */
/* file_id.h: whether two paths lead to the same file, through links and relative paths. */
#ifndef LDNQ_BASE_FILE_ID_H
#define LDNQ_BASE_FILE_ID_H

#include <sys/types.h>

#include "base/base.h"

/* A file that exists has its own device and inode. One that does not exist yet has those of the
 * folder that it will be created in, and its name there. */
struct ldnq_file_id {
    dev_t device;
    ino_t inode;
    bool is_known; /* false: neither the file nor its folder could be examined */
    bool exists;
    bool is_regular; /* set only if `exists` */
    char name[256];  /* set only if not `exists` */
};

/* Follows links, also those that lead to no file yet. */
void ldnq_file_identify(const char *path, struct ldnq_file_id *id);

/* Whether a write to one is a write to the other. Devices and pipes are never the same: they
 * keep what was written to them before. */
bool ldnq_file_is_same(const struct ldnq_file_id *a, const struct ldnq_file_id *b);

#endif
