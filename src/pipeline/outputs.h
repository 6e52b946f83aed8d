/* outputs.h: comparing what two networks give. */
#ifndef LDNQ_PIPELINE_OUTPUTS_H
#define LDNQ_PIPELINE_OUTPUTS_H

#include <ldnq/ir.h>

/* The sum of (y - t)^2 of two float tensors of one shape; t NULL is 0. */
double ldnq_square_difference(const struct ldnq_tensor *y, const struct ldnq_tensor *t);

#endif
