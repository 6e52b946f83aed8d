/* SPDX-License-Identifier: Apache-2.0 */
/* resize_sizes.h: the attributes of Resize and Upsample, and the output size of each axis.
 *
 * Errors  MODEL (sizes that are not possible), UNSUPPORTED (an unknown mode)
 */
#ifndef LDNQ_OPS_RESIZE_SIZES_H
#define LDNQ_OPS_RESIZE_SIZES_H

#include "ops/op.h"
#include "ops/sampling/resize_axis.h"

enum ldnq_resize_policy { LDNQ_STRETCH, LDNQ_NOT_LARGER, LDNQ_NOT_SMALLER };

struct ldnq_resize_attrs {
    struct ldnq_picture_resize how; /* modes, the same for all axes */
    enum ldnq_resize_policy policy;
    float outside; /* extrapolation_value */
};

struct ldnq_resize_axes {
    int rank;
    struct ldnq_resize_axis axis[LDNQ_MAX_RANK];
};

static inline bool ldnq_resize_crops(const struct ldnq_resize_attrs *resize)
{
    return resize->how.coordinate == LDNQ_TF_CROP_AND_RESIZE;
}

/* Whether every output is a copy of an input element, of any dtype. */
static inline bool ldnq_resize_only_copies(const struct ldnq_resize_attrs *resize)
{
    return resize->how.mode == LDNQ_NEAREST && !ldnq_resize_crops(resize);
}

/* `read` and `infer` of the records. */
enum ldnq_status ldnq_upsample_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                          const void **attrs, struct ldnq_error *err);
enum ldnq_status ldnq_resize_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                        const void **attrs, struct ldnq_error *err);
enum ldnq_status ldnq_resize_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err);

/* The input and output size of every axis. An axis that the node does not mention keeps its
 * size; a symbol counts as 1. *known: whether the data of scales or sizes are available. */
enum ldnq_status ldnq_resize_find_axes(const struct ldnq_op_call *call,
                                       struct ldnq_resize_axes *axes, bool *known,
                                       struct ldnq_error *err);

#endif
