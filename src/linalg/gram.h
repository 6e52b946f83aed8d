/* gram.h: the Gram matrix H = sum y y' of columns that come in slabs.
 *
 * Shapes  columns (K, count), H (K, K), sum (K)
 * Numbers products of up to LDNQ_GRAM_SLAB columns are summed in float by
 *         BLAS, the slabs in double. The order does not depend on the threads.
 */
#ifndef LDNQ_LINALG_GRAM_H
#define LDNQ_LINALG_GRAM_H

#include "base/pool.h"

#define LDNQ_GRAM_SLAB ((size_t)1024)

/* Floats of scratch that ldnq_gram_add needs for K inputs on so many threads. */
size_t ldnq_gram_scratch(size_t k, size_t threads);

/* Adds the columns' products to the upper triangle of h and the columns to sum.
 * count is at most LDNQ_GRAM_SLAB. */
void ldnq_gram_add(size_t k, const float *columns, size_t ld, size_t count, double *h, double *sum,
                   float *scratch, struct ldnq_pool *pool);

/* Copies the upper triangle to the lower one and divides all by `count`. */
void ldnq_gram_finish(size_t k, double count, double *h, double *sum);

#endif
