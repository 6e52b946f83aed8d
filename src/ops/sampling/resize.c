/* SPDX-License-Identifier: Apache-2.0 */
/* resize.c: Resize and Upsample.
 *
 * Nearest copies elements of any dtype, with a table of source indices per axis. Linear
 * and cubic resize float32 one axis after the other, through two buffers in scratch.
 * Nearest with tf_crop_and_resize does so too, because outputs outside of the input have
 * the value extrapolation_value.
 *
 * Shapes  x and y of the same rank; resize_sizes.h finds y's
 * Source  onnx.ai/onnx/operators/onnx__Resize.html
 */
#include "ops/sampling/resize_sizes.h"

#include <string.h>

#include "base/simd.h"
#include "base/size.h"
#include "ops/operation_count.h"
#include "ops/shared/strided.h"

/* ---- nearest --------------------------------------------------------------------------- */

struct nearest_copy {
    const char *x;
    char *y;
    size_t size; /* bytes per element */
    int rank;
    size_t out[LDNQ_MAX_RANK];
    ptrdiff_t stride[LDNQ_MAX_RANK];
    size_t *map[LDNQ_MAX_RANK]; /* by axis: the source index of each output */
    bool doubles;               /* along the last axis, each element of 4 bytes twice */
};

LDNQ_MULTIVERSION
static void double_row(const uint32_t *restrict x, uint32_t *restrict y, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[2 * i] = y[2 * i + 1] = x[i];
}

static void copy_row(const struct nearest_copy *copy, const char *x, char *y)
{
    const size_t columns = copy->out[copy->rank - 1], *map = copy->map[copy->rank - 1];
    if (copy->doubles) {
        double_row((const uint32_t *)(const void *)x, (uint32_t *)(void *)y, columns / 2);
    } else if (copy->size == 4) {
        for (size_t i = 0; i < columns; i++)
            ((uint32_t *)(void *)y)[i] = ((const uint32_t *)(const void *)x)[map[i]];
    } else {
        for (size_t i = 0; i < columns; i++)
            memcpy(y + i * copy->size, x + map[i] * copy->size, copy->size);
    }
}

/* Rows first .. last-1 of y along its last axis. */
static void copy_rows(const void *ctx, size_t first, size_t last)
{
    const struct nearest_copy *copy = ctx;
    const size_t row_bytes = copy->out[copy->rank - 1] * copy->size;
    size_t before = SIZE_MAX;
    for (size_t row = first; row < last; row++) {
        size_t rest = row, from = 0;
        for (int i = copy->rank - 2; i >= 0; i--) {
            from += copy->map[i][rest % copy->out[i]] * (size_t)copy->stride[i];
            rest /= copy->out[i];
        }
        char *y = copy->y + row * row_bytes;
        if (from == before)
            memcpy(y, y - row_bytes, row_bytes);
        else
            copy_row(copy, copy->x + from * copy->size, y);
        before = from;
    }
}

static void resize_by_copying_nearest(const struct ldnq_op_call *call,
                                      const struct ldnq_resize_axes *axes)
{
    const struct ldnq_resize_attrs *resize = call->attrs;
    const struct ldnq_tensor *in = call->in[0];
    struct nearest_copy copy = { .x = in->data,
                                 .y = call->out[0].data,
                                 .rank = axes->rank,
                                 .size = ldnq_dtype_size(in->dtype) };
    size_t *map = call->scratch, count = ldnq_tensor_count(&call->out[0]);
    ldnq_row_major_strides(&in->shape, copy.stride);
    for (int i = 0; i < axes->rank; i++) {
        copy.map[i] = map;
        copy.out[i] = axes->axis[i].out;
        ldnq_resize_fill_taps(&resize->how, &axes->axis[i], map, NULL);
        map += axes->axis[i].out;
    }
    size_t columns = copy.out[axes->rank - 1];
    copy.doubles = copy.size == 4 && columns % 2 == 0;
    for (size_t i = 0; i < columns && copy.doubles; i++)
        copy.doubles = copy.map[axes->rank - 1][i] == i / 2;
    ldnq_op_run_rows(call, count / columns, columns, copy_rows, &copy);
}

/* ---- linear, cubic, and nearest with tf_crop_and_resize ------------------------------ */

/* Resizes one axis: x (outer, in, inner), y (outer, out, inner). Output o along the axis is
 * the sum of `taps` inputs index[o][k] with weight[o][k], or `outside`. */
struct resize_pass {
    const float *x;
    float *y;
    size_t in, out, inner, taps;
    const size_t *index;
    const float *weight;
    float outside;
};

