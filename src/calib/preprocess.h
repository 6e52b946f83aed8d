/* preprocess.h: turn a picture into a network's input.
 *
 * Shapes  picture (H,W,C) of bytes; tensor (C,H,W) of float32
 * Source  sizes and the crop's position as in torchvision's Resize and CenterCrop on
 *         Pillow images, pixels as in Pillow's resize with BILINEAR, whose fixed-point
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

/* Errors: DATA (a crop larger than the picture; the path and both sizes), NOMEM. */
enum ldnq_status ldnq_preprocess_run(const struct ldnq_preprocess *preprocess, const char *path,
                                     const struct ldnq_picture *picture, struct ldnq_arena *arena,
                                     struct ldnq_tensor **out, struct ldnq_error *err);

/* Resizes the picture to to->width x to->height, both above 0; allocates to->pixels.
 * Errors: DATA (too many pixels), NOMEM. */
enum ldnq_status ldnq_picture_resize(const char *path, const struct ldnq_picture *from,
                                     struct ldnq_arena *arena, struct ldnq_picture *to,
                                     struct ldnq_error *err);

#endif
