/* SPDX-License-Identifier: Apache-2.0 */
#include "api/picture_options.h"

#include <string.h>

#include "api/option_value.h"

static bool is_chosen(const struct ldnq_options *options, enum ldnq_option_index index,
                      const char *choice)
{
    const char *text = ldnq_option_text(options, index);
    return text && strcmp(text, choice) == 0;
}

static void read_normalization(const struct ldnq_options *options, struct ldnq_preprocess *p)
{
    const size_t most = sizeof p->mean / sizeof *p->mean;
    if (ldnq_option_is_set(options, OPTION_SCALE)) {
        ldnq_parse_ratio(ldnq_option_text(options, OPTION_SCALE), &p->scale);
        p->has_scale = true;
    }
    if (ldnq_option_is_set(options, OPTION_MEAN))
        ldnq_parse_channels(ldnq_option_text(options, OPTION_MEAN), p->mean, most, &p->mean_count);
    if (ldnq_option_is_set(options, OPTION_STD))
        ldnq_parse_channels(ldnq_option_text(options, OPTION_STD), p->std, most, &p->std_count);
}

static enum ldnq_status read_sizes(const struct ldnq_options *options, struct ldnq_preprocess *p,
                                   struct ldnq_error *err)
{
    const char *resize = ldnq_option_text(options, OPTION_RESIZE);
    const char *letterbox = ldnq_option_text(options, OPTION_LETTERBOX);
    if (resize && letterbox)
        return ldnq_fail(err, LDNQ_USAGE, "resize and letterbox exclude each other");
    if (resize) {
        p->is_letterboxed = false;
        ldnq_parse_pixels(resize, &p->width, &p->height); /* checked when it was set */
        if (p->height == 0) {
            p->resize = p->width;
            p->width = 0;
        }
    }
    if (letterbox) {
        p->is_letterboxed = true;
        p->crop_share = 0;
        if (strcmp(letterbox, "input") != 0)
            ldnq_parse_pixels(letterbox, &p->width, &p->height);
        if (p->width && p->height == 0)
            p->height = p->width;
    }
    p->crop = ldnq_option_count(options, OPTION_CROP);
    /* What is stretched to a size has it. */
    if (p->width && !p->crop)
        p->crop_share = 0;
    return LDNQ_OK;
}

enum ldnq_status ldnq_preprocess_read_options(const struct ldnq_options *options,
                                              struct ldnq_preprocess *p, struct ldnq_error *err)
{
    ldnq_preprocess_defaults(p);
    if (ldnq_option_is_set(options, OPTION_PREPROCESS))
        ldnq_preprocess_set_preset(p, ldnq_option_text(options, OPTION_PREPROCESS));
    read_normalization(options, p);
    if (ldnq_option_is_set(options, OPTION_FILTER))
        p->filter = is_chosen(options, OPTION_FILTER, "bicubic") ? LDNQ_FILTER_BICUBIC
                                                                 : LDNQ_FILTER_BILINEAR;
    p->is_bgr = is_chosen(options, OPTION_COLOR, "bgr");
    p->is_rotated = is_chosen(options, OPTION_EXIF, "rotate");
    return read_sizes(options, p, err);
}

enum ldnq_status ldnq_preprocess_check_samples(const struct ldnq_options *options,
                                               const struct ldnq_samples *samples,
                                               struct ldnq_error *err)
{
    static const enum ldnq_option_index all[] = { OPTION_PREPROCESS, OPTION_MEAN,   OPTION_STD,
                                                  OPTION_SCALE,      OPTION_RESIZE, OPTION_CROP,
                                                  OPTION_LETTERBOX,  OPTION_FILTER, OPTION_COLOR,
                                                  OPTION_EXIF };
    if (ldnq_samples_are_pictures(samples))
        return LDNQ_OK;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        /* resize 0 and crop 0 ask for nothing. */
        if (ldnq_option_is_set(options, all[i]) && !is_chosen(options, all[i], "0"))
            return ldnq_fail(err, LDNQ_USAGE,
                             "%s is for pictures, and the samples are arrays, which are used as "
                             "they are: preprocess them before",
                             ldnq_option_table[all[i]].name);
    }
    return LDNQ_OK;
}
