/* SPDX-License-Identifier: Apache-2.0 */
/* einsum.h: the equation of an Einsum, for its record and for its weight as a layer. */
#ifndef LDNQ_OPS_EINSUM_H
#define LDNQ_OPS_EINSUM_H

#include "ops/op_layer.h"

#define LDNQ_EINSUM_NO_ELLIPSIS (-1)

/* The subscripts of an operand or the output. */
struct ldnq_einsum_term {
    int count;    /* number of labels */
    int ellipsis; /* the number of labels before it, or LDNQ_EINSUM_NO_ELLIPSIS */
    uint8_t label[LDNQ_MAX_RANK];
};

struct ldnq_einsum_attrs {
    size_t operands;
    struct ldnq_einsum_term *in, out;
    bool implicit;
};

/* Finds the label of every axis of a tensor of this rank. Axes of the ellipsis have labels of their
 * own, numbered from the last one, so that they broadcast as in numpy. */
void ldnq_einsum_label_axes(const struct ldnq_einsum_term *term, int rank,
                            uint8_t label[LDNQ_MAX_RANK]);

/* A product of two operands with a constant one. */
extern const struct ldnq_op_layer ldnq_einsum_layer;

#endif
