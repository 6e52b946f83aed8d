/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline.h: quantize a graph layer by layer, on a few calibration samples.
 *
 * The layers are fitted once, in the order of the graph. For each layer the quantizer
 * collects the statistics of its input in the network whose earlier layers are already
 * quantized, solves for codes and scales, and writes the weight back into the graph.
 *
 * Owns    nothing; all results live in the caller's arena
 * Errors  each function lists them; a message names the file and the node
 * Numbers results are the same bits for any number of threads and any max_bytes
 */
#ifndef LDNQ_PIPELINE_H
#define LDNQ_PIPELINE_H

#include "base/sink.h"
#include "calib/calib.h"
#include "layer/quantized_layer.h"
#include "metric/accuracy.h"
#include "target/observer.h"

/* ---- options ---------------------------------------------------------------------------- */

/* Fine-tuning: after all layers are fitted, their scales and biases, and the normalizations,
 * follow the gradient of the distillation loss, the distance of the network's outputs to the
 * float network's. */
struct ldnq_fine_tune_options {
    size_t steps;      /* 0: no fine-tuning */
    size_t batch;      /* samples per step; 0: a sixteenth of all, from 8 to 32 */
    bool update_codes; /* codes change too */
    bool augment;      /* mirrors and shifts pictures, for the float network too */
};

/* For `lambda`: each layer's value is chosen on the held-out samples. */
#define LDNQ_LAMBDA_AUTO (-1.0)

/* For `estimate_draws`: as many as take less than about a second, up to 256; none where those
 * are fewer than a good estimate needs, or the changes and gradients of all weights are more
 * than max_bytes. */
#define LDNQ_ESTIMATE_AUTO SIZE_MAX
/* Draws of a good estimate: its standard deviation is a fifth of it. */
#define LDNQ_ESTIMATE_DRAWS ((size_t)64)

/* The codebook of the layers that `node` matches (a label or a name, or a shell pattern).
 * The first entry that matches a layer counts. */
struct ldnq_plan_entry {
    const char *node;
    const struct ldnq_codebook *codebook; /* NULL: the layer stays float */
    /* What the layer reads has the target's type of 16 bits, where the others have 8. */
    bool wide_input;
    /* A search named it: where the target computes it faster in float, it stays float. */
    bool yields_to_speed;
    /* Without a codebook: why the layer stays float; NULL: because this entry says so. */
    const char *float_reason;
};

struct ldnq_checkpoint;
struct ldnq_layer_diagnostics;

/* Which activations are quantized, and how. */
struct ldnq_activation_options {
    const struct ldnq_target *target; /* NULL: activations stay float */
    enum ldnq_dtype dtype;            /* type of the codes; one that the target takes */
    enum ldnq_range_rule rule;
};

/* Limits of what the layers are fitted to, so that fitting takes no longer than running the
 * network a few times; zeros: all samples, all positions. */
struct ldnq_fit_limits {
    /* Multiplications of the float network over the samples that are used: the first of the
     * set, at least 16. */
    double macs;
    /* Positions of a layer's input per column of its weight, evenly spread; at least 512 in
     * all. */
    size_t positions_per_column;
};

struct ldnq_quantize_options {
    struct ldnq_fit_limits fit;
    /* Whose rules the weights follow, also where activations stay float; NULL: those of the
     * activations' target, or none. */
    const struct ldnq_target *target;
    struct ldnq_activation_options activations;
    struct ldnq_fine_tune_options fine_tune;
    /* Fine-tuning steps after each layer but the last. They change scales and biases of the
     * fitted layers, and weights and biases of the others; a result that is not better on the
     * held-out samples is dropped. Turns error compensation off. 0: no cascade. */
    size_t cascade;
    const struct ldnq_codebook *codebook; /* for the layers that the plan does not match */
    /* For the tables that the plan does not match; NULL: `codebook`. */
    const struct ldnq_codebook *table_codebook;
    const struct ldnq_plan_entry *plan;
    size_t plan_count;
    enum ldnq_granularity granularity;
    /* With LDNQ_PER_BLOCK: the input channels that share a scale, for each element of the
     * kernel, as ONNX's block_size counts them. A layer with fewer input channels gets one
     * scale per output channel. At least 1. */
    size_t block;
    /* With LDNQ_PER_CHANNEL: the same for MatMul and Gemm alone, if their codes are stored in less
     * than 8 bits. 0: they have one scale per output channel too. */
    size_t product_block;
    unsigned least_code_bits; /* bits of the narrowest type that the file has for codes; 0: any */
    const struct ldnq_solver *solver;
    struct ldnq_solver_options solver_options;
    /* Error compensation: the part of the error of its input that a layer corrects. With 0
     * its target is the float weight, with 1 the output of the float layer; above 0 it also
     * keeps that output's mean. Or LDNQ_LAMBDA_AUTO. */
    double lambda;
    /* How often each sample is used: once as it is, then mirrored and shifted if it is a
     * picture. 0 is 1. */
    size_t copies;
    uint64_t seed; /* seed of all random choices */
    /* Random projections for the estimate of the outputs' error, of one sample each; 0: none. Or
     * LDNQ_ESTIMATE_AUTO. */
    size_t estimate_draws;
    /* Layers to leave out, and to quantize; by label, name or shell pattern. Without `only`,
     * all layers are quantized. */
    const char *const *skip, *const *only;
    size_t skip_count, only_count;
    /* Time limit of the run; 0: none. After half of it GPTQ replaces slower solvers;
     * fine-tuning stops at its end. */
    double max_seconds;
    bool skips_output_error; /* the error of the outputs is not measured, and not estimated */
    /* Samples that nothing is fitted on. NULL: there are too few for that. */
    struct ldnq_samples *held_out;
    /* Samples that the accuracy is measured on. Without: the held-out ones, and if there are none
     * those that are fitted. */
    struct ldnq_measured_samples measured;
    size_t max_bytes; /* memory for activations, the rest goes to a file; 0: 256 MiB */
    struct ldnq_pool *pool;
    const struct ldnq_sink *sink;
    struct ldnq_checkpoint *checkpoint; /* has and gets the fitted layers (checkpoint.h); or NULL */
    /* Called before and after each layer is fitted; either may be NULL. */
    void (*layer_start)(void *ctx, const struct ldnq_layer *layer);
    void (*layer_done)(void *ctx, const struct ldnq_quantized_layer *layer,
                       const struct ldnq_layer_diagnostics *diagnostics);
    void *layer_ctx;
};

