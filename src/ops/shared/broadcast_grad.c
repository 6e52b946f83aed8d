/* SPDX-License-Identifier: Apache-2.0 */
/* broadcast_grad.c: gradients of broadcast inputs, which are sums over the broadcast axes.
 * Sums are in double and in the order of the elements, for any number of threads. */
#include <string.h>

#include "base/size.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/float_sums.h"

/* Columns that are summed at the same time. */
#define BLOCK ((size_t)256)

/* Some axes of `from`, as one axis with `count` indices. */
struct axis_list {
    int rank;
    size_t extent[LDNQ_MAX_RANK], stride[LDNQ_MAX_RANK]; /* strides in `from` */
    size_t count;
};

/* The axes of `from`, divided into those that are kept and those that are summed over. The
 * innermost axis is in neither list: it is `width` columns that are kept, or `run` elements
 * that are summed. */
struct broadcast_sum {
    const float *from;
    float *to;
    struct axis_list kept, summed;
    size_t width, run;
};

static void append_or_merge_grad_axis(struct axis_list *axes, size_t extent, size_t stride)
{
    int last = axes->rank - 1;
    if (last >= 0 && axes->stride[last] == stride * extent) {
        axes->extent[last] *= extent;
        axes->stride[last] = stride;
    } else {
        axes->extent[axes->rank] = extent;
        axes->stride[axes->rank++] = stride;
    }
    axes->count *= extent;
}

/* Removes the last axis and returns its extent. */
static size_t remove_innermost_axis(struct axis_list *axes)
{
    size_t extent = axes->extent[--axes->rank];
    axes->count = 1;
    for (int i = 0; i < axes->rank; i++)
        axes->count *= axes->extent[i];
    return extent;
}

static void split_kept_and_summed_axes(struct broadcast_sum *sum, const struct ldnq_shape *from,
                                       const struct ldnq_shape *to)
{
    size_t strides[LDNQ_MAX_RANK],
        stride = ldnq_tensor_count(&(struct ldnq_tensor){ .dtype = LDNQ_FLOAT, .shape = *from });
    ldnq_op_broadcast_strides(to, from, strides);
    sum->kept.count = sum->summed.count = 1;
    for (int i = 0; i < from->rank; i++) {
        size_t extent = (size_t)from->dim[i];
        stride /= extent;
        if (extent != 1)
            append_or_merge_grad_axis(strides[i] ? &sum->kept : &sum->summed, extent, stride);
    }
    sum->width = sum->run = 1;
    if (sum->kept.rank > 0 && sum->kept.stride[sum->kept.rank - 1] == 1)
        sum->width = remove_innermost_axis(&sum->kept);
    else if (sum->summed.rank > 0)
        sum->run = remove_innermost_axis(&sum->summed);
}

/* The offset in `from` of index `index` of the axes. */
static size_t compute_offset(const struct axis_list *axes, size_t index)
{
    size_t at = 0;
    for (int i = axes->rank - 1; i >= 0; i--) {
        at += index % axes->extent[i] * axes->stride[i];
        index /= axes->extent[i];
    }
    return at;
}

/* Advances the coordinates in `index` by one, and returns the offset `at` advanced with
 * them. */
static size_t advance_offset(const struct axis_list *axes, size_t *index, size_t at)
{
    for (int i = axes->rank - 1; i >= 0; i--) {
        at += axes->stride[i];
        if (++index[i] < axes->extent[i])
            return at;
        at -= axes->extent[i] * axes->stride[i];
        index[i] = 0;
    }
    return at;
}

static void sum_column_block(const struct broadcast_sum *sum, const float *from, float *to,
                             size_t width)
{
    double total[BLOCK] = { 0 };
    size_t index[LDNQ_MAX_RANK] = { 0 }, at = 0;
    for (size_t i = 0; i < sum->summed.count; i++) {
        for (size_t k = 0; k < width; k++)
            total[k] += (double)from[at + k];
        at = advance_offset(&sum->summed, index, at);
    }
    for (size_t k = 0; k < width; k++)
        to[k] = (float)total[k];
}

static void sum_columns(const void *ctx, size_t first, size_t last)
{
    const struct broadcast_sum *sum = ctx;
    size_t blocks = ldnq_size_ceil_div(sum->width, BLOCK);
    for (size_t i = first; i < last; i++) {
        size_t row = i / blocks, column = i % blocks * BLOCK;
        sum_column_block(sum, sum->from + compute_offset(&sum->kept, row) + column,
                         sum->to + row * sum->width + column,
                         ldnq_size_min(BLOCK, sum->width - column));
    }
}

static void sum_contiguous_runs(const void *ctx, size_t first, size_t last)
{
    const struct broadcast_sum *sum = ctx;
    for (size_t i = first; i < last; i++) {
        const float *from = sum->from + compute_offset(&sum->kept, i);
        size_t index[LDNQ_MAX_RANK] = { 0 }, at = 0;
        double total = 0;
        for (size_t k = 0; k < sum->summed.count; k++) {
            total += ldnq_sum_floats(from + at, sum->run);
            at = advance_offset(&sum->summed, index, at);
        }
        sum->to[i] = (float)total;
    }
}

void ldnq_op_sum_broadcast_grad(const struct ldnq_op_call *call, const struct ldnq_tensor *from,
                                const struct ldnq_tensor *to)
{
    size_t have = ldnq_tensor_count(from), count = ldnq_tensor_count(to);
    struct broadcast_sum sum = { .from = from->data, .to = to->data };
    if (have == 0 || have == count) {
        if (count > 0 && have == 0)
            memset(to->data, 0, count * sizeof(float));
        else if (count > 0)
            memcpy(to->data, from->data, count * sizeof(float));
        return;
    }
    split_kept_and_summed_axes(&sum, &from->shape, &to->shape);
    if (sum.run > 1 || sum.width == 1) {
        ldnq_op_run_rows(call, count, have / count, sum_contiguous_runs, &sum);
        return;
    }
    size_t blocks = ldnq_size_ceil_div(sum.width, BLOCK);
    ldnq_op_run_rows(call, sum.kept.count * blocks, sum.summed.count * sum.width / blocks,
                     sum_columns, &sum);
}

/* ---- the elementwise iterator -------------------------------------------------------- */

static bool is_broadcast(const struct ldnq_op_grad *grad, size_t i)
{
    return ldnq_tensor_count(&grad->in[i]) != ldnq_tensor_count(&grad->call->out[0]);
}

size_t ldnq_elementwise_grad_scratch_bytes(const struct ldnq_op_grad *grad)
{
    struct ldnq_tensor whole = { .dtype = LDNQ_FLOAT, .shape = grad->call->out[0].shape };
    size_t bytes;
    for (size_t i = 0; i < grad->call->in_count; i++)
        if (grad->in[i].data && is_broadcast(grad, i))
            return ldnq_tensor_bytes(&whole, &bytes) ? bytes : SIZE_MAX;
    return 0;
}

void ldnq_elementwise_compute_grad(const struct ldnq_op_grad *grad, size_t i,
                                   ldnq_elementwise_fn *run, const struct ldnq_tensor *const *in,
                                   size_t inputs)
{
    struct ldnq_tensor whole = { .dtype = LDNQ_FLOAT, .shape = grad->call->out[0].shape };
    if (!grad->in[i].data)
        return;
    whole.data = is_broadcast(grad, i) ? grad->call->scratch : grad->in[i].data;
    ldnq_elementwise_run(grad->call, run, &whole, in, inputs);
    if (is_broadcast(grad, i))
        ldnq_op_sum_broadcast_grad(grad->call, &whole, &grad->in[i]);
}
