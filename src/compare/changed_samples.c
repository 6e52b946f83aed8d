/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/changed_samples.h"

#include <math.h>

#include "base/size.h"
#include "metric/output_metrics.h"

/* Sides of an input that is taken for a picture, and of the picture that is stored. */
#define LEAST_SIDE 8
#define LONGEST_SIDE ((size_t)96)
#define OPAQUE 255

/* An input of one sample that can be shown: planes (C,H,W) or pixels (H,W,C). */
struct sample_picture {
    size_t channels, height, width;
    bool has_channels_last;
};

static bool is_channel_count(int64_t channels)
{
    return channels == 1 || channels == 3;
}

static bool find_picture(const struct ldnq_tensor *input, struct sample_picture *picture)
{
    const int64_t *dim = input->shape.dim;
    if (input->shape.rank != 4 || (input->dtype != LDNQ_FLOAT && input->dtype != LDNQ_UINT8))
        return false;
    const bool is_last = !is_channel_count(dim[1]) && is_channel_count(dim[3]);
    *picture = (struct sample_picture){ .channels = (size_t)dim[is_last ? 3 : 1],
                                        .height = (size_t)dim[is_last ? 1 : 2],
                                        .width = (size_t)dim[is_last ? 2 : 3],
                                        .has_channels_last = is_last };
    return is_channel_count((int64_t)picture->channels) && picture->height >= LEAST_SIDE &&
           picture->width >= LEAST_SIDE;
}

static double read_element(const struct ldnq_tensor *tensor, size_t index)
{
    return tensor->dtype == LDNQ_FLOAT ? (double)((const float *)tensor->data)[index]
                                       : (double)((const uint8_t *)tensor->data)[index];
}

/* The sample's own range becomes black to white, as preprocessing can't be told from the file. */
static enum ldnq_status store_picture(const struct ldnq_tensor *input, size_t index,
                                      const struct sample_picture *picture,
                                      struct ldnq_arena *arena, struct ldnq_diff_sample *out,
                                      struct ldnq_error *err)
{
    const size_t area = picture->height * picture->width, size = area * picture->channels;
    const size_t longest = ldnq_size_max(picture->height, picture->width);
    const size_t side = ldnq_size_min(longest, LONGEST_SIDE);
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < size; i++) {
        low = fmin(low, read_element(input, index * size + i));
        high = fmax(high, read_element(input, index * size + i));
    }
    out->width = ldnq_size_max(picture->width * side / longest, 1);
    out->height = ldnq_size_max(picture->height * side / longest, 1);
    uint8_t *pixels = ldnq_arena_alloc(arena, 4 * out->width * out->height, 1, err);
    if (!pixels)
        return LDNQ_NOMEM;
    for (size_t at = 0; at < out->width * out->height; at++) {
        const size_t y = at / out->width * picture->height / out->height;
        const size_t x = at % out->width * picture->width / out->width;
        for (size_t c = 0; c < 3; c++) {
            const size_t own = picture->channels == 3 ? c : 0, pixel = y * picture->width + x;
            const size_t element =
                picture->has_channels_last ? pixel * picture->channels + own : own * area + pixel;
            const double value = read_element(input, index * size + element) - low;
            pixels[4 * at + c] = (uint8_t)(high > low ? 255 * value / (high - low) : 0);
        }
        pixels[4 * at + 3] = OPAQUE;
    }
    out->pixels = pixels;
    return LDNQ_OK;
}

static void store_values(const struct ldnq_tensor *input, size_t index, size_t samples,
                         struct ldnq_diff_sample *out)
{
    const size_t size = ldnq_tensor_count(input) / samples;
    if (input->dtype != LDNQ_FLOAT && input->dtype != LDNQ_UINT8)
        return;
    out->value_count = ldnq_size_min(size, LDNQ_DIFF_SAMPLE_VALUES);
    for (size_t i = 0; i < out->value_count; i++)
        out->values[i] = read_element(input, index * size + i);
}

static enum ldnq_status store_input(const struct ldnq_compared_batch *batch, size_t index,
                                    struct ldnq_arena *arena, struct ldnq_diff_sample *out,
                                    struct ldnq_error *err)
{
    struct sample_picture picture;
    for (size_t i = 0; i < batch->input_count; i++)
        if (find_picture(batch->inputs[i], &picture) &&
            (size_t)batch->inputs[i]->shape.dim[0] == batch->count)
            return store_picture(batch->inputs[i], index, &picture, arena, out, err);
    if (batch->input_count)
        store_values(batch->inputs[0], index, batch->count, out);
    return LDNQ_OK;
}

static enum ldnq_status add_sample(const struct ldnq_compared_batch *batch, size_t index,
                                   size_t class_a, size_t class_b, struct ldnq_arena *arena,
                                   struct ldnq_diff *diff, struct ldnq_error *err)
{
    if (diff->changed_sample_total++ >= LDNQ_DIFF_MOST_SAMPLES)
        return LDNQ_OK;
    if (!diff->changed_samples)
        diff->changed_samples =
            ldnq_arena_alloc(arena, LDNQ_DIFF_MOST_SAMPLES, sizeof *diff->changed_samples, err);
    const char *name = ldnq_samples_name(batch->samples, batch->first + index);
    char *copy = diff->changed_samples ? ldnq_arena_strdup(arena, name ? name : "", err) : NULL;
    if (!copy)
        return LDNQ_NOMEM;
    struct ldnq_diff_sample *out = &diff->changed_samples[diff->changed_sample_count++];
    *out = (struct ldnq_diff_sample){
        .name = copy, .output = batch->output, .class_a = class_a, .class_b = class_b
    };
    return store_input(batch, index, arena, out, err);
}

enum ldnq_status ldnq_changed_samples_add(const struct ldnq_compared_batch *batch,
                                          struct ldnq_arena *arena, struct ldnq_diff *diff,
                                          struct ldnq_error *err)
{
    const size_t classes = batch->y && batch->t ? ldnq_count_classes(batch->t, batch->count) : 0;
    if (classes == 0 || ldnq_count_classes(batch->y, batch->count) != classes)
        return LDNQ_OK;
    for (size_t i = 0; i < batch->count; i++) {
        const size_t a = ldnq_find_best_class((const float *)batch->t->data + i * classes, classes);
        const size_t b = ldnq_find_best_class((const float *)batch->y->data + i * classes, classes);
        if (a != b)
            LDNQ_TRY(add_sample(batch, i, a, b, arena, diff, err));
    }
    return LDNQ_OK;
}
