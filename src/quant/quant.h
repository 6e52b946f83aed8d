/* quant.h: codebooks, and solvers that fit codebook weights to one layer's
 * quadratic. Plain matrices in and out: no graph, no file.
 *
 * Solves  min over codes q, scales a (and the bias)
 *             1/2 sum_g tr (G_g - W_g)' H_g (G_g - W_g),  G = a * q
 * Shapes  G groups of M outputs and K inputs: weight (G, M, K), gram (G, K, K),
 *         mean (G, K), bias (G, M), all row-major. M and K are per group.
 * Units   weight and bias as in the model; gram and mean are means over the
 *         positions of the calibration data.
 * Source  Chen, Wang, Pan, "Deep Neural Network Quantization via Layer-Wise
 *         Optimization using Limited Training Data", AAAI 2019.
 */
#ifndef LDNQ_QUANT_H
#define LDNQ_QUANT_H

#include "base/base.h"

struct ldnq_pool;

/* ---- codebooks ---------------------------------------------------------------- */

struct ldnq_codebook {
    const char *name;    /* as in --weights */
    const char *summary; /* for --help */
    size_t count;
    const int16_t *codes; /* ascending, 0 among them */
    unsigned bits;        /* the narrowest of 2, 4, 8 bits whose two's complement holds all */
};

/* NULL when there is none of that name. */
const struct ldnq_codebook *ldnq_codebook_find(const char *name);
/* All of them, ended by NULL. */
const struct ldnq_codebook *const *ldnq_codebooks(void);
/* The code nearest to value; of two equally near the one nearer to 0. */
int16_t ldnq_codebook_nearest(const struct ldnq_codebook *codebook, double value);

enum ldnq_granularity {
    LDNQ_PER_TENSOR,  /* one scale a weight */
    LDNQ_PER_CHANNEL, /* one scale an output channel */
    LDNQ_PER_BLOCK,   /* several scales an output channel, each for a part of its inputs */
};

/* ---- a layer's problem and what a solver makes of it ---------------------------- */

struct ldnq_layer_problem {
    size_t groups, outputs, inputs; /* G, M, K */
    const float *weight;            /* (G, M, K) */
    const double *gram;             /* (G, K, K) H = E[y y'], symmetric PSD */
    /* The constant-one row of H, for a layer with a bias; both NULL without. */
    const double *mean; /* (G, K) E[y] */
    const float *bias;  /* (G, M) */
    const struct ldnq_codebook *codebook;
    enum ldnq_granularity granularity;
    /* Per block: which of a row's S scales input k takes, all of 0 .. S-1 in use. NULL
     * else, and S is 1. */
    const uint32_t *segment; /* (K) */
    size_t segments;         /* S */
};

/* Buffers are the caller's; solve fills them in. */
struct ldnq_layer_solution {
    int8_t *codes;      /* (G, M, K) */
    float *scales;      /* (G, M, S), > 0; all the same per tensor */
    float *bias;        /* (G, M); NULL without */
    double error_start; /* objective of the solver's start, relative to that of G = 0 */
    double error;       /* of the solution, the same measure; never above error_start */
    int iterations;     /* of the channel that took most */
    double rho;         /* ADMM's penalty, the mean over the groups; 0 for solvers without one */
};

/* One iteration of a solver that goes over the layer as a whole. */
struct ldnq_trace_row {
    int iteration;
    double objective; /* of the best iterate so far, relative to that of G = 0 */
    double residual;  /* |X - G| / |G|, weighted by H's diagonal */
    size_t changed;   /* channels whose codes changed */
    size_t active;    /* channels that have not settled */
    double rho;       /* the penalty's factor */
};

struct ldnq_solver_options {
    double rho_factor;   /* rho = factor * the mean of H's diagonal */
    bool rho_from_first; /* in place of the mean the first element, as in the paper */
    int max_iterations;  /* at most 100 in the paper */
    int max_rises;       /* stop after so many rises of the objective in a row */
    /* What `admm` shows of its iterations (so `best` does too); or NULL. */
    void (*trace)(void *ctx, const struct ldnq_trace_row *row);
    void *trace_ctx;
};

void ldnq_solver_defaults(struct ldnq_solver_options *options);

struct ldnq_solver_task;

/* A row of the table in solver.c, which has the frame of all solvers. */
struct ldnq_solver {
    const char *name;    /* as in --solver */
    const char *summary; /* for --help */
    bool fits_bias;      /* sets the bias to the best one; else it stays the problem's */
    bool blocks;         /* can give a row several scales (LDNQ_PER_BLOCK) */
    /* Both for the frame alone; improve may be NULL. */
    enum ldnq_status (*start)(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                              struct ldnq_layer_solution *solution, struct ldnq_error *err);
    enum ldnq_status (*improve)(const struct ldnq_solver_task *task, struct ldnq_error *err);
};

/* Fills in the solution. Errors: NUMERIC (a factorization that fails, NaN or infinity in the
 * problem, an objective beyond a double), NOMEM, USAGE (an option out of range, blocks
 * where `blocks` is false). Scratch memory is the solver's own and released. */
enum ldnq_status ldnq_solve(const struct ldnq_solver *solver,
                            const struct ldnq_layer_problem *problem,
                            const struct ldnq_solver_options *options, struct ldnq_pool *pool,
                            struct ldnq_layer_solution *solution, struct ldnq_error *err);

const struct ldnq_solver *ldnq_solver_find(const char *name);
const struct ldnq_solver *const *ldnq_solvers(void);

/* The objective of codes, scales and bias, relative to that of G = 0 (with the
 * bias that is best there when the layer has one). 0 when both are 0; infinite
 * when only the latter is. */
double ldnq_layer_error(const struct ldnq_layer_problem *problem,
                        const struct ldnq_layer_solution *solution);

/* Fills in the bias that is the objective's exact minimum for the solution's codes
 * and scales: b + (W - G) E[y]. Not for a layer without a bias. */
void ldnq_layer_best_bias(const struct ldnq_layer_problem *problem,
                          struct ldnq_layer_solution *solution);

#endif
