/* SPDX-License-Identifier: Apache-2.0 */
/* gridsample.c: GridSample: an image interpolated at the locations of a grid.
 *
 * Shapes  x (N, C, [D,] H, W), grid (N, [OD,] OH, OW, r) for r spatial axes;
 *         y (N, C, [OD,] OH, OW). A location has r coordinates in -1 .. 1, the one of the
 *         last axis first: (x, y) or (x, y, z).
 * Source  onnx.ai/onnx/operators/onnx__GridSample.html. padding_mode moves a location
 *         outside of the image back into it, and then the neighbours that are
 *         interpolated. Cubic moves the neighbours only, as torch and ONNX Runtime do;
 *         ONNX's reference evaluator differs there at the border. Opset 20 renamed the
 *         modes.
 */
#include "ops/op.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MAX_AXES 3
#define MAX_TAPS 4
#define MAX_POINTS (MAX_TAPS * MAX_TAPS * MAX_TAPS)
/* Pixel coordinates are limited to this, far below the range of int64_t. */
#define MAX_COORDINATE 1e9f

enum gridsample_mode { LINEAR, NEAREST, CUBIC, BILINEAR, BICUBIC };
enum gridsample_padding { ZEROS, BORDER, REFLECTION };

struct gridsample_attrs {
    enum gridsample_mode mode;
    enum gridsample_padding padding;
    bool align_corners;
};

struct grid_sampler {
    const struct gridsample_attrs *attrs;
    const float *x, *grid, *dy;
    float *y, *dx, *dgrid;
    size_t axes, images, channels; /* r, N, C */
    size_t positions, plane;       /* [OD*]OH*OW, [D*]H*W */
    int64_t size[MAX_AXES];        /* sizes of x: [D,] H, W */
};

/* ---- attributes and shapes ------------------------------------------------------------- */

static enum ldnq_status read_enum_attr(const struct ldnq_node *node, const char *attr,
                                       const char *const *names, int count, int *out,
                                       struct ldnq_error *err)
{
    const char *name = ldnq_attr_string(node, attr, names[0]);
    for (*out = 0; *out < count; ++*out)
        if (strcmp(name, names[*out]) == 0)
            return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "%s=%s is not supported", attr, name);
}

static enum ldnq_status gridsample_read_attrs(const struct ldnq_node *node,
                                              struct ldnq_arena *arena, const void **attrs,
                                              struct ldnq_error *err)
{
    static const char *const modes[] = { "linear", "nearest", "cubic", "bilinear", "bicubic" };
    static const char *const paddings[] = { "zeros", "border", "reflection" };
    struct gridsample_attrs *a = ldnq_arena_alloc(arena, 1, sizeof *a, err);
    int mode, padding;
    if (!a)
        return LDNQ_NOMEM;
    LDNQ_TRY(read_enum_attr(node, "mode", modes, 5, &mode, err));
    LDNQ_TRY(read_enum_attr(node, "padding_mode", paddings, 3, &padding, err));
    *a = (struct gridsample_attrs){
        .mode = mode == BILINEAR  ? LINEAR
                : mode == BICUBIC ? CUBIC
                                  : (enum gridsample_mode)mode,
        .padding = (enum gridsample_padding)padding,
        .align_corners = ldnq_attr_int(node, "align_corners", 0) != 0,
    };
    *attrs = a;
    return LDNQ_OK;
}

static enum ldnq_status gridsample_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape, *grid = &call->in[1]->shape;
    struct ldnq_shape *out = &call->out[0].shape;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    if (x->rank < 0 || grid->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if (x->rank < 3 || x->rank > 2 + MAX_AXES)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "an input of %d axes is not supported", x->rank);
    if (grid->rank != x->rank || !ldnq_op_dims_may_match(grid->dim[grid->rank - 1], x->rank - 2) ||
        !ldnq_op_dims_may_match(grid->dim[0], x->dim[0]))
        return ldnq_fail(err, LDNQ_MODEL, "its grid does not fit its input");
    for (int i = 2; i < x->rank; i++) {
        out->dim[i] = grid->dim[i - 1];
        if (x->dim[i] == 0)
            return ldnq_fail(err, LDNQ_MODEL, "axis %d of its input is empty", i);
    }
    return LDNQ_OK;
}

