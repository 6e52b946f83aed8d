/* SPDX-License-Identifier: Apache-2.0 */
/* ranks_join.h: the processes that this one was started with.
 *
 * One of two files is linked: ranks_mpi.c, the only one that knows MPI, or ranks_single.c.
 */
#ifndef LDNQ_BASE_RANKS_JOIN_H
#define LDNQ_BASE_RANKS_JOIN_H

#include "base/ranks.h"

/* Finds the ranks of this process; NULL where it was started alone. The first call waits for all of
 * them, and what it starts ends with the process. Errors: UNSUPPORTED (MPI can't be started, or
 * has no threads), USAGE (ranks of other versions). */
enum ldnq_status ldnq_ranks_join(struct ldnq_ranks **ranks, struct ldnq_error *err);

/* The name of a rank's machine; "" before it has joined. */
const char *ldnq_ranks_host(size_t rank);

/* Whether this rank writes and reports: the first one, or any other once that one is lost. */
bool ldnq_ranks_is_reporter(void);

#endif
