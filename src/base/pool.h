/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h: a pool of threads, the only parallelism in the library.
 *
 * The caller divides the work into chunks by its size, never by the number of threads.
 * Each chunk writes only its own results, and the caller sums over chunks in the order
 * of their numbers. So results do not depend on the number of threads, nor on that of the
 * processes (ranks.h) that share chunks.
 */
#ifndef LDNQ_BASE_POOL_H
#define LDNQ_BASE_POOL_H

#include <stddef.h>

#include "base/error.h"

struct ldnq_pool;
struct ldnq_ranks;

/* Starts threads - 1 threads, as the caller is one; 0 stands for the number of processors
 * that the process may use.
 * Errors: NOMEM (a thread can't be started). The caller destroys the pool. */
enum ldnq_status ldnq_pool_create(size_t threads, struct ldnq_pool **out, struct ldnq_error *err);
void ldnq_pool_destroy(struct ldnq_pool *pool);

/* 1 for a NULL pool, which runs everything in the caller's thread. */
size_t ldnq_pool_threads(const struct ldnq_pool *pool);

/* `thread` is below ldnq_pool_threads: an index for scratch memory. */
typedef void ldnq_chunk_fn(void *ctx, size_t chunk, size_t thread);

/* Calls run(ctx, 0 .. chunks-1, thread) and returns when all have returned.
 * Not to be called from inside a chunk. */
void ldnq_pool_run(struct ldnq_pool *pool, size_t chunks, ldnq_chunk_fn *run, void *ctx);

/* ---- several processes -------------------------------------------------------------------- */

/* The processes that the pool's owner runs the job with; NULL for a NULL pool, and for one process.
 * They outlive the pool. */
void ldnq_pool_join_ranks(struct ldnq_pool *pool, struct ldnq_ranks *ranks);
struct ldnq_ranks *ldnq_pool_ranks(const struct ldnq_pool *pool);

/* Calls run() for this rank's share of the chunks alone (ldnq_ranks_own_share), and for no more of
 * them once another rank has failed. The caller exchanges what the chunks wrote. */
void ldnq_pool_run_share(struct ldnq_pool *pool, size_t chunks, ldnq_chunk_fn *run, void *ctx);

#endif
