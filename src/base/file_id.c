/* SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* readlink */
#include "base/file_id.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* As many as Linux follows. */
#define MOST_LINKS 40

/* Splits off the last name; the folder gets its slash, or is empty. */
static const char *split_path(const char *path, char folder[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    const size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    memcpy(folder, path, length);
    folder[length] = '\0';
    return path + length;
}

/* Replaces a path that is a link by what the link names; false when it is no link. */
static bool replace_link_by_target(char path[PATH_MAX])
{
    char target[PATH_MAX], folder[PATH_MAX], joined[2 * PATH_MAX];
    const ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0)
        return false;
    target[length] = '\0';
    split_path(path, folder);
    const int size = snprintf(joined, sizeof joined, "%s%s", *target == '/' ? "" : folder, target);
    if (size >= PATH_MAX)
        return false;
    memcpy(path, joined, (size_t)size + 1);
    return true;
}

void ldnq_file_identify(const char *path, struct ldnq_file_id *id)
{
    struct stat info;
    char target[PATH_MAX], folder[PATH_MAX];
    *id = (struct ldnq_file_id){ .exists = stat(path, &info) == 0 };
    if (!id->exists) {
        if (strlen(path) >= sizeof target)
            return;
        strcpy(target, path);
        for (int links = 0; links < MOST_LINKS && replace_link_by_target(target); links++)
            ;
        const char *name = split_path(target, folder);
        if (strlen(name) >= sizeof id->name || stat(*folder ? folder : ".", &info) != 0)
            return;
        strcpy(id->name, name);
    }
    id->is_known = true;
    id->is_regular = id->exists && S_ISREG(info.st_mode);
    id->device = info.st_dev;
    id->inode = info.st_ino;
}

bool ldnq_file_is_same(const struct ldnq_file_id *a, const struct ldnq_file_id *b)
{
    if (!a->is_known || !b->is_known || a->exists != b->exists || a->device != b->device ||
        a->inode != b->inode)
        return false;
    return a->exists ? a->is_regular && b->is_regular : strcmp(a->name, b->name) == 0;
}
