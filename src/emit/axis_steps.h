/* SPDX-License-Identifier: Apache-2.0 */
/* axis_steps.h: the nodes that bring a matrix of codes into the axes of the weight.
 *
 * A weight whose output channels are no axis of their own is stored in matrix order, (G M, C) or
 * (G M, C, KH KW), so that DequantizeLinear has a scale for each row.
 */
#ifndef LDNQ_EMIT_AXIS_STEPS_H
#define LDNQ_EMIT_AXIS_STEPS_H

#include "ops/op_layer.h"

/* A Reshape, a Transpose and a Reshape; most weights need fewer. */
struct ldnq_axis_steps {
    bool reshapes_first, transposes, reshapes_last;
    struct ldnq_shape first;     /* the shape after the first Reshape */
    int64_t perm[LDNQ_MAX_RANK]; /* of the Transpose; as many as `first` has axes */
};

/* The shape of the stored matrix. */
struct ldnq_shape ldnq_find_matrix_shape(const struct ldnq_layer_geometry *geometry);

/* Finds the steps from the stored matrix to `shape`, that of the weight. */
struct ldnq_axis_steps ldnq_find_axis_steps(const struct ldnq_layer_geometry *geometry,
                                            const struct ldnq_shape *shape);

#endif
