/* matrices.h: a layer's tensors as the matrices that the solvers work on, and back. */
#ifndef LDNQ_PIPELINE_MATRICES_H
#define LDNQ_PIPELINE_MATRICES_H

#include "pipeline/pipeline.h"

/* The place of (row, k) in the weight tensor; row counts over groups and outputs. */
size_t ldnq_layer_element(const struct ldnq_layer *layer, size_t row, size_t k);

static inline size_t ldnq_layer_rows(const struct ldnq_layer *layer)
{
    return layer->groups * layer->outputs;
}

/* Which of the result's scales the element takes. */
static inline size_t ldnq_layer_scale(const struct ldnq_layer_result *result, size_t row, size_t k)
{
    return result->segment ? row * result->segments + result->segment[k] : row;
}

/* Says where the blocks of the layer are, if the options ask for blocks and it has more
 * than one a row. Errors: NOMEM. */
enum ldnq_status ldnq_layer_split(struct ldnq_layer_result *result,
                                  const struct ldnq_quantize_options *options,
                                  struct ldnq_arena *arena, struct ldnq_error *err);

struct ldnq_matrices {
    float *weight, *bias; /* (G, M, K) and (G, M); the bias as the layer adds it */
    int8_t *codes;        /* (G, M, K), zeroed */
};

/* The layer's float weight and bias; a missing bias is zero. Errors: NOMEM. */
enum ldnq_status ldnq_matrices_init(struct ldnq_matrices *matrices, const struct ldnq_layer *layer,
                                    struct ldnq_arena *arena, struct ldnq_error *err);

/* Writes codes times scales into the weight, and the bias, that the layer's node
 * computes with. The weight lives in `arena` from the first call on. Errors: NOMEM. */
enum ldnq_status ldnq_layer_place(struct ldnq_layer_result *result, struct ldnq_arena *arena,
                                  struct ldnq_error *err);

#endif
