/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pool.h"

static struct ldnq_error err;

#define MOST_THREADS ((size_t)8)

struct job {
    size_t threads;
    atomic_int *runs;    /* by chunk */
    double *result;      /* by chunk */
    size_t *scratch;     /* by thread, not atomic: a thread number is used by one at a time */
    atomic_size_t stray; /* chunks that came with an impossible thread number */
};

static void run_chunk(void *ctx, size_t chunk, size_t thread)
{
    struct job *job = ctx;
    if (thread >= job->threads) {
        atomic_fetch_add(&job->stray, 1);
        return;
    }
    job->scratch[thread] = chunk;
    double sum = 0;
    for (size_t i = 1; i <= 20 + chunk % 7; i++)
        sum += 1.0 / (double)(i + job->scratch[thread]);
    job->result[chunk] = sum;
    job->scratch[thread]++;
    atomic_fetch_add(&job->runs[chunk], 1);
}

/* Runs so many chunks on the pool and checks that each ran once. */
static void run_once(struct ldnq_pool *pool, size_t chunks, double *result)
{
    size_t scratch[MOST_THREADS] = { 0 };
    struct job job = { .threads = ldnq_pool_threads(pool),
                       .runs = calloc(chunks + 1, sizeof *job.runs),
                       .result = result,
                       .scratch = scratch };
    ldnq_pool_run(pool, chunks, run_chunk, &job);
    assert_int_equal(atomic_load(&job.stray), 0);
    for (size_t i = 0; i < chunks; i++)
        assert_int_equal(atomic_load(&job.runs[i]), 1);
    free(job.runs);
}

static void every_chunk_should_run_once_with_the_same_results_on_1_to_8_threads(void **state)
{
    (void)state;
    enum { CHUNKS = 1000 };
    static double expected[CHUNKS], result[CHUNKS];
    run_once(NULL, CHUNKS, expected);
    for (size_t threads = 1; threads <= MOST_THREADS; threads++) {
        struct ldnq_pool *pool;
        assert_ok(ldnq_pool_create(threads, &pool, &err));
        assert_int_equal(ldnq_pool_threads(pool), threads);
        memset(result, 0, sizeof result);
        run_once(pool, CHUNKS, result);
        assert_memory_equal(result, expected, sizeof result);
        ldnq_pool_destroy(pool);
    }
}

static void a_pool_should_serve_many_rounds_of_any_number_of_chunks(void **state)
{
    (void)state;
    static double result[40];
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(4, &pool, &err));
    for (size_t round = 0; round < 3000; round++)
        run_once(pool, round % 40, result);
    ldnq_pool_destroy(pool);
}

struct waiting_job {
    atomic_size_t finished;
    size_t chunks;
};

/* Chunk 0 waits until all others have run, so that another thread must claim those of its range. */
static void wait_for_other_chunks(void *ctx, size_t chunk, size_t thread)
{
    struct waiting_job *job = ctx;
    (void)thread;
    while (chunk == 0 && atomic_load(&job->finished) + 1 < job->chunks)
        sched_yield();
    atomic_fetch_add(&job->finished, 1);
}

static void a_thread_should_take_over_the_chunks_of_one_that_is_late(void **state)
{
    (void)state;
    for (size_t threads = 2; threads <= 4; threads++) {
        struct ldnq_pool *pool;
        struct waiting_job job = { .chunks = 50 };
        assert_ok(ldnq_pool_create(threads, &pool, &err));
        ldnq_pool_run(pool, job.chunks, wait_for_other_chunks, &job);
        assert_int_equal(atomic_load(&job.finished), job.chunks);
        ldnq_pool_destroy(pool);
    }
}

static void no_chunk_should_run_when_there_are_none(void **state)
{
    (void)state;
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(3, &pool, &err));
    run_once(pool, 0, NULL);
    run_once(NULL, 0, NULL);
    ldnq_pool_destroy(pool);
}

static void an_unused_pool_should_be_destroyed_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct ldnq_pool *pool;
        assert_ok(ldnq_pool_create(1 + (size_t)i % 5, &pool, &err));
        ldnq_pool_destroy(pool);
    }
    ldnq_pool_destroy(NULL);
}

static void zero_threads_should_take_the_processors(void **state)
{
    (void)state;
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(0, &pool, &err));
    assert_true(ldnq_pool_threads(pool) >= 1);
    ldnq_pool_destroy(pool);
    assert_int_equal(ldnq_pool_threads(NULL), 1);
}

static void a_failing_allocator_should_give_nomem(void **state)
{
    (void)state;
    for (long allowed = 0; allowed < 3; allowed++) {
        struct ldnq_pool *pool = (void *)&err;
        ldnq_alloc_fail_after(allowed);
        assert_fails(ldnq_pool_create(4, &pool, &err), LDNQ_NOMEM, "memory");
        assert_null(pool);
    }
    ldnq_alloc_fail_after(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_chunk_should_run_once_with_the_same_results_on_1_to_8_threads),
        cmocka_unit_test(a_pool_should_serve_many_rounds_of_any_number_of_chunks),
        cmocka_unit_test(a_thread_should_take_over_the_chunks_of_one_that_is_late),
        cmocka_unit_test(no_chunk_should_run_when_there_are_none),
        cmocka_unit_test(an_unused_pool_should_be_destroyed_at_once),
        cmocka_unit_test(zero_threads_should_take_the_processors),
        cmocka_unit_test(a_failing_allocator_should_give_nomem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