#define LDNQ_DEFAULT_MAX_BYTES ((size_t)256 << 20)

static inline size_t ldnq_get_max_bytes(const struct ldnq_quantize_options *options)
{
    return options->max_bytes ? options->max_bytes : LDNQ_DEFAULT_MAX_BYTES;
}

/* ---- results ---------------------------------------------------------------------------- */

/* How a layer's codes were found: by the solver, by the solver with what the samples say of
 * correlations damped, or by rounding. */
enum ldnq_layer_fit { LDNQ_LAYER_FITTED, LDNQ_LAYER_DAMPED, LDNQ_LAYER_ROUNDED };

struct ldnq_layer_choice {
    enum ldnq_layer_fit fit;
    double damping; /* added to each column's variance, in units of it */
    /* With LDNQ_LAYER_ROUNDED: name of the solver that rounds, and whether the bias of the file
     * stays. */
    const char *rounding;
    bool keeps_bias;
    /* Errors of the candidates' output against the float layer's, as parts of the output's
     * variance, on samples that they were not fitted to. NaN where none was tried. */
    double fitted_error, damped_error, rounded_error;
};

struct ldnq_layer_diagnostics {
    struct ldnq_layer_choice choice;
    /* Per row (G M): the standard deviation of the layer's output on the samples, or without a
     * bias its root mean square; NULL without fine-tuning and cascade, which read it. */
    const float *deviation;
    /* The relative objective of the solver's start, as in quant.h; of shared codes with the
     * bias of the file. */
    double error_start;
    /* |y' - y|, the root mean square over the samples: how much codes and bias change the
     * layer's output on its own input, compared with the float weight and bias. */
    double change;
    int iterations; /* iterations of the solver, in the row that took most */
    double rho;     /* ADMM's penalty, mean over the groups; 0 for other solvers */
    const struct ldnq_solver *solver; /* NULL where codes are shared */
    double lambda, damping;           /* values of the error compensation; 0 without it */
    /* With LDNQ_LAMBDA_AUTO: the part of the error from earlier layers that is left after
     * compensation, on the held-out samples; else NaN. */
    double remaining_error;
    /* The error of the network's outputs before and after the cascade steps that followed
     * this layer, as in ldnq_fine_tune_result; NaN without. */
    double cascade_start, cascade_error;
    bool late;        /* solved by GPTQ because of the time limit */
    size_t positions; /* columns of the layer's input that it was fitted to, in all samples */
    double positions_per_sample; /* positions of one sample, sampled or not */
    /* Inputs that vary, and the rank of their correlations, in the group with the fewest.
     * Measured with layer_done or a checkpoint, or where there are no more positions than cols;
     * else K. */
    size_t varying, rank;
    double seconds, solver_seconds; /* time for the whole layer, and for the solver alone */
};

/* Errors are |y - t|^2 / |t|^2 of the network's outputs on the held-out samples, the mean over
 * the outputs. */
struct ldnq_fine_tune_result {
    size_t steps;
    size_t held_out; /* samples; 0: fine-tuning did not run */
    double error_start, error;
};

/* The noise-to-signal ratio of the outputs as output_estimate.h predicts it, on the samples that
 * the accuracy is measured on, the mean over the outputs. All NaN without draws, and where no
 * gradient reaches the layers from a float output. */
