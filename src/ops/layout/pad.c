/* SPDX-License-Identifier: Apache-2.0 */
/* pad.c: Pad. Its amounts are an attribute up to opset 10 and an input since 11, and may be
 * for some axes alone since 18. Negative amounts crop.
 *
 * Each axis has a map from output index to input index, -1 for the constant. Rows along the
 * last axis are copied by these maps.
 */
#include "ops/shared/strided.h"

#include <inttypes.h>
#include <string.h>

#include "base/size.h"
#include "ops/shared/float_sums.h"

enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

struct pad_amounts {
    int64_t begin[LDNQ_MAX_RANK], end[LDNQ_MAX_RANK];
};

struct pad_loop {
    const char *x;
    char *y;
    const void *value;                   /* the constant: one element */
    size_t size;                         /* bytes per element */
    int rank;                            /* at least 1 */
    size_t out[LDNQ_MAX_RANK];           /* sizes of the output */
    ptrdiff_t stride[LDNQ_MAX_RANK];     /* strides of the input, in elements */
    const ptrdiff_t *map[LDNQ_MAX_RANK]; /* output index to input index */
    /* Outputs inner_first .. inner_last-1 of the last axis are consecutive inputs. */
    size_t inner_first, inner_last;
};

static enum ldnq_status pad_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                       const void **attrs, struct ldnq_error *err)
{
    static const char *const names[] = { "constant", "reflect", "edge", "wrap" };
    const char *name = ldnq_attr_string(node, "mode", "constant");
    enum pad_mode *mode = ldnq_arena_alloc(arena, 1, sizeof *mode, err);
    if (!mode)
        return LDNQ_NOMEM;
    *attrs = mode;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *mode = (enum pad_mode)i;
            return LDNQ_OK;
        }
    }
    return ldnq_fail(err, LDNQ_MODEL, "mode=%s is not constant, reflect, edge or wrap", name);
}

/* ---- shapes ------------------------------------------------------------------------ */

static enum ldnq_status set_pads_per_axis(const int64_t *pads, size_t count, const int64_t *axes,
                                          int rank, struct pad_amounts *amounts,
                                          struct ldnq_error *err)
{
    *amounts = (struct pad_amounts){ 0 };
    for (size_t i = 0; i < count; i++) {
        int axis;
        LDNQ_TRY(ldnq_op_resolve_axis(axes ? axes[i] : (int64_t)i, rank, &axis, err));
        /* Far above any real size, and small enough that sums don't overflow. */
        if (pads[i] > INT32_MAX || pads[i] < INT32_MIN || pads[count + i] > INT32_MAX ||
            pads[count + i] < INT32_MIN)
            return ldnq_fail(err, LDNQ_MODEL, "the pads of axis %d are not in -2^31 .. 2^31-1",
                             axis);
        amounts->begin[axis] = pads[i];
        amounts->end[axis] = pads[count + i];
    }
    return LDNQ_OK;
}

static enum ldnq_status set_padded_shape(struct ldnq_op_call *call,
                                         const struct pad_amounts *amounts, struct ldnq_error *err)
{
    const struct ldnq_shape *in = &call->in[0]->shape;
    enum pad_mode mode = *(const enum pad_mode *)call->attrs;
    struct ldnq_shape *out = &call->out[0].shape;
    out->rank = in->rank;
    for (int i = 0; i < in->rank; i++) {
        int64_t more = amounts->begin[i] + amounts->end[i];
        if (ldnq_is_symbol(in->dim[i]) && (amounts->begin[i] || amounts->end[i]))
            LDNQ_TRY(ldnq_op_make_unknown_dim(call, &out->dim[i], err));
        else
            out->dim[i] = in->dim[i] + more;
        if (mode != PAD_CONSTANT && in->dim[i] == 0 && out->dim[i] > 0)
            return ldnq_fail(err, LDNQ_MODEL,
                             "axis %d is empty, so that there is nothing to repeat", i);
    }
    return LDNQ_OK;
}

/* ---- forward ------------------------------------------------------------------------- */

/* Maps an output index minus the leading pad to an input index; -1 for the constant.
 * Reflection has the period 2 (size - 1). */
static ptrdiff_t map_output_to_input(enum pad_mode mode, ptrdiff_t at, ptrdiff_t size)
{
    if (at >= 0 && at < size)
        return at;
    if (mode == PAD_CONSTANT || size == 0)
        return -1;
    if (mode == PAD_EDGE)
        return at < 0 ? 0 : size - 1;
    ptrdiff_t period = mode == PAD_WRAP ? size : size > 1 ? 2 * (size - 1) : 1;
    ptrdiff_t phase = (at % period + period) % period;
    return phase < size ? phase : period - phase;
}

