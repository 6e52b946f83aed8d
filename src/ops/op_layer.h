/* op_layer.h: how the weight of an operator is a matrix.
 *
 * A layer computes Z = W Y + b for each of its G groups:
 *
 *   W (M, K)  the weight of the group: M output channels, K inputs of each
 *   Y (K, P)  the input, one column per position
 *   b (M)     the bias
 *   Z (M, P)  the output
 *
 *   Conv           G = group, M = output channels / G, K = (C/G) KH KW, P = N OH OW; Y is
 *                  the im2col matrix of the group
 *   ConvTranspose  G = 1 (more are refused), M = output channels, K = C KH KW, P = N OH OW;
 *                  column p of Y holds the inputs that contribute to output position p
 *   Gemm, MatMul   G = 1, Y is the transposed left input, scaled by Gemm's alpha
 *
 * A table is a layer without a product: Gather reads rows of W (M, K), M entries of K elements,
 * and no sample says anything about rounding it.
 *
 * The quantizer works on these matrices alone. Only the operator's own file knows how its
 * tensors hold them.
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
    /* b = bias_factor * the bias input (Gemm's beta), also for a bias input yet to be added.
     * 0 if the operator has no bias input, or if the bias has no element of its own for each
     * output channel. */
    float bias_factor;
};

/* The index of element (row, col) in the weight tensor; row counts over all groups. */
static inline size_t ldnq_find_weight_offset(const struct ldnq_layer_geometry *geometry, size_t row,
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

/* Whether the bias has an element of its own for each output channel. */
static inline bool ldnq_is_channel_bias(const struct ldnq_tensor *bias, size_t channels)
{
    const int rank = bias->shape.rank;
    size_t count;
    return ldnq_shape_count(&bias->shape, &count) && count == channels &&
           (rank == 0 || (size_t)bias->shape.dim[rank - 1] == channels);
}

struct ldnq_op_layer {
    /* A table: count_positions and fill_columns are NULL, and a node whose weight is computed, or
     * holds integers, is no layer. */
    bool is_table;
    int weight_input, bias_input; /* -1: the operator has no bias */
    /* Computes the geometry. bias is NULL if the node has none.
     * Errors: UNSUPPORTED, with the reason why this weight can't be quantized. */
    enum ldnq_status (*describe_weight)(const struct ldnq_node *node,
                                        const struct ldnq_tensor *weight,
                                        const struct ldnq_tensor *bias,
                                        struct ldnq_layer_geometry *geometry,
                                        struct ldnq_error *err);
    /* P, the number of columns of Y, for this call (after infer). */
    size_t (*count_positions)(const struct ldnq_op_call *call);
    /* Writes columns first .. first+count-1 of a group's Y to `columns`, a (K, count) matrix
     * with row stride ld. Factors of the product (Gemm's alpha) are included. */
    void (*fill_columns)(const struct ldnq_op_call *call, size_t group, size_t first, size_t count,
                         float *columns, size_t ld);
};

/* Whether the node looks up rows of a constant table that can be quantized. */
bool ldnq_op_reads_table(const struct ldnq_node *node);

/* Writes columns at .. at+count-1 of one group of one image; image_group is
 * image * G + group. */
typedef void ldnq_fill_image_columns_fn(const struct ldnq_op_call *call, size_t image_group,
                                        size_t at, size_t count, float *columns, size_t ld);
/* Implements `fill_columns` for layers whose images have `plane` columns each: columns of
 * several images are read image by image. */
static inline void ldnq_fill_columns_by_image(const struct ldnq_op_call *call, size_t groups,
                                              size_t group, size_t plane, size_t first,
                                              size_t count, float *columns, size_t ld,
                                              ldnq_fill_image_columns_fn *of_image)
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
