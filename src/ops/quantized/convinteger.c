/* SPDX-License-Identifier: Apache-2.0 */
/* convinteger.c: ConvInteger and QLinearConv over one to three spatial axes: im2col and an
 * integer matrix product per tile of output positions.
 *
 * Shapes  x (N, C, D, H, W), w (M, C/G, KD, KH, KW), y (N, M, OD, OH, OW); missing axes
 *         have size 1
 * Numbers codes.h; the padding has the value of x's zero point, so 0 once that is subtracted
 * Threads a chunk is one tile of one group of one image
 * Source  onnx.ai/onnx/operators/onnx__ConvInteger.html, QLinearConv
 */
#include "ops/quantized/codes.h"

#include <inttypes.h>

#include "base/size.h"
#include "ops/operation_count.h"
#include "ops/shared/sliding_window.h"

#define TILE ((size_t)64)
#define AXES LDNQ_WINDOW_AXES

/* The indices of the inputs that both operators have. */
struct convinteger_inputs {
    size_t x, w, x_zero, w_zero;
};

static const struct convinteger_inputs convinteger_inputs = { 0, 1, 2, 3 };
static const struct convinteger_inputs qlinearconv_inputs = { 0, 3, 2, 5 };

enum { X_SCALE = 1, W_SCALE = 4, Y_SCALE = 6, Y_ZERO = 7, BIAS = 8 };

struct convinteger_attrs {
    struct ldnq_window window;
    int64_t groups;
};

static enum ldnq_status convinteger_read_attrs(const struct ldnq_node *node,
                                               struct ldnq_arena *arena, const void **out,
                                               struct ldnq_error *err)
{
    struct convinteger_attrs *attrs = ldnq_arena_alloc(arena, 1, sizeof *attrs, err);
    if (!attrs)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_window_read_attrs(node, &attrs->window, err));
    attrs->groups = ldnq_attr_int(node, "group", 1);
    if (attrs->groups < 1)
        return ldnq_fail(err, LDNQ_MODEL, "group=%" PRId64 " is not possible", attrs->groups);
    *out = attrs;
    return LDNQ_OK;
}

/* ---- shapes ------------------------------------------------------------------------------ */

static enum ldnq_status check_sizes(const struct ldnq_op_call *call,
                                    const struct convinteger_inputs *at, struct ldnq_error *err)
{
    const struct convinteger_attrs *attrs = call->attrs;
    const struct ldnq_shape *x = &call->in[at->x]->shape, *w = &call->in[at->w]->shape;
    char a[LDNQ_SHAPE_TEXT], b[LDNQ_SHAPE_TEXT];
    int axes = w->rank - 2;
    int64_t channels;
    bool fits = axes >= 1 && axes <= AXES && x->rank == w->rank &&
                (!attrs->window.axes || attrs->window.axes == (size_t)axes);
    if (fits && !ldnq_is_symbol(w->dim[0]))
        fits = w->dim[0] % attrs->groups == 0;
    if (fits && !ldnq_is_symbol(w->dim[1]))
        fits = ldnq_int64_mul(w->dim[1], attrs->groups, &channels) &&
               ldnq_op_dims_may_match(x->dim[1], channels);
    for (int i = 0; fits && i < axes; i++)
        fits = !attrs->window.kernel[i] ||
               ldnq_op_dims_may_match(w->dim[2 + i], attrs->window.kernel[i]);
    if (fits)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL,
                     "its input of shape %s and its weight of shape %s don't go "
                     "together in %" PRId64 " groups",
                     ldnq_shape_print(x, NULL, a, sizeof a), ldnq_shape_print(w, NULL, b, sizeof b),
                     attrs->groups);
}

