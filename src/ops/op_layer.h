/* op_layer.h: how an operator with a weight is a layer of matrices.
 *
 * A layer computes, for each group, output = W y + b with W (M, K), where y runs over the
 * P positions of its input (im2col columns). The quantizer works on these matrices; only
 * the operator's own file knows how its tensors hold them.
 */
#ifndef LDNQ_OPS_OP_LAYER_H
#define LDNQ_OPS_OP_LAYER_H

#include "base/size.h"
#include "ops/op.h"

/* The order of a weight's elements in its tensor. C is the number of input channels. */
enum ldnq_weight_layout {
    LDNQ_WEIGHT_OUT_IN,        /* (G, M, K): Conv, Gemm with transB */
    LDNQ_WEIGHT_IN_OUT,        /* (K, M), one group: MatMul, Gemm */
    LDNQ_WEIGHT_IN_OUT_KERNEL, /* (C, M, KH KW), one group: ConvTranspose */
};

struct ldnq_layer_geometry {
    size_t groups, rows, cols; /* G, M, K; M and K per group */
    size_t kernel;             /* KH KW: columns in a row that belong to one input channel */
    enum ldnq_weight_layout layout;
    int channel_axis; /* the axis of the output channels in the weight tensor */
    /* The layer adds bias_factor * its bias input, and would if it had one; 0 when
     * there can be none, or none that can be changed for one channel alone. */
    float bias_factor;
};

/* The index of element (row, col) in the weight tensor; row counts over all groups. */
static inline size_t ldnq_weight_offset(const struct ldnq_layer_geometry *geometry, size_t row,
                                        size_t col)
{
    const size_t kernel = geometry->kernel;
    switch (geometry->layout) {
    case LDNQ_WEIGHT_IN_OUT_KERNEL:
        return (col / kernel * geometry->rows + row) * kernel + col % kernel;
    case LDNQ_WEIGHT_IN_OUT:
        return col * geometry->rows + row;
    case LDNQ_WEIGHT_OUT_IN:
        break;
    }
    return row * geometry->cols + col;
}

struct ldnq_op_layer {
    int weight_input, bias_input; /* -1: the operator has no bias */
    /* Errors: UNSUPPORTED, with the reason why this weight can't be quantized.
     * bias is NULL when the node has none. */
    enum ldnq_status (*describe)(const struct ldnq_node *node, const struct ldnq_tensor *weight,
                                 const struct ldnq_tensor *bias,
                                 struct ldnq_layer_geometry *geometry, struct ldnq_error *err);
    /* Number of columns that a group's input has in this call (after infer). */
    size_t (*positions)(const struct ldnq_op_call *call);
    /* Columns first .. first+count-1 of a group; row k starts at columns + k*ld.
     * They are scaled so that W need not be (Gemm's alpha). */
    void (*columns)(const struct ldnq_op_call *call, size_t group, size_t first, size_t count,
                    float *columns, size_t ld);
};

/* Columns at .. at+count-1 of one group of one image, number image * groups + group. */
typedef void ldnq_image_columns_fn(const struct ldnq_op_call *call, size_t image_group, size_t at,
                                   size_t count, float *columns, size_t ld);
/* `columns` of a layer whose images have `plane` columns each. */
static inline void ldnq_layer_columns(const struct ldnq_op_call *call, size_t groups, size_t group,
                                      size_t plane, size_t first, size_t count, float *columns,
                                      size_t ld, ldnq_image_columns_fn *of_image)
{
    while (count > 0) {
        size_t image = first / plane, at = first % plane;
        size_t part = ldnq_size_min(count, plane - at);
        of_image(call, image * groups + group, at, part, columns, ld);
        columns += part;
        first += part;
        count -= part;
    }
}

#endif
