/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/ranks.h"
#include "base/size.h"

/* How often a thread polls for work, or for the end of the round, before it sleeps.
 * That takes some tens of microseconds; waking a thread costs as much as a small layer. */
#define SPIN_COUNT 2000
#define CACHE_LINE 64
/* Most chunks of a round, whose numbers have 32 bits. */
#define ROUND_CHUNKS ((size_t)1 << 31)

struct pool_worker {
    struct ldnq_pool *pool;
    size_t thread;
    pthread_t handle;
};

/* Chunks begin .. end-1 of the round, as begin << 32 | end. Each thread starts with a range of
 * neighbouring chunks and claims them from the front: the next layer, cut in the same way, then
 * finds its inputs in the cache of the thread that wrote them. A thread whose range is empty
 * claims chunks from the end of others'. A worker that wakes up after the round finds no chunk,
 * and nobody waits for it. */
struct chunk_range {
    _Alignas(CACHE_LINE) _Atomic uint64_t unclaimed;
};

struct ldnq_pool {
    size_t threads;              /* the caller is thread 0 */
    struct pool_worker *workers; /* entries 1 .. threads-1 are started */
    pthread_mutex_t lock;
    pthread_cond_t start, finish;
    atomic_ulong round; /* counts calls of ldnq_pool_run; written under lock */
    atomic_bool stop;   /* written under lock */
    bool spins; /* each thread has a processor of its own, so that polling slows nobody down */
    struct ldnq_ranks *ranks; /* NULL: one process */

    size_t first, chunks;       /* of the round */
    struct chunk_range *ranges; /* the chunks that nobody has claimed, per thread */
    atomic_size_t done;
    ldnq_chunk_fn *run;
    void *ctx;
};

static void wake_caller(struct ldnq_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pthread_cond_signal(&pool->finish);
    pthread_mutex_unlock(&pool->lock);
}

static bool claim_chunk(struct chunk_range *range, bool from_end, size_t *chunk)
{
    uint64_t unclaimed = atomic_load(&range->unclaimed);
    for (;;) {
        const uint64_t begin = unclaimed >> 32, end = unclaimed & UINT32_MAX;
        if (begin >= end)
            return false;
        *chunk = (size_t)(from_end ? end - 1 : begin);
        const uint64_t rest = from_end ? unclaimed - 1 : unclaimed + ((uint64_t)1 << 32);
        if (atomic_compare_exchange_weak(&range->unclaimed, &unclaimed, rest))
            return true;
    }
}

static void run_chunks(struct ldnq_pool *pool, size_t thread)
{
    for (size_t i = 0; i < pool->threads;) {
        size_t chunk;
        if (!claim_chunk(&pool->ranges[(thread + i) % pool->threads], i > 0, &chunk)) {
            i++;
            continue;
        }
        /* The round can't end before this chunk is counted in `done`. */
        size_t chunks = pool->chunks;
        pool->run(pool->ctx, pool->first + chunk, thread);
        bool is_last = atomic_fetch_add(&pool->done, 1) + 1 == chunks;
        if (is_last && thread > 0)
            wake_caller(pool);
    }
}