struct ldnq_output_estimate {
    double error;
    double deviation;   /* the standard deviation that the draws leave in `error` */
    double *layers;     /* by layer: error of the outputs by the change of this layer alone */
    double *inputs;     /* by layer: error by the rounding of its input alone */
    double activations; /* error by the rounding of all activations alone */
    size_t draws;       /* random projections, of one sample and two or five backward passes each */
    double seconds;
};

/* The noise-to-signal ratio of the outputs on held-out samples, the mean over the outputs, with the
 * layers as they were fitted and with all of them rounded. NaN where it can't be measured. */
struct ldnq_network_choice {
    double fitted_noise, rounded_noise;
    bool is_rounded;
};

struct ldnq_quantization {
    struct ldnq_quantized_network network;
    struct ldnq_network_choice choice;
    struct ldnq_layer_diagnostics *diagnostics; /* by layer of the network */
    struct ldnq_fine_tune_result fine_tune;
    /* Of the result, against the float network. It has no figure where no output is a float, or
     * the outputs can't be compared. */
    struct ldnq_accuracy accuracy;
    /* By the paper's theorem, from the change of each layer: an upper bound of the noise-to-signal
     * ratio of the outputs on the samples that were fitted, the mean over the outputs. NaN where
     * an operator has no Lipschitz constant, with quantized activations, and after fine-tuning. */
    double noise_to_signal_bound;
    struct ldnq_output_estimate output_estimate;
    /* Layers with a constant weight that were not quantized; each has its refusal. */
    const struct ldnq_layer *kept;
    size_t kept_count;
};

/* The samples that the accuracy of a graph quantized on `fitted` is measured on. */
struct ldnq_measured_samples
ldnq_choose_measured_samples(const struct ldnq_quantize_options *options,
                             struct ldnq_samples *fitted);

/* Quantizes the layers of the graph, which then computes with the quantized weights.
 * Errors: USAGE (a pattern that matches no layer; nothing left to quantize), DATA (samples
 * that do not fit a layer, or give it no input), NUMERIC (NaN or infinity in a weight or in
 * a layer's input), UNSUPPORTED, IO, NOMEM. */
enum ldnq_status ldnq_quantize_graph(struct ldnq_graph *graph, struct ldnq_samples *samples,
                                     const struct ldnq_quantize_options *options,
                                     struct ldnq_arena *arena, struct ldnq_quantization **out,
                                     struct ldnq_error *err);

/* ---- mixed precision -------------------------------------------------------------------- */

enum ldnq_budget_unit {
    LDNQ_BUDGET_BITS,  /* bits per weight, on average; scales are not counted */
    LDNQ_BUDGET_BYTES, /* bytes of all codes and scales */
    LDNQ_BUDGET_RATIO, /* bytes of the float weights / bytes of codes and scales */
};

struct ldnq_budget {
    enum ldnq_budget_unit unit;
    double amount;
    const struct ldnq_codebook *const *codebooks; /* (count) the choices */
    const unsigned *bits;                         /* (count) per code, in the file or in the unit */
    size_t count;
};

/* A codebook for each layer. */
struct ldnq_bit_allocation {
    struct ldnq_plan_entry *entries; /* by label, in the order of the layers */
    size_t count, choices;
    /* (count, choices) |y - t|^2 / |t|^2 of the network's outputs with this layer quantized by
     * this codebook and all others float, the mean over the float outputs: estimated from
     * backward passes, or measured by running the network. */
    double *errors;
    double *costs; /* (count, choices) bits or bytes, by the budget's unit */
    bool estimated;
    /* By layer: its label, and the index of its entry. Layers that share codes share an entry. */
    size_t layer_count;
    const char **layer_labels;
    size_t *layer_entries;
    double *elements; /* by entry: elements of the weight */
    double weights;   /* elements of all weights that have a codebook, shared ones once */
    double cost;      /* bits or bytes, by the budget's unit */
    double error;     /* sum of the errors of the chosen codebooks */
};

/* Chooses a codebook for each layer so that the sum of the errors is least within the
 * budget. Layers that the target refuses with their codebook, as those that it computes faster in
 * float, have entries without a codebook, and the budget does not count them.
 * Reads skip, only, granularity, block, product_block, least_code_bits, activations,
 * solver_options, seed, estimate_draws (0: errors are measured), max_bytes, pool and sink of the
 * options. The graph stays as it is. Errors: USAGE (a budget below the possible minimum, which the
 * message names), UNSUPPORTED (outputs that can't be compared), and those of ldnq_quantize_graph.
 */
enum ldnq_status ldnq_allocate_bits(const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                    const struct ldnq_quantize_options *options,
                                    const struct ldnq_budget *budget, struct ldnq_arena *arena,
                                    struct ldnq_bit_allocation **out, struct ldnq_error *err);

#endif
