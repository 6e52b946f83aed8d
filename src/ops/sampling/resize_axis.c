/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/sampling/resize_axis.h"

#include <math.h>

/* The factor by which distances are scaled before the filter: below 1 only where antialias
 * widens the filter for a smaller output. */
static float find_filter_scale(const struct ldnq_picture_resize *resize,
                               const struct ldnq_resize_axis *axis)
{
    return resize->antialias && axis->scale < 1.0f ? axis->scale : 1.0f;
}

/* The first tap's index relative to floor(coordinate). */
static ptrdiff_t find_first_tap(const struct ldnq_picture_resize *resize,
                                const struct ldnq_resize_axis *axis)
{
    float radius = resize->mode == LDNQ_CUBIC ? 2.0f : 1.0f;
    return (ptrdiff_t)floorf(-radius / find_filter_scale(resize, axis)) + 1;
}

size_t ldnq_resize_count_taps(const struct ldnq_picture_resize *resize,
                              const struct ldnq_resize_axis *axis)
{
    /* Only an axis without outputs can have a scale so small that the taps can't be counted. */
    if (resize->mode == LDNQ_NEAREST || axis->out == 0)
        return 1;
    return (size_t)(2 - 2 * find_first_tap(resize, axis));
}

bool ldnq_resize_is_copy(const struct ldnq_resize_axis *axis)
{
    return axis->in == axis->out && axis->scale == 1.0f && axis->start == 0.0f && axis->end == 1.0f;
}

/* tf_crop_and_resize: the coordinate of output x in the region start .. end. */
static float find_crop_coordinate(const struct ldnq_resize_axis *axis, float x)
{
    float last = (float)axis->in - 1.0f;
    if (axis->out == 1)
        return 0.5f * (axis->start + axis->end) * last;
    return axis->start * last + x * (axis->end - axis->start) * last / ((float)axis->out - 1.0f);
}

/* The input coordinate of output o. */
static float find_coordinate(const struct ldnq_picture_resize *resize,
                             const struct ldnq_resize_axis *axis, size_t o)
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
        return find_crop_coordinate(axis, x);
    case LDNQ_HALF_PIXEL_SYMMETRIC:
        /* The centre of the input stays the centre of the output, whose size is rounded. */
        return in / 2.0f * (1.0f - out / (axis->scale * in)) + (x + 0.5f) / axis->scale - 0.5f;
    default:
        return (x + 0.5f) / axis->scale - 0.5f;
    }
}

static float round_nearest(enum ldnq_resize_nearest mode, float x)
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

/* The linear (triangle) or cubic (Keys) filter. */
static float evaluate_filter(const struct ldnq_picture_resize *resize, float distance)
{
    float x = fabsf(distance), a = resize->cubic_a;
    if (resize->mode == LDNQ_LINEAR)
        return x < 1.0f ? 1.0f - x : 0.0f;
    if (x <= 1.0f)
        return ((a + 2.0f) * x - (a + 3.0f)) * x * x + 1.0f;
    return x < 2.0f ? ((a * x - 5.0f * a) * x + 8.0f * a) * x - 4.0f * a : 0.0f;
}

/* Clamps a coordinate to an index; NaN becomes 0. */
static size_t clamp_to_index(float at, size_t size)
{
    return !(at > 0.0f) ? 0 : at >= (float)(size - 1) ? size - 1 : (size_t)at;
}

/* The taps of one output, index (taps) and weight (taps), around coordinate x. */
static void fill_output(const struct ldnq_picture_resize *resize,
                        const struct ldnq_resize_axis *axis, float x, size_t taps, size_t *index,
                        float *weight)
{
    float base = floorf(x), ratio = x - base, s = find_filter_scale(resize, axis), sum = 0.0f;
    float first = (float)find_first_tap(resize, axis);
    for (size_t k = 0; k < taps; k++) {
        float offset = first + (float)k, at = base + offset;
        bool outside = at < 0.0f || at > (float)(axis->in - 1);
        weight[k] = outside && resize->exclude_outside
                        ? 0.0f
                        : evaluate_filter(resize, s * (offset - ratio));
        index[k] = clamp_to_index(at, axis->in);
        sum += weight[k];
    }
    bool scaled = resize->antialias || resize->exclude_outside;
    for (size_t k = 0; k < taps && scaled && sum != 0.0f; k++)
        weight[k] /= sum;
}

static void mark_outside(size_t taps, size_t *index)
{
    for (size_t k = 0; k < taps; k++)
        index[k] = LDNQ_RESIZE_OUTSIDE;
}

void ldnq_resize_fill_taps(const struct ldnq_picture_resize *resize,
                           const struct ldnq_resize_axis *axis, size_t *index, float *weight)
{
    size_t taps = ldnq_resize_count_taps(resize, axis);
    for (size_t o = 0; o < axis->out; o++) {
        float x = find_coordinate(resize, axis, o);
        bool outside = resize->coordinate == LDNQ_TF_CROP_AND_RESIZE &&
                       !(x >= 0.0f && x <= (float)(axis->in - 1));
        if (outside)
            mark_outside(taps, index + o * taps);
        else if (resize->mode == LDNQ_NEAREST)
            index[o] = clamp_to_index(round_nearest(resize->nearest, x), axis->in);
        else
            fill_output(resize, axis, x, taps, index + o * taps, weight + o * taps);
    }
}
