/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/pool/pooling.h"

#include "base/size.h"
#include "ops/operation_count.h"

enum ldnq_status ldnq_pooling_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                         const void **attrs, struct ldnq_error *err)
{
    size_t count;
    struct ldnq_window *window = ldnq_arena_alloc(arena, 1, sizeof *window, err);
    if (!window)
        return LDNQ_NOMEM;
    *attrs = window;
    if (!ldnq_attr_ints(node, "kernel_shape", &count) || count == 0)
        return ldnq_fail(err, LDNQ_MODEL, "has no kernel_shape");
    return ldnq_window_read_attrs(node, window, err);
}

enum ldnq_status ldnq_pooling_infer_shape(struct ldnq_op_call *call, unsigned types,
                                          struct ldnq_error *err)
{
    const struct ldnq_window *window = call->attrs;
    const struct ldnq_shape *in = &call->in[0]->shape;
    struct ldnq_shape *out = &call->out[0].shape;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, types, err));
    if (in->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if ((size_t)in->rank != window->axes + 2)
        return ldnq_fail(err, LDNQ_MODEL, "its input has %d axes where its window needs %zu",
                         in->rank, window->axes + 2);
    for (size_t i = 0; i < window->axes; i++)
        LDNQ_TRY(ldnq_window_infer_output(call, window, i, in->dim[i + 2], window->kernel[i],
                                          &out->dim[i + 2], NULL, err));
    return LDNQ_OK;
}

static ptrdiff_t find_padded_end(const struct ldnq_window *window, size_t i,
                                 const struct ldnq_pooling_axis *axis)
{
    ptrdiff_t in = (ptrdiff_t)axis->in;
    if (window->auto_pad == LDNQ_PAD_NOTSET)
        return in + (ptrdiff_t)window->pad_end[i];
    /* SAME pads up to the end of the last window; windows of VALID stay inside the input. */
    ptrdiff_t reach = ((ptrdiff_t)axis->out - 1) * axis->stride - axis->begin +
                      ((ptrdiff_t)axis->kernel - 1) * axis->dilation + 1;
    return reach > in ? reach : in;
}

static enum ldnq_status set_pooling_axis(const struct ldnq_op_call *call, size_t i,
                                         struct ldnq_pooling_axis *axis, struct ldnq_error *err)
{
    const struct ldnq_window *window = call->attrs;
    struct ldnq_op_call sized = *call;
    int64_t in = call->in[0]->shape.dim[i + 2], out, begin;
    LDNQ_TRY(ldnq_window_infer_output(&sized, window, i, in, window->kernel[i], &out, &begin, err));
    *axis = (struct ldnq_pooling_axis){
        .in = (size_t)in,
        .out = (size_t)out,
        .kernel = (size_t)window->kernel[i],
        .stride = (ptrdiff_t)window->stride[i],
        .dilation = (ptrdiff_t)window->dilation[i],
        .begin = (ptrdiff_t)begin,
    };
    axis->limit = find_padded_end(window, i, axis);
    return LDNQ_OK;
}

enum ldnq_status ldnq_pooling_infer_global(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_shape *out = &call->out[0].shape;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    if (out->rank >= 0 && out->rank < 2)
        return ldnq_fail(err, LDNQ_MODEL, "its input has %d axes where two are the least",
                         out->rank);
    for (int i = 2; i < out->rank; i++)
        out->dim[i] = 1;
    return LDNQ_OK;
}

/* The outputs whose first tap and whose last tap read the input, as all between them then do. */
static void find_unclipped_columns(struct ldnq_pooling *pooling)
{
    const struct ldnq_pooling_axis *w = &pooling->axis[2];
    const struct ldnq_pooling_range first = ldnq_pooling_find_range(w, 0);
    const struct ldnq_pooling_range last = ldnq_pooling_find_range(w, w->kernel - 1);
    pooling->inner_first = ldnq_size_max(first.first, last.first);
    pooling->inner_last = ldnq_size_min(first.last, last.last);
}

enum ldnq_status ldnq_pooling_make(const struct ldnq_op_call *call, struct ldnq_pooling *pooling,
                                   struct ldnq_error *err)
{
    const struct ldnq_window *window = call->attrs;
    size_t missing = LDNQ_WINDOW_AXES - window->axes;
    *pooling = (struct ldnq_pooling){
        .include_pad = ldnq_attr_int(call->node, "count_include_pad", 0) != 0,
        .column_major = ldnq_attr_int(call->node, "storage_order", 0) != 0,
        .p = ldnq_attr_int(call->node, "p", 2),
    };
    for (size_t i = 0; i < missing; i++)
        pooling->axis[i] = (struct ldnq_pooling_axis){ 1, 1, 1, 1, 1, 0, 1 };
    for (size_t i = 0; i < window->axes; i++)
        LDNQ_TRY(set_pooling_axis(call, i, &pooling->axis[missing + i], err));
    for (size_t k = 0; k < LDNQ_POOLING_CACHED_TAPS && k < pooling->axis[2].kernel; k++)
        pooling->range[k] = ldnq_pooling_find_range(&pooling->axis[2], k);
    find_unclipped_columns(pooling);
    return LDNQ_OK;
}

