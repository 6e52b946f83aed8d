/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c: runs a fuzz target on the files that the arguments name, and on those in folders that
 * they name. */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static size_t replayed;

static void replay_file(const char *path, size_t size)
{
    FILE *stream = fopen(path, "rb");
    /* Exactly the bytes of the file, so that a sanitizer sees what is read after them. */
    uint8_t *bytes = malloc(size ? size : 1);
    FUZZ_CHECK(stream && bytes && fread(bytes, 1, size, stream) == size, "%s can't be read", path);
    fclose(stream);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
    replayed++;
}

static void replay_path(const char *path)
{
    struct stat info;
    FUZZ_CHECK(stat(path, &info) == 0, "%s can't be read", path);
    if (!S_ISDIR(info.st_mode)) {
        replay_file(path, (size_t)info.st_size);
        return;
    }
    struct dirent **entries;
    const int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char inner[4096];
        snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            replay_path(inner);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay_path(argv[i]);
    fprintf(stderr, "%zu files replayed\n", replayed);
    return replayed ? 0 : 1;
}
