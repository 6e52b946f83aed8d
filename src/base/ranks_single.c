/* SPDX-License-Identifier: Apache-2.0 */
/* ranks_single.c: a library without MPI, in which every process is alone. */
#include "base/ranks_join.h"

enum ldnq_status ldnq_ranks_join(struct ldnq_ranks **ranks, struct ldnq_error *err)
{
    (void)err;
    *ranks = NULL;
    return LDNQ_OK;
}

const char *ldnq_ranks_host(size_t rank)
{
    (void)rank;
    return "";
}

bool ldnq_ranks_is_reporter(void)
{
    return true;
}