/* Checks that an input has one number per output channel, or, with `single`, one number. */
static enum ldnq_status check_per_channel(const struct ldnq_op_call *call, size_t input,
                                          size_t weight, bool single, struct ldnq_error *err)
{
    const struct ldnq_tensor *tensor = ldnq_op_input(call, input);
    const struct ldnq_shape *w = &call->in[weight]->shape;
    size_t count;
    if (!tensor || w->rank < 0 || ldnq_is_symbol(w->dim[0]) ||
        !ldnq_shape_count(&tensor->shape, &count) || (single && count == 1) ||
        count == (size_t)w->dim[0])
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL,
                     "input %zu has %zu elements where there are %" PRId64 " output channels",
                     input, count, w->dim[0]);
}

static enum ldnq_status infer_conv(struct ldnq_op_call *call, const struct convinteger_inputs *at,
                                   struct ldnq_error *err)
{
    const struct convinteger_attrs *attrs = call->attrs;
    LDNQ_TRY(ldnq_codes_check_types(call, at->x, at->x_zero, err));
    LDNQ_TRY(ldnq_codes_check_types(call, at->w, at->w_zero, err));
    LDNQ_TRY(ldnq_op_require_one_element(call, at->x_zero, err));
    const struct ldnq_shape *x = &call->in[at->x]->shape, *w = &call->in[at->w]->shape;
    if (x->rank < 0 || w->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(check_sizes(call, at, err));
    LDNQ_TRY(check_per_channel(call, at->w_zero, at->w, true, err));
    struct ldnq_shape *y = &call->out[0].shape;
    *y = *x;
    y->dim[1] = w->dim[0];
    for (int i = 2; i < x->rank; i++)
        LDNQ_TRY(ldnq_window_infer_output(call, &attrs->window, (size_t)i - 2, x->dim[i], w->dim[i],
                                          &y->dim[i], NULL, err));
    return LDNQ_OK;
}

/* ---- columns ------------------------------------------------------------------------------- */

struct integer_conv {
    size_t images, groups, channels, outputs; /* N, G, C and M per group */
    size_t in[AXES], kernel[AXES], out[AXES], stride[AXES], dilation[AXES], pad[AXES];
    size_t cols, positions, size; /* K = C*KD*KH*KW; OD*OH*OW; D*H*W */
    const int16_t *x, *w;
    int32_t *sums;    /* ConvInteger: y. QLinearConv: (M, TILE) per thread */
    int16_t *columns; /* (K, TILE) per thread */
    /* QLinearConv only */
    uint8_t *y;
    enum ldnq_dtype dtype;
    int32_t zero;
    const int32_t *bias;
    const float *w_scale;
    size_t w_step;
    float x_scale, y_scale;
};

static struct integer_conv make_conv(const struct ldnq_op_call *call,
                                     const struct convinteger_inputs *at)
{
    const struct convinteger_attrs *attrs = call->attrs;
    const struct ldnq_shape *x = &call->in[at->x]->shape, *w = &call->in[at->w]->shape;
    struct integer_conv c = { .images = (size_t)x->dim[0],
                              .groups = (size_t)attrs->groups,
                              .channels = (size_t)w->dim[1],
                              .outputs = (size_t)(w->dim[0] / attrs->groups),
                              .cols = (size_t)w->dim[1],
                              .positions = 1,
                              .size = 1 };
    struct ldnq_op_call at_run_time = *call;
    size_t front = AXES - ((size_t)x->rank - 2);
    for (size_t i = 0; i < AXES; i++) {
        int64_t out = 1, begin = 0;
        bool is_there = i >= front;
        size_t axis = is_there ? i - front : 0;
        if (is_there &&
            ldnq_window_infer_output(&at_run_time, &attrs->window, axis, x->dim[2 + axis],
                                     w->dim[2 + axis], &out, &begin, NULL) != LDNQ_OK)
            out = begin = 0;
        c.in[i] = is_there ? (size_t)x->dim[2 + axis] : 1;
        c.kernel[i] = is_there ? (size_t)w->dim[2 + axis] : 1;
        c.stride[i] = is_there ? (size_t)attrs->window.stride[axis] : 1;
        c.dilation[i] = is_there ? (size_t)attrs->window.dilation[axis] : 1;
        c.out[i] = (size_t)out;
        c.pad[i] = (size_t)begin;
        c.cols *= c.kernel[i];
        c.positions *= c.out[i];
        c.size *= c.in[i];
    }
    return c;
}

/* One row of the columns: one tap, for positions first .. first+count-1. */
static void fill_column_row(const struct integer_conv *c, const int16_t *plane,
                            const size_t tap[AXES], size_t first, size_t count, int16_t *row)
{
    size_t at[AXES], rest = first;
    for (int i = AXES - 1; i >= 0; i--) {
        at[i] = rest % c->out[i];
        rest /= c->out[i];
    }
    for (size_t p = 0; p < count; p++) {
        size_t offset = 0;
        bool inside = true;
        for (size_t i = 0; i < AXES; i++) {
            size_t padded = at[i] * c->stride[i] + tap[i] * c->dilation[i];
            inside = inside && padded >= c->pad[i] && padded - c->pad[i] < c->in[i];
            offset = offset * c->in[i] + (padded - c->pad[i]);
        }
        row[p] = inside ? plane[offset] : 0;
        for (int i = AXES - 1; i >= 0 && ++at[i] == c->out[i]; i--)
            at[i] = 0;
    }
}

/* im2col of one group of one image: columns (K, count), rows TILE elements apart. */
static void fill_columns(const struct integer_conv *c, const int16_t *image, size_t first,
                         size_t count, int16_t *columns)
{
    for (size_t channel = 0; channel < c->channels; channel++)
        for (size_t d = 0; d < c->kernel[0]; d++)
            for (size_t h = 0; h < c->kernel[1]; h++)
                for (size_t w = 0; w < c->kernel[2]; w++) {
                    const size_t tap[AXES] = { d, h, w };
                    fill_column_row(c, image + channel * c->size, tap, first, count, columns);
                    columns += TILE;
                }
}

/* ---- tiles --------------------------------------------------------------------------------- */

/* Adds the bias to the sums (M, TILE) of a tile and requantizes them. */
static void requantize_tile(const struct integer_conv *c, size_t image, size_t group, size_t first,
                            size_t count, int32_t *sums)
{
    for (size_t m = 0; m < c->outputs; m++) {
        size_t channel = group * c->outputs + m;
        const float factor = c->x_scale * c->w_scale[channel * c->w_step] / c->y_scale;
        int32_t *row = sums + m * TILE;
        for (size_t i = 0; i < count && c->bias; i++)
            row[i] = (int32_t)((uint32_t)row[i] + (uint32_t)c->bias[channel]);
        ldnq_codes_requantize(row, &factor, 0, c->zero, c->dtype, count,
                              c->y + (image * c->groups * c->outputs + channel) * c->positions +
                                  first);
    }
}

static void convolve_integer_tile(void *ctx, size_t chunk, size_t thread)
{
    const struct integer_conv *c = ctx;
    size_t tiles = ldnq_size_ceil_div(c->positions, TILE), first = chunk % tiles * TILE;
    size_t group = chunk / tiles % c->groups, image = chunk / tiles / c->groups;
    size_t count = ldnq_size_min(TILE, c->positions - first);
    int16_t *columns = c->columns + thread * c->cols * TILE;
    const int16_t *w = c->w + group * c->outputs * c->cols;
    fill_columns(c, c->x + (image * c->groups + group) * c->channels * c->size, first, count,
                 columns);
    if (c->y) {
        int32_t *sums = c->sums + thread * c->outputs * TILE;
        ldnq_codes_multiply(c->outputs, count, c->cols, w, columns, TILE, sums, TILE);
        requantize_tile(c, image, group, first, count, sums);
    } else {
        int32_t *sums = c->sums + (image * c->groups + group) * c->outputs * c->positions + first;
        ldnq_codes_multiply(c->outputs, count, c->cols, w, columns, TILE, sums, c->positions);
    }
}

/* *bytes += a * b * size, rounded up to 64. False on overflow. */
static bool add_rounded_bytes(size_t *bytes, size_t a, size_t b, size_t size)
{
    size_t more;
    return ldnq_size_mul(a, b, &more) && ldnq_size_mul(more, size, &more) && more < SIZE_MAX - 64 &&
           ldnq_size_add(*bytes, (more + 63) / 64 * 64, bytes);
}

/* Scratch holds x and w without zero points, the columns and the sums, in this order;
 * ends[i] is where array i ends, in bytes. */
static bool find_ends_of_scratch_arrays(const struct ldnq_op_call *call,
                                        const struct convinteger_inputs *at,
                                        const struct integer_conv *c, size_t ends[4])
{
    size_t bytes = 0, threads = ldnq_pool_threads(call->pool);
    if (!add_rounded_bytes(&bytes, ldnq_tensor_count(call->in[at->x]), 1, sizeof(int16_t)))
        return false;
    ends[0] = bytes;
    if (!add_rounded_bytes(&bytes, ldnq_tensor_count(call->in[at->w]), 1, sizeof(int16_t)))
        return false;
    ends[1] = bytes;
    if (!add_rounded_bytes(&bytes, threads * TILE, c->cols, sizeof(int16_t)))
        return false;
    ends[2] = bytes;
    bool sums = call->out[0].dtype != LDNQ_INT32;
    if (sums && !add_rounded_bytes(&bytes, threads * TILE, c->outputs, sizeof(int32_t)))
        return false;
    ends[3] = bytes;
    return true;
}

static size_t count_scratch_bytes(const struct ldnq_op_call *call,
                                  const struct convinteger_inputs *at)
{
    struct integer_conv c = make_conv(call, at);
    size_t ends[4];
    return find_ends_of_scratch_arrays(call, at, &c, ends) ? ends[3] : SIZE_MAX;
}

static void convolve_integers(const struct ldnq_op_call *call, const struct convinteger_inputs *at,
                              struct integer_conv *c)
{
    char *scratch = call->scratch;
    const struct ldnq_tensor *w_zero = ldnq_op_input(call, at->w_zero);
    struct ldnq_shape one = { 0 }, by_output = { .rank = call->in[at->w]->shape.rank };
    size_t ends[4];
    find_ends_of_scratch_arrays(call, at, c, ends);
    for (int i = 0; i < by_output.rank; i++)
        by_output.dim[i] = i == 0 ? call->in[at->w]->shape.dim[0] : 1;
    bool single = !w_zero || ldnq_tensor_count(w_zero) == 1;
    int16_t *x = (void *)scratch, *w = (void *)(scratch + ends[0]);
    ldnq_codes_subtract_zero(call, call->in[at->x], ldnq_op_input(call, at->x_zero), &one, x);
    ldnq_codes_subtract_zero(call, call->in[at->w], w_zero, single ? &one : &by_output, w);
    c->x = x;
    c->w = w;
    c->columns = (void *)(scratch + ends[1]);
    c->sums = c->y ? (int32_t *)(void *)(scratch + ends[2]) : call->out[0].data;
    ldnq_pool_run(call->pool, c->images * c->groups * ldnq_size_ceil_div(c->positions, TILE),
                  convolve_integer_tile, c);
}

static size_t count_operations(const struct ldnq_op_call *call, const struct convinteger_inputs *at)
{
    const struct ldnq_shape *w = &call->in[at->w]->shape;
    size_t terms = 0;
    ldnq_shape_count_range(w, 1, w->rank, &terms);
    return ldnq_operations_of_products(call, terms);
}

/* ---- ConvInteger ----------------------------------------------------------------------------- */

static enum ldnq_status convinteger_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    call->out[0].dtype = LDNQ_INT32;
    return infer_conv(call, &convinteger_inputs, err);
}

