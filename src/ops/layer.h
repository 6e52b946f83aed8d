/* layer.h: operators with a weight that can be quantized, seen as matrices.
 *
 * A layer computes, for each group, output = W y + b with W (M, K), where y runs
 * over the columns of its input. The quantizer works on these; only the
 * operator's own file knows how they lie in its tensors.
 */
#ifndef LDNQ_OPS_LAYER_H
#define LDNQ_OPS_LAYER_H

#include "base/size.h"
#include "ops/op.h"

struct ldnq_layer_view {
    size_t groups, outputs, inputs; /* G, M, K; M and K per group */
    bool transposed;                /* the weight lies in memory as (K, M); else as (G, M, K) */
    /* Not 0: the weight lies as (K/taps, M, taps) (ConvTranspose); G is 1. */
    size_t taps;
    int channel_axis; /* of the weight tensor: where its output channels are */
    /* The layer adds bias_factor * its bias input, and would if it had one; 0 when
     * there can be none, or none that can be changed for one channel alone. */
    float bias_factor;
};

struct ldnq_op_layer {
    int weight_input, bias_input; /* -1: the operator has no bias */
    /* Errors: UNSUPPORTED, with the reason why this weight can't be quantized.
     * bias is NULL when the node has none. */
    enum ldnq_status (*describe)(const struct ldnq_node *node, const struct ldnq_tensor *weight,
                                 const struct ldnq_tensor *bias, struct ldnq_layer_view *view,
                                 struct ldnq_error *err);
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