static struct grid_sampler make_sampler(const struct ldnq_op_call *call)
{
    const struct ldnq_shape *x = &call->in[0]->shape, *out = &call->out[0].shape;
    struct grid_sampler s = { .attrs = call->attrs,
                              .x = call->in[0]->data,
                              .grid = call->in[1]->data,
                              .axes = (size_t)x->rank - 2,
                              .images = (size_t)x->dim[0],
                              .channels = (size_t)x->dim[1],
                              .positions = 1,
                              .plane = 1 };
    for (size_t i = 0; i < s.axes; i++) {
        s.size[i] = x->dim[i + 2];
        s.plane *= (size_t)x->dim[i + 2];
        s.positions *= (size_t)out->dim[i + 2];
    }
    return s;
}

/* ---- one axis ------------------------------------------------------------------------------ */

/* The input elements that are interpolated along one axis: their indices (-1 for a zero outside
 * of the image), weights, and derivatives of the weights by the grid's coordinate. */
struct sample_taps {
    size_t count;
    int64_t index[MAX_TAPS];
    float weight[MAX_TAPS], slope[MAX_TAPS];
};

/* Reflects a coordinate at low and high until it is between them. *is_flipped: after an odd
 * number of reflections. */
static float reflect_coordinate(float at, float low, float high, bool *is_flipped)
{
    double range = (double)high - (double)low;
    double distance = fabs((double)at - (double)low), rest;
    *is_flipped = at < low;
    if (range <= 0)
        return low;
    rest = fmod(distance, 2 * range);
    if (rest <= range)
        return (float)((double)low + rest);
    *is_flipped = !*is_flipped;
    return (float)((double)high - (rest - range));
}

/* Applies padding_mode to a pixel coordinate. *slope: the derivative of the result. */
static float pad_coordinate(const struct gridsample_attrs *attrs, int64_t size, float at,
                            float *slope)
{
    const float last = (float)(size - 1), low = attrs->align_corners ? 0.0f : -0.5f;
    bool is_flipped = false;
    *slope = 1.0f;
    if (attrs->padding == ZEROS || (at >= low && at <= last - low))
        return at;
    if (attrs->padding == REFLECTION) {
        at = reflect_coordinate(at, low, last - low, &is_flipped);
        *slope = is_flipped ? -1.0f : 1.0f;
        return at;
    }
    *slope = 0.0f;
    return at < 0.0f ? 0.0f : last;
}

/* Applies padding_mode to the index of a neighbour; -1 for a zero outside of the image. */
static int64_t map_padded_index(const struct gridsample_attrs *attrs, int64_t size, int64_t at)
{
    float slope;
    if (at >= 0 && at < size)
        return at;
    if (attrs->padding == ZEROS)
        return -1;
    if (attrs->padding == BORDER)
        return at < 0 ? 0 : size - 1;
    at = (int64_t)pad_coordinate(attrs, size, (float)at, &slope);
    return at < 0 ? 0 : at >= size ? size - 1 : at;
}

/* Keys' cubic convolution kernel with a = -0.75, for x <= 1 and for 1 <= x <= 2, with its
 * derivative *slope. Source: Keys, "Cubic convolution interpolation", 1981. */
static float evaluate_cubic_to_1(float x, float *slope)
{
    *slope = (3.75f * x - 4.5f) * x;
    return (1.25f * x - 2.25f) * x * x + 1.0f;
}

static float evaluate_cubic_1_to_2(float x, float *slope)
{
    *slope = (-2.25f * x + 7.5f) * x - 6.0f;
    return ((-0.75f * x + 3.75f) * x - 6.0f) * x + 3.0f;
}