/* Computes one output along the axis: y (inner). */
static void resize_row(const struct resize_pass *p, const float *x, float *y, const size_t *index,
                       const float *weight)
{
    for (size_t i = 0; index[0] == LDNQ_RESIZE_OUTSIDE && i < p->inner; i++)
        y[i] = p->outside;
    if (index[0] == LDNQ_RESIZE_OUTSIDE)
        return;
    for (size_t i = 0; i < p->inner; i++)
        y[i] = x[index[0] * p->inner + i] * weight[0];
    for (size_t k = 1; k < p->taps; k++) {
        const float *from = x + index[k] * p->inner;
        for (size_t i = 0; i < p->inner; i++)
            y[i] += from[i] * weight[k];
    }
}

/* Computes the outputs first .. last-1 along the axis, for inner = 1. */
static void resize_elements(const struct resize_pass *p, const float *x, float *y, size_t first,
                            size_t last)
{
    for (size_t o = first; o < last; o++, y++) {
        const size_t *index = p->index + o * p->taps;
        const float *weight = p->weight + o * p->taps;
        *y = p->outside;
        if (index[0] == LDNQ_RESIZE_OUTSIDE)
            continue;
        *y = x[index[0]] * weight[0];
        for (size_t k = 1; k < p->taps; k++)
            *y += x[index[k]] * weight[k];
    }
}

/* Rows first .. last-1 of y, counted over (outer, out). */
static void resize_rows(const void *ctx, size_t first, size_t last)
{
    const struct resize_pass *p = ctx;
    for (size_t row = first; p->inner == 1 && row < last;) {
        size_t o = row % p->out, end = ldnq_size_min(p->out, o + last - row);
        resize_elements(p, p->x + row / p->out * p->in, p->y + row, o, end);
        row += end - o;
    }
    for (size_t row = first; p->inner != 1 && row < last; row++) {
        size_t o = row % p->out;
        resize_row(p, p->x + row / p->out * p->in * p->inner, p->y + row * p->inner,
                   p->index + o * p->taps, p->weight + o * p->taps);
    }
}

/* Elements of the tensor before axis i is resized: axes are resized from the first to the
 * last, so axes before i have their output size, the others their input size. */
static size_t count_floats_before_axis(const struct ldnq_resize_axes *axes, int i)
{
    size_t count = 1;
    for (int k = 0; k < axes->rank; k++) {
        size_t size = k < i ? axes->axis[k].out : axes->axis[k].in;
        if (!ldnq_size_mul(count, size, &count))
            return SIZE_MAX;
    }
    return count;
}

static void resize_axis_by_axis(const struct ldnq_op_call *call,
                                const struct ldnq_resize_axes *axes, float *buffers[2],
                                size_t *index, float *weight)
{
    const struct ldnq_resize_attrs *resize = call->attrs;
    const float *x = call->in[0]->data;
    int last = -1, turn = 0;
    for (int i = 0; i < axes->rank; i++)
        last = ldnq_resize_is_copy(&axes->axis[i]) ? last : i;
    if (last < 0)
        memcpy(call->out[0].data, x, ldnq_tensor_count(&call->out[0]) * sizeof *x);
    for (int i = 0; i <= last; i++) {
        const struct ldnq_resize_axis *axis = &axes->axis[i];
        if (ldnq_resize_is_copy(axis))
            continue;
        struct resize_pass pass = { .x = x,
                                    .y = i == last ? call->out[0].data : buffers[turn],
                                    .in = axis->in,
                                    .out = axis->out,
                                    .inner = 1,
                                    .index = index,
                                    .taps = ldnq_resize_count_taps(&resize->how, axis),
                                    .weight = weight,
                                    .outside = resize->outside };
        for (int k = i + 1; k < axes->rank; k++)
            pass.inner *= axes->axis[k].in;
        for (size_t o = 0; o < axis->out; o++)
            weight[o] = 1.0f; /* ldnq_resize_fill_taps writes none for nearest */
        ldnq_resize_fill_taps(&resize->how, axis, index, weight);
        size_t rows = count_floats_before_axis(axes, i + 1) / pass.inner;
        ldnq_op_run_rows(call, rows, pass.inner * pass.taps, resize_rows, &pass);
        x = pass.y;
        turn = 1 - turn;
    }
}

/* ---- scratch: tables of indices and weights, two buffers ------------------------------------- */

struct resize_scratch_sizes {
    size_t table;  /* entries of the largest axis' table; for nearest copies, of all tables */
    size_t buffer; /* elements of the largest intermediate tensor */
};

