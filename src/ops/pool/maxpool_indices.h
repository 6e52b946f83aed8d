/* maxpool_indices.h: MaxPool's second output: where in the whole input each maximum
 * lies. The first of equal ones counts. */
#ifndef LDNQ_OPS_MAXPOOL_INDICES_H
#define LDNQ_OPS_MAXPOOL_INDICES_H

#include "ops/op.h"

/* Fills in call->out[1], int64 in the shape of out[0]. With storage_order=1 a plane
 * is counted column by column. */
enum ldnq_status ldnq_maxpool_indices(const struct ldnq_op_call *call, struct ldnq_error *err);

#endif
