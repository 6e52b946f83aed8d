/* SPDX-License-Identifier: Apache-2.0 */
/* gram_product.h: products with a Gram matrix, from its positions where these are few.
 *
 * Solves  X H with H = Y'Y / P + diag(added) - m m'. Two products with Y take 4 M K P operations,
 *         where one with H takes 2 M K^2
 * Shapes  X and the result (rows, K), at most LDNQ_PIECE_ROWS rows of one group
 * Owns    nothing; uses less than 256 kB of stack
 * Errors  none
 * Threads safe on distinct results
 */
#ifndef LDNQ_QUANT_GRAM_PRODUCT_H
#define LDNQ_QUANT_GRAM_PRODUCT_H

#include "quant/problem.h"

/* Columns, and positions, of a tile. */
#define LDNQ_GRAM_TILE ((size_t)128)

/* Writes X H, of the group's H, to `product`. */
void ldnq_multiply_by_gram(const struct ldnq_layer_problem *problem, size_t group, size_t rows,
                           const double *x, double *product);

/* A tile of positions, which are rows of Y, and the products of the rows of X with them. */
struct ldnq_position_products {
    size_t first, count;                             /* positions */
    double values[LDNQ_PIECE_ROWS * LDNQ_GRAM_TILE]; /* (rows, LDNQ_GRAM_TILE) X Y' */
};

/* Adds the columns first .. first+count-1 of X, the tile (rows, LDNQ_GRAM_TILE), to the products.
 * Columns that a centred H has no variance for are set to 0 in the tile. */
void ldnq_add_position_products(const struct ldnq_layer_problem *problem, size_t rows, double *tile,
                                size_t first, size_t count,
                                struct ldnq_position_products *products);

#endif
