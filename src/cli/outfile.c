#include "cli/outfile.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum ldnq_status cli_check_outfile(const char *path, struct ldnq_error *err)
{
    char folder[4096];
    struct stat info;
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof folder)
        return ldnq_fail(err, LDNQ_IO, "%s: the path is too long", path);
    memcpy(folder, path, length);
    folder[length] = '\0';
    const char *where = slash ? (length ? folder : "/") : ".";
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return ldnq_fail(err, LDNQ_IO, "%s: is a folder; a file is to be written", path);
    if (stat(where, &info) != 0 || !S_ISDIR(info.st_mode))
        return ldnq_fail(err, LDNQ_IO, "%s: can't be written: '%s' is not a folder", path, where);
    if (access(where, W_OK) != 0)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be written: %s", path, strerror(errno));
    return LDNQ_OK;
}
