/* resize_sizes.h: what Resize and Upsample are asked for: their attributes, and how
 * large each axis becomes.
 *
 * Errors  MODEL, UNSUPPORTED (a name that is not known)
 */
#ifndef LDNQ_OPS_RESIZE_SIZES_H
#define LDNQ_OPS_RESIZE_SIZES_H

#include "ops/op.h"
#include "ops/sampling/resize_axis.h"

enum ldnq_resize_policy { LDNQ_STRETCH, LDNQ_NOT_LARGER, LDNQ_NOT_SMALLER };

struct ldnq_resize_attrs {
    struct ldnq_resize how;
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

/* Whether elements are only copied, through a map of indices. */
static inline bool ldnq_resize_maps(const struct ldnq_resize_attrs *resize)
{
    return resize->how.mode == LDNQ_NEAREST && !ldnq_resize_crops(resize);
}

/* `read` and `infer` of the records. */
enum ldnq_status ldnq_upsample_read(const struct ldnq_node *node, struct ldnq_arena *arena,
                                    const void **attrs, struct ldnq_error *err);
enum ldnq_status ldnq_resize_read(const struct ldnq_node *node, struct ldnq_arena *arena,
                                  const void **attrs, struct ldnq_error *err);
enum ldnq_status ldnq_resize_infer(struct ldnq_op_call *call, struct ldnq_error *err);

/* Every axis before and after, with input 0's shape where nothing is said of one; a
 * symbol counts as 1. *known is false where scales or sizes have no data yet. */
enum ldnq_status ldnq_resize_find_axes(const struct ldnq_op_call *call,
                                       struct ldnq_resize_axes *axes, bool *known,
                                       struct ldnq_error *err);

#endif
