/* pool.h: the one parallel level.
 *
 * Work is cut into chunks by the caller, never by the number of threads, and
 * each chunk writes only its own results; what is summed over chunks is summed
 * by the caller in the order of their numbers. So the answer does not depend
 * on how many threads there are.
 */
#ifndef LDNQ_BASE_POOL_H
#define LDNQ_BASE_POOL_H

#include "base/base.h"

/* `thread` is below ldnq_pool_threads: an index for scratch memory. */
typedef void ldnq_chunk_fn(void *ctx, size_t chunk, size_t thread);

/* Calls run(ctx, 0 .. chunks-1, thread) and returns when all have returned.
 * Not to be called from inside a chunk. */
void ldnq_pool_run(struct ldnq_pool *pool, size_t chunks, ldnq_chunk_fn *run, void *ctx);

#endif
