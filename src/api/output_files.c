/* SPDX-License-Identifier: Apache-2.0 */
#include "api/output_files.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

/* Without its last part; "." where it has one part alone. Returns false where that is too long. */
static bool find_folder(const char *path, char folder[4096])
{
    const char *slash = strrchr(path, '/');
    const size_t length = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (length >= 4096)
        return false;
    memcpy(folder, path, length);
    memcpy(folder + length, slash ? "" : ".", slash ? 1 : 2);
    return true;
}

/* A pipe with a name may have no reader, so that opening it would wait for ever. Links to pipes are
 * those of a shell, which have one. */
static bool is_named_pipe(const char *path)
{
    struct stat named;
    return lstat(path, &named) == 0 && S_ISFIFO(named.st_mode);
}

/* Character devices and pipes are written in place, not replaced; folders and the like are refused.
 * A named pipe is taken only by outputs that are read line by line. */
static enum ldnq_status check_device(const char *path, const struct stat *info, bool has_lines,
                                     struct ldnq_error *err)
{
    if (S_ISDIR(info->st_mode))
        return ldnq_fail(err, LDNQ_IO, "%s: is a folder; a file is to be written", path);
    if ((S_ISFIFO(info->st_mode) && !has_lines && is_named_pipe(path)) || S_ISSOCK(info->st_mode) ||
        S_ISBLK(info->st_mode))
        return ldnq_fail(err, LDNQ_IO, "%s: is a %s; a file is to be written", path,
                         S_ISFIFO(info->st_mode)   ? "named pipe"
                         : S_ISSOCK(info->st_mode) ? "socket"
                                                   : "block device");
    if (access(path, W_OK) != 0)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be written: %s", path, strerror(errno));
    return LDNQ_OK;
}

/* S_ISVTX, which POSIX has in an extension alone. */
#define STICKY 01000

/* In a folder like /tmp, only the owner replaces a file. */
static bool is_guarded_by_owner(const struct stat *folder, const struct stat *file)
{
    const uid_t user = geteuid();
    return (folder->st_mode & STICKY) && user != 0 && user != file->st_uid &&
           user != folder->st_uid;
}

/* Whether a file can be created at `path`, or replaced, by creating the temporary one that it is
 * written to. */
static enum ldnq_status check_output(const char *path, bool has_lines, struct ldnq_error *err)
{
    char folder[4096];
    struct stat info, around;
    struct ldnq_file_writer writer;
    const bool exists = stat(path, &info) == 0;
    if (exists && !S_ISREG(info.st_mode))
        return check_device(path, &info, has_lines, err);
    if (!find_folder(path, folder))
        return ldnq_fail(err, LDNQ_IO, "%s: the path is too long", path);
    if (stat(folder, &around) != 0 || !S_ISDIR(around.st_mode))
        return ldnq_fail(err, LDNQ_IO, "%s: can't be written: '%s' is not a folder", path, folder);
    if (exists && is_guarded_by_owner(&around, &info))
        return ldnq_fail(err, LDNQ_IO,
                         "%s: can't be replaced: it belongs to another user, in a folder where "
                         "only owners replace files",
                         path);
    const enum ldnq_status status = ldnq_file_writer_init(&writer, path, err);
    ldnq_file_writer_finish(&writer);
    return status;
}

enum ldnq_status ldnq_output_files_add(struct ldnq_output_files *files, const char *option,
                                       const char *path, struct ldnq_error *err)
{
    if (!path)
        return LDNQ_OK;
    assert(files->count < LDNQ_OUTPUT_FILES);
    struct ldnq_output_file *file = &files->list[files->count];
    LDNQ_TRY(check_output(path, strcmp(option, "log") == 0, err));
    *file = (struct ldnq_output_file){ .option = option, .path = path };
    ldnq_file_identify(path, &file->id);
    for (size_t i = 0; i < files->count; i++)
        if (ldnq_file_is_same(&files->list[i].id, &file->id))
            return ldnq_fail(err, LDNQ_USAGE,
                             "%s: the options %s and %s both write this file; choose another path "
                             "for one",
                             path, files->list[i].option, option);
    files->count++;
    return LDNQ_OK;
}

enum ldnq_status ldnq_output_files_check_path(const struct ldnq_output_files *files,
                                              const char *what, const char *path,
                                              struct ldnq_error *err)
{
    struct ldnq_file_id id;
    if (files->count == 0)
        return LDNQ_OK;
    ldnq_file_identify(path, &id);
    for (size_t i = 0; i < files->count; i++)
        if (ldnq_file_is_same(&files->list[i].id, &id))
            return ldnq_fail(err, LDNQ_USAGE,
                             "%s: the option %s would overwrite %s; choose another path",
                             files->list[i].path, files->list[i].option, what);
    return LDNQ_OK;
}

enum ldnq_status ldnq_output_files_check_model(const struct ldnq_output_files *files,
                                               const struct ldnq_onnx *onnx,
                                               const struct ldnq_model *model,
                                               struct ldnq_error *err)
{
    const char *path;
    if (ldnq_onnx_is_file(onnx))
        LDNQ_TRY(ldnq_output_files_check_path(files, "the model that is read", ldnq_onnx_name(onnx),
                                              err));
    for (size_t i = 0; (path = ldnq_model_data_file(model, i)) != NULL; i++)
        LDNQ_TRY(ldnq_output_files_check_path(files, "external data of the model that is read",
                                              path, err));
    return LDNQ_OK;
}

enum ldnq_status ldnq_output_files_check_data_name(const char *path, const struct ldnq_model *model,
                                                   struct ldnq_error *err)
{
    char folder[4096];
    struct stat info;
    const bool is_device = path && stat(path, &info) == 0 && !S_ISREG(info.st_mode);
    if (!path || is_device || !ldnq_model_data_file(model, 0) || !find_folder(path, folder))
        return LDNQ_OK;
    const char *slash = strrchr(path, '/');
    const size_t length = strlen(slash ? slash + 1 : path) + LDNQ_DATA_SUFFIX_LENGTH;
    const long most = pathconf(folder[0] ? folder : "/", _PC_NAME_MAX);
    if (most < 0 || length <= (size_t)most)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_IO,
                     "%s: the name of its data file (.HASH.data is added) would have %zu bytes, "
                     "and the folder takes %ld; choose a shorter one",
                     path, length, most);
}

enum ldnq_status ldnq_output_files_check_samples(const struct ldnq_output_files *files,
                                                 const struct ldnq_samples *samples,
                                                 struct ldnq_error *err)
{
    const char *path, *last = NULL;
    bool exists = false;
    for (size_t i = 0; i < files->count; i++)
        exists |= files->list[i].id.is_regular;
    if (!exists) /* saves examining each sample */
        return LDNQ_OK;
    for (size_t i = 0; (path = ldnq_samples_file(samples, i)) != NULL; i++) {
        if (path != last) /* an array's rows share one */
            LDNQ_TRY(ldnq_output_files_check_path(files, "a sample that is read", path, err));
        last = path;
    }
    return LDNQ_OK;
}
