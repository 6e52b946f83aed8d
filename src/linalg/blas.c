/* SPDX-License-Identifier: Apache-2.0 */
#include "linalg/blas.h"

#include <assert.h>
#include <cblas.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

#include "base/text.h"
#include "linalg/blas_kernels.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_size_t holders; /* written under the lock, read anywhere */
/* All under the lock. */
static bool has_chosen_kernels;
static int threads_of_host;
static char kernels_to_restore[32]; /* "" except while portable kernels replace others */

/* Haswell's run on all processors with AVX2 and FMA, AMD's included. */
#define PORTABLE_KERNELS "Haswell"

static void add_holder(void)
{
    if (atomic_load(&holders) == 0) {
        threads_of_host = openblas_get_num_threads();
        openblas_set_num_threads(1);
    }
    atomic_fetch_add(&holders, 1);
}

static void choose_kernels_once(void)
{
    if (!has_chosen_kernels)
        ldnq_blas_choose_kernels();
    has_chosen_kernels = true;
}

void ldnq_blas_acquire(void)
{
    pthread_mutex_lock(&lock);
    choose_kernels_once();
    add_holder();
    pthread_mutex_unlock(&lock);
}

/* Called under the lock. */
static enum ldnq_status switch_to_portable_kernels(struct ldnq_error *err)
{
    char before[sizeof kernels_to_restore];
    if (ldnq_cpu_level() < LDNQ_CPU_AVX2)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "a portable result takes an x86-64 processor with AVX2 and FMA");
    choose_kernels_once();
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    if (strcmp(before, PORTABLE_KERNELS) == 0)
        return LDNQ_OK;
    if (atomic_load(&holders) > 0)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "a portable result takes OpenBLAS's " PORTABLE_KERNELS
                         " kernels, and another job of this process computes with its %s kernels: "
                         "start this job when that one has ended",
                         before);
    if (!ldnq_blas_force_kernels(PORTABLE_KERNELS))
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "a portable result takes OpenBLAS's " PORTABLE_KERNELS
                         " kernels, which this OpenBLAS does not have");
    memcpy(kernels_to_restore, before, sizeof before);
    return LDNQ_OK;
}

enum ldnq_status ldnq_blas_acquire_portable(struct ldnq_error *err)
{
    pthread_mutex_lock(&lock);
    const enum ldnq_status status = switch_to_portable_kernels(err);
    if (status == LDNQ_OK)
        add_holder();
    pthread_mutex_unlock(&lock);
    return status;
}

void ldnq_blas_release(void)
{
    pthread_mutex_lock(&lock);
    assert(atomic_load(&holders) > 0);
    if (atomic_fetch_sub(&holders, 1) == 1) {
        if (*kernels_to_restore)
            ldnq_blas_force_kernels(kernels_to_restore);
        *kernels_to_restore = '\0';
        openblas_set_num_threads(threads_of_host);
    }
    pthread_mutex_unlock(&lock);
}

bool ldnq_blas_is_acquired(void)
{
    return atomic_load_explicit(&holders, memory_order_relaxed) > 0;
}

const char *ldnq_blas_describe(char *text, size_t size)
{
    /* The configuration starts with the name and version; what follows are build flags. */
    char name[32] = "OpenBLAS", version[32] = "";
    sscanf(openblas_get_config(), "%31s %31s", name, version);
    snprintf(text, size, "%s %s (%s kernels)", name, version, openblas_get_corename());
    return text;
}

const char *ldnq_blas_describe_arithmetic(char *text, size_t size)
{
    char blas[96];
    struct ldnq_text line;
    ldnq_text_init(&line, text, size);
    ldnq_text_append_item(&line, ", ", "%s", ldnq_blas_describe(blas, sizeof blas));
#if defined(__x86_64__)
    ldnq_text_append_item(&line, ", ", ldnq_cpu_level() >= LDNQ_CPU_AVX2 ? "FMA" : "no FMA");
#endif
#if defined(__GLIBC__)
    ldnq_text_append_item(&line, ", ", "glibc %s", gnu_get_libc_version());
#endif
    return text;
}

const char *ldnq_blas_warning(char *text, size_t size)
{
    return ldnq_blas_kernels_warning(ldnq_cpu_level(), openblas_get_corename(),
                                     getenv("OPENBLAS_CORETYPE"), text, size);
}

static enum CBLAS_TRANSPOSE to_cblas_transpose(enum ldnq_transpose transpose)
{
    return transpose == LDNQ_TRANSPOSED ? CblasTrans : CblasNoTrans;
}

/* C = beta C, for a product with K = 0: cblas refuses rows of length 0. */
static void scale_float(size_t m, size_t n, float beta, float *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
}

static void scale_double(size_t m, size_t n, double beta, double *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
}

void ldnq_sgemm(enum ldnq_transpose ta, enum ldnq_transpose tb, size_t m, size_t n, size_t k,
                float alpha, const float *a, size_t lda, const float *b, size_t ldb, float beta,
                float *c, size_t ldc)
{
    assert(ldnq_blas_is_acquired());
    if (k == 0)
        scale_float(m, n, beta, c, ldc);
    if (m == 0 || n == 0 || k == 0)
        return;
    cblas_sgemm(CblasRowMajor, to_cblas_transpose(ta), to_cblas_transpose(tb), (blasint)m,
                (blasint)n, (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb, beta, c,
                (blasint)ldc);
}

void ldnq_dgemm(enum ldnq_transpose ta, enum ldnq_transpose tb, size_t m, size_t n, size_t k,
                double alpha, const double *a, size_t lda, const double *b, size_t ldb, double beta,
                double *c, size_t ldc)
{
    assert(ldnq_blas_is_acquired());
    if (k == 0)
        scale_double(m, n, beta, c, ldc);
    if (m == 0 || n == 0 || k == 0)
        return;
    cblas_dgemm(CblasRowMajor, to_cblas_transpose(ta), to_cblas_transpose(tb), (blasint)m,
                (blasint)n, (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb, beta, c,
                (blasint)ldc);
}
