/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ranks.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/size.h"

/* ---- single messages ---------------------------------------------------------------------- */

enum ldnq_status ldnq_ranks_check(const struct ldnq_ranks *ranks, struct ldnq_error *err)
{
    if (ranks && ranks->failure.status != LDNQ_OK)
        return ldnq_fail(err, ranks->failure.status, "%s", ranks->failure.message);
    return ranks && ranks->check ? ranks->check(ranks->ctx, err) : LDNQ_OK;
}

void ldnq_ranks_report_failure(const struct ldnq_ranks *ranks, enum ldnq_status status,
                               const struct ldnq_error *err)
{
    if (ranks && ranks->leave && status != LDNQ_OK)
        ranks->leave(ranks->ctx, status, err ? err->message : ldnq_status_name(status));
}

enum ldnq_status ldnq_ranks_exchange(struct ldnq_ranks *ranks, const struct ldnq_rank_message *send,
                                     const struct ldnq_rank_message *receive,
                                     struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_ranks_check(ranks, err));
    if (!send && !receive)
        return LDNQ_OK;
    const double start = ldnq_now();
    struct ldnq_error failure = { .status = LDNQ_OK };
    const enum ldnq_status status = ranks->exchange(ranks->ctx, send, receive, &failure);
    ranks->waiting_seconds += ldnq_now() - start;
    ranks->sent_bytes += send ? send->bytes : 0;
    if (status == LDNQ_OK)
        return LDNQ_OK;
    ranks->failure = failure;
    return ldnq_ranks_check(ranks, err);
}

/* ---- messages to all ---------------------------------------------------------------------- */

/* A binomial tree: in step i the first 2^i ranks after the root, which have the data, send it to as
 * many others. */
enum ldnq_status ldnq_ranks_broadcast(struct ldnq_ranks *ranks, size_t root, void *data,
                                      size_t bytes, struct ldnq_error *err)
{
    const size_t count = ldnq_ranks_count(ranks);
    if (count == 1 || bytes == 0)
        return LDNQ_OK;
    const size_t own = (ranks->rank + count - root) % count;
    for (size_t have = 1; have < count; have *= 2) {
        const size_t other = own < have ? own + have : own - have;
        if (own >= 2 * have || other >= count)
            continue;
        const struct ldnq_rank_message message = { (other + root) % count, data, bytes };
        LDNQ_TRY(ldnq_ranks_exchange(ranks, own < have ? &message : NULL,
                                     own < have ? NULL : &message, err));
    }
    return LDNQ_OK;
}

/* Around the ring: in each step a rank passes on the part that it received last. */
enum ldnq_status ldnq_ranks_allgather(struct ldnq_ranks *ranks, void *data, const size_t *bounds,
                                      struct ldnq_error *err)
{
    const size_t count = ldnq_ranks_count(ranks);
    if (count == 1)
        return LDNQ_OK;
    for (size_t step = 0; step + 1 < count; step++) {
        const size_t out = (ranks->rank + count - step) % count, in = (out + count - 1) % count;
        const struct ldnq_rank_message send = { (ranks->rank + 1) % count,
                                                (char *)data + bounds[out],
                                                bounds[out + 1] - bounds[out] };
        const struct ldnq_rank_message receive = { (ranks->rank + count - 1) % count,
                                                   (char *)data + bounds[in],
                                                   bounds[in + 1] - bounds[in] };
        LDNQ_TRY(ldnq_ranks_exchange(ranks, send.bytes ? &send : NULL,
                                     receive.bytes ? &receive : NULL, err));
    }
    return LDNQ_OK;
}

size_t *ldnq_rank_bounds(struct ldnq_ranks *ranks)
{
    if (ldnq_ranks_count(ranks) == 1)
        return NULL;
    size_t *bounds = ldnq_calloc(ranks->count + 1, sizeof *bounds);
    if (!bounds)
        ldnq_fail(&ranks->failure, LDNQ_NOMEM, "out of memory");
    return bounds;
}

void ldnq_ranks_allgather_rows(struct ldnq_ranks *ranks, void *data, const size_t *bounds,
                               size_t row_bytes)
{
    size_t *bytes = bounds ? ldnq_rank_bounds(ranks) : NULL;
    for (size_t rank = 1; bytes && rank <= ranks->count; rank++)
        bytes[rank] = bounds[rank] * row_bytes;
    if (bytes)
        ldnq_ranks_allgather(ranks, data, bytes, NULL);
    ldnq_free(bytes);
}

void ldnq_ranks_allgather_chunks(struct ldnq_ranks *ranks, void *data, size_t count,
                                 size_t chunk_rows, size_t row_bytes)
{
    const size_t chunks = ldnq_size_ceil_div(count, chunk_rows);
    size_t *bounds = ldnq_rank_bounds(ranks);
    for (size_t rank = 0; bounds && rank < ranks->count; rank++)
        bounds[rank + 1] =
            ldnq_size_min(ldnq_ranks_share(ranks, rank, chunks).end * chunk_rows, count);
    ldnq_ranks_allgather_rows(ranks, data, bounds, row_bytes);
    ldnq_free(bounds);
}

enum ldnq_status ldnq_ranks_allgather_units(struct ldnq_ranks *ranks, void *data, size_t count,
                                            size_t unit_bytes, struct ldnq_error *err)
{
    const size_t ranks_count = ldnq_ranks_count(ranks);
    if (ranks_count == 1)
        return LDNQ_OK;
    size_t *bounds = ldnq_rank_bounds(ranks);
    if (!bounds)
        return ldnq_ranks_check(ranks, err);
    for (size_t rank = 0; rank < ranks_count; rank++)
        bounds[rank + 1] = ldnq_ranks_share(ranks, rank, count).end * unit_bytes;
    const enum ldnq_status status = ldnq_ranks_allgather(ranks, data, bounds, err);
    ldnq_free(bounds);
    return status;
}

/* Each rank tells the first one, which tells all of them which is the first that failed. */
enum ldnq_status ldnq_ranks_share_first_failure(struct ldnq_ranks *ranks, enum ldnq_status status,
                                                struct ldnq_error *err)
{
    struct ldnq_error own = { .status = LDNQ_OK }, other;
    if (ldnq_ranks_count(ranks) == 1)
        return status;
    if (status != LDNQ_OK)
        ldnq_fail(&own, status, "%s", err ? err->message : "");
    for (size_t rank = 1; rank < ranks->count; rank++) {
        const struct ldnq_rank_message up = { ranks->rank == 0 ? rank : 0,
                                              ranks->rank == 0 ? &other : &own, sizeof own };
        if (ranks->rank == 0)
            LDNQ_TRY(ldnq_ranks_exchange(ranks, NULL, &up, err));
        else if (ranks->rank == rank)
            LDNQ_TRY(ldnq_ranks_exchange(ranks, &up, NULL, err));
        if (ranks->rank == 0 && own.status == LDNQ_OK)
            own = other;
    }
    LDNQ_TRY(ldnq_ranks_broadcast(ranks, 0, &own, sizeof own, err));
    return own.status == LDNQ_OK ? LDNQ_OK : ldnq_fail(err, own.status, "%s", own.message);
}
