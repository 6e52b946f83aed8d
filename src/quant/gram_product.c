/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/gram_product.h"

#include <string.h>

#include "base/simd.h"
#include "base/size.h"
#include "linalg/blas.h"

#define TILE LDNQ_GRAM_TILE

/* Copies positions as (columns, positions): the small products of BLAS are faster without a
 * transpose. */
static void load_transposed(const struct ldnq_gram_positions *y, size_t k, size_t position,
                            size_t positions, size_t first, size_t count, double *to)
{
    for (size_t p = 0; p < positions; p++) {
        const float *from = y->columns + (position + p) * k + first;
        for (size_t i = 0; i < count; i++)
            to[i * TILE + p] = (double)from[i];
    }
}

LDNQ_MULTIVERSION
static void load_positions(const struct ldnq_gram_positions *y, size_t k, size_t position,
                           size_t positions, size_t first, size_t count, double *to)
{
    for (size_t p = 0; p < positions; p++) {
        const float *from = y->columns + (position + p) * k + first;
        for (size_t i = 0; i < count; i++)
            to[p * TILE + i] = (double)from[i];
    }
}

static void clear_constant_columns(const struct ldnq_layer_problem *problem, size_t rows,
                                   size_t first, size_t count, double *x, size_t stride)
{
    const size_t k = problem->cols;
    for (size_t i = 0; problem->positions->mean && i < count; i++) {
        if (problem->gram[(first + i) * (k + 1)] != 0)
            continue;
        for (size_t r = 0; r < rows; r++)
            x[r * stride + i] = 0;
    }
}

void ldnq_add_position_products(const struct ldnq_layer_problem *problem, size_t rows, double *tile,
                                size_t first, size_t count, struct ldnq_position_products *products)
{
    double columns[TILE * TILE];
    clear_constant_columns(problem, rows, first, count, tile, TILE);
    load_transposed(problem->positions, problem->cols, products->first, products->count, first,
                    count, columns);
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, products->count, count, 1, tile, TILE, columns, TILE,
               1, products->values, TILE);
}

/* Adds 1 / P (X Y') Y for the positions of a tile. */
static void add_products_of_positions(const struct ldnq_layer_problem *problem, size_t rows,
                                      const struct ldnq_position_products *products,
                                      double *product)
{
    const struct ldnq_gram_positions *y = problem->positions;
    const size_t k = problem->cols;
    double columns[TILE * TILE];
    for (size_t i = 0; i < k; i += TILE) {
        const size_t count = ldnq_size_min(TILE, k - i);
        load_positions(y, k, products->first, products->count, i, count, columns);
        ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, count, products->count, 1 / (double)y->count,
                   products->values, TILE, columns, TILE, 1, product + i, k);
    }
}

/* Writes X (diag(added) - m m'). */
static void multiply_by_diagonal_and_mean(const struct ldnq_layer_problem *problem, size_t rows,
                                          const double *x, double *product)
{
    const struct ldnq_gram_positions *y = problem->positions;
    const size_t k = problem->cols;
    for (size_t r = 0; r < rows; r++, x += k, product += k) {
        double sum = 0;
        for (size_t i = 0; y->mean && i < k; i++)
            sum += problem->gram[i * (k + 1)] != 0 ? x[i] * y->mean[i] : 0;
        for (size_t i = 0; i < k; i++)
            product[i] = (y->added ? y->added[i] * x[i] : 0) - (y->mean ? sum * y->mean[i] : 0);
    }
}

void ldnq_multiply_by_gram(const struct ldnq_layer_problem *problem, size_t group, size_t rows,
                           const double *x, double *product)
{
    const struct ldnq_gram_positions *y = problem->positions;
    const size_t k = problem->cols;
    struct ldnq_position_products products;
    double tile[LDNQ_PIECE_ROWS * TILE];
    if (k == 0 || rows == 0)
        return;
    if (!y) {
        ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, k, k, 1, x, k, problem->gram + group * k * k, k, 0,
                   product, k);
        return;
    }
    multiply_by_diagonal_and_mean(problem, rows, x, product);
    for (products.first = 0; products.first < y->count; products.first += TILE) {
        products.count = ldnq_size_min(TILE, y->count - products.first);
        memset(products.values, 0, sizeof products.values);
        for (size_t i = 0; i < k; i += TILE) {
            const size_t count = ldnq_size_min(TILE, k - i);
            for (size_t r = 0; r < rows; r++)
                memcpy(tile + r * TILE, x + r * k + i, count * sizeof *tile);
            ldnq_add_position_products(problem, rows, tile, i, count, &products);
        }
        add_products_of_positions(problem, rows, &products, product);
    }
    clear_constant_columns(problem, rows, 0, k, product, k);
}
