/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stdbool.h>

#include "base/clock.h"
#include "base/alloc.h"
#include "base/rng.h"

/* Letters that make a temporary file's name unique, and most names that are tried. */
#define SUFFIX_LETTERS ((size_t)6)
#define MOST_ATTEMPTS 100

/* Moves a descriptor above those of the standard streams. */
static int move_above_standard_descriptors(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    const int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    const int reason = errno;
    close(fd);
    errno = reason;
    return moved;
}

static FILE *open_stream(int fd)
{
    FILE *stream = fd < 0 ? NULL : fdopen(fd, "wb");
    if (stream || fd < 0)
        return stream;
    const int reason = errno;
    close(fd);
    errno = reason;
    return NULL;
}

FILE *ldnq_file_create(const char *path)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return open_stream(move_above_standard_descriptors(fd));
}

const char *ldnq_temporary_folder(void)
{
    const char *folder = getenv("TMPDIR");
    return folder && *folder ? folder : "/tmp";
}

int ldnq_file_create_unnamed(const char *folder)
{
    char path[4096];
    errno = ENAMETOOLONG;
    if (snprintf(path, sizeof path, "%s/ldnq-XXXXXX", folder) >= (int)sizeof path)
        return -1;
    const int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return move_above_standard_descriptors(fd);
}

