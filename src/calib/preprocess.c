/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/preprocess.h"

#include <math.h>
#include <string.h>

#include "base/size.h"

/* The crop of presets where the model leaves the size open. */
#define DEFAULT_CROP ((size_t)224)
/* The grey of a letterbox's bars. */
#define BAR_GREY 114

void ldnq_preprocess_defaults(struct ldnq_preprocess *preprocess)
{
    *preprocess = (struct ldnq_preprocess){ .scale = 1.0f / 255.0f };
}

static enum ldnq_status check_values(const char *flag, size_t count, const float *values,
                                     size_t channels, bool zero_is_wrong, struct ldnq_error *err)
{
    if (count > 1 && count != channels)
        return ldnq_fail(err, LDNQ_USAGE, "%s has %zu values where the input has %zu channel%s",
                         flag, count, channels, channels == 1 ? "" : "s");
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]) || (zero_is_wrong && values[i] == 0))
            return ldnq_fail(err, LDNQ_USAGE, "%s can't be %g", flag, (double)values[i]);
    return LDNQ_OK;
}

enum ldnq_status ldnq_preprocess_check(const struct ldnq_preprocess *preprocess, size_t channels,
                                       struct ldnq_error *err)
{
    LDNQ_TRY(check_values("mean", preprocess->mean_count, preprocess->mean, channels, false, err));
    LDNQ_TRY(check_values("std", preprocess->std_count, preprocess->std, channels, true, err));
    return check_values("scale", 1, &preprocess->scale, channels, true, err);
}

/* ---- sizes ----------------------------------------------------------------------- */

/* What becomes of a picture's size: resized to width x height, set into a frame of frame_width x
 * frame_height at left, top. */
struct resize_plan {
    size_t width, height, frame_width, frame_height, left, top;
};

/* As in torchvision, the long side is truncated to whole pixels, not rounded. */
static enum ldnq_status plan_shorter_side(size_t side, struct resize_plan *plan,
                                          struct ldnq_error *err)
{
    const size_t shorter = ldnq_size_min(plan->width, plan->height);
    const size_t longer = ldnq_size_max(plan->width, plan->height);
    size_t product;
    if (side == 0 || side == shorter)
        return LDNQ_OK;
    if (!ldnq_size_mul(side, longer, &product))
        return ldnq_fail(err, LDNQ_USAGE, "resize %zu is too large", side);
    const bool upright = plan->width <= plan->height;
    plan->width = upright ? side : product / shorter;
    plan->height = upright ? product / shorter : side;
    return LDNQ_OK;
}

static size_t round_to_pixels(double size)
{
    return size < 1 ? 1 : (size_t)nearbyint(size); /* halves to even, as Python's round */
}

/* As in Ultralytics' LetterBox: the picture in the middle, an odd bar's pixel right or below. */
static void plan_letterbox(const struct ldnq_preprocess *preprocess, struct resize_plan *plan)
{
    const double width = (double)preprocess->width, height = (double)preprocess->height;
    const double ratio = fmin(width / (double)plan->width, height / (double)plan->height);
    plan->width = ldnq_size_min(round_to_pixels(ratio * (double)plan->width), preprocess->width);
    plan->height = ldnq_size_min(round_to_pixels(ratio * (double)plan->height), preprocess->height);
    plan->frame_width = preprocess->width;
    plan->frame_height = preprocess->height;
    plan->left = (plan->frame_width - plan->width) / 2;
    plan->top = (plan->frame_height - plan->height) / 2;
}

static enum ldnq_status plan_resize(const struct ldnq_preprocess *preprocess, size_t width,
                                    size_t height, struct resize_plan *plan, struct ldnq_error *err)
{
    *plan = (struct resize_plan){ .width = width, .height = height };
    if (preprocess->is_letterboxed && preprocess->width) {
        plan_letterbox(preprocess, plan);
        return LDNQ_OK;
    }
    if (preprocess->width) {
        plan->width = preprocess->width;
        plan->height = preprocess->height;
    } else {
        LDNQ_TRY(plan_shorter_side(preprocess->resize, plan, err));
    }
    plan->frame_width = plan->width;
    plan->frame_height = plan->height;
    return LDNQ_OK;
}

enum ldnq_status ldnq_preprocess_find_size(const struct ldnq_preprocess *preprocess, size_t *width,
                                           size_t *height, struct ldnq_error *err)
{
    struct resize_plan plan;
    LDNQ_TRY(plan_resize(preprocess, *width, *height, &plan, err));
    *width = preprocess->crop ? preprocess->crop : plan.frame_width;
    *height = preprocess->crop ? preprocess->crop : plan.frame_height;
    return LDNQ_OK;
}

void ldnq_preprocess_fit_input(struct ldnq_preprocess *preprocess, int64_t width, int64_t height,
                               bool is_bytes)
{
    const bool is_known = width > 0 && height > 0;
    if (is_bytes && !preprocess->has_scale)
        preprocess->scale = 1;
    if (preprocess->is_letterboxed && !preprocess->width && is_known) {
        preprocess->width = (size_t)width;
        preprocess->height = (size_t)height;
    }
    if (preprocess->crop_share == 0)
        return;
    if (!preprocess->crop)
        preprocess->crop = is_known ? (size_t)(width < height ? width : height) : DEFAULT_CROP;
    if (!preprocess->resize && !preprocess->width)
        preprocess->resize = (size_t)floor((double)preprocess->crop / preprocess->crop_share);
}

/* ---- pixels ---------------------------------------------------------------------- */

