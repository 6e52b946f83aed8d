/* SPDX-License-Identifier: Apache-2.0 */
/* Presets: what widely used networks were trained with. */
#include "calib/preprocess.h"

#include <string.h>

struct preset {
    const char *name;
    float scale;
    size_t channels; /* of mean and std; 0: none */
    float mean[3], std[3];
    double crop_share; /* 0: no resize and no crop */
    enum ldnq_picture_filter filter;
    bool is_letterboxed;
};

#define IMAGENET_MEAN { 0.485f, 0.456f, 0.406f }
#define IMAGENET_STD { 0.229f, 0.224f, 0.225f }

static const struct preset presets[] = {
    /* torchvision: resize to 256, crop 224 */
    { "imagenet", 1.0f / 255, 3, IMAGENET_MEAN, IMAGENET_STD, 0.875, LDNQ_FILTER_BILINEAR, false },
    { "timm", 1.0f / 255, 3, IMAGENET_MEAN, IMAGENET_STD, 0.875, LDNQ_FILTER_BICUBIC, false },
    /* ViT, MobileNet v1 and others that came from TensorFlow */
    { "timm-inception",
      1.0f / 255,
      3,
      { 0.5f, 0.5f, 0.5f },
      { 0.5f, 0.5f, 0.5f },
      0.875,
      LDNQ_FILTER_BICUBIC,
      false },
    { "clip",
      1.0f / 255,
      3,
      { 0.48145466f, 0.4578275f, 0.40821073f },
      { 0.26862954f, 0.26130258f, 0.27577711f },
      1,
      LDNQ_FILTER_BICUBIC,
      false },
    { "yolo", 1.0f / 255, 0, { 0 }, { 0 }, 0, LDNQ_FILTER_BILINEAR, true },
    { "none", 1, 0, { 0 }, { 0 }, 0, LDNQ_FILTER_BILINEAR, false },
};

bool ldnq_preprocess_set_preset(struct ldnq_preprocess *preprocess, const char *name)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        const struct preset *preset = &presets[i];
        if (strcmp(preset->name, name) != 0)
            continue;
        preprocess->scale = preset->scale;
        preprocess->has_scale = true;
        preprocess->mean_count = preprocess->std_count = preset->channels;
        memcpy(preprocess->mean, preset->mean, sizeof preset->mean);
        memcpy(preprocess->std, preset->std, sizeof preset->std);
        preprocess->crop_share = preset->crop_share;
        preprocess->filter = preset->filter;
        preprocess->is_letterboxed = preset->is_letterboxed;
        return true;
    }
    return false;
}
