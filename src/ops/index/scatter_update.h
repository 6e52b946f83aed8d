/* SPDX-License-Identifier: Apache-2.0 */
/* scatter_update.h: how ScatterND and ScatterElements combine a copy of their data with their
 * updates: assign, add, mul, max or min. Their inputs are data, indices and updates. */
#ifndef LDNQ_OPS_SCATTER_UPDATE_H
#define LDNQ_OPS_SCATTER_UPDATE_H

#include "ops/op.h"

/* Reads the attribute `reduction`. Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_scatter_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                         const void **attrs, struct ldnq_error *err);
/* Checks dtypes, and sets dtype and shape of the output. Errors: MODEL, UNSUPPORTED. */
enum ldnq_status ldnq_scatter_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err);

/* Copies the data to the output. */
void ldnq_scatter_copy_data(const struct ldnq_op_call *call);
/* Combines elements to .. to+count-1 of the output with updates from .. from+count-1. */
void ldnq_scatter_update(const struct ldnq_op_call *call, size_t to, size_t from, size_t count);

/* The gradients of data and updates, for reductions none and add: ldnq_scatter_grad_copy
 * initializes that of the data; ldnq_scatter_grad_update is then called for the same
 * elements as ldnq_scatter_update. If several updates have the same target, all of them get
 * its gradient. Errors: UNSUPPORTED (another reduction). */
enum ldnq_status ldnq_scatter_grad_copy(const struct ldnq_op_grad *grad, struct ldnq_error *err);
void ldnq_scatter_grad_update(const struct ldnq_op_grad *grad, size_t to, size_t from,
                              size_t count);

#endif