/* The largest number of input elements under one window. */
static size_t count_taps(const struct ldnq_pooling *pooling)
{
    size_t count = 1;
    for (size_t i = 0; i < LDNQ_WINDOW_AXES; i++)
        count *= ldnq_size_min(pooling->axis[i].kernel, pooling->axis[i].in);
    return count;
}

static size_t count_planes(const struct ldnq_op_call *call)
{
    return (size_t)(call->in[0]->shape.dim[0] * call->in[0]->shape.dim[1]);
}

/* a / b, rounded up, and 0 for negative numbers; b > 0. */
static ptrdiff_t divide_up(ptrdiff_t a, ptrdiff_t b)
{
    return a > 0 ? (a + b - 1) / b : 0;
}

/* At least the taps of all outputs along one axis: those of a window that is all in the input, for
 * each output that reads an element of it. There may be 2^30 outputs that read the padding alone.
 */
static size_t bound_taps(const struct ldnq_pooling_axis *axis)
{
    const ptrdiff_t in = (ptrdiff_t)axis->in, kernel = (ptrdiff_t)axis->kernel;
    const ptrdiff_t first = divide_up(axis->begin - (kernel - 1) * axis->dilation, axis->stride);
    ptrdiff_t after = divide_up(in + axis->begin, axis->stride),
              taps = divide_up(in, axis->dilation);
    after = after < (ptrdiff_t)axis->out ? after : (ptrdiff_t)axis->out;
    taps = taps < kernel ? taps : kernel;
    return after > first ? (size_t)(after - first) * (size_t)taps : 0;
}

size_t ldnq_pooling_count_operations(const struct ldnq_op_call *call)
{
    struct ldnq_op_call sized = *call;
    struct ldnq_pooling pooling;
    size_t factors[1 + LDNQ_WINDOW_AXES] = { count_planes(call) };
    if (ldnq_pooling_make(&sized, &pooling, NULL) != LDNQ_OK)
        return 0;
    for (size_t i = 0; i < LDNQ_WINDOW_AXES; i++)
        factors[1 + i] = bound_taps(&pooling.axis[i]);
    return ldnq_operations_multiply(factors, 1 + LDNQ_WINDOW_AXES);
}

enum ldnq_status ldnq_pooling_make_forward(const struct ldnq_op_call *call,
                                           struct ldnq_pooling *pooling, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_pooling_make(call, pooling, err));
    pooling->x = call->in[0]->data;
    pooling->y = call->out[0].data;
    return LDNQ_OK;
}

void ldnq_pooling_run_rows(const struct ldnq_op_call *call, const struct ldnq_pooling *pooling,
                           ldnq_range_fn *run)
{
    ldnq_op_run_rows(call, count_planes(call) * ldnq_pooling_rows(pooling),
                     pooling->axis[2].out * count_taps(pooling), run, pooling);
}

void ldnq_pooling_run_planes(const struct ldnq_op_call *call, const struct ldnq_pooling *pooling,
                             ldnq_range_fn *run, const void *ctx)
{
    size_t outputs = ldnq_pooling_rows(pooling) * pooling->axis[2].out;
    ldnq_op_run_rows(call, count_planes(call),
                     ldnq_pooling_plane(pooling) + outputs * count_taps(pooling), run, ctx);
}

struct ldnq_pooling_row ldnq_pooling_find_row(const struct ldnq_pooling *pooling, size_t row)
{
    size_t od = pooling->axis[0].out, oh = pooling->axis[1].out;
    return (struct ldnq_pooling_row){ .plane = row / oh / od, .od = row / oh % od, .oh = row % oh };
}

struct ldnq_pooling_taps ldnq_pooling_find_taps(const struct ldnq_pooling_axis *axis, size_t o)
{
    const ptrdiff_t start = (ptrdiff_t)o * axis->stride - axis->begin;
    const size_t first = ldnq_size_min((size_t)divide_up(-start, axis->dilation), axis->kernel);
    const size_t last =
        ldnq_size_min((size_t)divide_up((ptrdiff_t)axis->in - start, axis->dilation), axis->kernel);
    return (struct ldnq_pooling_taps){ .first = first,
                                       .count = last > first ? last - first : 0,
                                       .at = (size_t)(start + (ptrdiff_t)first * axis->dilation) };
}

struct ldnq_pooling_range ldnq_pooling_find_range(const struct ldnq_pooling_axis *w, size_t k)
{
    ptrdiff_t offset = (ptrdiff_t)k * w->dilation - w->begin, in = (ptrdiff_t)w->in;
    ptrdiff_t stride = w->stride, out = (ptrdiff_t)w->out;
    ptrdiff_t low = offset < 0 ? (-offset + stride - 1) / stride : 0;
    ptrdiff_t high = in > offset ? (in - offset + stride - 1) / stride : 0;
    high = high < out ? high : out;
    return (struct ldnq_pooling_range){ .first = (size_t)low,
                                        .last = (size_t)(high > low ? high : low),
                                        .at = (size_t)(low * stride + offset) };
}
