/* batchnormalization_training.h: BatchNormalization with the statistics of the batch
 * at hand.
 *
 * Shapes  x, y (N, C, ...); scale, b, mean, var and the running statistics (C)
 *         y = (x - mean(x)) / sqrt(var(x) + epsilon) * scale + b
 *         running = given * momentum + of x * (1 - momentum)
 * Threads a channel is one piece of work
 */
#ifndef LDNQ_OPS_BATCHNORMALIZATION_TRAINING_H
#define LDNQ_OPS_BATCHNORMALIZATION_TRAINING_H

#include "ops/op.h"

static inline bool ldnq_batchnorm_trains(const struct ldnq_node *node)
{
    return ldnq_attr_int(node, "training_mode", 0) != 0;
}

/* y may be x. */
void ldnq_batchnorm_train(const struct ldnq_op_call *call);
void ldnq_batchnorm_train_backward(const struct ldnq_op_grad *grad);

#endif
