#include "calib/preprocess.h"

#include <math.h>

#include "base/size.h"

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

/* As in torchvision, the long side is truncated to whole pixels, not rounded. */
static enum ldnq_status resize_shorter_side(size_t side, const char *path,
                                            struct ldnq_picture *picture, struct ldnq_arena *arena,
                                            struct ldnq_error *err)
{
    size_t shorter = ldnq_size_min(picture->width, picture->height);
    size_t longer = ldnq_size_max(picture->width, picture->height), product;
    if (side == 0 || side == shorter)
        return LDNQ_OK;
    if (!ldnq_size_mul(side, longer, &product))
        return ldnq_fail(err, LDNQ_USAGE, "resize %zu is too large", side);
    bool upright = picture->width <= picture->height;
    struct ldnq_picture to = {
        .width = upright ? side : product / shorter,
        .height = upright ? product / shorter : side,
    };
    LDNQ_TRY(ldnq_picture_resize(path, picture, arena, &to, err));
    *picture = to;
    return LDNQ_OK;
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

enum ldnq_status ldnq_preprocess_run(const struct ldnq_preprocess *preprocess, const char *path,
                                     const struct ldnq_picture *picture, struct ldnq_arena *arena,
                                     struct ldnq_tensor **out, struct ldnq_error *err)
{
    struct ldnq_picture now = *picture;
    LDNQ_TRY(resize_shorter_side(preprocess->resize, path, &now, arena, err));
    LDNQ_TRY(check_crop(preprocess->crop, path, &now, err));
    size_t height = preprocess->crop ? preprocess->crop : now.height;
    size_t width = preprocess->crop ? preprocess->crop : now.width;
    size_t top = halve_to_even(now.height - height), left = halve_to_even(now.width - width);
    struct ldnq_shape shape = { 3, { (int64_t)now.channels, (int64_t)height, (int64_t)width } };
    LDNQ_TRY(ldnq_tensor_create(arena, LDNQ_FLOAT, &shape, out, err));
    float *to = (*out)->data, table[256];
    for (size_t c = 0; c < now.channels; c++) {
        fill_normalization_table(preprocess, c, table);
        for (size_t y = 0; y < height; y++) {
            const unsigned char *from =
                now.pixels + ((top + y) * now.width + left) * now.channels + c;
            for (size_t x = 0; x < width; x++)
                *to++ = table[from[x * now.channels]];
        }
    }
    return LDNQ_OK;
}
