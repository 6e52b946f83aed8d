/* SPDX-License-Identifier: Apache-2.0 */
/* info.c: the version, and what the library runs on. */
#include <pthread.h>

#include "base/cpu.h"
#include "base/ranks_join.h"
#include "ldnq.h"
#include "linalg/blas.h"

static char blas[160], cpu[160];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void describe_blas_and_cpu(void)
{
    ldnq_blas_acquire();
    ldnq_blas_describe(blas, sizeof blas);
    ldnq_blas_release();
    ldnq_cpu_describe(cpu, sizeof cpu);
}

int ldnq_is_reporter(void)
{
    struct ldnq_ranks *ranks;
    /* A failure is that of the jobs. */
    ldnq_ranks_join(&ranks, NULL);
    return ldnq_ranks_is_reporter();
}

const char *ldnq_version(void)
{
    return LDNQ_VERSION;
}

const char *ldnq_blas_info(void)
{
    pthread_once(&once, describe_blas_and_cpu);
    return blas;
}

const char *ldnq_cpu_info(void)
{
    pthread_once(&once, describe_blas_and_cpu);
    return cpu;
}
