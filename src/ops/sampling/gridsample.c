/* gridsample.c: GridSample: an image interpolated at the places that a grid names.
 *
 * Shapes  x (N, C, r sizes), grid (N, r output sizes, r); out (N, C, r output sizes).
 *         A place is in -1 .. 1 along each axis, the last axis first.
 * Source  ONNX's GridSample: a coordinate outside of the image is brought back by
 *         padding_mode, and so are its neighbours; opset 20 renamed the modes. Cubic
 *         brings back the neighbours alone, as torch and ONNX Runtime do; ONNX's
 *         evaluator differs there at the border.
 */
#include "ops/op.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MOST_AXES 3
#define MOST_TAPS 4
#define MOST_POINTS (MOST_TAPS * MOST_TAPS * MOST_TAPS)
/* Coordinates stay far below where sums of integers overflow. */
#define FARTHEST 1e9f

enum mode { LINEAR, NEAREST, CUBIC, BILINEAR, BICUBIC };
enum padding { ZEROS, BORDER, REFLECTION };

struct gridsample_attrs {
    enum mode mode;
    enum padding padding;
    bool corners;
};

struct sampling {
    const struct gridsample_attrs *attrs;
    const float *x, *grid, *dy;
    float *y, *dx, *dgrid;
    size_t axes, images, channels, positions, plane;
    int64_t size[MOST_AXES];
};

/* ---- attributes and shapes ------------------------------------------------------------- */

static enum ldnq_status read_name(const struct ldnq_node *node, const char *attr,
                                  const char *const *names, int count, int *out,
                                  struct ldnq_error *err)
{
    const char *name = ldnq_attr_string(node, attr, names[0]);
    for (*out = 0; *out < count; ++*out)
        if (strcmp(name, names[*out]) == 0)
            return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "%s=%s is not supported", attr, name);
}

static enum ldnq_status gridsample_read(const struct ldnq_node *node, struct ldnq_arena *arena,
                                        const void **attrs, struct ldnq_error *err)
{
    static const char *const modes[] = { "linear", "nearest", "cubic", "bilinear", "bicubic" };
    static const char *const paddings[] = { "zeros", "border", "reflection" };
    struct gridsample_attrs *a = ldnq_arena_alloc(arena, 1, sizeof *a, err);
    int mode, padding;
    if (!a)
        return LDNQ_NOMEM;
    LDNQ_TRY(read_name(node, "mode", modes, 5, &mode, err));
    LDNQ_TRY(read_name(node, "padding_mode", paddings, 3, &padding, err));
    *a = (struct gridsample_attrs){
        .mode = mode == BILINEAR  ? LINEAR
                : mode == BICUBIC ? CUBIC
                                  : (enum mode)mode,
        .padding = (enum padding)padding,
        .corners = ldnq_attr_int(node, "align_corners", 0) != 0,
    };
    *attrs = a;
    return LDNQ_OK;
}

static bool may_be(int64_t dim, int64_t wanted)
{
    return ldnq_is_symbol(dim) || ldnq_is_symbol(wanted) || dim == wanted;
}

