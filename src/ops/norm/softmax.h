/* SPDX-License-Identifier: Apache-2.0 */
/* softmax.h: the softmax of one row. */
#ifndef LDNQ_OPS_SOFTMAX_H
#define LDNQ_OPS_SOFTMAX_H

#include <stddef.h>

/* y = softmax(x), both (count); y may be x. */
void ldnq_compute_softmax_row(const float *x, float *y, size_t count);

#endif
