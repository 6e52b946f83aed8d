/* SPDX-License-Identifier: Apache-2.0 */
/* opset_convert.h: the checks and converters in the table of operators, one per
 * operator and opset. See opset.h for their contract. */
#ifndef LDNQ_ONNX_OPSET_CONVERT_H
#define LDNQ_ONNX_OPSET_CONVERT_H

#include "onnx/opset.h"

#define CHECK(name)                                                                                \
    enum ldnq_status ldnq_check_##name(const struct ldnq_raise *raise,                             \
                                       const Onnx__NodeProto *node, struct ldnq_error *err)
#define CONVERT(name)                                                                              \
    enum ldnq_status ldnq_convert_##name(struct ldnq_raise *raise, Onnx__NodeProto *node,          \
                                         struct ldnq_error *err)

/* opset_convert.c: attributes that became inputs, and defaults that changed */
CONVERT(axes_to_input);
CHECK(batch_normalization_9);
CONVERT(batch_normalization_9);
CHECK(batch_normalization_14);
CONVERT(batch_normalization_14);
CHECK(clip_11);
CONVERT(clip_11);
CONVERT(dft_20);
CHECK(dropout_12);
CONVERT(dropout_12);
CONVERT(grid_sample_20);
CHECK(pad_11);
CONVERT(pad_11);
CONVERT(roi_align_16);
CHECK(scan_9);
CONVERT(scatter_11);
CONVERT(slice_10);
CONVERT(split_13);
CONVERT(split_18);
CONVERT(top_k_10);

/* opset_rewrite.c: conversions that add nodes around the converted one */
CONVERT(group_normalization_21);
CHECK(resize_11);
CONVERT(resize_11);
CHECK(resize_13);
CONVERT(resize_13);
CONVERT(softmax_13);
CONVERT(upsample_9);
CONVERT(upsample_10);

#endif
