/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* madvise, MAP_ANONYMOUS */
#include "base/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

/* Fewer bytes than this are not worth a system call. */
#define LEAST_RELEASED ((size_t)64 << 10)

struct mapping {
    struct mapping *next;
    char *start;
    size_t size;
    struct stat info; /* of the file as it was mapped */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mapping *mappings; /* under the lock */

/* ---- all mappings --------------------------------------------------------------------------- */

/* Maps the file and adds it to the list; closes the descriptor. NULL, with errno. */
static void *map_and_close(int fd, size_t size, int protection, int flags)
{
    struct mapping *mapping = ldnq_malloc(sizeof *mapping);
    void *start = MAP_FAILED;
    if (!mapping)
        errno = ENOMEM;
    else if (size == 0) /* a file without bytes can't be mapped */
        start = mmap(NULL, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    else
        start = mmap(NULL, size, protection, flags, fd, 0);
    if (start != MAP_FAILED) {
        *mapping = (struct mapping){ .start = start, .size = size ? size : 1 };
        fstat(fd, &mapping->info); /* of an open file: can't fail */
        pthread_mutex_lock(&lock);
        mapping->next = mappings;
        mappings = mapping;
        pthread_mutex_unlock(&lock);
    }
    const int reason = errno;
    close(fd);
    errno = reason;
    if (start != MAP_FAILED)
        return start;
    ldnq_free(mapping);
    return NULL;
}

static bool contains(const struct mapping *mapping, const char *data, size_t size)
{
    return data >= mapping->start && size <= mapping->size &&
           (size_t)(data - mapping->start) <= mapping->size - size;
}

/* The link in the list to the mapping that contains the bytes, under the lock; it leads to NULL
 * when there is none. */
static struct mapping **find_mapping(const char *data, size_t size)
{
    struct mapping **link = &mappings;
    while (*link && !contains(*link, data, size))
        link = &(*link)->next;
    return link;
}

/* ---- one ------------------------------------------------------------------------------------ */

void *ldnq_mapping_create(size_t size)
{
    const int fd = ldnq_file_create_unnamed(ldnq_temporary_folder());
    if (fd < 0)
        return NULL;
    /* A hole that can't be filled later would end the process. */
    if (size > SIZE_MAX / 2 || posix_fallocate(fd, 0, (off_t)size) != 0) {
        close(fd);
        return NULL;
    }
    return map_and_close(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED);
}

enum ldnq_status ldnq_mapping_open(const char *path, void **bytes, size_t *size,
                                   struct ldnq_error *err)
{
    int fd;
    LDNQ_TRY(ldnq_file_open(path, &fd, size, err));
    *bytes = map_and_close(fd, *size, PROT_READ, MAP_PRIVATE);
    if (*bytes)
        return LDNQ_OK;
    if (errno == ENOMEM)
        return ldnq_fail(err, LDNQ_NOMEM, "%s: out of memory: %zu bytes could not be mapped", path,
                         *size);
    return ldnq_fail(err, LDNQ_IO, "%s: can't be read: %s", path, strerror(errno));
}

void ldnq_mapping_destroy(void *bytes)
{
    if (!bytes)
        return;
    pthread_mutex_lock(&lock);
    struct mapping **link = find_mapping(bytes, 1), *mapping = *link;
    if (mapping)
        *link = mapping->next;
    pthread_mutex_unlock(&lock);
    if (mapping)
        munmap(mapping->start, mapping->size);
    ldnq_free(mapping);
}

enum ldnq_status ldnq_mapping_check_unchanged(const void *bytes, const char *path,
                                              struct ldnq_error *err)
{
    struct stat now, then;
    pthread_mutex_lock(&lock);
    then = (*find_mapping(bytes, 1))->info;
    pthread_mutex_unlock(&lock);
    if (stat(path, &now) != 0 || now.st_dev != then.st_dev || now.st_ino != then.st_ino ||
        (now.st_size == then.st_size && now.st_mtim.tv_sec == then.st_mtim.tv_sec &&
         now.st_mtim.tv_nsec == then.st_mtim.tv_nsec))
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_IO,
                     "%s: was written to while it was read; a model's files must stay as they are "
                     "until the end",
                     path);
}

void ldnq_mapping_release_pages(const void *data, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (size < LEAST_RELEASED)
        return;
    pthread_mutex_lock(&lock);
    const bool is_mapped = *find_mapping(data, size) != NULL;
    pthread_mutex_unlock(&lock);
    const uintptr_t first = ((uintptr_t)data + page - 1) / page * page;
    const uintptr_t last = ((uintptr_t)data + size) / page * page;
    /* Pages of a file come back from it, written or not. */
    if (is_mapped && last > first)
        madvise((void *)first, last - first, MADV_DONTNEED);
}
