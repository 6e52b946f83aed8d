/* beam.h: codes one input at a time, with several beginnings kept.
 *
 * Solves  min over codes q of  (a q - w)' (H + damping) (a q - w)  for each row, at
 *         scales a that are given: with X of inverse.h a code q_i costs
 *         ((w_i - a q_i) / X_ii)^2, and moves what is wanted of the inputs to come as
 *         in gptq.c. Each of `width` beginnings goes on with its two nearest codes, and
 *         the cheapest `width` of all stay: the K-best search for a lattice's nearest
 *         point, of which GPTQ is the one with the width 1
 * Shapes  as in quant.h, for a problem without a mean; codes (G, M, K) are the result,
 *         scales (G, M, S) input and result
 * Owns    nothing; what init makes lives in the arena
 * Errors  NUMERIC as in inverse.h, NOMEM
 * Threads rows are taken by the pool in chunks; the answer does not depend on how many
 *         threads there are
 * Source  Guo and Nilsson, "Algorithm and Implementation of the K-Best Sphere Decoding
 *         for MIMO Detection", IEEE J. Sel. Areas Commun. 24, 2006. In float32, on costs
 *         of 18 bits: what is found is judged by others, in double.
 */
#ifndef LDNQ_QUANT_BEAM_H
#define LDNQ_QUANT_BEAM_H

#include "quant/quant.h"

#include "quant/inverse.h"

struct ldnq_beam {
    const struct ldnq_layer_problem *problem;
    struct ldnq_pool *pool;
    struct ldnq_inverse inverse;
    float *factor;  /* (G, K, K) X */
    float *corners; /* (G, blocks, BLOCK, BLOCK) its diagonal blocks, zero above and beyond */
    float *units;   /* (G, K) 1 / X_ii */
    struct ldnq_beam_desk *desks; /* one a thread */
};

enum ldnq_status ldnq_beam_init(struct ldnq_beam *beam, const struct ldnq_layer_problem *problem,
                                struct ldnq_pool *pool, struct ldnq_arena *arena,
                                struct ldnq_error *err);

/* Widths that there are: 1, 4, 8, 16. */
struct ldnq_beam_search {
    size_t width;
    const double *factors; /* of the scales: all are tried, and a row (a tensor where it */
    size_t count;          /* has one scale) keeps the cheapest */
};

enum ldnq_status ldnq_beam_find(const struct ldnq_beam *beam, const struct ldnq_beam_search *search,
                                int8_t *codes, float *scales, struct ldnq_error *err);

#endif
