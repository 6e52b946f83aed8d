/* SPDX-License-Identifier: Apache-2.0 */
/* resize_axis.h: Resize along one axis: the input elements of each output and their weights.
 *
 * Shapes  index and weight (out, taps)
 * Numbers coordinates are float32, as in ONNX Runtime, since ties depend on it
 * Source  onnx.ai/onnx/operators/onnx__Resize.html: coordinate_transformation_mode,
 *         nearest_mode, antialias. align_corners uses the output's actual size, like the
 *         text, torch and ONNX Runtime. ONNX's reference evaluator uses scale * in, which
 *         may not be an integer; its last output then misses the corner.
 */
#ifndef LDNQ_OPS_RESIZE_AXIS_H
#define LDNQ_OPS_RESIZE_AXIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

struct ldnq_picture_resize {
    enum ldnq_resize_mode mode;
    enum ldnq_resize_coordinate coordinate;
    enum ldnq_resize_nearest nearest;
    float cubic_a;
    bool exclude_outside, antialias;
};

struct ldnq_resize_axis {
    size_t in, out;
    float scale;      /* out / in, up to rounding */
    float start, end; /* tf_crop_and_resize: the region, as fractions of the axis */
};

/* The index of all taps of an output outside of the input, to which tf_crop_and_resize
 * assigns extrapolation_value. */
#define LDNQ_RESIZE_OUTSIDE SIZE_MAX

/* Input elements per output: 1, 2, 4, or more with antialias. */
size_t ldnq_resize_count_taps(const struct ldnq_picture_resize *resize,
                              const struct ldnq_resize_axis *axis);
/* Whether every output is the input of the same index. */
bool ldnq_resize_is_copy(const struct ldnq_resize_axis *axis);
/* Fills index (out, taps) and weight (out, taps); nearest writes no weights. */
void ldnq_resize_fill_taps(const struct ldnq_picture_resize *resize,
                           const struct ldnq_resize_axis *axis, size_t *index, float *weight);

#endif
