/* SPDX-License-Identifier: Apache-2.0 */
/* gram.h: the Gram matrix H = sum y y' and the sum of y, over columns y that arrive in parts.
 *
 * Shapes  columns (K, count), one y per column, `ld` floats between rows; h (K, K), sum (K)
 * Units   sums until ldnq_gram_finish, then means
 * Owns    nothing; all buffers belong to the caller
 * Errors  none
 * Threads between ldnq_blas_acquire and ldnq_blas_release; tiles of H run in the pool. BLAS
 *         sums the products of one call in float, calls add up in double, and the result
 *         does not depend on the number of threads
 */
#ifndef LDNQ_LINALG_GRAM_H
#define LDNQ_LINALG_GRAM_H

#include "base/pool.h"

/* A slab: the most columns per call. */
#define LDNQ_GRAM_SLAB ((size_t)1024)

/* Floats of scratch memory that ldnq_gram_add needs. */
size_t ldnq_gram_scratch_floats(size_t k, size_t threads);

/* Adds y of all columns to sum. */
void ldnq_gram_add_sums(size_t k, const float *columns, size_t ld, size_t count, double *sum,
                        struct ldnq_pool *pool);

/* Adds y y' of all columns to the upper triangle of h, and y to sum. */
void ldnq_gram_add(size_t k, const float *columns, size_t ld, size_t count, double *h, double *sum,
                   float *scratch, struct ldnq_pool *pool);

/* Copies the upper triangle to the lower one, and divides all by `count`, the columns of all
 * calls. */
void ldnq_gram_finish(size_t k, double count, double *h, double *sum);

#endif
