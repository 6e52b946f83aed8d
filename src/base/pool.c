#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/alloc.h"

struct worker {
    struct ldnq_pool *pool;
    size_t thread;
    pthread_t handle;
};

struct ldnq_pool {
    size_t threads;         /* the caller's counts as thread 0 */
    struct worker *workers; /* threads - 1 of them are started */
    pthread_mutex_t lock;
    pthread_cond_t start, finish;
    unsigned long round; /* counts calls of ldnq_pool_run; guarded by lock */
    size_t busy;         /* workers that still run; guarded by lock */
    bool stop;

    size_t chunks;
    atomic_size_t next;
    ldnq_chunk_fn *run;
    void *ctx;
};

static void take_chunks(struct ldnq_pool *pool, size_t thread)
{
    for (;;) {
        size_t chunk = atomic_fetch_add(&pool->next, 1);
        if (chunk >= pool->chunks)
            return;
        pool->run(pool->ctx, chunk, thread);
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct ldnq_pool *pool = worker->pool;
    unsigned long seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->round == seen && !pool->stop)
            pthread_cond_wait(&pool->start, &pool->lock);
        if (pool->stop)
            break;
        seen = pool->round;
        pthread_mutex_unlock(&pool->lock);
        take_chunks(pool, worker->thread);
        pthread_mutex_lock(&pool->lock);
        if (--pool->busy == 0)
            pthread_cond_signal(&pool->finish);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
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
    pool->workers = ldnq_calloc(threads, sizeof *pool->workers);
    if (!pool->workers)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    for (pool->threads = 1; pool->threads < threads; pool->threads++) {
        struct worker *worker = &pool->workers[pool->threads];
        *worker = (struct worker){ .pool = pool, .thread = pool->threads };
        if (pthread_create(&worker->handle, NULL, work, worker) != 0)
            return ldnq_fail(err, LDNQ_NOMEM, "thread %zu of %zu could not be started",
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
    enum ldnq_status status =
        start_workers(pool, threads ? threads : available_processors(), err);
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
    pool->stop = true;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 1; i < pool->threads; i++)
        pthread_join(pool->workers[i].handle, NULL);
    pthread_cond_destroy(&pool->finish);
    pthread_cond_destroy(&pool->start);
    pthread_mutex_destroy(&pool->lock);
    ldnq_free(pool->workers);
    ldnq_free(pool);
}

size_t ldnq_pool_threads(const struct ldnq_pool *pool)
{
    return pool ? pool->threads : 1;
}

void ldnq_pool_run(struct ldnq_pool *pool, size_t chunks, ldnq_chunk_fn *run, void *ctx)
{
    if (ldnq_pool_threads(pool) == 1 || chunks <= 1) {
        for (size_t chunk = 0; chunk < chunks; chunk++)
            run(ctx, chunk, 0);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->chunks = chunks;
    pool->run = run;
    pool->ctx = ctx;
    atomic_store(&pool->next, 0);
    pool->busy = pool->threads - 1;
    pool->round++;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    take_chunks(pool, 0);
    pthread_mutex_lock(&pool->lock);
    while (pool->busy > 0)
        pthread_cond_wait(&pool->finish, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
