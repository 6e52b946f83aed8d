#include "linalg/blas.h"

#include <cblas.h>
#include <stdio.h>

#include "linalg/blas_kernels.h"

/* Before main: a program that links the library has no call to forget, and no
 * product pays for asking whether it is done. OpenBLAS's own start comes first,
 * as that of any library that this one needs. */
__attribute__((constructor)) static void set_up(void)
{
    ldnq_blas_choose_kernels();
    openblas_set_num_threads(1);
}

const char *ldnq_blas_describe(char *text, size_t size)
{
    /* The configuration starts with the name and version; what follows are build flags. */
    char name[32] = "OpenBLAS", version[32] = "";
    sscanf(openblas_get_config(), "%31s %31s", name, version);
    snprintf(text, size, "%s %s (%s kernels)", name, version, openblas_get_corename());
    return text;
}

static enum CBLAS_TRANSPOSE flag(enum ldnq_transpose transpose)
{
    return transpose == LDNQ_TRANSPOSED ? CblasTrans : CblasNoTrans;
}

/* C = beta C, for a product that sums nothing: cblas refuses rows of length 0. */
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
    if (k == 0)
        scale_float(m, n, beta, c, ldc);
    if (m == 0 || n == 0 || k == 0)
        return;
    cblas_sgemm(CblasRowMajor, flag(ta), flag(tb), (blasint)m, (blasint)n, (blasint)k, alpha, a,
                (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

void ldnq_dgemm(enum ldnq_transpose ta, enum ldnq_transpose tb, size_t m, size_t n, size_t k,
                double alpha, const double *a, size_t lda, const double *b, size_t ldb, double beta,
                double *c, size_t ldc)
{
    if (k == 0)
        scale_double(m, n, beta, c, ldc);
    if (m == 0 || n == 0 || k == 0)
        return;
    cblas_dgemm(CblasRowMajor, flag(ta), flag(tb), (blasint)m, (blasint)n, (blasint)k, alpha, a,
                (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}