static enum ldnq_status paste_into_letterbox(const char *path, const struct resize_plan *plan,
                                             struct ldnq_picture *picture, struct ldnq_arena *arena,
                                             struct ldnq_error *err)
{
    const struct ldnq_picture from = *picture;
    if (plan->frame_width == plan->width && plan->frame_height == plan->height)
        return LDNQ_OK;
    picture->width = plan->frame_width;
    picture->height = plan->frame_height;
    LDNQ_TRY(ldnq_picture_create(path, arena, picture, err));
    memset(picture->pixels, BAR_GREY, picture->width * picture->height * picture->channels);
    const size_t row = from.width * from.channels;
    for (size_t y = 0; y < from.height; y++)
        memcpy(picture->pixels +
                   ((plan->top + y) * picture->width + plan->left) * picture->channels,
               from.pixels + y * row, row);
    return LDNQ_OK;
}

static enum ldnq_status resize(const struct ldnq_preprocess *preprocess, const char *path,
                               struct ldnq_picture *picture, struct ldnq_arena *arena,
                               struct ldnq_error *err)
{
    struct resize_plan plan;
    LDNQ_TRY(plan_resize(preprocess, picture->width, picture->height, &plan, err));
    if (plan.width != picture->width || plan.height != picture->height) {
        struct ldnq_picture to = { .width = plan.width, .height = plan.height };
        LDNQ_TRY(ldnq_picture_resize(path, picture, preprocess->filter, arena, &to, err));
        *picture = to;
    }
    return paste_into_letterbox(path, &plan, picture, arena, err);
}

/* Python's round(margin / 2.0), which rounds halves to even. */
static size_t halve_to_even(size_t margin)
{
    size_t down = margin / 2;
    return down + (margin % 2 && down % 2);
}

static enum ldnq_status check_crop(size_t crop, const char *path,
                                   const struct ldnq_picture *picture, struct ldnq_error *err)
{
    if (crop <= picture->width && crop <= picture->height)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_DATA,
                     "%s: is %zu x %zu pixels, from which crop %zu can't take %zu x %zu", path,
                     picture->width, picture->height, crop, crop, crop);
}

/* Fills in the normalized value of each byte of a channel. */
static void fill_normalization_table(const struct ldnq_preprocess *preprocess, size_t channel,
                                     float table[256])
{
    size_t mean_count = preprocess->mean_count, std_count = preprocess->std_count;
    double mean = mean_count ? (double)preprocess->mean[mean_count == 1 ? 0 : channel] : 0;
    double std = std_count ? (double)preprocess->std[std_count == 1 ? 0 : channel] : 1;
    for (int value = 0; value < 256; value++)
        table[value] = (float)((value * (double)preprocess->scale - mean) / std);
}

/* The part of a picture that the tensor holds. */
struct crop_window {
    const struct ldnq_picture *picture;
    size_t left, top, width, height;
};

/* Writes channel c of the tensor: elements `step` apart. */
static void write_channel(const struct crop_window *window, size_t channel, const float table[256],
                          const struct ldnq_tensor *tensor, size_t at, size_t step)
{
    const struct ldnq_picture *picture = window->picture;
    float *floats = tensor->dtype == LDNQ_FLOAT ? tensor->data : NULL;
    unsigned char *bytes = tensor->data;
    for (size_t y = 0; y < window->height; y++) {
        const unsigned char *from =
            picture->pixels +
            ((window->top + y) * picture->width + window->left) * picture->channels + channel;
        for (size_t x = 0; x < window->width; x++, at += step) {
            const float value = table[from[x * picture->channels]];
            if (floats)
                floats[at] = value;
            else
                bytes[at] = (unsigned char)lrintf(fminf(fmaxf(value, 0), 255));
        }
    }
}

enum ldnq_status ldnq_preprocess_run(const struct ldnq_preprocess *preprocess, const char *path,
                                     const struct ldnq_picture *picture,
                                     const struct ldnq_picture_layout *layout,
                                     struct ldnq_arena *arena, struct ldnq_tensor **out,
                                     struct ldnq_error *err)
{
    struct ldnq_picture now = *picture;
    if (preprocess->is_rotated)
        LDNQ_TRY(ldnq_picture_turn(path, &now, arena, err));
    LDNQ_TRY(resize(preprocess, path, &now, arena, err));
    LDNQ_TRY(check_crop(preprocess->crop, path, &now, err));
    struct crop_window window = { .picture = &now,
                                  .width = preprocess->crop ? preprocess->crop : now.width,
                                  .height = preprocess->crop ? preprocess->crop : now.height };
    window.top = halve_to_even(now.height - window.height);
    window.left = halve_to_even(now.width - window.width);
    const int64_t height = (int64_t)window.height, width = (int64_t)window.width;
    const int64_t channels = (int64_t)now.channels;
    const struct ldnq_shape first = { 3, { channels, height, width } },
                            last = { 3, { height, width, channels } };
    LDNQ_TRY(ldnq_tensor_create(arena, layout->is_bytes ? LDNQ_UINT8 : LDNQ_FLOAT,
                                layout->channels_last ? &last : &first, out, err));
    const size_t plane = window.height * window.width;
    for (size_t c = 0; c < now.channels; c++) {
        float table[256];
        const size_t from = preprocess->is_bgr ? now.channels - 1 - c : c;
        fill_normalization_table(preprocess, from, table);
        write_channel(&window, from, table, *out, layout->channels_last ? c : c * plane,
                      layout->channels_last ? now.channels : 1);
    }
    return LDNQ_OK;
}
