/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "calib/fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "base/size.h"
#include "pipeline/activation_store.h"

enum { BATCHES = 7, TENSORS = 3 };

/* Batch b of generation g: 0 to 3 tensors whose types, sizes (0 too) and bytes
 * follow from the numbers. */
struct batch {
    size_t count;
    struct ldnq_tensor tensors[TENSORS];
    const struct ldnq_tensor *list[TENSORS];
};

static struct batch batch_of(struct ldnq_arena *arena, size_t generation, size_t number)
{
    static const enum ldnq_dtype dtypes[] = { LDNQ_FLOAT, LDNQ_INT64, LDNQ_UINT8 };
    struct ldnq_rng rng = { 100 * generation + number };
    struct batch batch = { .count = (generation + number) % (TENSORS + 1) };
    for (size_t i = 0; i < batch.count; i++) {
        struct ldnq_shape shape = {
            2, { (int64_t)ldnq_rng_below(&rng, 5), (int64_t)ldnq_rng_below(&rng, 200) }
        };
        struct ldnq_tensor *tensor;
        size_t bytes = 0;
        assert_ok(ldnq_tensor_create(arena, dtypes[i], &shape, &tensor, &err));
        ldnq_tensor_bytes(tensor, &bytes);
        for (size_t at = 0; at < bytes; at++)
            ((unsigned char *)tensor->data)[at] = (unsigned char)ldnq_rng_next(&rng);
        batch.tensors[i] = *tensor;
    }
    return batch;
}

static enum ldnq_status save(struct ldnq_activation_store *store, size_t number,
                             struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        batch->list[i] = &batch->tensors[i];
    return ldnq_activation_store_save(store, number, batch->list, batch->count, &err);
}

static void assert_loads(struct ldnq_activation_store *store, size_t number,
                         const struct batch *batch)
{
    const struct ldnq_tensor *tensors;
    size_t count;
    assert_ok(ldnq_activation_store_load(store, number, &tensors, &count, &err));
    assert_int_equal(count, batch->count);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = 0;
        assert_int_equal(tensors[i].dtype, batch->tensors[i].dtype);
        assert_true(ldnq_shapes_are_equal(&tensors[i].shape, &batch->tensors[i].shape));
        assert_int_equal((uintptr_t)tensors[i].data % 64, 0);
        ldnq_tensor_bytes(&tensors[i], &bytes);
        assert_memory_equal(tensors[i].data, batch->tensors[i].data, bytes);
    }
}

static int restore(void **state)
{
    ldnq_alloc_fail_after(-1);
    unsetenv("TMPDIR");
    return tear_down(state);
}

/* ---- memory ------------------------------------------------------------------------ */

