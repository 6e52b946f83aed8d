/* SPDX-License-Identifier: Apache-2.0 */
/* codebook_estimate.h: estimate what each codebook of each layer does to the network's outputs,
 * from the gradients of a few backward passes instead of one run per codebook and layer.
 *
 * Computes E[(u' J_l d)^2] with d the change of layer l by a codebook, as output_estimate.h
 *          explains; the Jacobian is the float network's, and one draw serves all codebooks
 * Memory   the codes of all codebooks: a byte per weight and codebook
 */
#ifndef LDNQ_PIPELINE_CODEBOOK_ESTIMATE_H
#define LDNQ_PIPELINE_CODEBOOK_ESTIMATE_H

#include "pipeline/pipeline.h"

struct ldnq_codebook_estimate;

/* The estimate and all codes it stores live in the arena. Errors: NOMEM. */
enum ldnq_status ldnq_codebook_estimate_create(size_t layers, size_t choices,
                                               struct ldnq_arena *arena,
                                               struct ldnq_codebook_estimate **out,
                                               struct ldnq_error *err);

/* Copies the codes, scales and biases that `choice` has found. Errors: NOMEM. */
enum ldnq_status ldnq_codebook_estimate_store(struct ldnq_codebook_estimate *estimate,
                                              size_t choice,
                                              const struct ldnq_quantized_network *network,
                                              struct ldnq_error *err);

/* `network` has layers of `graph`, all float, with constants of their own. Layers of one row of
 * `rows` change together. Adds to errors (rows, choices), in the unit of output_error.h. Reads
 * estimate_draws, seed, max_bytes, pool and sink of the options.
 * Errors: UNSUPPORTED (no gradient reaches the layers), those of ldnq_project_outputs. */
enum ldnq_status ldnq_codebook_estimate_add_errors(struct ldnq_codebook_estimate *estimate,
                                                   const struct ldnq_graph *graph,
                                                   const struct ldnq_quantized_network *network,
                                                   const size_t *rows, size_t row_count,
                                                   struct ldnq_samples *samples,
                                                   const struct ldnq_quantize_options *options,
                                                   double *errors, struct ldnq_error *err);

#endif
