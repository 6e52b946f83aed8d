/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/shared/sliding_window.h"

#include <inttypes.h>
#include <string.h>

static enum ldnq_status read_axis_list_attr(const struct ldnq_node *node, const char *name,
                                            size_t axes, int64_t least, int64_t *out, bool *given,
                                            struct ldnq_error *err)
{
    size_t count;
    const int64_t *list = ldnq_attr_ints(node, name, &count);
    *given = list != NULL;
    if (!list)
        return LDNQ_OK;
    if (count != axes)
        return ldnq_fail(err, LDNQ_MODEL, "%s has %zu numbers where %zu are needed", name, count,
                         axes);
    for (size_t i = 0; i < count; i++) {
        if (list[i] < least || list[i] > LDNQ_WINDOW_LARGEST)
            return ldnq_fail(err, LDNQ_MODEL,
                             "%s contains %" PRId64 ", which is not in %" PRId64 " .. %" PRId64,
                             name, list[i], least, LDNQ_WINDOW_LARGEST);
        out[i] = list[i];
    }
    return LDNQ_OK;
}

static enum ldnq_status read_pads(const struct ldnq_node *node, struct ldnq_window *window,
                                  struct ldnq_error *err)
{
    int64_t pads[2 * LDNQ_WINDOW_AXES];
    bool given;
    LDNQ_TRY(read_axis_list_attr(node, "pads", 2 * window->axes, 0, pads, &given, err));
    for (size_t i = 0; given && i < window->axes; i++) {
        window->pad_begin[i] = pads[i];
        window->pad_end[i] = pads[window->axes + i];
    }
    return LDNQ_OK;
}

static enum ldnq_status read_auto_pad(const struct ldnq_node *node, struct ldnq_window *window,
                                      struct ldnq_error *err)
{
    static const char *const names[] = { "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER" };
    const char *name = ldnq_attr_string(node, "auto_pad", "NOTSET");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            window->auto_pad = (enum ldnq_auto_pad)i;
            return LDNQ_OK;
        }
    }
    return ldnq_fail(err, LDNQ_MODEL, "auto_pad=%s is not NOTSET, VALID, SAME_UPPER or SAME_LOWER",
                     name);
}

static size_t count_axes(const struct ldnq_node *node)
{
    size_t count;
    if (ldnq_attr_ints(node, "kernel_shape", &count) || ldnq_attr_ints(node, "strides", &count) ||
        ldnq_attr_ints(node, "dilations", &count))
        return count;
    return ldnq_attr_ints(node, "pads", &count) ? count / 2 : 0;
}

enum ldnq_status ldnq_window_read_attrs(const struct ldnq_node *node, struct ldnq_window *window,
                                        struct ldnq_error *err)
{
    bool given;
    *window = (struct ldnq_window){ .axes = count_axes(node),
                                    .ceil_mode = ldnq_attr_int(node, "ceil_mode", 0) != 0 };
    for (size_t i = 0; i < LDNQ_WINDOW_AXES; i++)
        window->stride[i] = window->dilation[i] = 1;
    if (window->axes > LDNQ_WINDOW_AXES)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "a window of %zu axes is not supported",
                         window->axes);
    LDNQ_TRY(
        read_axis_list_attr(node, "kernel_shape", window->axes, 1, window->kernel, &given, err));
    LDNQ_TRY(read_axis_list_attr(node, "strides", window->axes, 1, window->stride, &given, err));
    LDNQ_TRY(
        read_axis_list_attr(node, "dilations", window->axes, 1, window->dilation, &given, err));
    LDNQ_TRY(read_pads(node, window, err));
    return read_auto_pad(node, window, err);
}

/* The leading pad of SAME_UPPER and SAME_LOWER: half of the total. An odd element goes to
 * the end (SAME_UPPER) or to the beginning (SAME_LOWER). */
static int64_t same_pad_begin(const struct ldnq_window *window, size_t axis, int64_t size,
                              int64_t extent, int64_t out)
{
    int64_t total = (out - 1) * window->stride[axis] + extent - size;
    total = total > 0 ? total : 0;
    return window->auto_pad == LDNQ_PAD_SAME_LOWER ? (total + 1) / 2 : total / 2;
}

static int64_t compute_output_size(const struct ldnq_window *window, size_t axis, int64_t size,
                                   int64_t extent, int64_t begin, int64_t end)
{
    int64_t stride = window->stride[axis], span = size + begin + end - extent;
    if (span < 0)
        return -1;
    int64_t out = (window->ceil_mode ? span + stride - 1 : span) / stride + 1;
    /* ONNX: no window starts in the trailing pad. */
    if (window->ceil_mode && (out - 1) * stride >= size + begin)
        out--;
    return out;
}

enum ldnq_status ldnq_window_infer_output(struct ldnq_op_call *call,
                                          const struct ldnq_window *window, size_t axis,
                                          int64_t size, int64_t kernel, int64_t *out,
                                          int64_t *pad_begin, struct ldnq_error *err)
{
    if (ldnq_is_symbol(size) || ldnq_is_symbol(kernel))
        return ldnq_op_make_unknown_dim(call, out, err);
    if (kernel < 1 || kernel > LDNQ_WINDOW_LARGEST || size > LDNQ_WINDOW_LARGEST)
        return ldnq_fail(err, LDNQ_MODEL,
                         "a window of %" PRId64 " over %" PRId64
                         " elements is not possible (1 .. %" PRId64 ")",
                         kernel, size, LDNQ_WINDOW_LARGEST);
    int64_t extent = (kernel - 1) * window->dilation[axis] + 1, begin = window->pad_begin[axis];
    if (window->auto_pad >= LDNQ_PAD_SAME_UPPER) {
        *out = (size + window->stride[axis] - 1) / window->stride[axis];
        begin = same_pad_begin(window, axis, size, extent, *out);
    } else if (window->auto_pad == LDNQ_PAD_VALID) {
        begin = 0;
        *out = compute_output_size(window, axis, size, extent, 0, 0);
    } else {
        *out = compute_output_size(window, axis, size, extent, begin, window->pad_end[axis]);
    }
    if (*out < 0)
        return ldnq_fail(err, LDNQ_MODEL,
                         "a window of %" PRId64 " does not fit in %" PRId64
                         " elements and their padding",
                         extent, size);
    if (pad_begin)
        *pad_begin = begin;
    return LDNQ_OK;
}