enum ldnq_status ldnq_file_open(const char *path, int *fd, size_t *size, struct ldnq_error *err)
{
    struct stat info;
    /* Opening a pipe waits for a writer, unless it is told not to. */
    *fd = move_above_standard_descriptors(open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (*fd < 0)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be opened: %s", path, strerror(errno));
    enum ldnq_status status = LDNQ_OK;
    if (fstat(*fd, &info) != 0)
        status = ldnq_fail(err, LDNQ_IO, "%s: can't be read: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = ldnq_fail(err, LDNQ_IO, "%s: is not a regular file", path);
    else
        *size = (size_t)info.st_size;
    if (status != LDNQ_OK) {
        close(*fd);
        *fd = -1;
    }
    return status;
}

/* Reads until `capacity` or the end of the file. */
static enum ldnq_status read_until_full_or_end(int fd, const char *path, void *bytes,
                                               size_t capacity, size_t *size,
                                               struct ldnq_error *err)
{
    ssize_t got = 1;
    for (*size = 0; *size < capacity && got != 0;) {
        got = read(fd, (char *)bytes + *size, capacity - *size);
        if (got < 0 && errno != EINTR)
            return ldnq_fail(err, LDNQ_IO, "%s: can't be read: %s", path, strerror(errno));
        *size += got > 0 ? (size_t)got : 0;
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_file_read_prefix(const char *path, void *bytes, size_t capacity, size_t *size,
                                       struct ldnq_error *err)
{
    int fd;
    size_t length;
    LDNQ_TRY(ldnq_file_open(path, &fd, &length, err));
    enum ldnq_status status = read_until_full_or_end(fd, path, bytes, capacity, size, err);
    close(fd);
    return status;
}

static enum ldnq_status read_whole_stream(int fd, const char *path, struct ldnq_arena *arena,
                                          void **bytes, size_t size, struct ldnq_error *err)
{
    size_t got;
    *bytes = ldnq_arena_alloc(arena, size, 1, err);
    if (!*bytes)
        return ldnq_fail_within(err, LDNQ_NOMEM, "%s", path);
    LDNQ_TRY(read_until_full_or_end(fd, path, *bytes, size, &got, err));
    if (got != size)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be read to its end: it became shorter", path);
    return LDNQ_OK;
}

enum ldnq_status ldnq_file_read(const char *path, struct ldnq_arena *arena, void **bytes,
                                size_t *size, struct ldnq_error *err)
{
    int fd;
    LDNQ_TRY(ldnq_file_open(path, &fd, size, err));
    enum ldnq_status status = read_whole_stream(fd, path, arena, bytes, *size, err);
    close(fd);
    return status;
}

/* Opens the path itself: a device or a pipe (/dev/null, /dev/stdout) must not be
 * replaced by a file. */
static enum ldnq_status open_device_or_pipe(struct ldnq_file_writer *writer,
                                            const struct stat *info, struct ldnq_error *err)
{
    ldnq_free(writer->temporary);
    writer->temporary = NULL;
    if (S_ISDIR(info->st_mode))
        return ldnq_fail(err, LDNQ_IO, "%s: can't be created: %s", writer->path, strerror(EISDIR));
    writer->stream = ldnq_file_create(writer->path);
    if (!writer->stream)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be opened: %s", writer->path, strerror(errno));
    return LDNQ_OK;
}

/* Replaces the letters at the end of a temporary name by random ones. */
static void write_random_suffix(char *name)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    static atomic_ulong calls;
    char *end = name + strlen(name) - SUFFIX_LETTERS;
    struct ldnq_rng rng = { (uint64_t)getpid() << 32 ^ atomic_fetch_add(&calls, 1) ^
                            (uint64_t)(1e9 * ldnq_now()) };
    for (size_t i = 0; i < SUFFIX_LETTERS; i++)
        end[i] = letters[ldnq_rng_below(&rng, sizeof letters - 1)];
}

/* Creates a file that does not exist yet, with the permissions that the umask leaves, and puts
 * its name's end in the place of the X's. mkostemp leaves only the owner's, and the umask can't
 * be read without being set, for other threads too. */
static int create_exclusively(char *name)
{
    int fd = -1;
    for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        write_random_suffix(name);
        fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            break;
    }
    return move_above_standard_descriptors(fd);
}

/* Creates a file without a name in the folder of `path`, so that a process that is killed leaves
 * no file. Returns -1 where the file system can't create such files or name them later. */
static int create_unnamed_beside(const char *path)
{
#ifdef O_TMPFILE
    char folder[4096], link[64];
    const char *slash = strrchr(path, '/');
    const size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    if (length >= sizeof folder)
        return -1;
    memcpy(folder, path, length);
    folder[length] = '\0';
    const int fd = move_above_standard_descriptors(
        open(length ? folder : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666));
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (fd < 0 || access(link, F_OK) == 0)
        return fd;
    close(fd);
#else
    (void)path;
#endif
    return -1;
}

/* Links the unnamed file to its temporary name. */
static bool link_unnamed(struct ldnq_file_writer *writer)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", writer->unnamed);
    for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        write_random_suffix(writer->temporary);
        if (linkat(AT_FDCWD, link, AT_FDCWD, writer->temporary, AT_SYMLINK_FOLLOW) == 0)
            return true;
        if (errno != EEXIST)
            return false;
    }
    return false;
}

static enum ldnq_status open_temporary_file(struct ldnq_file_writer *writer, struct ldnq_error *err)
{
    struct stat info;
    /* A file without a name has no name that is too long, until it gets it. */
    const bool is_too_long = lstat(writer->temporary, &info) != 0 && errno == ENAMETOOLONG;
    int fd = is_too_long ? -1 : create_unnamed_beside(writer->path);
    if (fd >= 0) {
        writer->unnamed = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (writer->unnamed < 0)
            close(fd);
    }
    if (writer->unnamed < 0)
        fd = create_exclusively(writer->temporary);
    if (fd < 0) {
        int reason = errno;
        ldnq_free(writer->temporary);
        writer->temporary = NULL;
        return ldnq_fail(err, LDNQ_IO, "%s: can't be created: %s", writer->path, strerror(reason));
    }
    writer->stream = open_stream(fd);
    return writer->stream
               ? LDNQ_OK
               : ldnq_fail(err, LDNQ_IO, "%s: can't be opened: %s", writer->path, strerror(errno));
}

