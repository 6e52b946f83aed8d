/* softmax.h: the softmax of one line. */
#ifndef LDNQ_OPS_SOFTMAX_H
#define LDNQ_OPS_SOFTMAX_H

#include <stddef.h>

/* y may be x. */
void ldnq_softmax_line(const float *x, float *y, size_t count);

#endif
