/* SPDX-License-Identifier: Apache-2.0 */
/* Bilinear and bicubic resize with antialiasing, as in Pillow (libImaging/Resample.c): a filter as
 * wide as the step between output pixels, horizontal pass first, weights with 22 fraction bits,
 * rounding to 8 bits after each pass. */
#include "calib/preprocess.h"

#include <math.h>
#include <string.h>

#include "base/size.h"

#define WEIGHT_BITS 22

/* For every output pixel, the range of input pixels it reads and their weights. */
struct resize_kernel {
    size_t width; /* the most input pixels of any output pixel */
    struct resize_span {
        size_t first, count;
    } *spans;         /* (outputs) */
    int32_t *weights; /* (outputs,width) */
};

static double triangle_filter(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Keys' cubic convolution with a = -1/2. */
static double cubic_filter(double x)
{
    x = fabs(x);
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

static const struct filter_shape {
    double (*weight)(double x);
    double support; /* the weight is 0 beyond */
} filters[] = {
    [LDNQ_FILTER_BILINEAR] = { triangle_filter, 1 },
    [LDNQ_FILTER_BICUBIC] = { cubic_filter, 2 },
};

/* `raw` holds kernel->width doubles. */
static void compute_pixel_weights(struct resize_kernel *kernel, const struct filter_shape *filter,
                                  size_t i, size_t in, double scale, double *raw)
{
    double stretch = scale < 1 ? 1 : scale, reach = filter->support * stretch;
    double center = ((double)i + 0.5) * scale, sum = 0;
    double low = center - reach + 0.5, high = center + reach + 0.5;
    struct resize_span *span = &kernel->spans[i];
    span->first = low > 0 ? (size_t)low : 0;
    span->count = ldnq_size_min((size_t)high, in) - span->first;
    for (size_t k = 0; k < span->count; k++) {
        raw[k] = filter->weight(((double)(k + span->first) - center + 0.5) * (1 / stretch));
        sum += raw[k];
    }
    for (size_t k = 0; k < span->count; k++) {
        double weight = sum != 0 ? raw[k] / sum : raw[k];
        kernel->weights[i * kernel->width + k] =
            (int32_t)((weight < 0 ? -0.5 : 0.5) + weight * (1 << WEIGHT_BITS));
    }
}

static enum ldnq_status create_resize_kernel(const struct filter_shape *filter, size_t in,
                                             size_t out, struct ldnq_arena *arena,
                                             struct resize_kernel *kernel, struct ldnq_error *err)
{
    double scale = (double)in / (double)out;
    kernel->width = (size_t)ceil(filter->support * (scale < 1 ? 1 : scale)) * 2 + 1;
    double *raw = ldnq_arena_alloc(arena, kernel->width, sizeof *raw, err);
    kernel->spans = ldnq_arena_alloc(arena, out, sizeof *kernel->spans, err);
    size_t weights;
    if (!ldnq_size_mul(out, kernel->width, &weights))
        return ldnq_fail(err, LDNQ_NOMEM, "a size of %zu pixels is too large", out);
    kernel->weights = ldnq_arena_alloc(arena, weights, sizeof *kernel->weights, err);
    if (!raw || !kernel->spans || !kernel->weights)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < out; i++)
        compute_pixel_weights(kernel, filter, i, in, scale, raw);
    return LDNQ_OK;
}

/* One output value: the weighted sum of input values `step` bytes apart. */
static unsigned char filter_value(const unsigned char *from, size_t step, const int32_t *weights,
                                  size_t count)
{
    int32_t sum = 1 << (WEIGHT_BITS - 1);
    for (size_t k = 0; k < count; k++)
        sum += from[k * step] * weights[k];
    sum >>= WEIGHT_BITS;
    return (unsigned char)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void resize_rows(const struct resize_kernel *kernel, const struct ldnq_picture *from,
                        struct ldnq_picture *to)
{
    size_t channels = from->channels;
    for (size_t y = 0; y < to->height; y++) {
        const unsigned char *row = from->pixels + y * from->width * channels;
        unsigned char *out = to->pixels + y * to->width * channels;
        for (size_t x = 0; x < to->width; x++)
            for (size_t c = 0; c < channels; c++)
                *out++ = filter_value(row + kernel->spans[x].first * channels + c, channels,
                                      kernel->weights + x * kernel->width, kernel->spans[x].count);
    }
}

static void resize_columns(const struct resize_kernel *kernel, const struct ldnq_picture *from,
                           struct ldnq_picture *to)
{
    size_t row = from->width * from->channels;
    for (size_t y = 0; y < to->height; y++)
        for (size_t x = 0; x < row; x++)
            to->pixels[y * row + x] =
                filter_value(from->pixels + kernel->spans[y].first * row + x, row,
                             kernel->weights + y * kernel->width, kernel->spans[y].count);
}

enum ldnq_status ldnq_picture_resize(const char *path, const struct ldnq_picture *from,
                                     enum ldnq_picture_filter filter, struct ldnq_arena *arena,
                                     struct ldnq_picture *to, struct ldnq_error *err)
{
    const struct filter_shape *shape = &filters[filter];
    struct resize_kernel kernel;
    struct ldnq_picture between = *from;
    to->channels = from->channels;
    if (to->width != from->width) {
        between.width = to->width;
        LDNQ_TRY(ldnq_picture_create(path, arena, &between, err));
        LDNQ_TRY(create_resize_kernel(shape, from->width, to->width, arena, &kernel, err));
        resize_rows(&kernel, from, &between);
    }
    if (to->height == from->height) {
        to->pixels = between.pixels;
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_picture_create(path, arena, to, err));
    LDNQ_TRY(create_resize_kernel(shape, from->height, to->height, arena, &kernel, err));
    resize_columns(&kernel, &between, to);
    return LDNQ_OK;
}
