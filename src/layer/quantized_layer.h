/* SPDX-License-Identifier: Apache-2.0 */
/* quantized_layer.h: a layer with the codes and scales of its weight.
 *
 * Shapes  codes (G, M, K) and scales (G, M, S) in matrix order, whatever the layout of the
 *         weight tensor: S scales per row, one per block of columns
 * Owns    nothing; all arrays and tensors live in the arena of the quantization
 */
#ifndef LDNQ_LAYER_QUANTIZED_LAYER_H
#define LDNQ_LAYER_QUANTIZED_LAYER_H

#include "layer/layer.h"
#include "quant/quant.h"

struct ldnq_quantized_layer {
    struct ldnq_layer layer;
    /* An earlier layer that reads the same weight in the same way, and whose codes and
     * scales this layer has too; NULL for most. */
    const struct ldnq_quantized_layer *shared;
    /* An earlier table with the same elements, whether its codes are shared or not; NULL: none. */
    const struct ldnq_quantized_layer *tied;
    const struct ldnq_codebook *codebook;
    enum ldnq_granularity granularity; /* per channel also means per block if block_index is set */
    const struct ldnq_scale_format *scale_format; /* of scales that stay as they are; or NULL */
    bool negative_scales;                         /* the target takes scales below 0 */
    int8_t *codes;                                /* (G, M, K) */
    float *scales;                                /* (G, M, S); all equal per tensor */
    /* The block of each column, 0 .. S-1; NULL where a row has one scale. */
    const uint32_t *block_index; /* (K) */
    size_t block_count;          /* S where block_index is set */
    /* Not 0 where a pruned weight is 0 in the file, whose code is 0 too; NULL: no part of it is
     * pruned. */
    const uint8_t *zeros;       /* (G, M, K) */
    size_t block_size;          /* input channels per block, as ONNX has it; 0 without blocks */
    struct ldnq_tensor *weight; /* codes times scales, in the shape of the float weight */
    struct ldnq_tensor *bias;   /* the fitted bias, in the shape of the float one; or NULL */
    /* The layer's input comes from a Q/DQ pair, so that the runtime computes the layer with
     * its integer kernel. */
    bool runs_on_codes;
    /* The scale of the input's codes, if the runtime needs the bias as int32; else 0. The bias
     * of a row then has the scale input_scale * (scale of the row's weights). */
    float input_scale;
    struct ldnq_tensor *bias_codes; /* (M) int32; NULL if the bias stays float */
    double error; /* objective relative to that of a zero weight, as in quant.h, before any
                     fine-tuning */
};

/* A scale or bias of a normalization with another value than in the file. */
struct ldnq_changed_norm {
    struct ldnq_node *node;
    size_t input;
    const char *name; /* name of the value in the file */
    struct ldnq_tensor *tensor;
};

struct ldnq_placement; /* target/placement.h */

/* All that quantization changes of a network: what a file has to hold. */
struct ldnq_quantized_network {
    size_t count;
    struct ldnq_quantized_layer *layers; /* layers in the order of their nodes */
    size_t norm_count;
    struct ldnq_changed_norm *norms;
    /* The Q/DQ pairs of activations; NULL: all activations are float. */
    const struct ldnq_placement *placement;
};

/* Bits in which the file stores the codes of a table, for a codebook of `bits`: two codes in a byte
 * or one, as Gather has no narrower types. */
static inline unsigned ldnq_table_code_bits(unsigned bits, size_t packed_size)
{
    return bits <= 4 && packed_size % 2 == 0 ? 4 : 8;
}

/* S, the number of scales per row. */
static inline size_t ldnq_quantized_scales_per_row(const struct ldnq_quantized_layer *quantized)
{
    return quantized->block_index ? quantized->block_count : 1;
}

/* The index in `scales` for an element of the matrix; row counts over all groups. */
static inline size_t ldnq_quantized_scale_index(const struct ldnq_quantized_layer *quantized,
                                                size_t row, size_t col)
{
    return quantized->block_index ? row * quantized->block_count + quantized->block_index[col]
                                  : row;
}

/* Whether blocks of `block_size` input channels divide a row into more than one. */
bool ldnq_layer_has_blocks(const struct ldnq_layer *layer, size_t block_size);

/* Cuts the columns into blocks of block_size input channels, apart for each element of the
 * kernel. A layer that would get one block per row keeps one scale per row. Errors: NOMEM. */
enum ldnq_status ldnq_quantized_set_blocks(struct ldnq_quantized_layer *quantized,
                                           size_t block_size, struct ldnq_arena *arena,
                                           struct ldnq_error *err);

/* The smallest and the largest scale, without their signs. */
void ldnq_quantized_scale_range(const struct ldnq_quantized_layer *quantized, float *low,
                                float *high);

/* Writes codes times scales, both in matrix order, to `weight` in the layout of the
 * layer's tensor. */
void ldnq_quantized_write_weight(const struct ldnq_quantized_layer *quantized, const int8_t *codes,
                                 const float *scales, float *weight);

/* Makes the layer's node compute with codes times scales, and with the bias. The first call
 * allocates the weight in `arena`. Errors: NOMEM. */
enum ldnq_status ldnq_quantized_layer_apply(struct ldnq_quantized_layer *quantized,
                                            struct ldnq_arena *arena, struct ldnq_error *err);

/* Whether a layer is in a body of If, Loop or Scan. */
bool ldnq_has_body_layers(const struct ldnq_quantized_network *network);

/* The codebook of all layers; NULL where they differ, or there is no layer. */
const struct ldnq_codebook *ldnq_find_common_codebook(const struct ldnq_quantized_network *network);

#endif