static void pause_spinning_processor(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static bool has_new_round(struct ldnq_pool *pool, unsigned long seen)
{
    return atomic_load(&pool->round) != seen || atomic_load(&pool->stop);
}

static void wait_for_round(struct ldnq_pool *pool, unsigned long seen)
{
    for (int i = 0; i < SPIN_COUNT && pool->spins && !has_new_round(pool, seen); i++)
        pause_spinning_processor();
    if (has_new_round(pool, seen))
        return;
    pthread_mutex_lock(&pool->lock);
    while (!has_new_round(pool, seen))
        pthread_cond_wait(&pool->start, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

static void *run_worker(void *argument)
{
    struct pool_worker *worker = argument;
    struct ldnq_pool *pool = worker->pool;
    for (unsigned long seen = 0;;) {
        wait_for_round(pool, seen);
        if (atomic_load(&pool->stop))
            return NULL;
        seen = atomic_load(&pool->round);
        run_chunks(pool, worker->thread);
    }
}

static bool has_finished_all_chunks(struct ldnq_pool *pool)
{
    return atomic_load(&pool->done) == pool->chunks;
}

static void wait_for_workers(struct ldnq_pool *pool)
{
    for (int i = 0; i < SPIN_COUNT && pool->spins && !has_finished_all_chunks(pool); i++)
        pause_spinning_processor();
    if (has_finished_all_chunks(pool))
        return;
    pthread_mutex_lock(&pool->lock);
    while (!has_finished_all_chunks(pool))
        pthread_cond_wait(&pool->finish, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

static size_t available_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (size_t)count : 1;
}

static enum ldnq_status start_workers(struct ldnq_pool *pool, size_t threads,
                                      struct ldnq_error *err)
{
    size_t bytes;
    pool->workers = ldnq_calloc(threads, sizeof *pool->workers);
    if (ldnq_size_mul(threads, sizeof *pool->ranges, &bytes))
        pool->ranges = ldnq_malloc_aligned(bytes);
    if (!pool->workers || !pool->ranges)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    for (size_t i = 0; i < threads; i++)
        atomic_init(&pool->ranges[i].unclaimed, 0);
    for (pool->threads = 1; pool->threads < threads; pool->threads++) {
        struct pool_worker *worker = &pool->workers[pool->threads];
        *worker = (struct pool_worker){ .pool = pool, .thread = pool->threads };
        if (pthread_create(&worker->handle, NULL, run_worker, worker) != 0)
            return ldnq_fail(err, LDNQ_NOMEM,
                             "out of memory or threads: thread %zu of %zu could not be started",
                             pool->threads + 1, threads);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_pool_create(size_t threads, struct ldnq_pool **out, struct ldnq_error *err)
{
    struct ldnq_pool *pool = ldnq_calloc(1, sizeof *pool);
    *out = NULL;
    if (!pool)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->finish, NULL);
    pool->threads = 1;
    size_t processors = available_processors();
    pool->spins = threads <= processors;
    enum ldnq_status status = start_workers(pool, threads ? threads : processors, err);
    if (status != LDNQ_OK) {
        ldnq_pool_destroy(pool);
        return status;
    }
    *out = pool;
    return LDNQ_OK;
}

void ldnq_pool_destroy(struct ldnq_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 1; i < pool->threads; i++)
        pthread_join(pool->workers[i].handle, NULL);
    pthread_cond_destroy(&pool->finish);
    pthread_cond_destroy(&pool->start);
    pthread_mutex_destroy(&pool->lock);
    ldnq_free(pool->ranges);
    ldnq_free(pool->workers);
    ldnq_free(pool);
}

size_t ldnq_pool_threads(const struct ldnq_pool *pool)
{
    return pool ? pool->threads : 1;
}

/* Runs chunks first .. first+chunks-1. */
static void run_round(struct ldnq_pool *pool, size_t first, size_t chunks)
{
    pool->first = first;
    pool->chunks = chunks;
    atomic_store(&pool->done, 0);
    for (size_t i = 0; i < pool->threads; i++) {
        const uint64_t begin = i * chunks / pool->threads, end = (i + 1) * chunks / pool->threads;
        atomic_store(&pool->ranges[i].unclaimed, begin << 32 | end);
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->round, 1);
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    run_chunks(pool, 0);
    wait_for_workers(pool);
}

void ldnq_pool_run(struct ldnq_pool *pool, size_t chunks, ldnq_chunk_fn *run, void *ctx)
{
    if (ldnq_pool_threads(pool) == 1 || chunks <= 1) {
        for (size_t chunk = 0; chunk < chunks; chunk++)
            run(ctx, chunk, 0);
        return;
    }
    pool->run = run;
    pool->ctx = ctx;
    for (size_t first = 0; first < chunks; first += ROUND_CHUNKS)
        run_round(pool, first, ldnq_size_min(ROUND_CHUNKS, chunks - first));
    pool->ctx = NULL; /* it may be the caller's local variable */
}

/* ---- several processes -------------------------------------------------------------------- */

void ldnq_pool_join_ranks(struct ldnq_pool *pool, struct ldnq_ranks *ranks)
{
    if (pool)
        pool->ranks = ranks;
}

struct ldnq_ranks *ldnq_pool_ranks(const struct ldnq_pool *pool)
{
    return pool ? pool->ranks : NULL;
}

struct shared_chunks {
    ldnq_chunk_fn *run;
    void *ctx;
    const struct ldnq_ranks *ranks;
    size_t first;
};

static void run_shared_chunk(void *ctx, size_t chunk, size_t thread)
{
    const struct shared_chunks *shared = ctx;
    if (!ldnq_ranks_have_failed(shared->ranks))
        shared->run(shared->ctx, shared->first + chunk, thread);
}

void ldnq_pool_run_share(struct ldnq_pool *pool, size_t chunks, ldnq_chunk_fn *run, void *ctx)
{
    const struct ldnq_ranks *ranks = ldnq_pool_ranks(pool);
    const struct ldnq_rank_share share = ldnq_ranks_own_share(ranks, chunks);
    struct shared_chunks shared = { run, ctx, ranks, share.first };
    ldnq_pool_run(pool, share.end - share.first, run_shared_chunk, &shared);
}