/* The weights of the neighbours of a coordinate that is `t` after the first neighbour (cubic:
 * after the second). */
static void find_weights(enum gridsample_mode mode, float t, struct sample_taps *taps)
{
    if (mode == NEAREST) {
        *taps = (struct sample_taps){ .count = 1, .weight = { 1.0f } };
    } else if (mode == LINEAR) {
        *taps =
            (struct sample_taps){ .count = 2, .weight = { 1.0f - t, t }, .slope = { -1.0f, 1.0f } };
    } else {
        float *w = taps->weight, *s = taps->slope;
        taps->count = 4;
        w[0] = evaluate_cubic_1_to_2(t + 1.0f, &s[0]);
        w[1] = evaluate_cubic_to_1(t, &s[1]);
        w[2] = evaluate_cubic_to_1(1.0f - t, &s[2]);
        w[3] = evaluate_cubic_1_to_2(2.0f - t, &s[3]);
        s[2] = -s[2];
        s[3] = -s[3];
    }
}

/* The taps along one axis of `size` elements for a coordinate of the grid. */
static void find_axis_taps(const struct gridsample_attrs *attrs, int64_t size, float location,
                           struct sample_taps *taps)
{
    const float length = (float)size,
                step = attrs->align_corners ? (length - 1.0f) / 2 : length / 2;
    float at = attrs->align_corners ? (location + 1.0f) / 2.0f * (length - 1.0f)
                                    : ((location + 1.0f) * length - 1.0f) / 2.0f;
    float slope = 1.0f;
    at = !(at > -MAX_COORDINATE) ? -MAX_COORDINATE : at > MAX_COORDINATE ? MAX_COORDINATE : at;
    if (attrs->mode == NEAREST)
        at = rintf(at);
    if (attrs->mode != CUBIC)
        at = pad_coordinate(attrs, size, at, &slope);
    float base = floorf(at);
    int64_t first = (int64_t)base - (attrs->mode == CUBIC);
    find_weights(attrs->mode, at - base, taps);
    for (size_t k = 0; k < taps->count; k++) {
        taps->index[k] = map_padded_index(attrs, size, first + (int64_t)k);
        taps->slope[k] *= slope * step;
    }
}

/* ---- all axes ------------------------------------------------------------------------------ */

/* The input elements that are interpolated over all axes. */
struct sample_points {
    size_t count;
    size_t at[MAX_POINTS]; /* index in a plane of x */
    float weight[MAX_POINTS];
};

/* The taps along all axes for row `row` of the grid. */
static void find_taps(const struct grid_sampler *s, size_t row, struct sample_taps taps[MAX_AXES])
{
    for (size_t i = 0; i < s->axes; i++)
        find_axis_taps(s->attrs, s->size[i], s->grid[row * s->axes + s->axes - 1 - i], &taps[i]);
}

/* The products of the axes' taps, without those outside of the image. Axis slope_axis, if
 * there is one, uses the derivatives instead of the weights. */
static void multiply_taps(const struct grid_sampler *s, const struct sample_taps *taps,
                          size_t slope_axis, struct sample_points *points)
{
    *points = (struct sample_points){ .count = 1, .weight = { 1.0f } };
    for (size_t i = 0; i < s->axes; i++) {
        const float *weight = i == slope_axis ? taps[i].slope : taps[i].weight;
        const struct sample_points before = *points;
        points->count = 0;
        for (size_t p = 0; p < before.count; p++) {
            for (size_t k = 0; k < taps[i].count; k++) {
                if (taps[i].index[k] < 0)
                    continue;
                points->at[points->count] =
                    before.at[p] * (size_t)s->size[i] + (size_t)taps[i].index[k];
                points->weight[points->count++] = before.weight[p] * weight[k];
            }
        }
    }
}

