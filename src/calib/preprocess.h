/* SPDX-License-Identifier: Apache-2.0 */
/* preprocess.h: turn a picture into a network's input.
 *
 * Shapes  picture (H,W,C) of bytes; tensor (C,H,W) or (H,W,C), of float32 or bytes
 * Source  sizes and the crop's position as in torchvision's Resize and CenterCrop on
 *         Pillow images, pixels as in Pillow's resize with BILINEAR or BICUBIC, whose fixed-point
 *         arithmetic is followed: across, then down, to the bit. Where a version of
 *         Pillow goes down first (tall pictures, by its estimate of the cost), results
 *         differ by the rounding between the passes, one level of 255.
 * Owns    nothing; results belong to the arena
 * Threads safe
 */
#ifndef LDNQ_CALIB_PREPROCESS_H
#define LDNQ_CALIB_PREPROCESS_H

#include "calib/calib.h"

#include "calib/picture.h"

/* Errors: USAGE (a count other than 0, 1 and channels; std 0; not finite). */
enum ldnq_status ldnq_preprocess_check(const struct ldnq_preprocess *preprocess, size_t channels,
                                       struct ldnq_error *err);

/* The form of the input that pictures are for. */
struct ldnq_picture_layout {
    bool channels_last; /* (H,W,C); else (C,H,W) */
    bool is_bytes;      /* uint8, rounded and limited to 0 to 255; else float32 */
};

/* Errors: DATA (a crop larger than the picture; the path and both sizes), USAGE (a resize beyond
 * what can be counted), NOMEM. */
enum ldnq_status ldnq_preprocess_run(const struct ldnq_preprocess *preprocess, const char *path,
                                     const struct ldnq_picture *picture,
                                     const struct ldnq_picture_layout *layout,
                                     struct ldnq_arena *arena, struct ldnq_tensor **out,
                                     struct ldnq_error *err);

/* Lets sizes that the options leave open be those of an input of width x height (0 or less:
 * open), and the scale be 1 for bytes. */
void ldnq_preprocess_fit_input(struct ldnq_preprocess *preprocess, int64_t width, int64_t height,
                               bool is_bytes);

/* Changes a picture's size to that of its tensor. Errors: USAGE, as above. */
enum ldnq_status ldnq_preprocess_find_size(const struct ldnq_preprocess *preprocess, size_t *width,
                                           size_t *height, struct ldnq_error *err);

/* Resizes the picture to to->width x to->height, both above 0; allocates to->pixels.
 * Errors: DATA (too many pixels), NOMEM. */
enum ldnq_status ldnq_picture_resize(const char *path, const struct ldnq_picture *from,
                                     enum ldnq_picture_filter filter, struct ldnq_arena *arena,
                                     struct ldnq_picture *to, struct ldnq_error *err);

#endif