/* Not what is resident: that depends on the system's huge pages, and a sanitizer adds to it. */
static size_t read_mapped_bytes(void)
{
    FILE *stream = fopen("/proc/self/statm", "r");
    size_t pages = 0;
    assert_non_null(stream);
    assert_int_equal(fscanf(stream, "%zu", &pages), 1);
    fclose(stream);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

enum { LAYERS = 6 };

/* What a walk over the layers takes. */
struct walk_costs {
    size_t mapped, largest; /* most bytes, and those of the largest batch */
    size_t allocations;     /* of the last two layers */
};

/* Batches whose sizes change from layer to layer. */
static struct walk_costs walk_layers(struct fixture *fixture, size_t batches, size_t kilobytes)
{
    struct ldnq_activation_store *store;
    struct walk_costs costs = { .largest = (kilobytes + kilobytes * 2 / 13) << 10 };
    const struct ldnq_shape largest = { 1, { (int64_t)costs.largest } };
    struct ldnq_tensor *tensor;
    assert_ok(ldnq_tensor_create(fixture->arena, LDNQ_UINT8, &largest, &tensor, &err));
    assert_ok(ldnq_activation_store_create(batches, (size_t)1 << 30, &store, &err));
    const size_t before = read_mapped_bytes();
    for (size_t layer = 0; layer < LAYERS; layer++) {
        tensor->shape.dim[0] = (int64_t)(kilobytes + kilobytes * (layer % 3) / 13) << 10;
        if (layer == LAYERS - 2)
            ldnq_alloc_fail_after(-1); /* counts from here on */
        for (size_t b = 0; b < batches; b++) {
            const struct ldnq_tensor *loaded;
            size_t count;
            assert_ok(ldnq_activation_store_load(store, b, &loaded, &count, &err));
            assert_ok(ldnq_activation_store_save(store, b, &(const struct ldnq_tensor *){ tensor },
                                                 1, &err));
            ldnq_activation_store_release(store, b);
            if (b % (batches / 8) == 0)
                costs.mapped = ldnq_size_max(costs.mapped, read_mapped_bytes() - before);
        }
        ldnq_activation_store_advance(store);
    }
    costs.allocations = (size_t)ldnq_alloc_count();
    ldnq_activation_store_destroy(store);
    return costs;
}

/* Batches of 90 KiB, and a little more after each layer: in a heap they would not fit into the
 * holes of the layer before. */
static void a_generation_should_take_the_place_of_the_one_before(void **state)
{
    const struct walk_costs costs = walk_layers(*state, 400, 90);
    /* One generation, and what pieces leave unused at their ends; two would be twice as much. */
    assert_in_range(costs.mapped, 0, 400 * costs.largest / 4 * 5);
}

/* The system zeroes new pages, which takes longer than to copy a batch. */
static void a_generation_should_use_the_pages_of_the_one_before(void **state)
{
    const struct walk_costs costs = walk_layers(*state, 24, 1300);
    assert_in_range(costs.mapped, 0, 24 * costs.largest / 4 * 5);
    /* A batch takes an array of tensors and one of pieces. The pages of the last two layers: of a
     * batch each, and few more than the 35 pieces that there are. */
    assert_in_range(costs.allocations, 0, 2 * (2 * 24) + 2 + 4);
}

/* ---- what comes back ----------------------------------------------------------- */

/* A walk over six places: each generation is made while the one before is read. */
static size_t walk(struct fixture *fixture, size_t max_bytes)
{
    struct ldnq_activation_store *store;
    assert_ok(ldnq_activation_store_create(BATCHES, max_bytes, &store, &err));
    for (size_t g = 0; g < 6; g++) {
        for (size_t b = 0; b < BATCHES; b++) {
            struct batch before = batch_of(fixture->arena, g, b);
            struct batch next = batch_of(fixture->arena, g + 1, b);
            if (g > 0)
                assert_loads(store, b, &before);
            assert_ok(save(store, b, &next));
            if (g > 0) /* saving must not disturb what is loaded */
                assert_loads(store, b, &before);
            if (b % 3) /* the others are left to the generation's end */
                ldnq_activation_store_release(store, b);
        }
        ldnq_activation_store_advance(store);
    }
    size_t spilled = ldnq_activation_store_spilled_bytes(store);
    ldnq_activation_store_destroy(store);
    return spilled;
}

static void all_should_come_back_to_the_bit_below_any_ceiling(void **state)
{
    size_t nothing_fits = walk(*state, 0), little_fits = walk(*state, 1024);
    assert_int_equal(walk(*state, SIZE_MAX), 0);
    assert_true(little_fits > 0);
    assert_true(nothing_fits >= little_fits);
}

static void a_ceiling_that_is_not_reached_should_spill_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_activation_store *store;
    struct batch batch = batch_of(fixture->arena, 0, 1);
    size_t bytes = 0;
    ldnq_tensor_bytes(&batch.tensors[0], &bytes);
    bytes = (bytes + 63) / 64 * 64;
    assert_true(bytes > 0);
    for (int missing = 0; missing < 2; missing++) {
        assert_ok(ldnq_activation_store_create(1, bytes - (size_t)missing, &store, &err));
        assert_ok(save(store, 0, &batch));
        assert_int_equal(ldnq_activation_store_spilled_bytes(store), missing ? bytes : 0);
        ldnq_activation_store_advance(store);
        assert_loads(store, 0, &batch);
        ldnq_activation_store_destroy(store);
    }
}

