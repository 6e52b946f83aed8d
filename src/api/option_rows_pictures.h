/* SPDX-License-Identifier: Apache-2.0 */
/* option_rows_pictures.h: rows of the table of options, those of preprocessing. */
#ifndef LDNQ_API_OPTION_ROWS_PICTURES_H
#define LDNQ_API_OPTION_ROWS_PICTURES_H

/* Presets are those of calib/preprocess_preset.c. */
#define PICTURE_OPTION_ROWS                                                                        \
    [OPTION_PREPROCESS] = { .name = "preprocess",                                                  \
                            .type = LDNQ_OPTION_CHOICE,                                            \
                            .jobs = SAMPLES,                                                       \
                            .value = "NAME",                                                       \
                            .choices = "imagenet|timm|timm-inception|clip|yolo|none",              \
                            .help = "what networks of a kind were trained with: sizes, mean, std " \
                                    "and scale of pictures; the options for these count before "   \
                                    "it. imagenet is torchvision's, timm has bicubic resize, "     \
                                    "timm-inception also .5 as mean and std, clip is CLIP's, "     \
                                    "yolo has a letterbox, "                                       \
                                    "none takes the pixels as they are",                           \
                            .since = "0.2.0" },                                                    \
    [OPTION_MEAN] = { .name = "mean",                                                              \
                      .type = LDNQ_OPTION_CHANNELS,                                                \
                      .jobs = SAMPLES,                                                             \
                      .value = "R,G,B",                                                            \
                      .help = "mean per channel, subtracted from pictures after the scale is "     \
                              "applied",                                                           \
                      .since = "0.1.0" },                                                          \
    [OPTION_STD] = { .name = "std",                                                                \
                     .type = LDNQ_OPTION_CHANNELS,                                                 \
                     .jobs = SAMPLES,                                                              \
                     .value = "R,G,B",                                                             \
                     .help = "standard deviation per channel, which pictures are divided by "      \
                             "after the mean is subtracted",                                       \
                     .since = "0.1.0" },                                                           \
    [OPTION_SCALE] = { .name = "scale",                                                            \
                       .type = LDNQ_OPTION_RATIO,                                                  \
                       .jobs = SAMPLES,                                                            \
                       .value = "X",                                                               \
                       .default_value = "1/255",                                                   \
                       .help = "factor of the pixels of pictures, applied first; 1 for inputs of " \
                               "uint8",                                                            \
                       .since = "0.1.0" },                                                         \
    [OPTION_RESIZE] = { .name = "resize",                                                          \
                        .type = LDNQ_OPTION_PIXELS,                                                \
                        .jobs = SAMPLES,                                                           \
                        .value = "N|WxH",                                                          \
                        .help = "resize pictures so that the shorter side has N pixels, or "       \
                                "stretch them to W x H",                                           \
                        .since = "0.1.0" },                                                        \
    [OPTION_CROP] = { .name = "crop",                                                              \
                      COUNT_FROM(0),                                                               \
                      .jobs = SAMPLES,                                                             \
                      .value = "N",                                                                \
                      .help = "then crop the middle N x N pixels",                                 \
                      .since = "0.1.0" },                                                          \
    [OPTION_LETTERBOX] = { .name = "letterbox",                                                    \
                           .type = LDNQ_OPTION_PIXELS,                                             \
                           .jobs = SAMPLES,                                                        \
                           .value = "WxH|input",                                                   \
                           .choices = "input",                                                     \
                           .help = "resize pictures to fit into W x H, or the input's size, "      \
                                   "between bars of grey 114",                                     \
                           .since = "0.2.0" },                                                     \
    [OPTION_FILTER] = { .name = "filter",                                                          \
                        .type = LDNQ_OPTION_CHOICE,                                                \
                        .jobs = SAMPLES,                                                           \
                        .value = "bilinear|bicubic",                                               \
                        .choices = "bilinear|bicubic",                                             \
                        .default_value = "bilinear",                                               \
                        .help = "how pictures are resized, with antialiasing as in Pillow",        \
                        .since = "0.2.0" },                                                        \
    [OPTION_COLOR] = { .name = "color",                                                            \
                       .type = LDNQ_OPTION_CHOICE,                                                 \
                       .jobs = SAMPLES,                                                            \
                       .value = "rgb|bgr",                                                         \
                       .choices = "rgb|bgr",                                                       \
                       .default_value = "rgb",                                                     \
                       .help = "order of the channels that the model reads; mean and std are in "  \
                               "the order R,G,B all the same",                                     \
                       .since = "0.2.0" },                                                         \
    [OPTION_EXIF] = { .name = "exif",                                                              \
                      .type = LDNQ_OPTION_CHOICE,                                                  \
                      .jobs = SAMPLES,                                                             \
                      .value = "ignore|rotate",                                                    \
                      .choices = "ignore|rotate",                                                  \
                      .default_value = "ignore",                                                   \
                      .help = "whether pictures are turned as their EXIF data say",                \
                      .since = "0.2.0" },                                                          \
    [OPTION_STRICT] = { .name = "strict",                                                          \
                        .type = LDNQ_OPTION_FLAG,                                                  \
                        .jobs = SAMPLES,                                                           \
                        .default_value = "0",                                                      \
                        .help = "end at a damaged picture; else it is left out with a warning",    \
                        .since = "0.2.0" }

#endif