static size_t pad_scratch_bytes(const struct ldnq_op_call *call)
{
    size_t total = 1, bytes;
    for (int i = 0; i < call->out[0].shape.rank; i++)
        if (!ldnq_size_add(total, (size_t)call->out[0].shape.dim[i], &total))
            return SIZE_MAX;
    return ldnq_size_mul(total, sizeof(ptrdiff_t), &bytes) ? bytes : SIZE_MAX;
}

static void fill_elements(char *y, size_t count, const void *value, size_t size)
{
    if (size == 4) {
        uint32_t bits, *out = (uint32_t *)(void *)y;
        memcpy(&bits, value, 4);
        for (size_t i = 0; i < count; i++)
            out[i] = bits;
        return;
    }
    for (size_t i = 0; i < count; i++)
        memcpy(y + i * size, value, size);
}

static void pad_elements(const struct pad_loop *pad, const char *x, char *y, size_t first,
                         size_t last)
{
    const ptrdiff_t *map = pad->map[pad->rank - 1];
    for (size_t i = first; i < last; i++)
        memcpy(y + i * pad->size, map[i] < 0 ? pad->value : x + map[i] * (ptrdiff_t)pad->size,
               pad->size);
}

static void pad_row(const struct pad_loop *pad, const char *x, char *y)
{
    size_t first = pad->inner_first, last = pad->inner_last;
    pad_elements(pad, x, y, 0, first);
    if (last > first)
        memcpy(y + first * pad->size, x + pad->map[pad->rank - 1][first] * (ptrdiff_t)pad->size,
               (last - first) * pad->size);
    pad_elements(pad, x, y, last, pad->out[pad->rank - 1]);
}

static void pad_rows(const void *ctx, size_t first, size_t last)
{
    const struct pad_loop *pad = ctx;
    size_t columns = pad->out[pad->rank - 1];
    for (size_t row = first; row < last; row++) {
        size_t rest = row;
        ptrdiff_t from = 0;
        bool inside = true;
        for (int i = pad->rank - 2; i >= 0; i--) {
            ptrdiff_t at = pad->map[i][rest % pad->out[i]];
            rest /= pad->out[i];
            inside = inside && at >= 0;
            from += at * pad->stride[i];
        }
        char *y = pad->y + row * columns * pad->size;
        if (inside)
            pad_row(pad, pad->x + from * (ptrdiff_t)pad->size, y);
        else
            fill_elements(y, columns, pad->value, pad->size);
    }
}

/* Computes the maps in scratch. A scalar is treated as one row of one element. */
static void fill_index_maps(struct pad_loop *pad, const struct ldnq_op_call *call,
                            const struct pad_amounts *amounts)
{
    const struct ldnq_shape *in = &call->in[0]->shape, *out = &call->out[0].shape;
    enum pad_mode mode = *(const enum pad_mode *)call->attrs;
    ptrdiff_t *map = call->scratch;
    pad->rank = out->rank ? out->rank : 1;
    pad->out[0] = 1;
    map[0] = 0;
    pad->map[0] = map;
    ldnq_row_major_strides(in, pad->stride);
    for (int i = 0; i < out->rank; i++) {
        pad->out[i] = (size_t)out->dim[i];
        pad->map[i] = map;
        for (size_t k = 0; k < pad->out[i]; k++)
            *map++ = map_output_to_input(mode, (ptrdiff_t)k - (ptrdiff_t)amounts->begin[i],
                                         (ptrdiff_t)in->dim[i]);
    }
    int last = pad->rank - 1;
    int64_t begin = amounts->begin[last] > 0 ? amounts->begin[last] : 0;
    int64_t end = (out->rank ? in->dim[last] : 1) + amounts->begin[last];
    pad->inner_first = ldnq_size_min((size_t)begin, pad->out[last]);
    pad->inner_last = ldnq_size_min((size_t)(end > 0 ? end : 0), pad->out[last]);
    pad->inner_last = ldnq_size_max(pad->inner_first, pad->inner_last);
}

static enum ldnq_status pad_tensor(const struct ldnq_op_call *call,
                                   const struct pad_amounts *amounts, const void *value)
{
    static const char zero[16];
    const struct ldnq_tensor *out = &call->out[0];
    size_t count = ldnq_tensor_count(out);
    struct pad_loop pad = { .x = call->in[0]->data,
                            .y = out->data,
                            .value = value ? value : zero,
                            .size = ldnq_dtype_size(out->dtype) };
    if (count == 0)
        return LDNQ_OK;
    fill_index_maps(&pad, call, amounts);
    size_t columns = pad.out[pad.rank - 1];
    ldnq_op_run_rows(call, count / columns, columns, pad_rows, &pad);
    return LDNQ_OK;
}

/* ---- gradient -------------------------------------------------------------------------- */

/* Adds the output's gradient y to the input's gradient x. The leading axes that are not
 * padded divide both into parts that are independent of each other. */
