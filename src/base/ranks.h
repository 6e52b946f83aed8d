/* SPDX-License-Identifier: Apache-2.0 */
/* ranks.h: the processes that run one job together, on one machine or several.
 *
 * Every rank runs the whole job and has all of its state. Of the long loops each rank computes
 * its share, and the shares are exchanged, so that all ranks go on with the same bits. One
 * function carries every message; ranks_mpi.c has it for MPI. A single process has no ranks:
 * every function takes NULL for it.
 *
 * Order   all ranks call the functions below in the same order and with the same sizes
 * Numbers what a rank computes does not depend on their number; the caller adds shares up in an
 *         order of its own
 * Errors  IO or another rank's status: the first failed exchange fails all later ones, which do
 *         nothing
 * Threads one thread, which is not one of the pool's
 */
#ifndef LDNQ_BASE_RANKS_H
#define LDNQ_BASE_RANKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct ldnq_rank_message {
    size_t peer;
    void *data; /* of a message that is sent, it is read only */
    size_t bytes;
};

struct ldnq_ranks {
    size_t rank, count;
    void *ctx;
    /* Sends one message and receives another one at the same time; either may be NULL. */
    enum ldnq_status (*exchange)(void *ctx, const struct ldnq_rank_message *send,
                                 const struct ldnq_rank_message *receive, struct ldnq_error *err);
    /* The failure of another rank that is known so far; NULL: none can be known. Safe in any
     * thread. */
    enum ldnq_status (*check)(void *ctx, struct ldnq_error *err);
    /* Tells all other ranks that this one has failed: their exchanges fail with its message. */
    void (*leave)(void *ctx, enum ldnq_status status, const char *message);
    struct ldnq_error failure; /* of the first exchange that failed */
    uint64_t sent_bytes;
    double waiting_seconds; /* in exchanges */
};

/* ---- who -------------------------------------------------------------------------------- */

static inline size_t ldnq_ranks_count(const struct ldnq_ranks *ranks)
{
    return ranks ? ranks->count : 1;
}

static inline size_t ldnq_ranks_own_rank(const struct ldnq_ranks *ranks)
{
    return ranks ? ranks->rank : 0;
}

/* The first rank writes, and reports to the caller. */
static inline bool ldnq_ranks_is_first(const struct ldnq_ranks *ranks)
{
    return ldnq_ranks_own_rank(ranks) == 0;
}

/* Whether an exchange has failed, or the next one will. */
static inline bool ldnq_ranks_have_failed(const struct ldnq_ranks *ranks)
{
    return ranks && (ranks->failure.status != LDNQ_OK ||
                     (ranks->check && ranks->check(ranks->ctx, NULL) != LDNQ_OK));
}

/* A rank's part of `count` units: first .. end-1. Ranks have theirs in the order of the units. */
struct ldnq_rank_share {
    size_t first, end;
};

static inline struct ldnq_rank_share ldnq_ranks_share(const struct ldnq_ranks *ranks, size_t rank,
                                                      size_t count)
{
    const size_t all = ldnq_ranks_count(ranks);
    return (struct ldnq_rank_share){ (count * rank + all - 1) / all,
                                     (count * (rank + 1) + all - 1) / all };
}

static inline struct ldnq_rank_share ldnq_ranks_own_share(const struct ldnq_ranks *ranks,
                                                          size_t count)
{
    return ldnq_ranks_share(ranks, ldnq_ranks_own_rank(ranks), count);
}

/* The rank that has this unit of `count`. */
static inline size_t ldnq_ranks_find_owner(const struct ldnq_ranks *ranks, size_t unit,
                                           size_t count)
{
    return unit * ldnq_ranks_count(ranks) / count;
}

/* ---- messages ---------------------------------------------------------------------------- */

enum ldnq_status ldnq_ranks_exchange(struct ldnq_ranks *ranks, const struct ldnq_rank_message *send,
                                     const struct ldnq_rank_message *receive,
                                     struct ldnq_error *err);

/* Copies `data` of the rank `root` to all others. */
enum ldnq_status ldnq_ranks_broadcast(struct ldnq_ranks *ranks, size_t root, void *data,
                                      size_t bytes, struct ldnq_error *err);

/* The first rank's answer, for what depends on the time. */
static inline bool ldnq_ranks_take_decision_of_first(struct ldnq_ranks *ranks, bool own)
{
    ldnq_ranks_broadcast(ranks, 0, &own, sizeof own, NULL);
    return own;
}

/* Fills in `data` on all ranks, of which each has its part: the bytes bounds[rank] to before
 * bounds[rank + 1]. */
enum ldnq_status ldnq_ranks_allgather(struct ldnq_ranks *ranks, void *data, const size_t *bounds,
                                      struct ldnq_error *err);
/* Zeroed bounds of the ranks, which the caller frees; NULL for one process, or without memory,
 * which fails all later exchanges. */
size_t *ldnq_rank_bounds(struct ldnq_ranks *ranks);
/* The same for rows of `row_bytes`, whose numbers are the bounds; NULL does nothing. */
void ldnq_ranks_allgather_rows(struct ldnq_ranks *ranks, void *data, const size_t *bounds,
                               size_t row_bytes);
/* The same for `count` rows that are shared in chunks of `chunk_rows` (ldnq_pool_run_share). */
void ldnq_ranks_allgather_chunks(struct ldnq_ranks *ranks, void *data, size_t count,
                                 size_t chunk_rows, size_t row_bytes);
/* The same where units of `unit_bytes` are shared as ldnq_ranks_share does. */
enum ldnq_status ldnq_ranks_allgather_units(struct ldnq_ranks *ranks, void *data, size_t count,
                                            size_t unit_bytes, struct ldnq_error *err);

/* Returns the status of the first rank that has another one than OK, with its message, on all
 * ranks; `status` is this rank's, with its message in `err`. */
enum ldnq_status ldnq_ranks_share_first_failure(struct ldnq_ranks *ranks, enum ldnq_status status,
                                                struct ldnq_error *err);

/* Returns the failure of an exchange whose result was not checked, or that of another rank. */
enum ldnq_status ldnq_ranks_check(const struct ldnq_ranks *ranks, struct ldnq_error *err);

/* Tells the others of a failure that they may not have: they wait for this rank no longer. */
void ldnq_ranks_report_failure(const struct ldnq_ranks *ranks, enum ldnq_status status,
                               const struct ldnq_error *err);

#endif