/* ---- generations and release ---------------------------------------------------- */

static void a_batch_that_was_not_saved_should_be_empty(void **state)
{
    (void)state;
    struct ldnq_activation_store *store;
    struct batch none = { 0 };
    assert_ok(ldnq_activation_store_create(BATCHES, 0, &store, &err));
    assert_loads(store, 3, &none);
    ldnq_activation_store_advance(store);
    assert_loads(store, 3, &none);
    ldnq_activation_store_destroy(store);
    ldnq_activation_store_destroy(NULL);
}

static void advance_should_drop_the_generation_before(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_activation_store *store;
    struct batch batch = batch_of(fixture->arena, 0, 2), none = { 0 };
    assert_ok(ldnq_activation_store_create(BATCHES, 0, &store, &err));
    assert_ok(save(store, 0, &batch));
    assert_loads(store, 0, &none); /* it is in the next one */
    ldnq_activation_store_advance(store);
    assert_loads(store, 0, &batch);
    ldnq_activation_store_advance(store);
    assert_loads(store, 0, &none);
    ldnq_activation_store_advance(store);
    assert_loads(store, 0, &none);
    ldnq_activation_store_destroy(store);
}

static void released_and_overwritten_batches_should_give_their_memory_back(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_activation_store *store;
    struct batch batch = batch_of(fixture->arena, 0, 3);
    assert_ok(ldnq_activation_store_create(BATCHES, 20000, &store, &err));
    for (int round = 0; round < 50; round++)
        assert_ok(save(store, 0, &batch));
    ldnq_activation_store_advance(store);
    for (size_t round = 0; round < 50; round++) {
        assert_ok(save(store, 1, &batch));
        ldnq_activation_store_release(store, 0);
        ldnq_activation_store_advance(store);
        assert_loads(store, 1, &batch);
        ldnq_activation_store_release(store, 1);
    }
    assert_int_equal(ldnq_activation_store_spilled_bytes(store), 0);
    ldnq_activation_store_destroy(store);
}

/* ---- failures ------------------------------------------------------------------- */

static void a_failing_allocator_should_be_nomem_and_leave_a_sound_store(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_activation_store *store = NULL;
    struct batch batch = batch_of(fixture->arena, 0, 3);
    for (long allowed = 0; allowed < 3; allowed++) {
        ldnq_alloc_fail_after(allowed);
        assert_fails(ldnq_activation_store_create(BATCHES, 0, &store, &err), LDNQ_NOMEM,
                     "out of memory");
        assert_null(store);
    }
    /* To the file a batch is written as it is; in memory it gets a block of its own. */
    const size_t ceilings[] = { 0, SIZE_MAX };
    for (long i = 0; i < 2; i++) {
        const struct ldnq_tensor *tensors;
        size_t count;
        ldnq_alloc_fail_after(-1);
        assert_ok(ldnq_activation_store_create(BATCHES, ceilings[i], &store, &err));
        for (long allowed = 0; allowed < 1 + i; allowed++) {
            ldnq_alloc_fail_after(allowed);
            assert_fails(save(store, 0, &batch), LDNQ_NOMEM, "out of memory");
        }
        ldnq_alloc_fail_after(-1);
        assert_ok(save(store, 0, &batch));
        ldnq_activation_store_advance(store);
        ldnq_alloc_fail_after(0);
        if (i == 0)
            assert_fails(ldnq_activation_store_load(store, 0, &tensors, &count, &err), LDNQ_NOMEM,
                         "max-mem");
        ldnq_alloc_fail_after(-1);
        assert_loads(store, 0, &batch);
        ldnq_activation_store_destroy(store);
    }
}

static void a_folder_that_is_not_there_should_be_named_with_what_to_do(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_activation_store *store;
    struct batch batch = batch_of(fixture->arena, 0, 3);
    setenv("TMPDIR", "/nonexistent/folder", 1);
    assert_ok(ldnq_activation_store_create(BATCHES, 0, &store, &err));
    assert_fails(save(store, 0, &batch), LDNQ_IO,
                 "/nonexistent/folder: no temporary file can be made there: No such file");
    assert_non_null(strstr(err.message, "set TMPDIR or raise max-mem"));
    ldnq_activation_store_destroy(store);
    assert_ok(ldnq_activation_store_create(BATCHES, SIZE_MAX, &store, &err));
    assert_ok(save(store, 0, &batch));
    ldnq_activation_store_destroy(store);
}