static size_t convinteger_scratch_bytes(const struct ldnq_op_call *call)
{
    return count_scratch_bytes(call, &convinteger_inputs);
}

static enum ldnq_status convinteger_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct integer_conv conv = make_conv(call, &convinteger_inputs);
    (void)err;
    convolve_integers(call, &convinteger_inputs, &conv);
    return LDNQ_OK;
}

static size_t convinteger_count_operations(const struct ldnq_op_call *call)
{
    return count_operations(call, &convinteger_inputs);
}

const struct ldnq_op ldnq_op_convinteger = {
    .type = "ConvInteger",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 4,
    .outputs_max = 1,
    .read_attrs = convinteger_read_attrs,
    .infer = convinteger_infer_shape,
    .count_operations = convinteger_count_operations,
    .scratch_bytes = convinteger_scratch_bytes,
    .forward = convinteger_forward,
    .differentiable = LDNQ_ALL_INPUTS, /* so that a gradient is refused instead of being 0 */
};

/* ---- QLinearConv ----------------------------------------------------------------------------- */

static enum ldnq_status qlinearconv_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    static const size_t scales[] = { X_SCALE, W_SCALE, Y_SCALE };
    static const size_t single[] = { X_SCALE, Y_SCALE, Y_ZERO };
    for (size_t i = 0; i < 3; i++) {
        LDNQ_TRY(ldnq_op_require_dtype(call, scales[i], LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
        LDNQ_TRY(ldnq_op_require_one_element(call, single[i], err));
    }
    LDNQ_TRY(ldnq_op_require_dtype(call, Y_ZERO, LDNQ_CODES, err));
    LDNQ_TRY(ldnq_op_require_dtype(call, BIAS, LDNQ_DTYPE_BIT(LDNQ_INT32), err));
    LDNQ_TRY(check_per_channel(call, W_SCALE, qlinearconv_inputs.w, true, err));
    LDNQ_TRY(check_per_channel(call, BIAS, qlinearconv_inputs.w, false, err));
    call->out[0].dtype = call->in[Y_ZERO]->dtype;
    return infer_conv(call, &qlinearconv_inputs, err);
}

static size_t qlinearconv_scratch_bytes(const struct ldnq_op_call *call)
{
    return count_scratch_bytes(call, &qlinearconv_inputs);
}

static enum ldnq_status qlinearconv_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct integer_conv conv = make_conv(call, &qlinearconv_inputs);
    const struct ldnq_tensor *bias = ldnq_op_input(call, BIAS);
    (void)err;
    conv.y = call->out[0].data;
    conv.dtype = call->out[0].dtype;
    conv.zero = ldnq_codes_read_zero(call->in[Y_ZERO]);
    conv.bias = bias ? bias->data : NULL;
    conv.x_scale = *(const float *)call->in[X_SCALE]->data;
    conv.y_scale = *(const float *)call->in[Y_SCALE]->data;
    conv.w_scale = call->in[W_SCALE]->data;
    conv.w_step = ldnq_tensor_count(call->in[W_SCALE]) > 1;
    convolve_integers(call, &qlinearconv_inputs, &conv);
    return LDNQ_OK;
}

static size_t qlinearconv_count_operations(const struct ldnq_op_call *call)
{
    return count_operations(call, &qlinearconv_inputs);
}

const struct ldnq_op ldnq_op_qlinearconv = {
    .type = "QLinearConv",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 8,
    .inputs_max = 9,
    .outputs_max = 1,
    .read_attrs = convinteger_read_attrs,
    .infer = qlinearconv_infer_shape,
    .count_operations = qlinearconv_count_operations,
    .scratch_bytes = qlinearconv_scratch_bytes,
    .forward = qlinearconv_forward,
    .differentiable = LDNQ_ALL_INPUTS, /* so that a gradient is refused instead of being 0 */
};
