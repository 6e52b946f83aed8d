/* pipeline.h: quantizes a graph layer by layer, from a handful of samples.
 *
 * The walk goes front to back once: at each layer it takes the statistics of the
 * input that the already quantized layers in front make, solves for codes and
 * scales, writes the weight back into the graph, and goes on.
 */
#ifndef LDNQ_PIPELINE_H
#define LDNQ_PIPELINE_H

#include "calib/calib.h"
#include "layer/quantized_layer.h"

/* ---- the run ------------------------------------------------------------------------ */

/* Tuning of the placed layers together, towards the float network's outputs. */
struct ldnq_fine_tune_options {
    size_t steps;      /* 0: none */
    size_t batch;      /* samples a step; 0: a sixteenth of them, 8 to 32 */
    bool update_codes; /* else scales and biases alone */
    bool augment;      /* mirrored and shifted pictures, through the float network too */
};

#define LDNQ_LAMBDA_AUTO (-1.0)

/* The codebook of the layers that `node` (a label or name, or a shell pattern) chooses;
 * of several entries that choose a layer the first counts. */
struct ldnq_plan_entry {
    const char *node;
    const struct ldnq_codebook *codebook;
};

struct ldnq_layer_diagnostics;

struct ldnq_quantize_options {
    struct ldnq_fine_tune_options fine_tune;
    /* Steps that follow each layer but the last: scales and biases of the layers that
     * have their codes, weights and biases of those that have not, towards the float
     * network's outputs; kept if held-out samples prove it. Layers then aim at their
     * weight, whatever lambda is. 0: none. */
    size_t cascade;
    const struct ldnq_codebook *codebook; /* of the layers that the plan does not choose */
    const struct ldnq_plan_entry *plan;
    size_t plan_count;
    enum ldnq_granularity granularity;
    /* Per block: so many input channels share a scale, at each place of a kernel, as
     * ONNX's block_size has it. Layers with fewer get one scale a channel. */
    size_t block;
    const struct ldnq_solver *solver;
    struct ldnq_solver_options solver_options;
    /* How much of the error of the layers in front a layer makes up for: 0 aims at the
     * float weight, 1 at the float layer's output; above 0 also at its mean. Or
     * LDNQ_LAMBDA_AUTO: what held-out samples prove, layer by layer. */
    double lambda;
    /* Each sample is taken so many times, once as it is and else mirrored and shifted,
     * where it is a picture; 0 is 1. */
    size_t copies;
    uint64_t seed; /* of all that is random */
    /* Nodes by label or name, or by shell pattern. Without `only`, all. */
    const char *const *skip, *const *only;
    size_t skip_count, only_count;
    /* Of the whole run; 0: no limit. Half of it is the layers': those that come later
     * are solved by GPTQ. Learning ends when it is over. */
    double max_seconds;
    size_t max_bytes; /* ceiling of what activations may take in memory; 0: 256 MiB */
    struct ldnq_pool *pool;
    const struct ldnq_sink *sink;
    /* Called before and after each layer is placed; either may be NULL. */
    void (*layer_start)(void *ctx, const struct ldnq_layer *layer);
    void (*layer_done)(void *ctx, const struct ldnq_quantized_layer *layer,
                       const struct ldnq_layer_diagnostics *diagnostics);
    void *layer_ctx;
};

/* How a run got to a layer's codes. */
struct ldnq_layer_diagnostics {
    /* The standard deviation of the output on the samples, per row (G M); the root mean square
     * without a bias. */
    const float *deviation;
    /* As in quant.h, for the solver's start. With shared codes: for these codes with the
     * bias of the file. */
    double error_start;
    /* What codes and bias change of the layer's output on its own input, against the float
     * ones: |y' - y|, the root mean square over the samples. */
    double change;
    int iterations;
    double rho;
    const struct ldnq_solver *solver; /* NULL where codes are shared */
    double lambda;                    /* as in the options, what it was for this layer */
    double damping;                   /* of that; 0 where nothing is aimed at */
    /* With lambda from held-out samples: of the error that the layers in front make of
     * this one's float output, the part that was left on them; else NaN. */
    double remaining_error;
    /* Of the network's outputs on held-out samples, before and after the cascade that
     * followed this layer, as in ldnq_fine_tune_result; NaN without one. */
    double cascade_start, cascade_error;
    bool late;        /* solved by the quicker solver, for lack of time */
    size_t positions; /* columns that the statistics were taken over */
    /* Inputs that vary, and their directions, of the group with the fewest; counted when
     * layer_done is set or the positions are no more than the inputs, else both K. */
    size_t varying, rank;
    double seconds, solver_seconds; /* of the layer, statistics and all, and of its solver */
};

