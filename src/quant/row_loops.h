/* SPDX-License-Identifier: Apache-2.0 */
/* row_loops.h: the loops of low_rank_descent.c over the columns or positions of one row, which the
 * compiler vectorizes.
 *
 * Shapes  n columns, or n positions for errors and outputs
 * Numbers sums in double, in eight parts: the same bits for every instruction set
 * Errors  none
 * Threads safe on distinct results
 */
#ifndef LDNQ_QUANT_ROW_LOOPS_H
#define LDNQ_QUANT_ROW_LOOPS_H

#include <stddef.h>
#include <stdint.h>

/* Writes scale codes - weight. */
void ldnq_compute_row_difference(size_t n, double scale, const int8_t *codes, const float *weight,
                                 float *difference);

/* Adds the difference times `added`, what is added to the matrix's diagonal, to the slopes. */
void ldnq_add_weighted_difference(size_t n, const double *added, const float *difference,
                                  float *slopes);

/* Sums over the positions of a row's errors e and outputs o. */
struct ldnq_output_products {
    double ee, eo, oo;
};

void ldnq_sum_output_products(size_t n, const float *errors, const float *outputs,
                              struct ldnq_output_products *products);

/* Adds the sums of added q w and added q^2, with the codes q and the weight w, to *qw and *qq. */
void ldnq_add_weighted_code_products(size_t n, const double *added, const int8_t *codes,
                                     const float *weight, double *qw, double *qq);

/* Makes the errors those of codes whose scale is multiplied by `ratio`. */
void ldnq_scale_output_errors(size_t n, double ratio, float *errors, const float *outputs);

#endif