static enum ldnq_status gridsample_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape, *grid = &call->in[1]->shape;
    struct ldnq_shape *out = &call->out[0].shape;
    LDNQ_TRY(ldnq_op_infer_same(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    if (x->rank < 0 || grid->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if (x->rank < 3 || x->rank > 2 + MOST_AXES)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "an input of %d axes is not supported", x->rank);
    if (grid->rank != x->rank || !may_be(grid->dim[grid->rank - 1], x->rank - 2) ||
        !may_be(grid->dim[0], x->dim[0]))
        return ldnq_fail(err, LDNQ_MODEL, "its grid does not fit its input");
    for (int i = 2; i < x->rank; i++) {
        out->dim[i] = grid->dim[i - 1];
        if (x->dim[i] == 0)
            return ldnq_fail(err, LDNQ_MODEL, "axis %d of its input is empty", i);
    }
    return LDNQ_OK;
}

static struct sampling sampling_of(const struct ldnq_op_call *call)
{
    const struct ldnq_shape *x = &call->in[0]->shape, *out = &call->out[0].shape;
    struct sampling s = { .attrs = call->attrs,
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

/* The inputs that a place is made of along one axis: indices (-1 for the zeros around
 * the image), weights, and the weights' slopes in the grid's number. */
struct taps {
    size_t count;
    int64_t index[MOST_TAPS];
    float weight[MOST_TAPS], slope[MOST_TAPS];
};

/* Back between low and high, in mirrors at both; *turned: in an odd one. */
static float reflect(float at, float low, float high, bool *turned)
{
    double range = (double)high - (double)low;
    double way = fabs((double)at - (double)low), rest;
    *turned = at < low;
    if (range <= 0)
        return low;
    rest = fmod(way, 2 * range);
    if (rest <= range)
        return (float)((double)low + rest);
    *turned = !*turned;
    return (float)((double)high - (rest - range));
}

/* Brings a coordinate back; *slope is how it moves then. */
static float bring_back(const struct gridsample_attrs *attrs, int64_t size, float at, float *slope)
{
    const float last = (float)(size - 1), low = attrs->corners ? 0.0f : -0.5f;
    bool turned = false;
    *slope = 1.0f;
    if (attrs->padding == ZEROS || (at >= low && at <= last - low))
        return at;
    if (attrs->padding == REFLECTION) {
        at = reflect(at, low, last - low, &turned);
        *slope = turned ? -1.0f : 1.0f;
        return at;
    }
    *slope = 0.0f;
    return at < 0.0f ? 0.0f : last;
}

static int64_t neighbour(const struct gridsample_attrs *attrs, int64_t size, int64_t at)
{
    float slope;
    if (at >= 0 && at < size)
        return at;
    if (attrs->padding == ZEROS)
        return -1;
    if (attrs->padding == BORDER)
        return at < 0 ? 0 : size - 1;
    at = (int64_t)bring_back(attrs, size, (float)at, &slope);
    return at < 0 ? 0 : at >= size ? size - 1 : at;
}

/* Keys' cubic kernel with a = -0.75, |x| <= 1 and 1 <= |x| <= 2. */
static float cubic_near(float x, float *slope)
{
    *slope = (3.75f * x - 4.5f) * x;
    return (1.25f * x - 2.25f) * x * x + 1.0f;
}

static float cubic_far(float x, float *slope)
{
    *slope = (-2.25f * x + 7.5f) * x - 6.0f;
    return ((-0.75f * x + 3.75f) * x - 6.0f) * x + 3.0f;
}

static void weigh(enum mode mode, float t, struct taps *taps)
{
    if (mode == NEAREST) {
        *taps = (struct taps){ .count = 1, .weight = { 1.0f } };
    } else if (mode == LINEAR) {
        *taps = (struct taps){ .count = 2, .weight = { 1.0f - t, t }, .slope = { -1.0f, 1.0f } };
    } else {
        float *w = taps->weight, *s = taps->slope;
        taps->count = 4;
        w[0] = cubic_far(t + 1.0f, &s[0]);
        w[1] = cubic_near(t, &s[1]);
        w[2] = cubic_near(1.0f - t, &s[2]);
        w[3] = cubic_far(2.0f - t, &s[3]);
        s[2] = -s[2];
        s[3] = -s[3];
    }
}

static void look(const struct gridsample_attrs *attrs, int64_t size, float place, struct taps *taps)
{
    const float length = (float)size, step = attrs->corners ? (length - 1.0f) / 2 : length / 2;
    float at = attrs->corners ? (place + 1.0f) / 2.0f * (length - 1.0f)
                              : ((place + 1.0f) * length - 1.0f) / 2.0f;
    float slope = 1.0f;
    at = !(at > -FARTHEST) ? -FARTHEST : at > FARTHEST ? FARTHEST : at;
    if (attrs->mode == NEAREST)
        at = rintf(at);
    if (attrs->mode != CUBIC)
        at = bring_back(attrs, size, at, &slope);
    float base = floorf(at);
    int64_t first = (int64_t)base - (attrs->mode == CUBIC);
    weigh(attrs->mode, at - base, taps);
    for (size_t k = 0; k < taps->count; k++) {
        taps->index[k] = neighbour(attrs, size, first + (int64_t)k);
        taps->slope[k] *= slope * step;
    }
}

/* ---- all axes ------------------------------------------------------------------------------ */

struct points {
    size_t count;
    size_t at[MOST_POINTS]; /* in a plane of x */
    float weight[MOST_POINTS];
};

static void look_at(const struct sampling *s, size_t row, struct taps taps[MOST_AXES])
{
    for (size_t i = 0; i < s->axes; i++)
        look(s->attrs, s->size[i], s->grid[row * s->axes + s->axes - 1 - i], &taps[i]);
}

/* All products of taps inside of the image; along axis `sloping` with their slopes in
 * the place of their weights. */
static void combine(const struct sampling *s, const struct taps *taps, size_t sloping,
                    struct points *points)
{
    *points = (struct points){ .count = 1, .weight = { 1.0f } };
    for (size_t i = 0; i < s->axes; i++) {
        const float *weight = i == sloping ? taps[i].slope : taps[i].weight;
        const struct points before = *points;
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

static float sum_at(const struct points *points, const float *plane)
{
    float sum = 0.0f;
    for (size_t p = 0; p < points->count; p++)
        sum += points->weight[p] * plane[points->at[p]];
    return sum;
}

/* Rows are (image, position). */
static void sample(const void *ctx, size_t first, size_t last)
{
    const struct sampling *s = ctx;
    struct taps taps[MOST_AXES];
    struct points points;
    for (size_t row = first; row < last; row++) {
        size_t plane = row / s->positions * s->channels, position = row % s->positions;
        look_at(s, row, taps);
        combine(s, taps, MOST_AXES, &points);
        for (size_t c = 0; c < s->channels; c++)
            s->y[(plane + c) * s->positions + position] =
                sum_at(&points, s->x + (plane + c) * s->plane);
    }
}

static enum ldnq_status gridsample_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct sampling s = sampling_of(call);
    (void)err;
    s.y = call->out[0].data;
    if (ldnq_tensor_count(&call->out[0]) > 0)
        ldnq_op_run_rows(call, s.images * s.positions, 8 * s.channels, sample, &s);
    return LDNQ_OK;
}

/* ---- backward ------------------------------------------------------------------------------- */

/* Of x: planes of channels. */
static void spread(const void *ctx, size_t first, size_t last)
{
    const struct sampling *s = ctx;
    struct taps taps[MOST_AXES];
    struct points points;
    for (size_t plane = first; plane < last; plane++) {
        float *dx = s->dx + plane * s->plane;
        memset(dx, 0, s->plane * sizeof *dx);
        for (size_t i = 0; i < s->positions; i++) {
            const float dy = s->dy[plane * s->positions + i];
            look_at(s, plane / s->channels * s->positions + i, taps);
            combine(s, taps, MOST_AXES, &points);
            for (size_t p = 0; p < points.count; p++)
                dx[points.at[p]] += points.weight[p] * dy;
        }
    }
}

/* Of the grid: rows of (image, position). */
static void steer(const void *ctx, size_t first, size_t last)
{
    const struct sampling *s = ctx;
    struct taps taps[MOST_AXES];
    struct points points;
    for (size_t row = first; row < last; row++) {
        size_t plane = row / s->positions * s->channels, position = row % s->positions;
        look_at(s, row, taps);
        for (size_t i = 0; i < s->axes; i++) {
            double sum = 0;
            combine(s, taps, i, &points);
            for (size_t c = 0; c < s->channels; c++)
                sum += (double)s->dy[(plane + c) * s->positions + position] *
                       (double)sum_at(&points, s->x + (plane + c) * s->plane);
            s->dgrid[row * s->axes + s->axes - 1 - i] = (float)sum;
        }
    }
}

static enum ldnq_status gridsample_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    struct sampling s = sampling_of(call);
    (void)err;
    s.dy = grad->out[0]->data;
    s.dx = grad->in[0].data;
    s.dgrid = grad->in[1].data;
    if (s.dx && s.images * s.channels > 0)
        ldnq_op_run_rows(call, s.images * s.channels, s.plane + 8 * s.positions, spread, &s);
    if (s.dgrid && s.images * s.positions > 0)
        ldnq_op_run_rows(call, s.images * s.positions, 16 * s.channels, steer, &s);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_gridsample = {
    .type = "GridSample",
    .since = 16,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .read_attrs = gridsample_read,
    .infer = gridsample_infer,
    .forward = gridsample_forward,
    .differentiable = 3,
    .saved_inputs = 3,
    .backward = gridsample_backward,
};
