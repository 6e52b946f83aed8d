/* SPDX-License-Identifier: Apache-2.0 */
/* softmax_backward.h: gradients of Softmax and LogSoftmax, computed from their outputs. Sums
 * are over a row of softmax.c. */
#ifndef LDNQ_OPS_SOFTMAX_BACKWARD_H
#define LDNQ_OPS_SOFTMAX_BACKWARD_H

#include "ops/op.h"

/* With y = softmax(x): dx = y (dy - sum(dy y)). */
enum ldnq_status ldnq_softmax_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err);
/* With y = log(softmax(x)): dx = dy - exp(y) sum(dy). */
enum ldnq_status ldnq_logsoftmax_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err);

#endif