static void a_folder_name_that_is_too_long_should_be_an_error(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_activation_store *store;
    struct batch batch = batch_of(fixture->arena, 0, 3);
    static char name[6000];
    memset(name, 'x', sizeof name - 1);
    setenv("TMPDIR", name, 1);
    assert_ok(ldnq_activation_store_create(BATCHES, 0, &store, &err));
    assert_fails(save(store, 0, &batch), LDNQ_IO, "xxx");
    ldnq_activation_store_destroy(store);
}

static void the_temporary_file_should_have_no_name(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_activation_store *store;
    struct batch batch = batch_of(fixture->arena, 0, 3);
    setenv("TMPDIR", fixture->folder, 1);
    assert_ok(ldnq_activation_store_create(BATCHES, 0, &store, &err));
    assert_ok(save(store, 0, &batch));
    assert_true(ldnq_activation_store_spilled_bytes(store) > 0);
    assert_int_equal(rmdir(fixture->folder), 0); /* it is empty */
    mkdir(fixture->folder, 0700);
    ldnq_activation_store_advance(store);
    assert_loads(store, 0, &batch);
    ldnq_activation_store_destroy(store);
}

static void a_full_disk_should_be_an_error(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_activation_store *store;
    struct batch batch = batch_of(fixture->arena, 0, 3);
    struct rlimit limit, small;
    assert_ok(ldnq_activation_store_create(BATCHES, 0, &store, &err));
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    small = limit;
    small.rlim_cur = 100;
    setrlimit(RLIMIT_FSIZE, &small);
    enum ldnq_status status = save(store, 0, &batch);
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, before);
    assert_int_equal(status, LDNQ_IO);
    assert_non_null(strstr(err.message, "can't be written: File too large"));
    ldnq_activation_store_destroy(store);
}

/* The store's file is the one without a name that this program has open. */
static void damage_the_file(void)
{
    struct stat info;
    for (int fd = 3; fd < 100; fd++)
        if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 0)
            assert_int_equal(ftruncate(fd, 0), 0);
}

static void what_cannot_be_read_back_should_fail_each_time(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_activation_store *store;
    struct batch batch = batch_of(fixture->arena, 0, 3);
    const struct ldnq_tensor *tensors;
    size_t count;
    assert_ok(ldnq_activation_store_create(BATCHES, 0, &store, &err));
    assert_ok(save(store, 0, &batch));
    ldnq_activation_store_advance(store);
    damage_the_file();
    for (int i = 0; i < 2; i++)
        assert_fails(ldnq_activation_store_load(store, 0, &tensors, &count, &err), LDNQ_IO,
                     "too short");
    ldnq_activation_store_destroy(store);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, restore)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_generation_should_take_the_place_of_the_one_before),
        WITH_FOLDER(a_generation_should_use_the_pages_of_the_one_before),
        WITH_FOLDER(all_should_come_back_to_the_bit_below_any_ceiling),
        WITH_FOLDER(a_ceiling_that_is_not_reached_should_spill_nothing),
        WITH_FOLDER(a_batch_that_was_not_saved_should_be_empty),
        WITH_FOLDER(advance_should_drop_the_generation_before),
        WITH_FOLDER(released_and_overwritten_batches_should_give_their_memory_back),
        WITH_FOLDER(a_failing_allocator_should_be_nomem_and_leave_a_sound_store),
        WITH_FOLDER(a_folder_that_is_not_there_should_be_named_with_what_to_do),
        WITH_FOLDER(a_folder_name_that_is_too_long_should_be_an_error),
        WITH_FOLDER(the_temporary_file_should_have_no_name),
        WITH_FOLDER(a_full_disk_should_be_an_error),
        WITH_FOLDER(what_cannot_be_read_back_should_fail_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
