/* SPDX-License-Identifier: Apache-2.0 */
/* damage.h: files cut short and bits turned over; memory that runs out. */
#ifndef TESTS_CALIB_DAMAGE_H
#define TESTS_CALIB_DAMAGE_H

#include "fixture.h"

#include "base/alloc.h"

/* One try on a file or folder; its status. */
typedef enum ldnq_status attempt_fn(struct fixture *fixture, const char *path);

static void expect_one_line(enum ldnq_status status, const char *path)
{
    if (status == LDNQ_OK)
        return;
    assert_in_range(strlen(err.message), 1, 1000);
    assert_null(strchr(err.message, '\n'));
    assert_non_null(strstr(err.message, path));
}

/* Every proper prefix must be refused. */
MAYBE_UNUSED static void refuse_truncations(struct fixture *fixture, const char *path,
                                            attempt_fn *attempt, size_t step)
{
    size_t size;
    unsigned char *bytes = get_file(fixture, path, &size);
    assert_int_equal(attempt(fixture, path), LDNQ_OK);
    for (size_t keep = 0; keep < size; keep += step) {
        assert_int_equal(truncate(path, (off_t)keep), 0);
        enum ldnq_status status = attempt(fixture, path);
        if (status != LDNQ_DATA)
            fail_msg("%zu of %zu bytes of %s: status %d", keep, size, path, (int)status);
        expect_one_line(status, path);
        FILE *stream = fopen(path, "wb");
        fwrite(bytes, 1, size, stream);
        fclose(stream);
    }
}

/* A file with some bytes changed may or may not be refused; it must do no harm. */
MAYBE_UNUSED static void survive_changes(struct fixture *fixture, const char *path,
                                         attempt_fn *attempt, size_t rounds)
{
    size_t size;
    unsigned char *bytes = get_file(fixture, path, &size);
    uint32_t random = 1;
    for (size_t i = 0; i < rounds; i++) {
        random = random * 1664525u + 1013904223u;
        size_t at = (random >> 8) % size;
        unsigned char old = bytes[at];
        bytes[at] ^= (unsigned char)(1u << (random >> 29));
        FILE *stream = fopen(path, "wb");
        fwrite(bytes, 1, size, stream);
        fclose(stream);
        bytes[at] = old;
        expect_one_line(attempt(fixture, path), path);
    }
}

/* Each allocation in turn fails, until none does. */
MAYBE_UNUSED static void survive_lack_of_memory(struct fixture *fixture, const char *path,
                                                attempt_fn *attempt)
{
    for (long n = 0; n < 10000; n++) {
        ldnq_alloc_fail_after(n);
        enum ldnq_status status = attempt(fixture, path);
        long asked = ldnq_alloc_count();
        ldnq_alloc_fail_after(-1);
        if (asked <= n) {
            assert_int_equal(status, LDNQ_OK);
            return;
        }
        if (status != LDNQ_NOMEM)
            fail_msg("allocation %ld failed, and the status was %d", n, (int)status);
    }
    fail_msg("10000 allocations were not enough");
}

/* Opens, reads and hashes a set for this graph, with classes, two samples drawn. */
static const struct ldnq_graph *set_graph;

MAYBE_UNUSED static enum ldnq_status attempt_set(struct fixture *fixture, const char *path)
{
    struct ldnq_samples_options options = plain_options();
    struct ldnq_tensor *inputs[4];
    struct ldnq_samples *samples = NULL;
    struct ldnq_arena *arena;
    uint64_t hash;
    (void)fixture;
    options.need_labels = true;
    options.max_samples = 2;
    options.preprocess.resize = 6;
    LDNQ_TRY(ldnq_arena_create(&arena, &err));
    enum ldnq_status status = ldnq_samples_open(path, set_graph, &options, &samples, &err);
    if (status == LDNQ_OK)
        status = ldnq_samples_read(samples, 0, 2, NULL, arena, inputs, &err);
    if (status == LDNQ_OK)
        status = ldnq_samples_hash(samples, &hash, &err);
    ldnq_samples_destroy(samples);
    ldnq_arena_destroy(arena);
    return status;
}

#endif
