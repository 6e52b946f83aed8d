#include "ops/sampling/resize_axis.h"

#include <math.h>

/* How far the filter is stretched over the input: only where antialias shrinks. */
static float stretch(const struct ldnq_resize *resize, const struct ldnq_resize_axis *axis)
{
    return resize->antialias && axis->scale < 1.0f ? axis->scale : 1.0f;
}

/* The first tap's distance from the input at or before the coordinate. */
static ptrdiff_t first_tap(const struct ldnq_resize *resize, const struct ldnq_resize_axis *axis)
{
    float radius = resize->mode == LDNQ_CUBIC ? 2.0f : 1.0f;
    return (ptrdiff_t)floorf(-radius / stretch(resize, axis)) + 1;
}

size_t ldnq_resize_taps(const struct ldnq_resize *resize, const struct ldnq_resize_axis *axis)
{
    return resize->mode == LDNQ_NEAREST ? 1 : (size_t)(2 - 2 * first_tap(resize, axis));
}

bool ldnq_resize_is_copy(const struct ldnq_resize_axis *axis)
{
    return axis->in == axis->out && axis->scale == 1.0f && axis->start == 0.0f && axis->end == 1.0f;
}

/* From one end of what is cut out to the other. */
static float crop(const struct ldnq_resize_axis *axis, float x)
{
    float last = (float)axis->in - 1.0f;
    if (axis->out == 1)
        return 0.5f * (axis->start + axis->end) * last;
    return axis->start * last + x * (axis->end - axis->start) * last / ((float)axis->out - 1.0f);
}

static float coordinate(const struct ldnq_resize *resize, const struct ldnq_resize_axis *axis,
                        size_t o)
{
    float x = (float)o, in = (float)axis->in, out = (float)axis->out;
    switch (resize->coordinate) {
    case LDNQ_ASYMMETRIC:
        return x / axis->scale;
    case LDNQ_ALIGN_CORNERS:
        return axis->out == 1 ? 0.0f : x * (in - 1.0f) / (out - 1.0f);
    case LDNQ_PYTORCH_HALF_PIXEL:
        return axis->out > 1 ? (x + 0.5f) / axis->scale - 0.5f : 0.0f;
    case LDNQ_TF_HALF_PIXEL_FOR_NN:
        return (x + 0.5f) / axis->scale;
    case LDNQ_TF_CROP_AND_RESIZE:
        return crop(axis, x);
    case LDNQ_HALF_PIXEL_SYMMETRIC:
        /* Rounding the output's size must not move the centre. */
        return in / 2.0f * (1.0f - out / (axis->scale * in)) + (x + 0.5f) / axis->scale - 0.5f;
    default:
        return (x + 0.5f) / axis->scale - 0.5f;
    }
}

static float nearest(enum ldnq_resize_nearest mode, float x)
{
    switch (mode) {
    case LDNQ_FLOOR:
        return floorf(x);
    case LDNQ_CEIL:
        return ceilf(x);
    case LDNQ_ROUND_PREFER_CEIL:
        return floorf(x + 0.5f);
    default:
        return ceilf(x - 0.5f);
    }
}

static float filter(const struct ldnq_resize *resize, float distance)
{
    float x = fabsf(distance), a = resize->cubic_a;
    if (resize->mode == LDNQ_LINEAR)
        return x < 1.0f ? 1.0f - x : 0.0f;
    if (x <= 1.0f)
        return ((a + 2.0f) * x - (a + 3.0f)) * x * x + 1.0f;
    return x < 2.0f ? ((a * x - 5.0f * a) * x + 8.0f * a) * x - 4.0f * a : 0.0f;
}

static size_t clamp(float at, size_t size)
{
    return at <= 0.0f ? 0 : at >= (float)(size - 1) ? size - 1 : (size_t)at;
}

/* The taps of one output around x. */
static void weigh(const struct ldnq_resize *resize, const struct ldnq_resize_axis *axis, float x,
                  size_t taps, size_t *index, float *weight)
{
    float base = floorf(x), ratio = x - base, s = stretch(resize, axis), sum = 0.0f;
    float first = (float)first_tap(resize, axis);
    for (size_t k = 0; k < taps; k++) {
        float offset = first + (float)k, at = base + offset;
        bool outside = at < 0.0f || at > (float)(axis->in - 1);
        weight[k] =
            outside && resize->exclude_outside ? 0.0f : filter(resize, s * (offset - ratio));
        index[k] = clamp(at, axis->in);
        sum += weight[k];
    }
    bool scaled = resize->antialias || resize->exclude_outside;
    for (size_t k = 0; k < taps && scaled && sum != 0.0f; k++)
        weight[k] /= sum;
}

static void leave_out(size_t taps, size_t *index)
{
    for (size_t k = 0; k < taps; k++)
        index[k] = LDNQ_RESIZE_OUTSIDE;
}

void ldnq_resize_fill(const struct ldnq_resize *resize, const struct ldnq_resize_axis *axis,
                      size_t *index, float *weight)
{
    size_t taps = ldnq_resize_taps(resize, axis);
    for (size_t o = 0; o < axis->out; o++) {
        float x = coordinate(resize, axis, o);
        bool outside = resize->coordinate == LDNQ_TF_CROP_AND_RESIZE &&
                       !(x >= 0.0f && x <= (float)(axis->in - 1));
        if (outside)
            leave_out(taps, index + o * taps);
        else if (resize->mode == LDNQ_NEAREST)
            index[o] = clamp(nearest(resize->nearest, x), axis->in);
        else
            weigh(resize, axis, x, taps, index + o * taps, weight + o * taps);
    }
}