/* What tuning did to the network's output on the held-out samples: |y - t|^2 / |t|^2,
 * the mean over the outputs. */
struct ldnq_fine_tune_result {
    size_t steps, held_out; /* samples that were not learned from; 0: it did not run */
    double error_start, error;
};

struct ldnq_quantization {
    struct ldnq_quantized_network network;
    struct ldnq_layer_diagnostics *diagnostics; /* by layer of the network */
    struct ldnq_fine_tune_result fine_tune;
    /* Of the network's outputs on the first samples, up to 32: |y - t|^2 / |t|^2 against
     * the float network's, the mean over the outputs; NaN when no output is a float, or
     * they can't be compared. */
    double output_error;
    /* What the layers' changes can make of it at most, by the paper's theorem; NaN where
     * an operator has no Lipschitz constant, or layers learned after they were placed. */
    double output_bound;
    /* Layers with a constant weight that were not quantized; each has its refusal. */
    const struct ldnq_layer *kept;
    size_t kept_count;
};

/* Quantizes the graph's layers in place: afterwards it computes with the
 * quantized weights. Results live in the arena.
 * Errors: USAGE (a skip, only or plan entry that matches no layer, nothing left to
 * quantize), DATA (also samples that do not fit a layer, or give it no input),
 * NUMERIC (NaN in a weight; named), UNSUPPORTED, IO, NOMEM. */
enum ldnq_status ldnq_quantize_graph(struct ldnq_graph *graph, struct ldnq_samples *samples,
                                     const struct ldnq_quantize_options *options,
                                     struct ldnq_arena *arena, struct ldnq_quantization **out,
                                     struct ldnq_error *err);

/* ---- mixed precision ----------------------------------------------------------------- */

enum ldnq_budget_unit {
    LDNQ_BUDGET_BITS,  /* of a weight's code, on average; scales are not counted */
    LDNQ_BUDGET_BYTES, /* of all codes and scales */
    LDNQ_BUDGET_RATIO, /* of the float weights' bytes to those */
};

struct ldnq_budget {
    enum ldnq_budget_unit unit;
    double amount;
    const struct ldnq_codebook *const *codebooks; /* to choose from */
    const unsigned *bits; /* what a code of each takes in the budget's unit */
    size_t count;
};

struct ldnq_bit_allocation {
    struct ldnq_plan_entry *entries; /* in the order of the layers, by label */
    size_t count, choices;
    /* (count, choices) what each codebook did to the network's outputs: |y - t|^2 / |t|^2
     * with this layer quantized and all others float, the mean over the float outputs. */
    double *errors;
    double weights; /* elements, those shared by layers once */
    double cost;    /* in bits or bytes, after the budget's unit */
    double error;   /* the sum of the chosen ones */
};

/* Chooses a codebook for each layer so that the sum of the errors is least within the
 * budget. Reads skip, only, granularity, seed, max_bytes, pool and sink of the options.
 * The graph stays as it is; the plan lives in the arena.
 * Errors: USAGE (a budget below the least that is possible, which is told), UNSUPPORTED
 * (outputs that can't be compared), and those of ldnq_quantize_graph. */
enum ldnq_status ldnq_allocate_bits(const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                    const struct ldnq_quantize_options *options,
                                    const struct ldnq_budget *budget, struct ldnq_arena *arena,
                                    struct ldnq_bit_allocation **out, struct ldnq_error *err);

#endif
