/* product.h: batches of float matrix products, cut into fixed blocks.
 *
 * Shapes  a (M, K), b (K, N), either may lie transposed; c (M, N), contiguous
 * Threads one pool call; blocks do not depend on the threads
 */
#ifndef LDNQ_OPS_PRODUCT_H
#define LDNQ_OPS_PRODUCT_H

#include "base/pool.h"
#include "linalg/blas.h"

struct ldnq_clamp;

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
    /* Added to each row (M) or column (N); NULL for none. Then all is clamped. */
    const float *row_bias, *column_bias;
    const struct ldnq_clamp *clamp;
};

/* Whether a product of (m, k_a) and (k_b, n) exists, and within BLAS's integers;
 * sizes as in shapes, symbols pass.
 * Errors: MODEL (the inputs share no axis), UNSUPPORTED (more than 2^31-1). */
enum ldnq_status ldnq_product_check(int64_t m, int64_t n, int64_t k_a, int64_t k_b,
                                    struct ldnq_error *err);

/* alpha times rows first .. first+count-1 of a, as columns: element k of row p
 * goes to columns[k * ld + p]. Reads a, m, k, transpose_a and alpha alone. */
void ldnq_product_columns(const struct ldnq_product *product, size_t first, size_t count,
                          float *columns, size_t ld);

void ldnq_product_run(const struct ldnq_product *product, struct ldnq_pool *pool);

#endif
