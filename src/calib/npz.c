/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/npz.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include "base/size.h"

#define PIECE ((size_t)65536)

/* A member while it is unpacked. */
struct npz_member {
    zip_file_t *stream;
    size_t size; /* size that the archive's directory states */
    unsigned char *prefix;
    size_t prefix_size;
    struct ldnq_npy_header header;
    struct ldnq_array *array;
    struct ldnq_error *err;
};

static enum ldnq_status decompress_bytes(struct npz_member *member, unsigned char *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        zip_int64_t got = zip_fread(member->stream, to + done, size - done);
        if (got <= 0)
            return ldnq_fail(member->err, LDNQ_DATA, "%s: is damaged: %s", member->array->name,
                             got < 0 ? zip_file_strerror(member->stream) : "it ends too early");
        done += (size_t)got;
    }
    return LDNQ_OK;
}

/* Only a read past the end makes libzip compare the checksum. */
static enum ldnq_status check_member_end(struct npz_member *member)
{
    unsigned char more;
    zip_int64_t got = zip_fread(member->stream, &more, 1);
    if (got == 0)
        return LDNQ_OK;
    return ldnq_fail(member->err, LDNQ_DATA, "%s: is damaged: %s", member->array->name,
                     got < 0 ? zip_file_strerror(member->stream) : "it goes on after its end");
}

/* The part of the array's data that follows the header in the prefix; *size is its length. */
static const unsigned char *find_data_in_prefix(const struct npz_member *member, size_t *size)
{
    *size = member->prefix_size - member->header.offset;
    return member->prefix + member->header.offset;
}

static enum ldnq_status unpack_to_memory(struct npz_member *member, struct ldnq_arena *arena)
{
    unsigned char *data = ldnq_arena_alloc(arena, member->header.bytes, 1, member->err);
    if (!data)
        return LDNQ_NOMEM;
    size_t had;
    const unsigned char *begin = find_data_in_prefix(member, &had);
    memcpy(data, begin, had);
    member->array->data = data;
    return decompress_bytes(member, data + had, member->header.bytes - had);
}

/* Once the prefix's data are written, its memory serves as the copy buffer. */
static enum ldnq_status unpack_to_file(struct npz_member *member)
{
    size_t had;
    const unsigned char *begin = find_data_in_prefix(member, &had);
    LDNQ_TRY(ldnq_array_create_temporary(member->array, member->err));
    LDNQ_TRY(ldnq_array_append(member->array, begin, had, member->err));
    for (size_t left = member->header.bytes - had; left;) {
        size_t size = ldnq_size_min(left, PIECE);
        LDNQ_TRY(decompress_bytes(member, member->prefix, size));
        LDNQ_TRY(ldnq_array_append(member->array, member->prefix, size, member->err));
        left -= size;
    }
    return LDNQ_OK;
}

static enum ldnq_status read_member(struct npz_member *member, struct ldnq_arena *arena)
{
    struct ldnq_array *array = member->array;
    member->prefix_size = ldnq_size_min(member->size, LDNQ_NPY_PREFIX);
    LDNQ_TRY(decompress_bytes(member, member->prefix, member->prefix_size));
    LDNQ_TRY(ldnq_npy_parse(member->prefix, member->prefix_size, array->name, &member->header,
                            member->err));
    if (member->size - member->header.offset != member->header.bytes)
        return ldnq_fail(member->err, LDNQ_DATA,
                         "%s: has %zu bytes of data where its header counts %zu", array->name,
                         member->size - member->header.offset, member->header.bytes);
    bool small = member->header.bytes <= LDNQ_ARRAY_IN_MEMORY;
    LDNQ_TRY(small ? unpack_to_memory(member, arena) : unpack_to_file(member));
    return check_member_end(member);
}

/* Data in Fortran order are unpacked to the scratch arena, then reordered into the set's. */
static enum ldnq_status finalize_member(struct npz_member *member, struct ldnq_arena *scratch,
                                        struct ldnq_arena *arena)
{
    bool moves = member->header.fortran && member->header.shape.rank > 1;
    LDNQ_TRY(read_member(member, moves ? scratch : arena));
    return ldnq_array_apply_header(member->array, &member->header, arena, member->err);
}

