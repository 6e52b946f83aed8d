/* resize_axis.h: one axis of Resize: which inputs an output is made of, and with
 * which weights.
 *
 * Source  ONNX's Resize: coordinate_transformation_mode, nearest_mode, the
 *         filters and their stretching by antialias. Coordinates in float, as
 *         ONNX Runtime has them, since ties depend on it. ONNX's evaluator takes
 *         scale * in for the output's size where that is no whole number, and the
 *         corners then miss the last output; the text, torch and ONNX Runtime
 *         take the size that there is.
 */
#ifndef LDNQ_OPS_RESIZE_AXIS_H
#define LDNQ_OPS_RESIZE_AXIS_H

#include "base/base.h"

enum ldnq_resize_mode { LDNQ_NEAREST, LDNQ_LINEAR, LDNQ_CUBIC };

enum ldnq_resize_coordinate {
    LDNQ_HALF_PIXEL,
    LDNQ_HALF_PIXEL_SYMMETRIC,
    LDNQ_PYTORCH_HALF_PIXEL,
    LDNQ_ALIGN_CORNERS,
    LDNQ_ASYMMETRIC,
    LDNQ_TF_HALF_PIXEL_FOR_NN,
    LDNQ_TF_CROP_AND_RESIZE,
};

enum ldnq_resize_nearest {
    LDNQ_ROUND_PREFER_FLOOR,
    LDNQ_ROUND_PREFER_CEIL,
    LDNQ_FLOOR,
    LDNQ_CEIL,
};

struct ldnq_resize {
    enum ldnq_resize_mode mode;
    enum ldnq_resize_coordinate coordinate;
    enum ldnq_resize_nearest nearest;
    float cubic_a;
    bool exclude_outside, antialias;
};

struct ldnq_resize_axis {
    size_t in, out;
    float scale;      /* out / in, but for rounding */
    float start, end; /* tf_crop_and_resize: what is cut out, in parts of the axis */
};

/* The index of all taps of an output that lies outside of the input, where
 * tf_crop_and_resize puts a value of its own. */
#define LDNQ_RESIZE_OUTSIDE SIZE_MAX

/* Inputs that make up one output: 1, 2, 4, or more with antialias. */
size_t ldnq_resize_taps(const struct ldnq_resize *resize, const struct ldnq_resize_axis *axis);
/* Whether every output is the input of the same index. */
bool ldnq_resize_is_copy(const struct ldnq_resize_axis *axis);
/* index[out][taps] of inputs, weight[out][taps]; nearest fills in no weights. */
void ldnq_resize_fill(const struct ldnq_resize *resize, const struct ldnq_resize_axis *axis,
                      size_t *index, float *weight);

#endif
