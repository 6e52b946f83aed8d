#include "linalg/blas.h"

#include <assert.h>
#include <cblas.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "linalg/blas_kernels.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_size_t holders; /* written under the lock, read anywhere */
/* Both under the lock. */
static bool has_chosen_kernels;
static int threads_of_host;

void ldnq_blas_acquire(void)
{
    pthread_mutex_lock(&lock);
    if (!has_chosen_kernels)
        ldnq_blas_choose_kernels();
    has_chosen_kernels = true;
    if (atomic_load(&holders) == 0) {
        threads_of_host = openblas_get_num_threads();
        openblas_set_num_threads(1);
    }
    atomic_fetch_add(&holders, 1);
    pthread_mutex_unlock(&lock);
}

void ldnq_blas_release(void)
{
    pthread_mutex_lock(&lock);
    assert(atomic_load(&holders) > 0);
    if (atomic_fetch_sub(&holders, 1) == 1)
        openblas_set_num_threads(threads_of_host);
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
