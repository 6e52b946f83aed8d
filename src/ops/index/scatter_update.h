/* scatter_update.h: updates put into a copy of data, or added to it and so on: what ScatterND
 * and ScatterElements share. Inputs are data, indices and updates. */
#ifndef LDNQ_OPS_SCATTER_UPDATE_H
#define LDNQ_OPS_SCATTER_UPDATE_H

#include "ops/op.h"

/* Reads `reduction`. */
enum ldnq_status ldnq_scatter_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                         const void **attrs, struct ldnq_error *err);
/* Types, and the output's shape. */
enum ldnq_status ldnq_scatter_infer(struct ldnq_op_call *call, struct ldnq_error *err);

/* The output is the data. */
void ldnq_scatter_copy_data(const struct ldnq_op_call *call);
/* Updates from .. from+count-1 to the output's elements at `to`. */
void ldnq_scatter_update(const struct ldnq_op_call *call, size_t to, size_t from, size_t count);

/* Gradients of data and updates: for none and add. Where one update goes over
 * another, both get the gradient.
 * Errors: UNSUPPORTED (another reduction). */
enum ldnq_status ldnq_scatter_grad_copy(const struct ldnq_op_grad *grad, struct ldnq_error *err);
void ldnq_scatter_grad_update(const struct ldnq_op_grad *grad, size_t to, size_t from,
                              size_t count);

#endif
