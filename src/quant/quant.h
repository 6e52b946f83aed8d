/* SPDX-License-Identifier: Apache-2.0 */
/* quant.h: codebooks, and solvers that fit codebook weights to one layer's quadratic.
 *
 * Solves  min over codes q and scales a of
 *             sum_g tr (Q_g - W_g) H_g (Q_g - W_g)',  Q = a q elementwise
 *         with H_g = E[y y'], the gram matrix of the group's inputs y. A layer with a bias takes
 *         the bias that is best for its Q, which leaves the covariance H_g - E[y] E[y]' in place
 *         of H_g (problem.h). The paper's factor 1/2 is left out; it cancels in what is reported
 * Shapes  g = 1 .. G groups, each with M rows (output channels) and K cols (inputs of the
 *         group): weight (G, M, K), gram (G, K, K), mean (G, K), bias (G, M), row-major
 * Units   weight and bias as in the model; gram and mean are means over the positions of
 *         the calibration data
 * Owns    nothing; all buffers belong to the caller
 * Errors  see ldnq_solve
 * Threads safe on distinct solutions; the pool's threads share the work of one call, and
 *         the result does not depend on their number
 * Source  Chen, Wang, Pan, "Deep Neural Network Quantization via Layer-Wise
 *         Optimization using Limited Training Data", AAAI 2019
 */
#ifndef LDNQ_QUANT_H
#define LDNQ_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

struct ldnq_pool;

/* ---- codebooks ---------------------------------------------------------------- */

struct ldnq_codebook {
    const char *name;    /* the word for --weights */
    const char *summary; /* one line for --help */
    size_t count;
    const int16_t *codes; /* ascending, 0 among them */
    unsigned bits;        /* the narrowest of 2, 4 and 8 whose two's complement holds all codes */
};

/* Returns NULL when no codebook has that name. */
const struct ldnq_codebook *ldnq_codebook_find(const char *name);
/* Returns all codebooks, ended by NULL. */
const struct ldnq_codebook *const *ldnq_codebooks(void);
/* Returns the codebook without codes whose negative it lacks: -127 to 127 for int8. Its name is
 * the same. */
const struct ldnq_codebook *ldnq_codebook_find_symmetric(const struct ldnq_codebook *codebook);
/* Returns the code nearest to value; on a tie the one nearer to 0. */
int16_t ldnq_codebook_find_nearest(const struct ldnq_codebook *codebook, double value);

enum ldnq_granularity {
    LDNQ_PER_TENSOR,  /* one scale for the whole weight */
    LDNQ_PER_CHANNEL, /* one scale per row, that is per output channel */
    LDNQ_PER_BLOCK,   /* S scales per row, one for each block of columns */
};

/* ---- a layer's problem and its solution ------------------------------------------ */

/* Scales with fewer digits than float32 has. From 2^e to 2^(e+1) they are the multiples of
 * 2^(e - fraction); below 2^least_exponent all multiples of 2^(least_exponent - fraction). */
struct ldnq_scale_format {
    int fraction, least_exponent;
    float largest; /* no code times its scale is larger */
};

extern const struct ldnq_scale_format ldnq_power_of_two_scales, ldnq_float16_scales,
    ldnq_bfloat16_scales;

/* Returns the scale of the format next to `scale`: the largest one below it or the smallest one
 * above it, or `scale` itself; within the limits of the format for the codebook. */
float ldnq_find_neighboring_scale(const struct ldnq_scale_format *format,
                                  const struct ldnq_codebook *codebook, float scale, bool above);

/* The codes and scales that solvers start from, where several solutions of one weight share them:
 * the first one stores them. The caller's buffers. */
struct ldnq_shared_start {
    int8_t *codes; /* (G, M, K) */
    float *scales; /* (G, M, S) */
    bool is_known;
};

/* The positions that the Gram matrix of a layer with one group is the mean of, where they are few:
 * gram = Y'Y / P + diag(added) - m m'. */
struct ldnq_gram_positions {
    const float *columns; /* (P, K) Y */
    size_t count;         /* P */
    const double *added;  /* (K); NULL: nothing */
    const double *mean;   /* (K) m; NULL: nothing */
};

/* The matrix of a layer with one group whose positions are far fewer than its columns:
 * C = Y'Y / P + diag(added). Y has no mean where the layer has a bias, so that C takes the place of
 * the covariance, and zeros in columns that do not vary. */
struct ldnq_low_rank_gram {
    const float *columns; /* (K, P) Y' */
    size_t count;         /* P */
    const double *added;  /* (K); NULL: nothing */
};

struct ldnq_layer_problem {
    size_t groups, rows, cols; /* G, M, K */
    const float *weight;       /* (G, M, K) */
    const double *gram;        /* (G, K, K) H = E[y y'] of the layer's input y, symmetric PSD */
    /* NULL, or what gram was computed of: products with it are cheaper. */
    const struct ldnq_gram_positions *positions;
    /* In place of gram, with its diagonal below; NULL with gram. */
    const struct ldnq_low_rank_gram *low_rank;
    /* In place of gram, for solvers that need no more than the diagonal: the inputs are taken
     * as uncorrelated. (G, K) the variance of y, or E[y^2] for a layer without a bias. */
    const double *diagonal;
    /* For a layer with a bias, which is fitted too; both NULL without. */
    const double *mean; /* (G, K) E[y] */
    const float *bias;  /* (G, M) */
    const struct ldnq_codebook *codebook;
    enum ldnq_granularity granularity;
    /* NULL: any float32. Powers of two not with blocks. */
    const struct ldnq_scale_format *scale_format;
    bool negative_scales; /* scales may be negative where that is better; not with blocks */
    const uint8_t *zeros; /* (G, M, K) not 0 where the code has to be 0; NULL: nowhere */
    /* The block of each column; every block 0 .. S-1 has at least one column. NULL, and S is
     * 1, unless granularity is LDNQ_PER_BLOCK. */
    const uint32_t *block_index; /* (K) */
    size_t block_count;          /* S */
    /* NULL: the start is computed. Problems that share one have the same weight, codebook, blocks
     * and zeros, and solvers with the same start. */
    struct ldnq_shared_start *shared_start;
    /* NULL, or where results of gram and mean are stored for other problems (gram_results.h). */
    struct ldnq_gram_results *gram_results;
};