struct unpad_loop {
    struct pad_loop pad; /* holds the maps; x, y and value are not used */
    const float *y;
    float *x;
    int first;       /* the first axis inside a part */
    size_t rows, in; /* per part: rows of y, elements of x */
};

static void add_gradients_at_mapped_indices(const struct pad_loop *pad, const float *y, float *x,
                                            size_t first, size_t last)
{
    const ptrdiff_t *map = pad->map[pad->rank - 1];
    for (size_t i = first; i < last; i++)
        if (map[i] >= 0)
            x[map[i]] += y[i];
}

static void add_gradient_row(const struct pad_loop *pad, const float *y, float *x)
{
    size_t first = pad->inner_first, last = pad->inner_last;
    add_gradients_at_mapped_indices(pad, y, x, 0, first);
    if (last > first) {
        float *to = x + pad->map[pad->rank - 1][first];
        for (size_t i = first; i < last; i++)
            to[i - first] += y[i];
    }
    add_gradients_at_mapped_indices(pad, y, x, last, pad->out[pad->rank - 1]);
}

/* The offset in x of a row of a part of y; false if the row is all constant. */
static bool find_source_row(const struct unpad_loop *unpad, size_t row, ptrdiff_t *from)
{
    const struct pad_loop *pad = &unpad->pad;
    bool inside = true;
    *from = 0;
    for (int i = pad->rank - 2; i >= unpad->first; i--) {
        ptrdiff_t at = pad->map[i][row % pad->out[i]];
        row /= pad->out[i];
        inside = inside && at >= 0;
        *from += at * pad->stride[i];
    }
    return inside;
}

static void sum_gradients_of_unpadded_parts(const void *ctx, size_t first, size_t last)
{
    const struct unpad_loop *unpad = ctx;
    size_t columns = unpad->pad.out[unpad->pad.rank - 1];
    for (size_t part = first; part < last; part++) {
        const float *y = unpad->y + part * unpad->rows * columns;
        float *x = unpad->x + part * unpad->in;
        ptrdiff_t at;
        memset(x, 0, unpad->in * sizeof(float));
        for (size_t row = 0; row < unpad->rows; row++)
            if (find_source_row(unpad, row, &at))
                add_gradient_row(&unpad->pad, y + row * columns, x + at);
    }
}

/* The gradient of the constant: the sum of dy over all padding. */
static float sum_gradients_of_padding(const struct unpad_loop *unpad, size_t parts)
{
    const struct pad_loop *pad = &unpad->pad;
    size_t columns = pad->out[pad->rank - 1];
    double sum = 0;
    for (size_t row = 0; row < parts * unpad->rows; row++) {
        const float *y = unpad->y + row * columns;
        ptrdiff_t at;
        if (!find_source_row(unpad, row % unpad->rows, &at))
            sum += ldnq_sum_floats(y, columns);
        else
            for (size_t i = 0; i < columns; i++)
                sum += pad->map[pad->rank - 1][i] < 0 ? (double)y[i] : 0.0;
    }
    return (float)sum;
}

static size_t pad_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    return pad_scratch_bytes(grad->call);
}

static void compute_input_gradient(const struct ldnq_op_grad *grad,
                                   const struct pad_amounts *amounts)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_shape *in = &call->in[0]->shape;
    struct unpad_loop unpad = { .y = grad->out[0]->data, .x = grad->in[0].data };
    size_t count = ldnq_tensor_count(grad->out[0]), all = ldnq_tensor_count(call->in[0]);
    float *constant = call->in_count > 2 ? grad->in[2].data : NULL;
    if (constant)
        *constant = 0.0f;
    if (count == 0) {
        if (unpad.x && all > 0)
            memset(unpad.x, 0, all * sizeof(float));
        return;
    }
    fill_index_maps(&unpad.pad, call, amounts);
    size_t parts = 1;
    while (unpad.first < unpad.pad.rank - 1 && !amounts->begin[unpad.first] &&
           !amounts->end[unpad.first])
        parts *= (size_t)in->dim[unpad.first++];
    unpad.rows = count / parts / unpad.pad.out[unpad.pad.rank - 1];
    unpad.in = all / parts;
    if (unpad.x && all > 0)
        ldnq_op_run_rows(call, parts, count / parts, sum_gradients_of_unpadded_parts, &unpad);
    if (constant)
        *constant = sum_gradients_of_padding(&unpad, parts);
}

/* ---- amounts as an attribute --------------------------------------------------------- */

