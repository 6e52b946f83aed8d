/* SPDX-License-Identifier: Apache-2.0 */
/* product.h: batches of float matrix products C = clamp(alpha A B + beta C + bias).
 *
 * Shapes  a (M, K) or its transpose, b (K, N) or its transpose, c (M, N); all contiguous
 * Owns    nothing
 * Threads one pool call; how a product is cut into blocks depends on its sizes alone
 */
#ifndef LDNQ_OPS_PRODUCT_H
#define LDNQ_OPS_PRODUCT_H

#include "base/pool.h"
#include "linalg/blas.h"

struct ldnq_clamp;

struct ldnq_product {
    size_t m, n, k;
    enum ldnq_transpose transpose_a, transpose_b;
    float alpha, beta; /* with beta 0, c is not read */
    size_t batches;
    /* Writes where the matrices of a batch start in a and b, in elements. NULL: there is one
     * batch, or all batches share a and b. In c, batches follow each other. */
    void (*offsets)(const void *ctx, size_t batch, size_t offsets[2]);
    const void *ctx;
    const float *a, *b;
    float *c;
    /* row_bias (M): element i is added to row i. column_bias (N): element j is added to
     * column j. NULL for none. The clamp comes last. */
    const float *row_bias, *column_bias;
    const struct ldnq_clamp *clamp;
};

/* Checks that (m, k_a) and (k_b, n) can be multiplied. Symbols pass.
 * Errors: MODEL (k_a is not k_b), UNSUPPORTED (sizes beyond BLAS's integers). */
enum ldnq_status ldnq_product_check(int64_t m, int64_t n, int64_t k_a, int64_t k_b,
                                    struct ldnq_error *err);

/* Copies rows first .. first+count-1 of alpha A to columns: element k of row p goes to
 * columns[k * ld + p]. Of the struct, only a, m, k, transpose_a and alpha are read. */
void ldnq_product_fill_columns(const struct ldnq_product *product, size_t first, size_t count,
                               float *columns, size_t ld);

void ldnq_product_run(const struct ldnq_product *product, struct ldnq_pool *pool);

#endif
