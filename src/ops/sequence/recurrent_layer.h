/* SPDX-License-Identifier: Apache-2.0 */
/* recurrent_layer.h: W and R of LSTM, GRU and RNN as two layers of one node.
 *
 * Shapes  W (directions, width, inputs) and R (directions, width, hidden): a group is a direction,
 *         a row one gate of one hidden unit. A position is a step that a sequence has
 * Input   of W: x; of R: the state before the step, which prepare computes with the weights that
 *         the node has then. A gate of GRU that reads r h_prev has another input than the others:
 *         each gate is then a group of its own
 */
#ifndef LDNQ_OPS_RECURRENT_LAYER_H
#define LDNQ_OPS_RECURRENT_LAYER_H

#include "ops/op_layer.h"

/* The layer of W, then that of R. */
extern const struct ldnq_op_layer ldnq_recurrent_layers;

#endif
