/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"
#include "base/ranks.h"

#include "test.h"
#include "thread_ranks.h"

static void shares_should_cover_all_units_in_order(void **state)
{
    (void)state;
    for (size_t count = 1; count <= 9; count++)
        for (size_t units = 0; units <= 20; units++) {
            size_t end = 0;
            for (size_t rank = 0; rank < count; rank++) {
                const struct ldnq_ranks ranks = { .rank = rank, .count = count };
                const struct ldnq_rank_share share = ldnq_ranks_own_share(&ranks, units);
                assert_int_equal(share.first, end);
                assert_true(share.end - share.first <= units / count + 1);
                end = share.end;
                for (size_t unit = share.first; unit < share.end; unit++)
                    assert_int_equal(ldnq_ranks_find_owner(&ranks, unit, units), rank);
            }
            assert_int_equal(end, units);
        }
}

static void one_process_should_exchange_nothing(void **state)
{
    (void)state;
    struct ldnq_error err = { .status = LDNQ_OK };
    int data[3] = { 1, 2, 3 };
    assert_int_equal(ldnq_ranks_count(NULL), 1);
    assert_true(ldnq_ranks_is_first(NULL));
    assert_int_equal(ldnq_ranks_broadcast(NULL, 0, data, sizeof data, &err), LDNQ_OK);
    assert_int_equal(ldnq_ranks_allgather_units(NULL, data, 3, sizeof *data, &err), LDNQ_OK);
    assert_int_equal(ldnq_ranks_share_first_failure(NULL, LDNQ_DATA, &err), LDNQ_DATA);
    assert_int_equal(ldnq_ranks_check(NULL, &err), LDNQ_OK);
    assert_int_equal(data[2], 3);
}

/* ---- messages ---------------------------------------------------------------------------- */

#define UNITS 11
#define CHUNK_UNITS 4

struct rank_results {
    int broadcast, units[UNITS], rows[UNITS], alone[UNITS];
    enum ldnq_status agreed;
    struct ldnq_error err;
};

static void fill_share(void *ctx, size_t chunk, size_t thread)
{
    int *units = ctx;
    (void)thread;
    units[chunk] = 100 + (int)chunk;
}

static void fill_chunk_of_rows(void *ctx, size_t chunk, size_t thread)
{
    int *rows = ctx;
    (void)thread;
    for (size_t row = chunk * CHUNK_UNITS; row < UNITS && row < (chunk + 1) * CHUNK_UNITS; row++)
        rows[row] = 200 + (int)row;
}

static void exchange_all(struct ldnq_ranks *ranks, void *ctx)
{
    struct rank_results *results = ctx;
    struct ldnq_pool *pool;
    struct ldnq_error err = { .status = LDNQ_OK };
    results->broadcast = ranks->rank == ranks->count / 2 ? 7 : 0;
    ldnq_ranks_broadcast(ranks, ranks->count / 2, &results->broadcast, sizeof results->broadcast,
                         &err);
    if (ldnq_pool_create(1, &pool, &err) != LDNQ_OK)
        return;
    ldnq_pool_join_ranks(pool, ranks);
    ldnq_pool_run_share(pool, UNITS, fill_share, results->units);
    ldnq_ranks_allgather_units(ldnq_pool_ranks(pool), results->units, UNITS, sizeof(int), &err);
    ldnq_pool_run_share(pool, (UNITS + CHUNK_UNITS - 1) / CHUNK_UNITS, fill_chunk_of_rows,
                        results->rows);
    ldnq_ranks_allgather_chunks(ldnq_pool_ranks(pool), results->rows, UNITS, CHUNK_UNITS,
                                sizeof(int));
    ldnq_pool_join_ranks(pool, NULL);
    ldnq_pool_run_share(pool, UNITS, fill_share, results->alone);
    ldnq_pool_destroy(pool);
    const enum ldnq_status own =
        ranks->rank >= 2 ? ldnq_fail(&results->err, LDNQ_DATA, "of %zu", ranks->rank) : LDNQ_OK;
    results->agreed = ldnq_ranks_share_first_failure(ranks, own, &results->err);
}

static void all_ranks_should_get_all_parts_and_the_first_failure(void **state)
{
    (void)state;
    for (size_t count = 2; count <= 7; count++) {
        struct rank_results results[7] = { { .broadcast = 0 } };
        run_thread_ranks(count, exchange_all, results, sizeof *results);
        for (size_t rank = 0; rank < count; rank++) {
            assert_int_equal(results[rank].broadcast, 7);
            for (size_t unit = 0; unit < UNITS; unit++) {
                assert_int_equal(results[rank].units[unit], 100 + unit);
                assert_int_equal(results[rank].rows[unit], 200 + unit);
                assert_int_equal(results[rank].alone[unit], 100 + unit);
            }
            assert_int_equal(results[rank].agreed, count > 2 ? LDNQ_DATA : LDNQ_OK);
            if (count > 2)
                assert_string_equal(results[rank].err.message, "of 2");
        }
    }
}

static void one_failed_exchange_should_fail_all_later_ones(void **state)
{
    (void)state;
    struct thread_ranks all = { .lock = PTHREAD_MUTEX_INITIALIZER };
    struct thread_rank own = { .ranks = { .count = 2, .exchange = exchange_between_threads },
                               .all = &all,
                               .messages = 1 };
    struct ldnq_error err = { .status = LDNQ_OK };
    struct ldnq_pool *pool;
    int units[2] = { 0 }, other;
    own.ranks.ctx = &own;
    assert_int_equal(ldnq_ranks_broadcast(&own.ranks, 1, &other, sizeof other, NULL), LDNQ_IO);
    assert_true(ldnq_ranks_have_failed(&own.ranks));
    assert_int_equal(ldnq_ranks_broadcast(&own.ranks, 1, &other, sizeof other, &err), LDNQ_IO);
    assert_string_equal(err.message, "rank 1 has not answered");
    assert_int_equal(ldnq_ranks_share_first_failure(&own.ranks, LDNQ_OK, &err), LDNQ_IO);
    assert_int_equal(ldnq_pool_create(1, &pool, &err), LDNQ_OK);
    ldnq_pool_join_ranks(pool, &own.ranks);
    ldnq_pool_run_share(pool, 2, fill_share, units);
    ldnq_pool_destroy(pool);
    assert_int_equal(units[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_should_cover_all_units_in_order),
        cmocka_unit_test(one_process_should_exchange_nothing),
        cmocka_unit_test(all_ranks_should_get_all_parts_and_the_first_failure),
        cmocka_unit_test(one_failed_exchange_should_fail_all_later_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
