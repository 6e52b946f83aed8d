/* product.h: batches of float matrix products, cut into fixed blocks.
 *
 * Shapes  a (M, K), b (K, N), either may lie transposed; c (M, N), contiguous
 * Threads one pool call; blocks do not depend on the threads
 */
#ifndef LDNQ_OPS_PRODUCT_H
#define LDNQ_OPS_PRODUCT_H

#include "base/pool.h"
#include "linalg/blas.h"

struct ldnq_product {
    size_t m, n, k;
    enum ldnq_transpose transpose_a, transpose_b;
    float alpha, beta; /* beta 0 leaves what c held before unread */
    size_t batches;
    /* Where batch i's matrices start, in elements, into offsets[0 .. 1]. */
    void (*offsets)(const void *ctx, size_t batch, size_t offsets[2]);
    const void *ctx;
    const float *a, *b;
    float *c;
};

void ldnq_product_run(const struct ldnq_product *product, struct ldnq_pool *pool);

#endif
