/* SPDX-License-Identifier: Apache-2.0 */
/* input_means.h: mean and power of the columns of every layer's input, from one pass of the
 * float network over the samples.
 *
 * A layer's columns are a linear function of its input, so the mean of the columns is that
 * of the columns of the mean sample: each value sums its samples (axis 0), and the columns
 * are computed once per shape.
 *
 * Memory  two floats per element of one sample of each layer's input, whatever the number of
 *         samples
 */
#ifndef LDNQ_PIPELINE_INPUT_MEANS_H
#define LDNQ_PIPELINE_INPUT_MEANS_H

#include "base/arena.h"
#include "layer/quantized_layer.h"

struct ldnq_input_means;

/* Means for the inputs of layers of the graph. Lives in the arena. Errors: NOMEM. */
enum ldnq_status ldnq_input_means_create(const struct ldnq_layer *layers, size_t count,
                                         const struct ldnq_graph *graph, struct ldnq_pool *pool,
                                         struct ldnq_arena *arena, struct ldnq_input_means **out,
                                         struct ldnq_error *err);

/* Marks, by value index, the values whose tensors are to be added. */
void ldnq_input_means_mark(const struct ldnq_input_means *means, bool *visited);

/* Adds the samples of a batch; other values than the marked ones are left out. Errors: NOMEM. */
enum ldnq_status ldnq_input_means_add(struct ldnq_input_means *means,
                                      const struct ldnq_value *value,
                                      const struct ldnq_tensor *tensor, struct ldnq_error *err);

struct ldnq_column_moments {
    double *mean;     /* (G, K) E[y] */
    double *diagonal; /* (G, K) the variance of y, or E[y^2] without a bias */
    size_t positions; /* columns over all samples; 0: no sample reached the layer */
};

/* Computes the moments of the columns of layer `index` of those that the means were created for, in
 * the arena. `layer` is the same one in `graph`, where nodes may have other indices. Errors: NOMEM,
 * and MODEL where the samples' shapes do not fit the layer. */
enum ldnq_status ldnq_input_means_columns(const struct ldnq_input_means *means, size_t index,
                                          const struct ldnq_layer *layer,
                                          const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                          struct ldnq_column_moments *out, struct ldnq_error *err);

#endif
