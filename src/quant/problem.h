/* problem.h: what every solver needs of a layer's problem: the check at the
 * door, the pieces that it is worked on in, and the objective.
 *
 * The objective of a row (one output channel of one group), d = g - w (K) and
 * the bias's change c, is that of the augmented quadratic
 *
 *     (d, c) [ H   m ] (d, c)'  =  d H d' + 2 c (d.m) + c^2
 *            [ m'  1 ]
 *
 * and c = -(d.m) is its exact minimum over c: d (H - m m') d', the covariance's
 * form. Without the paper's factor 1/2, which cancels in what is reported.
 */
#ifndef LDNQ_QUANT_PROBLEM_H
#define LDNQ_QUANT_PROBLEM_H

#include "quant/quant.h"

/* The rows of a group in blocks that do not depend on the number of threads:
 * enough for the matrix products, few enough that small layers make several. */
#define LDNQ_PIECE_ROWS 32

struct ldnq_piece {
    size_t group, first, rows;
    size_t offset; /* of its first row among all (G, M) rows */
};

/* Scales of a row. */
static inline size_t ldnq_row_scales(const struct ldnq_layer_problem *problem)
{
    return problem->segment ? problem->segments : 1;
}

/* Which of all scales the row's input takes; row counts over groups and outputs. */
static inline size_t ldnq_scale_at(const struct ldnq_layer_problem *problem, size_t row,
                                   size_t input)
{
    return problem->segment ? row * problem->segments + problem->segment[input] : row;
}

size_t ldnq_piece_count(const struct ldnq_layer_problem *problem);
struct ldnq_piece ldnq_piece_at(const struct ldnq_layer_problem *problem, size_t index);

/* Errors: NUMERIC with the place of a NaN or infinity in weight, bias, gram or
 * mean, USAGE with that of a segment out of range. */
enum ldnq_status ldnq_problem_check(const struct ldnq_layer_problem *problem,
                                    struct ldnq_error *err);

/* The problem with the bias left to its best: the gram matrix is the covariance
 * H - m m', and there is no mean. An input that never varies has a row of zeros. The
 * matrix lives in the arena, or is the problem's own when that has no mean.
 * Errors: NOMEM. */
enum ldnq_status ldnq_problem_reduce(const struct ldnq_layer_problem *problem,
                                     struct ldnq_layer_problem *reduced, struct ldnq_arena *arena,
                                     struct ldnq_error *err);

/* An input with less variance than this part of its power is a constant: the rest is
 * rounding, as the products of the statistics are sums of floats. */
#define LDNQ_CONSTANT_INPUT 1e-6

/* How many inputs of the group with the fewest vary, and in how many directions: the
 * numerical rank of their correlation matrix. Errors: NUMERIC (size), NOMEM. */
enum ldnq_status ldnq_problem_rank(const struct ldnq_layer_problem *problem, size_t *varying,
                                   size_t *rank, struct ldnq_error *err);

/* A choice of codes, all (G, M, ...); bias NULL stands for the best one. */
struct ldnq_choice {
    const int8_t *codes; /* NULL for G = 0 */
    const float *scales; /* (G, M, S) */
    const float *bias;
};

/* The objective of the rows channels[0 .. count-1] of a group into errors[0 ..
 * count-1]; NULL channels are 0, 1, 2 ... count is at most LDNQ_PIECE_ROWS. */
void ldnq_row_errors(const struct ldnq_layer_problem *problem, size_t group, const size_t *channels,
                     size_t count, const struct ldnq_choice *choice, double *errors);

/* The sum over all rows, in their order. `errors` is scratch, (G, M). */
double ldnq_total_error(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                        const struct ldnq_choice *choice, double *errors);

/* The same to the bit, in this thread and without scratch. */
double ldnq_total_error_serial(const struct ldnq_layer_problem *problem,
                               const struct ldnq_choice *choice);

/* Writes error_start and error, relative to `zero`, the objective of G = 0.
 * Errors: NUMERIC when one of the three is beyond a double. */
enum ldnq_status ldnq_report_errors(double zero, double before, double after,
                                    struct ldnq_layer_solution *solution, struct ldnq_error *err);

#endif