static enum ldnq_status open_member(zip_t *archive, const zip_stat_t *info,
                                    struct ldnq_array *array, struct ldnq_arena *arena,
                                    struct ldnq_error *err)
{
    struct npz_member member = { .array = array, .size = (size_t)info->size, .err = err };
    struct ldnq_arena *scratch;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    enum ldnq_status status = LDNQ_NOMEM;
    member.prefix = ldnq_arena_alloc(scratch, LDNQ_NPY_PREFIX, 1, err);
    if (member.prefix) {
        member.stream = zip_fopen_index(archive, info->index, 0);
        status = member.stream ? finalize_member(&member, scratch, arena)
                               : ldnq_fail(err, LDNQ_DATA, "%s: can't be unpacked: %s", array->name,
                                           zip_strerror(archive));
    }
    if (member.stream)
        zip_fclose(member.stream);
    ldnq_arena_destroy(scratch);
    return status;
}

static enum ldnq_status store_member_name(const char *path, const zip_stat_t *info,
                                          struct ldnq_arena *arena, struct ldnq_npz *npz,
                                          struct ldnq_error *err)
{
    char *key = ldnq_arena_strdup(arena, info->name, err);
    if (!key)
        return LDNQ_NOMEM;
    size_t length = strlen(key);
    if (length < 5 || strcmp(key + length - 4, ".npy") != 0)
        return ldnq_fail(err, LDNQ_DATA, "%s: its member '%s' is not a .npy array", path, key);
    key[length - 4] = '\0';
    for (size_t i = 0; i < npz->count; i++)
        if (strcmp(npz->keys[i], key) == 0)
            return ldnq_fail(err, LDNQ_DATA, "%s: has two arrays '%s'", path, key);
    struct ldnq_array *array = &npz->arrays[npz->count];
    npz->keys[npz->count++] = key;
    *array = (struct ldnq_array){ .fd = -1 };
    array->name = ldnq_arena_printf(arena, err, "%s[%s]", path, key);
    return array->name ? LDNQ_OK : LDNQ_NOMEM;
}

static enum ldnq_status read_archive(const char *path, zip_t *archive, struct ldnq_arena *arena,
                                     struct ldnq_npz *npz, struct ldnq_error *err)
{
    zip_int64_t entries = zip_get_num_entries(archive, 0);
    size_t count = entries > 0 ? (size_t)entries : 0;
    npz->keys = ldnq_arena_alloc(arena, count, sizeof *npz->keys, err);
    npz->arrays = ldnq_arena_alloc(arena, count, sizeof *npz->arrays, err);
    if (!npz->keys || !npz->arrays)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        zip_stat_t info;
        zip_stat_init(&info);
        if (zip_stat_index(archive, i, 0, &info) != 0 || !(info.valid & ZIP_STAT_NAME) ||
            !(info.valid & ZIP_STAT_SIZE))
            return ldnq_fail(err, LDNQ_DATA, "%s: is damaged: %s", path, zip_strerror(archive));
        LDNQ_TRY(store_member_name(path, &info, arena, npz, err));
        LDNQ_TRY(open_member(archive, &info, &npz->arrays[npz->count - 1], arena, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status fail_to_open(const char *path, int code, struct ldnq_error *err)
{
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    bool system = zip_error_system_type(&error) == ZIP_ET_SYS || code == ZIP_ER_NOENT;
    enum ldnq_status status = code == ZIP_ER_MEMORY ? LDNQ_NOMEM : system ? LDNQ_IO : LDNQ_DATA;
    ldnq_fail(err, status, "%s: can't be read as .npz: %s", path, zip_error_strerror(&error));
    zip_error_fini(&error);
    return status;
}

enum ldnq_status ldnq_npz_open(const char *path, struct ldnq_arena *arena, struct ldnq_npz *out,
                               struct ldnq_error *err)
{
    int code;
    *out = (struct ldnq_npz){ 0 };
    zip_t *archive = zip_open(path, ZIP_RDONLY, &code);
    if (!archive)
        return fail_to_open(path, code, err);
    enum ldnq_status status = read_archive(path, archive, arena, out, err);
    zip_discard(archive);
    if (status != LDNQ_OK)
        ldnq_npz_close(out);
    return status;
}

void ldnq_npz_close(struct ldnq_npz *npz)
{
    for (size_t i = 0; i < npz->count; i++)
        ldnq_array_close(&npz->arrays[i]);
    npz->count = 0;
}
