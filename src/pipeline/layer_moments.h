/* SPDX-License-Identifier: Apache-2.0 */
/* layer_moments.h: all sums over a layer's input that its problem needs: the statistics and,
 * with error compensation, the cross moments with the float network.
 *
 * Samples are split in two parts. The held-out part decides how strongly the layer
 * compensates: the change X = W* - W at lambda = 1 is fitted on the other part, and the
 * lambda with the least error on the held-out part is
 *
 *     lambda = <X, E[W (y - y^) y^']> / <X, X C>   within 0 and 1
 *
 * so that a correction which only fits noise of the samples is not made. The damping of C
 * is chosen in the same way, and whether the layer is fitted or rounded (layer_choice.h). Then
 * both parts are merged, and W* is fitted on all samples.
 */
#ifndef LDNQ_PIPELINE_LAYER_MOMENTS_H
#define LDNQ_PIPELINE_LAYER_MOMENTS_H

#include "pipeline/error_compensation.h"
#include "pipeline/low_rank_moments.h"
#include "pipeline/sum_tree.h"
#include "quant/quant.h"

/* A call whose positions are stored. */
struct ldnq_stored_call {
    size_t row, count; /* in few->columns */
    size_t all;        /* positions, also those that were not sampled */
    bool held_out;
    size_t ended_leaves; /* the leaf that ended after it, plus 1; 0: none did */
};

struct ldnq_layer_moments {
    struct ldnq_statistics statistics, held_out_statistics;
    struct ldnq_compensation compensation, held_out_compensation;
    double *weight_gram; /* (K, K) W' W, where the moments of the input are used; else NULL */
    struct ldnq_few_positions few; /* used by both parts where positions are few */
    /* Those of statistics and held_out_statistics; count 0 where they are not known, or where H is
     * the cheaper matrix. */
    struct ldnq_gram_positions positions, held_out_positions;
    /* Large layers with few positions have no other matrix: neither Gram nor cross moments. The
     * first call says whether they are; the calls are known in case that later ones have more. */
    bool takes_low_rank, may_be_low_rank, is_low_rank, has_bias;
    bool uses_input;
    struct ldnq_low_rank_moments low_rank, held_out_low_rank;
    struct ldnq_stored_call *stored_calls; /* (expected_calls) */
    struct ldnq_arena *arena;              /* the layer's */
    struct ldnq_arena *held_out_arena;     /* memory of the held-out part; NULL without one */
    size_t expected_calls;
    size_t call_count;      /* calls that were added */
    size_t first_positions; /* those of the first call */
    size_t all_positions;   /* positions of those calls, also those that were not sampled */
    struct ldnq_sum_tree tree, held_out_tree;
    double counts[2], held_out_counts[2]; /* positions, and all_positions, as they are summed */
};

struct ldnq_layer_moments_parts {
    bool compensates;    /* else there are only statistics */
    bool holds_out;      /* else all positions are fitted */
    bool uses_input;     /* sums of the input take the place of those of rows (input_error.h) */
    bool is_shared;      /* they are stored for other layers as well (shared_input.h) */
    size_t calls;        /* that will be added; 0: not known */
    bool takes_low_rank; /* whoever reads the moments can do without a Gram matrix */
    bool has_bias;
    /* The leaves of the sums (sum_tree.h); 0: no leaves are ended. And those that have calls of
     * each part (leaves). */
    size_t leaves;
    const bool *has_fitted, *has_held_out;
    size_t sum_heap_bytes; /* packed sums above them are in files */
};

/* The arena holds all but the held-out part, which release() frees. Errors: NOMEM. */
enum ldnq_status ldnq_layer_moments_init(struct ldnq_layer_moments *moments,
                                         const struct ldnq_layer_geometry *geometry,
                                         const float *weight, struct ldnq_layer_moments_parts parts,
                                         struct ldnq_pool *pool, struct ldnq_arena *arena,
                                         struct ldnq_error *err);
/* The bytes of the solvers that run beside the moments: of the quick one while both parts are
 * there, and of the asked one after the merge. */
struct ldnq_layer_moments_solvers {
    double quick, asked;
};

/* The bytes that a layer needs at most, about: those of init, and of choose_strength or of a
 * solver. */
double ldnq_layer_moments_count_bytes(const struct ldnq_layer_geometry *geometry,
                                      const struct ldnq_layer_moments_parts *parts,
                                      const struct ldnq_layer_moments_solvers *solvers,
                                      size_t positions, size_t threads);
/* Frees the sums of the held-out part. Accepts zeroed moments. */
void ldnq_layer_moments_release(struct ldnq_layer_moments *moments);

/* A call of a layer; `exact` is the same call in the float network, or NULL without
 * compensation. */
struct ldnq_layer_moments_call {
    const struct ldnq_op_layer *op;
    const struct ldnq_op_call *quantized, *exact;
    size_t positions;       /* the most that are read; 0: all */
    const size_t *unmasked; /* (unmasked_count) the positions that count; NULL: all do */
    size_t unmasked_count;
    size_t number; /* of the call, on any rank: its sampling depends on it */
    bool held_out;
};

/* Adds one call. Errors: NOMEM. */
enum ldnq_status ldnq_layer_moments_add(struct ldnq_layer_moments *moments,
                                        const struct ldnq_layer_moments_call *call,
                                        struct ldnq_error *err);

/* Ends a leaf of the sums, on the rank that has its calls, and then the sums: all ranks have them.
 * Errors: NOMEM, those of ranks.h. */
enum ldnq_status ldnq_layer_moments_end_leaf(struct ldnq_layer_moments *moments, size_t leaf,
                                             struct ldnq_error *err);
enum ldnq_status ldnq_layer_moments_finish_sums(struct ldnq_layer_moments *moments,
                                                struct ldnq_error *err);

/* Computes what follows from the moments of the input, when the sums are finished. Errors: NOMEM.
 */
enum ldnq_status ldnq_layer_moments_finish_calls(struct ldnq_layer_moments *moments,
                                                 struct ldnq_error *err);

/* Finds the positions of both parts, when all calls were added, and again after a merge. */
enum ldnq_status ldnq_layer_moments_find_positions(struct ldnq_layer_moments *moments,
                                                   struct ldnq_error *err);

/* Adds the sums of the held-out part to those of the fitted part, and frees the former. */
void ldnq_layer_moments_merge(struct ldnq_layer_moments *moments);

/* The share of C's mean diagonal that is added to C unless held-out samples choose it. */
#define LDNQ_COMPENSATION_DAMPING 0.01

struct ldnq_compensation_strength {
    double lambda, damping;
    /* The part of E|W (y - y^)|^2, the error that earlier layers cause in this layer's output,
     * that is left on the held-out part: 1 at lambda 0. NaN where that error is 0, or
     * nothing was held out. */
    double remaining_error;
};

/* Chooses the damping and the lambda that reduce the held-out error most; called before
 * merge(). `centred`: the layer has a bias, which takes the mean. lambda is 0 when either
 * part is empty. Errors: NOMEM. */
enum ldnq_status ldnq_layer_moments_choose_strength(struct ldnq_layer_moments *moments,
                                                    bool centred,
                                                    struct ldnq_compensation_strength *strength,
                                                    struct ldnq_error *err);

#endif
