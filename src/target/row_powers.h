/* SPDX-License-Identifier: Apache-2.0 */
/* row_powers.h: how much power the rows of a value have, as a product reads them, in a fixed amount
 * of memory.
 *
 * One scale that suits the loudest rows may round all others to nothing: their error is a small
 * part of the whole power, and yet what a normalization or a recurrence makes of each row is lost.
 *
 * Shapes  a row is the last axis of a float32 tensor; rows of zeros have no error and are skipped
 */
#ifndef LDNQ_TARGET_ROW_POWERS_H
#define LDNQ_TARGET_ROW_POWERS_H

#include "ir/tensor.h"

/* Two bins per octave of the mean square. */
#define LDNQ_ROW_POWER_BINS 256

struct ldnq_row_powers {
    bool is_watched;
    uint64_t bins[LDNQ_ROW_POWER_BINS]; /* counts do not depend on the order of the rows */
};

/* Counts rows of each sample (entry of axis 0), evenly spread, so that some `most` elements of it
 * are read. */
void ldnq_row_powers_add(struct ldnq_row_powers *powers, const struct ldnq_tensor *tensor,
                         size_t most);

/* The squared error of rounding to a step, relative to the power of a row that half of the rows are
 * below; 0 where no row was seen. */
double ldnq_row_powers_median_error(const struct ldnq_row_powers *powers, double step);

#endif
