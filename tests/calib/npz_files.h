/* SPDX-License-Identifier: Apache-2.0 */
/* npz_files.h: .npz files made for a test. */
#ifndef TESTS_CALIB_NPZ_FILES_H
#define TESTS_CALIB_NPZ_FILES_H

#include "fixture.h"

#include <zip.h>

struct npz_member {
    const char *name; /* with .npy */
    const void *bytes;
    size_t size;
    bool stored;
};

/* Members in this order; one name may come twice, which takes a rename. */
MAYBE_UNUSED static char *put_npz(struct fixture *fixture, const char *name,
                                  const struct npz_member *members, size_t count)
{
    char *path = path_of(fixture, name);
    zip_t *archive = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    assert_non_null(archive);
    for (size_t i = 0; i < count; i++) {
        zip_source_t *source = zip_source_buffer(archive, members[i].bytes, members[i].size, 0);
        zip_int64_t index = zip_file_add(archive, members[i].name, source, 0);
        assert_true(index >= 0);
        assert_int_equal(zip_set_file_compression(archive, (zip_uint64_t)index,
                                                  members[i].stored ? ZIP_CM_STORE : ZIP_CM_DEFLATE,
                                                  0),
                         0);
    }
    assert_int_equal(zip_close(archive), 0);
    return path;
}

/* The tensor as a member; its .npy bytes are in the arena. */
MAYBE_UNUSED static struct npz_member member_of(struct fixture *fixture, const char *name,
                                                const struct ldnq_tensor *tensor)
{
    struct npz_member member = { .name = name };
    const char *path = put_npy(fixture, "member.npy", tensor);
    member.bytes = get_file(fixture, path, &member.size);
    remove(path);
    return member;
}

#endif
