/* SPDX-License-Identifier: Apache-2.0 */
/* sliding_window.h: attributes and output sizes of the sliding window that convolutions and
 * poolings share.
 *
 * Source  ONNX's Conv and MaxPool: output sizes, auto_pad, ceil_mode.
 */
#ifndef LDNQ_OPS_SLIDING_WINDOW_H
#define LDNQ_OPS_SLIDING_WINDOW_H

#include "ops/op.h"

#define LDNQ_WINDOW_AXES 3
/* The largest kernel, stride, dilation, pad and input size that is accepted: far above any
 * real one, and small enough that products don't overflow. */
#define LDNQ_WINDOW_LARGEST ((int64_t)1 << 30)

enum ldnq_auto_pad { LDNQ_PAD_NOTSET, LDNQ_PAD_VALID, LDNQ_PAD_SAME_UPPER, LDNQ_PAD_SAME_LOWER };

/* The attributes of a node, with defaults for those that are absent. */
struct ldnq_window {
    size_t axes;                      /* spatial axes; 0 if no attribute shows their number */
    int64_t kernel[LDNQ_WINDOW_AXES]; /* 0 without kernel_shape */
    int64_t stride[LDNQ_WINDOW_AXES];
    int64_t dilation[LDNQ_WINDOW_AXES];
    int64_t pad_begin[LDNQ_WINDOW_AXES], pad_end[LDNQ_WINDOW_AXES];
    enum ldnq_auto_pad auto_pad;
    bool ceil_mode;
};

/* Reads kernel_shape, strides, dilations, pads, auto_pad and ceil_mode.
 * Errors: MODEL (lists of different lengths, numbers out of range), UNSUPPORTED (more than
 * LDNQ_WINDOW_AXES axes). */
enum ldnq_status ldnq_window_read_attrs(const struct ldnq_node *node, struct ldnq_window *window,
                                        struct ldnq_error *err);

/* Computes the output size and the leading pad along one axis, for an input of `size`
 * elements (may be a symbol) and a kernel of `kernel` elements. pad_begin may be NULL.
 * Errors: MODEL (the window does not fit). */
enum ldnq_status ldnq_window_infer_output(struct ldnq_op_call *call,
                                          const struct ldnq_window *window, size_t axis,
                                          int64_t size, int64_t kernel, int64_t *out,
                                          int64_t *pad_begin, struct ldnq_error *err);

#endif