static bool count_scratch_elements(const struct ldnq_resize_attrs *resize,
                                   const struct ldnq_resize_axes *axes,
                                   struct resize_scratch_sizes *counts)
{
    *counts = (struct resize_scratch_sizes){ 0 };
    for (int i = 0; i < axes->rank; i++) {
        size_t entries;
        if (!ldnq_size_mul(axes->axis[i].out, ldnq_resize_count_taps(&resize->how, &axes->axis[i]),
                           &entries))
            return false;
        if (ldnq_resize_only_copies(resize))
            counts->table += entries;
        else
            counts->table = ldnq_size_max(counts->table, entries);
        counts->buffer = ldnq_size_max(counts->buffer, count_floats_before_axis(axes, i));
    }
    return true;
}

/* Bytes of the tables and, with with_buffers, of the two buffers; SIZE_MAX on overflow. */
static size_t count_scratch_bytes(const struct ldnq_op_call *call, bool with_buffers)
{
    struct ldnq_resize_axes axes;
    struct resize_scratch_sizes counts;
    bool known;
    size_t tables, buffers, total;
    if (ldnq_resize_find_axes(call, &axes, &known, NULL) != LDNQ_OK ||
        !count_scratch_elements(call->attrs, &axes, &counts) ||
        !ldnq_size_mul(counts.table, sizeof(size_t) + sizeof(float), &tables))
        return SIZE_MAX;
    if (!with_buffers)
        return tables;
    return ldnq_size_mul(counts.buffer, 2 * sizeof(float), &buffers) &&
                   ldnq_size_add(tables, buffers, &total)
               ? total
               : SIZE_MAX;
}

static size_t resize_scratch_bytes(const struct ldnq_op_call *call)
{
    return count_scratch_bytes(call, !ldnq_resize_only_copies(call->attrs));
}

static size_t resize_count_operations(const struct ldnq_op_call *call)
{
    const struct ldnq_resize_attrs *resize = call->attrs;
    struct ldnq_resize_axes axes;
    bool known;
    size_t operations = 0;
    if (ldnq_resize_find_axes(call, &axes, &known, NULL) != LDNQ_OK || !known)
        return 0;
    for (int i = 0; i < axes.rank; i++) {
        const size_t factors[] = { count_floats_before_axis(&axes, i + 1),
                                   ldnq_resize_count_taps(&resize->how, &axes.axis[i]) };
        if (!ldnq_size_add(operations, ldnq_operations_multiply(factors, 2), &operations))
            return SIZE_MAX;
    }
    return operations;
}

static enum ldnq_status resize_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_resize_attrs *resize = call->attrs;
    struct ldnq_resize_axes axes;
    struct resize_scratch_sizes counts;
    bool known;
    LDNQ_TRY(ldnq_resize_find_axes(call, &axes, &known, err));
    if (!known || !count_scratch_elements(resize, &axes, &counts))
        return ldnq_fail(err, LDNQ_MODEL, "its sizes are not known");
    if (ldnq_tensor_count(&call->out[0]) == 0)
        return LDNQ_OK;
    if (axes.rank == 0) {
        memcpy(call->out[0].data, call->in[0]->data, ldnq_dtype_size(call->in[0]->dtype));
        return LDNQ_OK;
    }
    if (ldnq_resize_only_copies(resize)) {
        resize_by_copying_nearest(call, &axes);
        return LDNQ_OK;
    }
    size_t *index = call->scratch;
    float *weight = (float *)(void *)(index + counts.table);
    float *buffers[] = { weight + counts.table, weight + counts.table + counts.buffer };
    resize_axis_by_axis(call, &axes, buffers, index, weight);
    return LDNQ_OK;
}

/* ---- backward ----------------------------------------------------------------------- */

/* The axes are processed from the last to the first; each output's gradient is added to its
 * inputs with their weights. Here x is dy and y is dx. */
static void add_axis_gradient(const void *ctx, size_t first, size_t last)
{
    const struct resize_pass *p = ctx; /* x (outer, out, inner), y (outer, in, inner) */
    for (size_t outer = first; outer < last; outer++) {
        const float *dy = p->x + outer * p->out * p->inner;
        float *dx = p->y + outer * p->in * p->inner;
        memset(dx, 0, p->in * p->inner * sizeof *dx);
        for (size_t o = 0; o < p->out; o++, dy += p->inner)
            for (size_t k = 0; k < p->taps; k++) {
                if (p->index[o * p->taps] == LDNQ_RESIZE_OUTSIDE)
                    break;
                float *to = dx + p->index[o * p->taps + k] * p->inner;
                const float weight = p->weight[o * p->taps + k];
                for (size_t i = 0; i < p->inner; i++)
                    to[i] += dy[i] * weight;
            }
    }
}

