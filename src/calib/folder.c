/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/folder.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/growing_list.h"

bool ldnq_name_ends(const char *name, const char *extension)
{
    size_t length = strlen(name), end = strlen(extension);
    return length >= end && strcasecmp(name + length - end, extension) == 0;
}

bool ldnq_is_pattern(const char *path)
{
    struct stat info;
    return strpbrk(path, "*?[") && lstat(path, &info) != 0;
}

bool ldnq_is_folder_or_pattern(const char *path)
{
    struct stat info;
    return ldnq_is_pattern(path) || (stat(path, &info) == 0 && S_ISDIR(info.st_mode));
}

/* Appends the file or folder `full`, of which `name` is the end. */
static enum ldnq_status append_entry(struct ldnq_folder *folder, const char *full, const char *name,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct stat info;
    if (stat(full, &info) != 0)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be read: %s", full, strerror(errno));
    if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_list_reserve(arena, &folder->entries, folder->count, &folder->capacity,
                               sizeof *folder->entries, err));
    folder->entries[folder->count++] = (struct ldnq_entry){
        .name = name,
        .path = full,
        .is_folder = S_ISDIR(info.st_mode),
    };
    return LDNQ_OK;
}

static enum ldnq_status append_all_entries(DIR *stream, const char *path, struct ldnq_arena *arena,
                                           struct ldnq_folder *folder, struct ldnq_error *err)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry && errno != 0)
            return ldnq_fail(err, LDNQ_IO, "%s: can't be listed: %s", path, strerror(errno));
        if (!entry)
            return LDNQ_OK;
        if (entry->d_name[0] == '.')
            continue;
        const char *slash = path[0] && path[strlen(path) - 1] == '/' ? "" : "/";
        const char *full = ldnq_arena_printf(arena, err, "%s%s%s", path, slash, entry->d_name);
        if (!full)
            return LDNQ_NOMEM;
        const char *name = full + strlen(path) + strlen(slash);
        LDNQ_TRY(append_entry(folder, full, name, arena, err));
    }
}

static enum ldnq_status append_matches(const glob_t *matches, struct ldnq_arena *arena,
                                       struct ldnq_folder *folder, struct ldnq_error *err)
{
    for (size_t i = 0; i < matches->gl_pathc; i++) {
        const char *full = ldnq_arena_strdup(arena, matches->gl_pathv[i], err);
        if (!full)
            return LDNQ_NOMEM;
        const char *slash = strrchr(full, '/');
        LDNQ_TRY(append_entry(folder, full, slash && slash[1] ? slash + 1 : full, arena, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status list_matches(const char *pattern, struct ldnq_arena *arena,
                                     struct ldnq_folder *out, struct ldnq_error *err)
{
    glob_t matches = { 0 };
    enum ldnq_status status;
    switch (glob(pattern, GLOB_NOSORT, NULL, &matches)) {
    case 0:
        status = append_matches(&matches, arena, out, err);
        break;
    case GLOB_NOSPACE:
        status = ldnq_fail(err, LDNQ_NOMEM, "out of memory");
        break;
    default:
        status = ldnq_fail(err, LDNQ_IO, "%s: matches no file", pattern);
    }
    globfree(&matches);
    return status;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const struct ldnq_entry *)a)->path, ((const struct ldnq_entry *)b)->path);
}

static enum ldnq_status list_entries(const char *path, struct ldnq_arena *arena,
                                     struct ldnq_folder *out, struct ldnq_error *err)
{
    DIR *stream = opendir(path);
    if (!stream)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be opened: %s", path, strerror(errno));
    const enum ldnq_status status = append_all_entries(stream, path, arena, out, err);
    closedir(stream);
    return status;
}

enum ldnq_status ldnq_folder_list(const char *path, struct ldnq_arena *arena,
                                  struct ldnq_folder *out, struct ldnq_error *err)
{
    *out = (struct ldnq_folder){ 0 };
    LDNQ_TRY(ldnq_is_pattern(path) ? list_matches(path, arena, out, err)
                                   : list_entries(path, arena, out, err));
    if (out->count)
        qsort(out->entries, out->count, sizeof *out->entries, compare_paths);
    return LDNQ_OK;
}
