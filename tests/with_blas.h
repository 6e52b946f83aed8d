/* SPDX-License-Identifier: Apache-2.0 */
/* with_blas.h: OpenBLAS held for all tests of a program that computes with it:
 *
 *     return cmocka_run_group_tests(tests, acquire_blas, release_blas);
 */
#ifndef TESTS_WITH_BLAS_H
#define TESTS_WITH_BLAS_H

#include "linalg/blas.h"

static inline int acquire_blas(void **state)
{
    (void)state;
    ldnq_blas_acquire();
    return 0;
}

static inline int release_blas(void **state)
{
    (void)state;
    ldnq_blas_release();
    return 0;
}

#endif
