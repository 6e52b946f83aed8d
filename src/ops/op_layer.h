/* SPDX-License-Identifier: Apache-2.0 */
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
 *   ConvTranspose  G = group, M = output channels / G, K = (C/G) KH KW, P = N OH OW;
 *                  column p of Y holds the inputs that contribute to output position p
 *   Gemm, MatMul   Y is the other operand, transposed where the weight is the right one, and
 *                  scaled by Gemm's alpha; G = 1, or the number of matrices in a weight
 *                  (E,K,M) of MatMul
 *   LSTM, GRU, RNN two layers, of W and R (sequence/recurrent_layer.h)
 *   Einsum         einsum_layer.c says which letters count groups, rows, columns and positions
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
    LDNQ_WEIGHT_PERMUTED,      /* any other, as the strides say; no axis has the channels alone */
};

/* How far apart the elements are in the weight tensor. Rows are counted by two axes, `major`
 * and `minor`, and columns by input channel and element of the kernel. */
struct ldnq_weight_strides {
    size_t group, major, minor, channel, kernel;
};

struct ldnq_layer_geometry {
    size_t groups, rows, cols; /* G, M, K; M and K per group */
    size_t kernel;             /* KH KW: columns in a row that belong to one input channel */
    size_t minor_rows;         /* rows / minor_rows indices of `major` */
    enum ldnq_weight_layout layout;
    struct ldnq_weight_strides strides;
    int channel_axis; /* the axis of the output channels in the weight tensor; not if permuted */
    /* Not every index of the data input's first axis is a sample of its own, with positions of its
     * own in each group. */
    bool mixes_samples;
    /* b = bias_factor * the bias input (Gemm's beta), also for a bias input yet to be added.
     * 0 if the operator has no bias input, or if the bias has no element of its own for each
     * output channel. */
    float bias_factor;
};

/* The index of element (row, col) in the weight tensor; row counts over all groups. */
static inline size_t ldnq_find_weight_offset(const struct ldnq_layer_geometry *geometry, size_t row,
                                             size_t col)
{
    const struct ldnq_weight_strides *strides = &geometry->strides;
    switch (geometry->layout) {
    case LDNQ_WEIGHT_IN_OUT:
        return col * geometry->rows + row;
    case LDNQ_WEIGHT_OUT_IN:
        return row * geometry->cols + col;
    case LDNQ_WEIGHT_IN_OUT_KERNEL:
    case LDNQ_WEIGHT_PERMUTED:
        break;
    }
    const size_t in_group = row % geometry->rows;
    return row / geometry->rows * strides->group +
           in_group / geometry->minor_rows * strides->major +
           in_group % geometry->minor_rows * strides->minor +
           col / geometry->kernel * strides->channel + col % geometry->kernel * strides->kernel;
}

/* The geometry of a weight (G, M, C, KH KW) whose output channels are axis 0. */
static inline struct ldnq_layer_geometry ldnq_describe_out_in(size_t groups, size_t rows,
                                                              size_t channels, size_t kernel)
{
    return (struct ldnq_layer_geometry){
        .groups = groups,
        .rows = rows,
        .cols = channels * kernel,
        .kernel = kernel,
        .minor_rows = rows ? rows : 1,
        .layout = LDNQ_WEIGHT_OUT_IN,
        .strides = { .group = rows * channels * kernel,
                     .minor = channels * kernel,
                     .channel = kernel,
                     .kernel = 1 },
    };
}

/* The geometry of a weight (G, C, M, KH KW). The caller sets another layout where one axis has the
 * output channels. */
static inline struct ldnq_layer_geometry ldnq_describe_in_out(size_t groups, size_t rows,
                                                              size_t channels, size_t kernel)
{
    struct ldnq_layer_geometry geometry = ldnq_describe_out_in(groups, rows, channels, kernel);
    geometry.layout = LDNQ_WEIGHT_PERMUTED;
    geometry.strides.minor = kernel;
    geometry.strides.channel = rows * kernel;
    geometry.channel_axis = 1;
    return geometry;
}

/* Whether both see one tensor as the same matrices. */
static inline bool ldnq_geometries_are_equal(const struct ldnq_layer_geometry *a,
                                             const struct ldnq_layer_geometry *b)
{
    const struct ldnq_weight_strides *x = &a->strides, *y = &b->strides;
    return a->groups == b->groups && a->rows == b->rows && a->cols == b->cols &&
           a->layout == b->layout && a->channel_axis == b->channel_axis && a->kernel == b->kernel &&
           a->minor_rows == b->minor_rows && x->group == y->group && x->major == y->major &&
           x->minor == y->minor && x->channel == y->channel && x->kernel == y->kernel;
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
    /* Codes are looked up, then dequantized: a table, or matrices for a product. */
    bool is_lookup;
    /* Whether the node is this layer, of those in the chain; NULL: every node is. */
    bool (*applies_to)(const struct ldnq_node *node);
    int weight_input, bias_input; /* -1: the operator has no bias */
    const char *weight_label;     /* tells the layers of one node apart; NULL: it has one */
    /* The same operator with its weight in another input; NULL: none. A node has each of these
     * layers whose weight is constant. */
    const struct ldnq_op_layer *other;
    int data_input; /* the node's input that Y is made of */
    /* Each element of the data input meets all rows and all elements of the kernel; else each
     * element of output 0 is a sum over K columns. */
    bool spreads_inputs;
    /* The weight is read once for each row of the data input, its last axis left out. */
    bool repeats_weight;
    /* Computes the geometry. bias is NULL if the node has none.
     * Errors: UNSUPPORTED, with the reason why this weight can't be quantized. */
    enum ldnq_status (*describe_weight)(const struct ldnq_node *node,
                                        const struct ldnq_tensor *weight,
                                        const struct ldnq_tensor *bias,
                                        struct ldnq_layer_geometry *geometry,
                                        struct ldnq_error *err);
    /* Computes what fill_columns reads besides the inputs, in call->scratch, with the weights that
     * the call has. Both NULL: nothing. Errors: MODEL, NUMERIC. */
    size_t (*scratch_bytes)(const struct ldnq_op_call *call);
    enum ldnq_status (*prepare)(const struct ldnq_op_call *call, struct ldnq_error *err);
    /* P, the number of columns of Y, for this call (after infer). */
    size_t (*count_positions)(const struct ldnq_op_call *call);
    /* Writes columns first .. first+count-1 of a group's Y to `columns`, a (K, count) matrix
     * with row stride ld. Factors of the product (Gemm's alpha) are included. */
    void (*fill_columns)(const struct ldnq_op_call *call, size_t group, size_t first, size_t count,
                         float *columns, size_t ld);
};

/* Whether the node looks up rows, or matrices for a product, of a constant that can be quantized.
 */
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
