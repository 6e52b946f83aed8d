/* SPDX-License-Identifier: Apache-2.0 */
/* problem.h: what every solver needs of a layer's problem: the check of its numbers, the
 * pieces of rows that threads work on, and the objective.
 *
 * Solves  the objective of one row, with d = a q - w (K), m = E[y] (K) and the change c of
 *         its bias, is the augmented quadratic
 *
 *             (d, c) [ H   m ] (d, c)'  =  d H d' + 2 c (d.m) + c^2
 *                    [ m'  1 ]
 *
 *         Its exact minimum over c is at c = -(d.m), where d (H - m m') d' is left: the
 *         quadratic with the covariance ("centred") in place of H. Without a gram matrix the
 *         covariance is the problem's diagonal
 * Shapes  as in quant.h; "row" counts over groups and rows, 0 .. G M - 1, unless stated
 * Errors  as stated per function
 * Threads safe on distinct results
 */
#ifndef LDNQ_QUANT_PROBLEM_H
#define LDNQ_QUANT_PROBLEM_H

#include "base/arena.h"
#include "base/pool.h"
#include "quant/quant.h"

/* Rows of one group that one thread works on together. The number is large enough for
 * efficient matrix products, and small enough that small layers have several pieces. Pieces
 * do not depend on the number of threads. */
#define LDNQ_PIECE_ROWS 32

struct ldnq_piece {
    size_t group, first, rows;
    size_t offset; /* index of its first row among all G M rows; `first` counts in the group */
};

/* S. */
static inline size_t ldnq_scales_per_row(const struct ldnq_layer_problem *problem)
{
    return problem->block_index ? problem->block_count : 1;
}

/* The index in `scales` for an element of the matrix. */
static inline size_t ldnq_scale_index(const struct ldnq_layer_problem *problem, size_t row,
                                      size_t col)
{
    return problem->block_index ? row * problem->block_count + problem->block_index[col] : row;
}

/* Whether element `at` of (G, M, K) has to have the code 0. */
static inline bool ldnq_is_held_at_zero(const struct ldnq_layer_problem *problem, size_t at)
{
    return problem->zeros && problem->zeros[at];
}

/* Sets those of the elements first .. first+count-1 to 0, codes[0] being element `first`. Returns
 * whether a code changed. */
bool ldnq_clear_codes_of_pruned_weights(const struct ldnq_layer_problem *problem, size_t first,
                                        size_t count, int8_t *codes);

size_t ldnq_piece_count(const struct ldnq_layer_problem *problem);
struct ldnq_piece ldnq_piece_at(const struct ldnq_layer_problem *problem, size_t index);

/* Calls run(ctx, piece, thread) for the pieces of this rank (base/ranks.h). */
void ldnq_run_pieces(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                     ldnq_chunk_fn *run, void *ctx);
/* Fills in the rows of an array (G, M) of `row_bytes` that the pieces of other ranks have written.
 * A failure is found by the next ldnq_ranks_check. */
void ldnq_exchange_rows(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                        void *data, size_t row_bytes);

/* Errors: NUMERIC (NaN or infinity in weight, bias, gram or mean) and USAGE (a block index
 * out of range), both with the element's position. */
enum ldnq_status ldnq_problem_check(const struct ldnq_layer_problem *problem,
                                    struct ldnq_error *err);

/* Eliminates the bias: `reduced` is the problem with the centred matrix H - m m' as its
 * gram and without a mean. A constant column becomes a row and a column of zeros. The matrix
 * is allocated in the arena; without a mean it is the problem's own. Errors: NOMEM. */
enum ldnq_status ldnq_problem_eliminate_bias(const struct ldnq_layer_problem *problem,
                                             struct ldnq_layer_problem *reduced,
                                             struct ldnq_arena *arena, struct ldnq_error *err);

/* A column whose variance is below this part of its power E[y^2] is constant: what is left
 * is rounding, because the statistics sum products in float. */
#define LDNQ_CONSTANT_INPUT 1e-6

/* Counts the columns that vary, and the numerical rank of their correlation matrix; both of
 * the group where they are smallest. Errors: NUMERIC (size), NOMEM. */
enum ldnq_status ldnq_problem_compute_rank(const struct ldnq_layer_problem *problem,
                                           size_t *varying, size_t *rank, struct ldnq_error *err);

/* A candidate solution. */
struct ldnq_choice {
    const int8_t *codes; /* (G, M, K); NULL for Q = 0 */
    const float *scales; /* (G, M, S) */
    const float *bias;   /* (G, M); NULL for the best bias */
};

/* Writes the objective of some rows of a group to errors (count): rows[i] counts in the
 * group; NULL means 0, 1, 2 ... count is at most LDNQ_PIECE_ROWS. */
void ldnq_compute_row_errors(const struct ldnq_layer_problem *problem, size_t group,
                             const size_t *rows, size_t count, const struct ldnq_choice *choice,
                             double *errors);

/* Returns the sum over all rows, in their order; writes each row's objective to errors
 * (G, M). */
double ldnq_compute_total_error(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                                const struct ldnq_choice *choice, double *errors);

/* The same for two biases in the time of one: returns the sum with that of the choice, and writes
 * the sum with `other_bias` to *other_sum. `errors` (2, G, M). */
double ldnq_compute_total_error_of_biases(const struct ldnq_layer_problem *problem,
                                          struct ldnq_pool *pool, const struct ldnq_choice *choice,
                                          const float *other_bias, double *errors,
                                          double *other_sum);

/* Returns the sum for the solution's bias, from each row's objective with its best bias (G, M). */
double ldnq_add_rounding_of_biases(const struct ldnq_layer_problem *problem,
                                   const struct ldnq_layer_solution *solution,
                                   const double *errors);

/* Returns the sum of ldnq_compute_total_error, to the bit, in the calling thread. */
double ldnq_compute_total_error_serially(const struct ldnq_layer_problem *problem,
                                         const struct ldnq_choice *choice);

/* Sets error_start and error of the solution from the objectives of start and solution,
 * relative to `zero`, that of Q = 0. Errors: NUMERIC when one of the three is not finite. */
enum ldnq_status ldnq_report_errors(double zero, double before, double after,
                                    struct ldnq_layer_solution *solution, struct ldnq_error *err);

#endif
