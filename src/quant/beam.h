/* SPDX-License-Identifier: Apache-2.0 */
/* beam.h: beam search for the codes of a row: GPTQ with several branches.
 *
 * Solves  min over codes q of  (a q - w)' (H + damping) (a q - w)  for each row, at given
 *         scales a. With X of inverse.h, a code q_i costs e^2, e = (w_i - a q_i) / X_ii, and
 *         changes the targets of the columns not yet rounded by -e X_ij, as in gptq.c. Each
 *         of `width` branches is extended by its two nearest codes, and the cheapest
 *         `width` of all extensions are kept. With width 1 this is GPTQ. With a matrix of low rank
 *         branches have the errors of the outputs in place of targets (low_rank_factor.h)
 * Shapes  as in quant.h, for a problem without a mean (ldnq_problem_eliminate_bias): codes (G, M,
 * K) are the result, scales (G, M, S) input and result Units   computed in float32, with costs of
 * 18 bits; the caller measures the result Owns    nothing; what init allocates is in the arena
 * Errors  NUMERIC as in inverse.h, NOMEM
 * Threads chunks of rows run in the pool; the result does not depend on the number of
 *         threads
 * Source  the K-best search: Guo and Nilsson, "Algorithm and Implementation of the K-Best
 *         Sphere Decoding for MIMO Detection", IEEE J. Sel. Areas Commun. 24, 2006
 */
#ifndef LDNQ_QUANT_BEAM_H
#define LDNQ_QUANT_BEAM_H

#include "base/arena.h"
#include "quant/quant.h"

#include "quant/low_rank_factor.h"

struct ldnq_beam {
    const struct ldnq_layer_problem *problem;
    struct ldnq_pool *pool;
    struct ldnq_column *columns; /* (G, K) by ascending variance */
    float *factor;               /* (G, K, K) X; NULL where the problem has a matrix of low rank */
    struct ldnq_low_rank_factor low_rank; /* then in place of it */
    float *corners; /* (G, blocks, BLOCK, BLOCK) diagonal blocks of X, zero above and past K */
    float *units;   /* (G, K) 1 / X_ii */
    struct ldnq_beam_workspace *workspaces; /* one per thread */
};

/* Factorizes H and allocates the workspaces, which serve any number of searches. */
enum ldnq_status ldnq_beam_init(struct ldnq_beam *beam, const struct ldnq_layer_problem *problem,
                                struct ldnq_pool *pool, struct ldnq_arena *arena,
                                struct ldnq_error *err);

struct ldnq_beam_search {
    size_t width; /* 1, 4, 8 or 16 */
    /* Factors of the scales. All are tried; each row, or the tensor where rows share a
     * scale, keeps the cheapest. */
    const double *factors;
    size_t count;
};

/* Finds codes, and multiplies the scales by the chosen factors. */
enum ldnq_status ldnq_beam_find(const struct ldnq_beam *beam, const struct ldnq_beam_search *search,
                                int8_t *codes, float *scales, struct ldnq_error *err);

#endif
