/* SPDX-License-Identifier: Apache-2.0 */
/* beam_block.h: the search of beam.h in one block of columns, for several rows.
 *
 * Solves  the columns of the block from the last to the first: each branch of a row is extended by
 *         its two nearest codes, the cheapest `width` extensions are kept, and the targets of the
 *         block's columns that are not yet rounded follow them
 * Shapes  corner (BLOCK, BLOCK) is X of the block; units (count); targets, errors and codes (rows,
 *         width, BLOCK); costs and parents (rows, width)
 * Numbers computed in float, with costs of 18 bits; the same bits for every instruction set, and
 *         for a row alone as among others
 * Owns    nothing
 * Errors  none
 * Threads safe on distinct results
 */
#ifndef LDNQ_QUANT_BEAM_BLOCK_H
#define LDNQ_QUANT_BEAM_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/quant.h"

/* Columns whose errors reach the other columns as one product. */
#define LDNQ_BEAM_BLOCK 32
#define LDNQ_MOST_BRANCHES 16

/* A codebook, prepared for finding the two codes nearest to a value. */
struct ldnq_code_table {
    bool is_uniform;
    int lowest, highest;
    size_t count;
    float codes[256], middles[256]; /* middles[i] between codes i and i+1 */
};

void ldnq_code_table_init(struct ldnq_code_table *table, const struct ldnq_codebook *codebook);

struct ldnq_beam_block {
    const struct ldnq_code_table *table;
    size_t width; /* 1, 4, 8 or 16 */
    size_t rows, count;
    const float *corner, *units;
    const float *scales, *inverses; /* of row r from r * stride on */
    size_t stride;
    const float (*targets)[LDNQ_BEAM_BLOCK];
    float *costs;                     /* before the block, then after it */
    float (*errors)[LDNQ_BEAM_BLOCK]; /* of the branches kept at the end */
    int8_t *codes;
    uint8_t *parents; /* the branch at the block's start */
};

/* Vectors hold several rows where branches are few. */
void ldnq_search_beam_block(const struct ldnq_beam_block *block);

/* The same, one row after the other: the reference for tests. */
void ldnq_search_beam_block_by_row(const struct ldnq_beam_block *block);

#endif