/* The caller's buffers, which ldnq_solve fills in. */
struct ldnq_layer_solution {
    int8_t *codes;      /* (G, M, K) q */
    float *scales;      /* (G, M, S) a > 0, but for negative_scales; all equal per tensor */
    float *bias;        /* (G, M); NULL without a bias */
    double error_start; /* objective of the solver's start, relative to that of Q = 0 */
    double error;   /* objective of the solution, relative in the same way; at most error_start */
    int iterations; /* iterations of the row that took most */
    double rho;     /* ADMM's penalty, mean over the groups; 0 for other solvers */
};

/* One iteration of `admm`, over the whole layer. */
struct ldnq_trace_row {
    int iteration;
    double objective; /* objective of the best iterate so far, relative to that of Q = 0 */
    double residual;  /* |X - Q| / |Q|, weighted by H's diagonal */
    size_t changed;   /* rows whose codes changed in this iteration */
    size_t active;    /* rows that have not converged */
    double rho;       /* the penalty of column k is rho times H's diagonal element k */
};

struct ldnq_solver_options {
    /* For `admm-paper` alone. */
    double rho_factor;   /* rho = rho_factor * the mean of H's diagonal */
    bool rho_from_first; /* the first diagonal element in place of the mean, as in the paper */
    int max_iterations;  /* 100 in the paper */
    int max_rises;       /* stop after this many rises of the objective in a row */
    /* For solutions that the caller measures: their errors are absolute, 0 of solvers that only
     * round. */
    bool is_trial;
    /* Called after each iteration of `admm`, which `best` runs too; or NULL. */
    void (*trace)(void *ctx, const struct ldnq_trace_row *row);
    void *trace_ctx;
};

void ldnq_solver_defaults(struct ldnq_solver_options *options);

struct ldnq_solver_task;

/* A row of the table in solver.c. */
struct ldnq_solver {
    const char *name;    /* the word for --solver */
    const char *summary; /* one line for --help */
    bool fits_bias;      /* computes the best bias; else the bias stays the problem's */
    bool needs_gram; /* false: the solver also takes a problem with `diagonal` in place of `gram` */
    bool is_published;   /* the method of a paper, which is to be compared with */
    bool blocks;         /* supports LDNQ_PER_BLOCK */
    bool takes_low_rank; /* also takes a problem with `low_rank` in place of `gram` */
    /* What it allocates, beside the problem and the solution: matrices like the Gram matrix, and
     * bytes per weight. */
    double gram_matrices, weight_bytes;
    /* Called by ldnq_solve alone (solver.h); improve may be NULL. */
    enum ldnq_status (*start)(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                              struct ldnq_layer_solution *solution, struct ldnq_error *err);
    enum ldnq_status (*improve)(struct ldnq_solver_task *task, struct ldnq_error *err);
};

/* Whether the solver rounds and then sets the best bias: it needs the moments of single columns
 * alone, and is no baseline that leaves the biases as they are. */
static inline bool ldnq_solver_rounds_with_bias(const struct ldnq_solver *solver)
{
    return !solver->needs_gram && solver->fits_bias;
}

/* Fills in the solution. Errors: NUMERIC (a factorization fails; NaN or infinity in the
 * problem; the objective overflows), NOMEM, USAGE (an option out of range; blocks where the
 * solver does not support them). */
enum ldnq_status ldnq_solve(const struct ldnq_solver *solver,
                            const struct ldnq_layer_problem *problem,
                            const struct ldnq_solver_options *options, struct ldnq_pool *pool,
                            struct ldnq_layer_solution *solution, struct ldnq_error *err);

/* The sizes of a layer's problem. */
struct ldnq_problem_sizes {
    size_t groups, rows, cols, threads;
    size_t positions; /* of a matrix of low rank; 0: the layer has a Gram matrix */
    bool has_blocks;
};

/* The bytes that ldnq_solve allocates at most, about. */
double ldnq_solver_count_bytes(const struct ldnq_solver *solver,
                               const struct ldnq_problem_sizes *sizes);

/* Returns NULL when no solver has that name. */
const struct ldnq_solver *ldnq_solver_find(const char *name);
/* Returns all solvers, ended by NULL. */
const struct ldnq_solver *const *ldnq_solvers(void);

/* Returns the objective of codes, scales and bias, relative to that of Q = 0 with its best
 * bias. 0 when both are 0, infinite when only the latter is. */
double ldnq_compute_layer_error(const struct ldnq_layer_problem *problem,
                                const struct ldnq_layer_solution *solution);

/* Sets the bias to the exact minimum for the solution's codes and scales,
 * b + (W - Q) E[y]. The layer must have a bias. */
void ldnq_compute_best_bias(const struct ldnq_layer_problem *problem,
                            struct ldnq_layer_solution *solution);

#endif