static void compute_gradient_axis_by_axis(const struct ldnq_op_grad *grad,
                                          const struct ldnq_resize_axes *axes, float *buffers[2],
                                          size_t *index, float *weight)
{
    const struct ldnq_resize_attrs *resize = grad->call->attrs;
    const float *dy = grad->out[0]->data;
    int first = axes->rank, turn = 0;
    for (int i = axes->rank - 1; i >= 0; i--)
        first = ldnq_resize_is_copy(&axes->axis[i]) ? first : i;
    if (first == axes->rank)
        memcpy(grad->in[0].data, dy, ldnq_tensor_count(&grad->in[0]) * sizeof *dy);
    for (int i = axes->rank - 1; i >= first; i--) {
        const struct ldnq_resize_axis *axis = &axes->axis[i];
        if (ldnq_resize_is_copy(axis))
            continue;
        struct resize_pass pass = { .x = dy,
                                    .y = i == first ? grad->in[0].data : buffers[turn],
                                    .in = axis->in,
                                    .out = axis->out,
                                    .inner = 1,
                                    .index = index,
                                    .taps = ldnq_resize_count_taps(&resize->how, axis),
                                    .weight = weight };
        for (int k = i + 1; k < axes->rank; k++)
            pass.inner *= axes->axis[k].in;
        for (size_t o = 0; o < axis->out; o++)
            weight[o] = 1.0f; /* ldnq_resize_fill_taps writes none for nearest */
        ldnq_resize_fill_taps(&resize->how, axis, index, weight);
        size_t outer = count_floats_before_axis(axes, i + 1) / axis->out / pass.inner;
        ldnq_op_run_rows(grad->call, outer, pass.inner * axis->out * pass.taps, add_axis_gradient,
                         &pass);
        dy = pass.y;
        turn = 1 - turn;
    }
}

static size_t resize_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    return count_scratch_bytes(grad->call, true);
}

static enum ldnq_status resize_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    struct ldnq_resize_axes axes;
    struct resize_scratch_sizes counts;
    bool known;
    LDNQ_TRY(ldnq_resize_find_axes(call, &axes, &known, err));
    if (!known || !count_scratch_elements(call->attrs, &axes, &counts))
        return ldnq_fail(err, LDNQ_MODEL, "its sizes are not known");
    size_t count = ldnq_tensor_count(&grad->in[0]);
    if (!grad->in[0].data || count == 0)
        return LDNQ_OK;
    if (ldnq_tensor_count(&call->out[0]) == 0) {
        memset(grad->in[0].data, 0, count * sizeof(float));
        return LDNQ_OK;
    }
    size_t *index = call->scratch;
    float *weight = (float *)(void *)(index + counts.table);
    float *buffers[] = { weight + counts.table, weight + counts.table + counts.buffer };
    compute_gradient_axis_by_axis(grad, &axes, buffers, index, weight);
    return LDNQ_OK;
}

/* Gradients are those of the first input; READS has the scales and sizes. */
#define RESIZE(name, Type, SINCE, UNTIL, LEAST, MOST, READ, READS)                                 \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = SINCE,                                                                            \
        .until = UNTIL,                                                                            \
        .inputs_min = LEAST,                                                                       \
        .inputs_max = MOST,                                                                        \
        .outputs_max = 1,                                                                          \
        .read_attrs = READ,                                                                        \
        .infer = ldnq_resize_infer_shape,                                                          \
        .scratch_bytes = resize_scratch_bytes,                                                     \
        .count_operations = resize_count_operations,                                               \
        .forward = resize_forward,                                                                 \
        .differentiable = 1,                                                                       \
        .saved_inputs = (READS),                                                                   \
        .backward_scratch_bytes = resize_backward_scratch_bytes,                                   \
        .backward = resize_backward,                                                               \
    };

RESIZE(upsample_7, "Upsample", 7, 8, 1, 1, ldnq_upsample_read_attrs, 0)
RESIZE(upsample, "Upsample", 9, 9, 2, 2, ldnq_upsample_read_attrs, 2)
RESIZE(resize_10, "Resize", 10, 10, 2, 2, ldnq_upsample_read_attrs, 2)
RESIZE(resize, "Resize", 11, LDNQ_OPSET_LATEST, 1, 4, ldnq_resize_read_attrs, 2 | 4 | 8)