enum ldnq_status ldnq_file_writer_init(struct ldnq_file_writer *writer, const char *path,
                                       struct ldnq_error *err)
{
    static const char suffix[] = ".tmpXXXXXX";
    size_t length = strlen(path);
    *writer = (struct ldnq_file_writer){ .path = ldnq_malloc(length + 1),
                                         .temporary = ldnq_malloc(length + sizeof suffix),
                                         .unnamed = -1 };
    if (!writer->path || !writer->temporary) {
        ldnq_free(writer->temporary);
        writer->temporary = NULL;
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    }
    memcpy(writer->path, path, length + 1);
    memcpy(writer->temporary, path, length);
    memcpy(writer->temporary + length, suffix, sizeof suffix);
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return open_device_or_pipe(writer, &info, err);
    return open_temporary_file(writer, err);
}

enum ldnq_status ldnq_file_writer_write(struct ldnq_file_writer *writer, const void *bytes,
                                        size_t size, struct ldnq_error *err)
{
    if (size && fwrite(bytes, 1, size, writer->stream) != size)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be written: %s", writer->path, strerror(errno));
    return LDNQ_OK;
}

enum ldnq_status ldnq_file_writer_set_path(struct ldnq_file_writer *writer, const char *path,
                                           struct ldnq_error *err)
{
    const size_t size = strlen(path) + 1;
    char *copy = ldnq_malloc(size);
    if (!copy)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    memcpy(copy, path, size);
    ldnq_free(writer->path);
    writer->path = copy;
    return LDNQ_OK;
}

enum ldnq_status ldnq_file_writer_close(struct ldnq_file_writer *writer, struct ldnq_error *err)
{
    bool flushed = fflush(writer->stream) == 0;
    /* Some file systems do not support fsync; only other failures count. */
    if (flushed && fsync(fileno(writer->stream)) != 0 && errno != EINVAL && errno != ENOTSUP)
        flushed = false;
    int reason = errno;
    if (fclose(writer->stream) != 0 && flushed) {
        flushed = false;
        reason = errno;
    }
    writer->stream = NULL;
    if (!flushed)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be written: %s", writer->path, strerror(reason));
    return LDNQ_OK;
}

enum ldnq_status ldnq_file_writer_commit(struct ldnq_file_writer *writer, struct ldnq_error *err)
{
    if (writer->stream)
        LDNQ_TRY(ldnq_file_writer_close(writer, err));
    if (writer->temporary && writer->unnamed >= 0) {
        if (!link_unnamed(writer))
            return ldnq_fail(err, LDNQ_IO, "%s: can't be put in place: %s", writer->path,
                             strerror(errno));
        close(writer->unnamed);
        writer->unnamed = -1;
    }
    if (writer->temporary && rename(writer->temporary, writer->path) != 0)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be put in place: %s", writer->path,
                         strerror(errno));
    ldnq_free(writer->temporary);
    writer->temporary = NULL;
    return LDNQ_OK;
}

void ldnq_file_writer_finish(struct ldnq_file_writer *writer)
{
    if (writer->stream)
        fclose(writer->stream);
    if (writer->temporary && writer->unnamed >= 0)
        close(writer->unnamed);
    else if (writer->temporary)
        unlink(writer->temporary);
    ldnq_free(writer->temporary);
    ldnq_free(writer->path);
    *writer = (struct ldnq_file_writer){ 0 };
}

enum ldnq_status ldnq_file_write(const char *path, const void *bytes, size_t size,
                                 struct ldnq_error *err)
{
    struct ldnq_file_writer writer = { 0 };
    enum ldnq_status status = ldnq_file_writer_init(&writer, path, err);
    if (status == LDNQ_OK)
        status = ldnq_file_writer_write(&writer, bytes, size, err);
    if (status == LDNQ_OK)
        status = ldnq_file_writer_commit(&writer, err);
    ldnq_file_writer_finish(&writer);
    return status;
}
