#include "calib/folder.h"

#include <dirent.h>
#include <errno.h>
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

static enum ldnq_status append_entry(struct ldnq_folder *folder, const char *path, const char *name,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    const char *slash = path[0] && path[strlen(path) - 1] == '/' ? "" : "/";
    const char *full = ldnq_arena_printf(arena, err, "%s%s%s", path, slash, name);
    if (!full)
        return LDNQ_NOMEM;
    struct stat info;
    if (stat(full, &info) != 0)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be read: %s", full, strerror(errno));
    if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_list_reserve(arena, &folder->entries, folder->count, &folder->capacity,
                               sizeof *folder->entries, err));
    folder->entries[folder->count++] = (struct ldnq_entry){
        .name = full + strlen(path) + strlen(slash),
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
        if (entry->d_name[0] != '.')
            LDNQ_TRY(append_entry(folder, path, entry->d_name, arena, err));
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct ldnq_entry *)a)->name, ((const struct ldnq_entry *)b)->name);
}

enum ldnq_status ldnq_folder_list(const char *path, struct ldnq_arena *arena,
                                  struct ldnq_folder *out, struct ldnq_error *err)
{
    *out = (struct ldnq_folder){ 0 };
    DIR *stream = opendir(path);
    if (!stream)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be opened: %s", path, strerror(errno));
    enum ldnq_status status = append_all_entries(stream, path, arena, out, err);
    closedir(stream);
    if (status == LDNQ_OK && out->count)
        qsort(out->entries, out->count, sizeof *out->entries, compare_names);
    return status;
}
