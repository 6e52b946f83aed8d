/* SPDX-License-Identifier: Apache-2.0 */
/* batchnormalization_training.h: BatchNormalization in training mode, with the statistics of
 * the current batch.
 *
 * Computes y = (x - mean(x)) / sqrt(var(x) + epsilon) * gamma + beta
 *          running_mean = mean * momentum + mean(x) * (1 - momentum), the same for var
 * Shapes   x, y (N, C, ...); gamma, beta, mean, var and the running statistics (C)
 * Threads  one pool call; a channel is summed by one thread
 */
#ifndef LDNQ_OPS_BATCHNORMALIZATION_TRAINING_H
#define LDNQ_OPS_BATCHNORMALIZATION_TRAINING_H

#include "ops/op.h"

/* Whether the node is in training mode. */
static inline bool ldnq_batchnorm_is_training(const struct ldnq_node *node)
{
    return ldnq_attr_int(node, "training_mode", 0) != 0;
}

/* y may be x. */
void ldnq_batchnorm_train_forward(const struct ldnq_op_call *call);
void ldnq_batchnorm_train_backward(const struct ldnq_op_grad *grad);

#endif
