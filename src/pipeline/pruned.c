/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/pruned.h"

#include "base/mapping.h"

/* A weight that nobody pruned has next to none. */
#define LEAST_SHARE 0.1

enum ldnq_status ldnq_find_pruned_zeros(struct ldnq_quantized_layer *quantized,
                                        const struct ldnq_tensor *weight, struct ldnq_arena *arena,
                                        struct ldnq_error *err)
{
    const struct ldnq_layer_geometry *geometry = &quantized->layer.geometry;
    const size_t elements = ldnq_layer_elements(&quantized->layer);
    const float *data = weight->data;
    size_t count = 0;
    for (size_t i = 0; i < elements; i++)
        count += data[i] == 0;
    if ((double)count < LEAST_SHARE * (double)elements) {
        ldnq_mapping_release_pages(data, elements * sizeof *data);
        return LDNQ_OK;
    }
    uint8_t *zeros = ldnq_arena_alloc(arena, elements, sizeof *zeros, err);
    if (!zeros)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < elements; i++) {
        const size_t row = i / geometry->cols, col = i % geometry->cols;
        zeros[i] = data[ldnq_find_weight_offset(geometry, row, col)] == 0;
    }
    ldnq_mapping_release_pages(data, elements * sizeof *data);
    ldnq_mapping_release_pages(zeros, elements * sizeof *zeros);
    quantized->zeros = zeros;
    return LDNQ_OK;
}