static enum ldnq_status read_amounts_attr(const struct ldnq_op_call *call,
                                          struct pad_amounts *amounts, struct ldnq_error *err)
{
    size_t count;
    int rank = call->in[0]->shape.rank;
    const int64_t *pads = ldnq_attr_ints(call->node, "pads", &count);
    if (count != 2 * (size_t)rank)
        return ldnq_fail(err, LDNQ_MODEL, "has %zu pads for %d axes", count, rank);
    return set_pads_per_axis(pads, (size_t)rank, NULL, rank, amounts, err);
}

static enum ldnq_status pad_2_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct pad_amounts amounts;
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    call->out[0].dtype = call->in[0]->dtype;
    if (call->in[0]->shape.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(read_amounts_attr(call, &amounts, err));
    return set_padded_shape(call, &amounts, err);
}

static enum ldnq_status pad_2_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct pad_amounts amounts;
    float value = ldnq_attr_float(call->node, "value", 0.0f);
    LDNQ_TRY(read_amounts_attr(call, &amounts, err));
    return pad_tensor(call, &amounts, &value);
}

static enum ldnq_status pad_2_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    struct pad_amounts amounts;
    LDNQ_TRY(read_amounts_attr(grad->call, &amounts, err));
    compute_input_gradient(grad, &amounts);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_pad_2 = {
    .type = "Pad",
    .since = 2,
    .until = 10,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .read_attrs = pad_read_attrs,
    .infer = pad_2_infer_shape,
    .scratch_bytes = pad_scratch_bytes,
    .forward = pad_2_forward,
    .differentiable = 1,
    .backward_scratch_bytes = pad_backward_scratch_bytes,
    .backward = pad_2_backward,
};

/* ---- amounts as an input -------------------------------------------------------------- */

static enum ldnq_status read_amounts_input(const struct ldnq_op_call *call,
                                           struct pad_amounts *amounts, bool *known,
                                           struct ldnq_error *err)
{
    int64_t pads[2 * LDNQ_MAX_RANK], axes[LDNQ_MAX_RANK];
    int rank = call->in[0]->shape.rank;
    size_t count, axis_count = (size_t)rank;
    bool axes_known = true, chosen = ldnq_op_input(call, 3) != NULL;
    LDNQ_TRY(ldnq_op_read_ints(call, 1, pads, 2 * LDNQ_MAX_RANK, &count, known, err));
    if (chosen)
        LDNQ_TRY(ldnq_op_read_ints(call, 3, axes, LDNQ_MAX_RANK, &axis_count, &axes_known, err));
    *known = *known && axes_known;
    if (!*known)
        return LDNQ_OK;
    if (count != 2 * axis_count)
        return ldnq_fail(err, LDNQ_MODEL, "has %zu pads for %zu axes", count, axis_count);
    return set_pads_per_axis(pads, axis_count, chosen ? axes : NULL, rank, amounts, err);
}

static enum ldnq_status pad_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct pad_amounts amounts;
    bool known;
    struct ldnq_shape *out = &call->out[0].shape;
    const struct ldnq_tensor *value = ldnq_op_input(call, 2);
    call->out[0].dtype = call->in[0]->dtype;
    LDNQ_TRY(ldnq_op_require_one_element(call, 2, err));
    if (value && value->dtype != call->in[0]->dtype)
        return ldnq_fail(err, LDNQ_MODEL, "its constant has type %s where its input has %s",
                         ldnq_dtype_name(value->dtype), ldnq_dtype_name(call->in[0]->dtype));
    if (call->in[0]->shape.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(read_amounts_input(call, &amounts, &known, err));
    if (known)
        return set_padded_shape(call, &amounts, err);
    out->rank = call->in[0]->shape.rank;
    for (int i = 0; i < out->rank; i++)
        LDNQ_TRY(ldnq_op_make_unknown_dim(call, &out->dim[i], err));
    return LDNQ_OK;
}

static enum ldnq_status pad_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *value = ldnq_op_input(call, 2);
    struct pad_amounts amounts;
    bool known;
    LDNQ_TRY(read_amounts_input(call, &amounts, &known, err));
    if (!known)
        return ldnq_fail(err, LDNQ_MODEL, "its pads are not known");
    return pad_tensor(call, &amounts, value ? value->data : NULL);
}

static enum ldnq_status pad_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    struct pad_amounts amounts;
    bool known;
    LDNQ_TRY(read_amounts_input(grad->call, &amounts, &known, err));
    if (!known)
        return ldnq_fail(err, LDNQ_MODEL, "its pads are not known");
    compute_input_gradient(grad, &amounts);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_pad = {
    .type = "Pad",
    .since = 11,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 4,
    .outputs_max = 1,
    .read_attrs = pad_read_attrs,
    .infer = pad_infer_shape,
    .scratch_bytes = pad_scratch_bytes,
    .forward = pad_forward,
    .differentiable = 5,
    .saved_inputs = 0xa,
    .backward_scratch_bytes = pad_backward_scratch_bytes,
    .backward = pad_backward,
};