/* The weighted sum of the points in one plane of x. */
static float sum_weighted_points(const struct sample_points *points, const float *plane)
{
    float sum = 0.0f;
    for (size_t p = 0; p < points->count; p++)
        sum += points->weight[p] * plane[points->at[p]];
    return sum;
}

/* Rows first .. last-1 of the grid, counted over (N, positions). */
static void sample_rows(const void *ctx, size_t first, size_t last)
{
    const struct grid_sampler *s = ctx;
    struct sample_taps taps[MAX_AXES];
    struct sample_points points;
    for (size_t row = first; row < last; row++) {
        size_t plane = row / s->positions * s->channels, position = row % s->positions;
        find_taps(s, row, taps);
        multiply_taps(s, taps, MAX_AXES, &points);
        for (size_t c = 0; c < s->channels; c++)
            s->y[(plane + c) * s->positions + position] =
                sum_weighted_points(&points, s->x + (plane + c) * s->plane);
    }
}

static enum ldnq_status gridsample_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct grid_sampler s = make_sampler(call);
    (void)err;
    s.y = call->out[0].data;
    if (ldnq_tensor_count(&call->out[0]) > 0)
        ldnq_op_run_rows(call, s.images * s.positions, 8 * s.channels, sample_rows, &s);
    return LDNQ_OK;
}

/* ---- backward ------------------------------------------------------------------------------- */

/* dx, for planes first .. last-1 of all N*C. */
static void compute_plane_gradients(const void *ctx, size_t first, size_t last)
{
    const struct grid_sampler *s = ctx;
    struct sample_taps taps[MAX_AXES];
    struct sample_points points;
    for (size_t plane = first; plane < last; plane++) {
        float *dx = s->dx + plane * s->plane;
        memset(dx, 0, s->plane * sizeof *dx);
        for (size_t i = 0; i < s->positions; i++) {
            const float dy = s->dy[plane * s->positions + i];
            find_taps(s, plane / s->channels * s->positions + i, taps);
            multiply_taps(s, taps, MAX_AXES, &points);
            for (size_t p = 0; p < points.count; p++)
                dx[points.at[p]] += points.weight[p] * dy;
        }
    }
}

/* dgrid, for rows first .. last-1 of the grid. */
static void compute_grid_gradient(const void *ctx, size_t first, size_t last)
{
    const struct grid_sampler *s = ctx;
    struct sample_taps taps[MAX_AXES];
    struct sample_points points;
    for (size_t row = first; row < last; row++) {
        size_t plane = row / s->positions * s->channels, position = row % s->positions;
        find_taps(s, row, taps);
        for (size_t i = 0; i < s->axes; i++) {
            double sum = 0;
            multiply_taps(s, taps, i, &points);
            for (size_t c = 0; c < s->channels; c++)
                sum += (double)s->dy[(plane + c) * s->positions + position] *
                       (double)sum_weighted_points(&points, s->x + (plane + c) * s->plane);
            s->dgrid[row * s->axes + s->axes - 1 - i] = (float)sum;
        }
    }
}

static enum ldnq_status gridsample_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    struct grid_sampler s = make_sampler(call);
    (void)err;
    s.dy = grad->out[0]->data;
    s.dx = grad->in[0].data;
    s.dgrid = grad->in[1].data;
    if (s.dx && s.images * s.channels > 0)
        ldnq_op_run_rows(call, s.images * s.channels, s.plane + 8 * s.positions,
                         compute_plane_gradients, &s);
    if (s.dgrid && s.images * s.positions > 0)
        ldnq_op_run_rows(call, s.images * s.positions, 16 * s.channels, compute_grid_gradient, &s);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_gridsample = {
    .type = "GridSample",
    .since = 16,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .read_attrs = gridsample_read_attrs,
    .infer = gridsample_infer_shape,
    .forward = gridsample_forward,
    .differentiable = 3,
    .saved_inputs = 3,
    .backward = gridsample_backward,
};
