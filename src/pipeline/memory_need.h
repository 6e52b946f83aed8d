/* SPDX-License-Identifier: Apache-2.0 */
/* memory_need.h: the memory that quantizing a network takes, before the work begins.
 *
 * Units   bytes; symbols of shapes, such as the batch, count as 1
 * Owns    nothing
 */
#ifndef LDNQ_PIPELINE_MEMORY_NEED_H
#define LDNQ_PIPELINE_MEMORY_NEED_H

#include "pipeline/pipeline.h"

struct ldnq_memory_need {
    size_t total; /* what the process holds at most */
    size_t live;  /* live values that are kept in memory, at most the limit */
    size_t floor; /* what does not depend on the limit or the number of samples */
    const struct ldnq_layer *largest; /* the layer whose matrices take most; NULL: no layer */
    size_t layer;                     /* bytes of that layer's matrices, a part of the floor */
};

/* `model_bytes` is the size of the model and its data, `mapped_bytes` the part of it that is
 * mapped. */
struct ldnq_memory_input {
    const struct ldnq_graph *graph;
    const struct ldnq_quantize_options *options;
    size_t model_bytes, mapped_bytes;
    const struct ldnq_samples *samples; /* that the layers are fitted to */
};

/* Whether a model is so large that its weights leave the memory after each use. */
bool ldnq_is_larger_than_memory(size_t max_bytes, size_t model_bytes);
/* The bytes of live values that are kept in memory between two layers. Those of a large network are
 * in files, as its matrices are large. */
static inline size_t ldnq_limit_stored_values(size_t max_bytes, bool is_larger_than_memory)
{
    return is_larger_than_memory ? max_bytes / 8 : max_bytes;
}
/* The bytes that the job's arena, and that of the model, have in memory; the rest is in files. The
 * large part of max_bytes is for values and matrices. */
size_t ldnq_limit_arena(size_t max_bytes, size_t model_bytes);

/* Errors: those of ldnq_select_layers. */
enum ldnq_status ldnq_memory_need_predict(const struct ldnq_memory_input *input,
                                          struct ldnq_arena *arena, struct ldnq_memory_need *need,
                                          struct ldnq_error *err);

#endif
