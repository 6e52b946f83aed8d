/* SPDX-License-Identifier: Apache-2.0 */
/* layer_fitting.h: the fit of one layer after the other, as the files of its steps see it.
 *
 * quantize_layers.c is the algorithm; layer_statistics.c has its steps 1 and 2, and
 * layer_diagnostics.c measures what a layer's problem and solution are like.
 * Owns    nothing; memory is the quantizer's arena, or the one that is passed, which lives as
 *         long as the fit of one layer
 */
#ifndef LDNQ_PIPELINE_LAYER_FITTING_H
#define LDNQ_PIPELINE_LAYER_FITTING_H

#include "pipeline/layer_moments.h"
#include "pipeline/quantizer.h"
#include "pipeline/shared_input.h"
#include "pipeline/stored_changes.h"
#include "quant/gram_results.h"

struct ldnq_layer_fitting {
    struct ldnq_quantizer *quantizer;
    struct ldnq_calib_runner runner;    /* the network that is being quantized */
    struct ldnq_calib_runner reference; /* the float network; set with error compensation */
    size_t index;                       /* index of the current layer */
    bool input_is_infinite;             /* the current layer's input is not finite */
    /* Arguments of one call of any layer: [0] in the runner, [1] in the reference. */
    const struct ldnq_tensor **in[2];
    struct ldnq_tensor *out[2];
    struct ldnq_layer_moments moments;         /* moments of the current layer */
    struct ldnq_shared_input shared;           /* sums of its input, for the layers after it */
    struct ldnq_gram_results stored_results;   /* of its matrices, for layers with the same input */
    struct ldnq_gram_results *gram_results;    /* them; NULL: no other layer has the same input */
    struct ldnq_stored_changes stored_changes; /* of its compensation, for the same layers */
    struct ldnq_column_moments columns;        /* used in place of moments if there are means */
    /* Work before each layer's batches and before its solution; the last is all (fit_work.c). */
    double *work;
};

/* The most samples that layers are fitted to, for a network of `macs` multiplications per sample.
 */
size_t ldnq_count_fitted_samples(const struct ldnq_fit_limits *fit, double macs);

/* ---- progress (fit_work.c) -------------------------------------------------------------- */

/* Fills `work`, when the runners are there, and reports the start. Errors: NOMEM, CANCELED. */
enum ldnq_status ldnq_fitting_plan_work(struct ldnq_layer_fitting *fitting, struct ldnq_error *err);
/* Report that a batch has run up to the current layer, and that the layer is fitted. Errors:
 * CANCELED. */
enum ldnq_status ldnq_fitting_report_batch(const struct ldnq_layer_fitting *fitting, size_t batch,
                                           struct ldnq_error *err);
enum ldnq_status ldnq_fitting_report_layer(const struct ldnq_layer_fitting *fitting,
                                           struct ldnq_error *err);

/* ---- steps 1 and 2 (layer_statistics.c) ------------------------------------------------- */

/* Allocates `in` and `out` for the layer with the most inputs and outputs. Errors: NOMEM. */
enum ldnq_status ldnq_fitting_allocate_call(struct ldnq_layer_fitting *fitting,
                                            struct ldnq_error *err);

/* Whether the current layer makes up for the errors of earlier ones: there is a float network, and
 * the layer is in no body. */
bool ldnq_fitting_compensates(const struct ldnq_layer_fitting *fitting);

/* Computes the moments of the current layer from the samples, and replaces weight and bias by
 * the target of the error compensation. Errors: those of the samples and the executor, DATA
 * (shapes that do not fit the layer), NOMEM. */
enum ldnq_status ldnq_fitting_collect_statistics(struct ldnq_layer_fitting *fitting,
                                                 struct ldnq_layer_diagnostics *diagnostics,
                                                 float *weight, float *bias,
                                                 struct ldnq_arena *arena, struct ldnq_error *err);

/* Runs the samples up to the current layer, which an earlier run has fitted, and stores the sums
 * that layers after it need. */
enum ldnq_status ldnq_fitting_skip_statistics(struct ldnq_layer_fitting *fitting,
                                              struct ldnq_arena *arena, struct ldnq_error *err);

/* Computes the moments of the current layer from the means of its input. Errors: DATA (shapes
 * that do not fit the layer), NOMEM. */
enum ldnq_status ldnq_fitting_compute_column_moments(struct ldnq_layer_fitting *fitting,
                                                     const struct ldnq_layer *layer,
                                                     struct ldnq_arena *arena,
                                                     struct ldnq_error *err);

/* Errors: DATA (no positions), NUMERIC (an input that is not finite). */
enum ldnq_status ldnq_fitting_check_statistics(const struct ldnq_layer_fitting *fitting,
                                               const struct ldnq_layer *layer, size_t positions,
                                               struct ldnq_error *err);

/* Returns E[y^] (G, K) of the current layer. */
const double *ldnq_fitting_get_column_means(const struct ldnq_layer_fitting *fitting);

/* ---- steps 3 and 4 (quantize_layers.c) -------------------------------------------------- */

/* Finds out whose codes the layer has, and its blocks. Errors: NOMEM. */
enum ldnq_status ldnq_fitting_share_or_set_blocks(const struct ldnq_layer_fitting *fitting,
                                                  struct ldnq_quantized_layer *quantized,
                                                  struct ldnq_error *err);
enum ldnq_status ldnq_fitting_allocate_solution(const struct ldnq_quantized_layer *quantized,
                                                struct ldnq_arena *arena,
                                                struct ldnq_layer_solution *solution,
                                                struct ldnq_error *err);
/* Copies the codes of another layer, with the error that they have in this problem. */
void ldnq_fitting_copy_shared_solution(const struct ldnq_layer_fitting *fitting,
                                       const struct ldnq_quantized_layer *shared,
                                       const struct ldnq_layer_problem *problem,
                                       struct ldnq_layer_solution *solution);

/* Copies codes, scales and bias into the arena of the quantizer. Errors: NOMEM. */
enum ldnq_status ldnq_fitting_store_solution(const struct ldnq_layer_fitting *fitting,
                                             struct ldnq_quantized_layer *quantized,
                                             const struct ldnq_layer_solution *solution,
                                             struct ldnq_error *err);
/* Makes the node of the current layer compute with its stored codes, and writes its record to the
 * checkpoint. `solution` is the one that was stored; the fit began at `start` (ldnq_now).
 * Errors: NOMEM, CANCELED. */
enum ldnq_status ldnq_fitting_finish_layer(struct ldnq_layer_fitting *fitting,
                                           struct ldnq_layer_solution *solution, double start,
                                           struct ldnq_error *err);

/* ---- tables (fit_table.c) --------------------------------------------------------------- */

/* Finds an earlier table with the elements of the current layer's weight, in matrix order; NULL:
 * none. */
const struct ldnq_quantized_layer *
ldnq_fitting_find_tied_table(const struct ldnq_layer_fitting *fitting);

/* Whether the layer takes the codes of the table that it is tied to. */
bool ldnq_fitting_shares_table(const struct ldnq_quantized_layer *quantized,
                               const struct ldnq_quantized_layer *table);

/* Rounds the current layer, a table, and makes its node compute with the codes. Errors: NUMERIC,
 * NOMEM. */
enum ldnq_status ldnq_fitting_fit_table(struct ldnq_layer_fitting *fitting,
                                        struct ldnq_arena *arena, struct ldnq_error *err);

/* ---- a layer that no sample reaches (fit_without_samples.c) ------------------------------ */

/* Rounds the layer, where the quantizer has no samples. Errors: those of the solver, NOMEM. */
enum ldnq_status ldnq_fitting_fit_without_samples(struct ldnq_layer_fitting *fitting,
                                                  struct ldnq_arena *arena, struct ldnq_error *err);
/* The same where samples take other branches: by mse, whatever the solver of the others. Weight and
 * bias are in matrix order; the fit began at `start` (ldnq_now). */
enum ldnq_status ldnq_fitting_fit_unreached_layer(struct ldnq_layer_fitting *fitting,
                                                  const float *weight, const float *bias,
                                                  double start, struct ldnq_arena *arena,
                                                  struct ldnq_error *err);

/* ---- a layer's problem and its diagnostics (layer_diagnostics.c) ------------------------ */

/* The problem refers to weight and bias and to the moments of the current layer. */
struct ldnq_layer_problem ldnq_fitting_make_problem(const struct ldnq_layer_fitting *fitting,
                                                    const struct ldnq_quantized_layer *quantized,
                                                    const float *weight, const float *bias);

/* Sets `varying` and `rank`. The rank costs a factorization: it is computed where someone reads
 * it, or where it may be too low. Errors: NUMERIC (size), NOMEM. */
enum ldnq_status ldnq_fitting_compute_rank(const struct ldnq_layer_fitting *fitting,
                                           struct ldnq_layer_diagnostics *diagnostics,
                                           const struct ldnq_layer_problem *problem,
                                           struct ldnq_error *err);

/* Sets `deviation` (rows). Errors: NOMEM. */
enum ldnq_status ldnq_fitting_compute_deviation(const struct ldnq_layer_fitting *fitting,
                                                size_t rows,
                                                struct ldnq_layer_diagnostics *diagnostics,
                                                const struct ldnq_layer_problem *problem,
                                                struct ldnq_arena *arena, struct ldnq_error *err);

/* Sets `change` and `positions_per_sample`: compares with the float weight and bias, whatever
 * the target was. Errors: NOMEM. */
enum ldnq_status ldnq_fitting_compute_weight_error(const struct ldnq_layer_fitting *fitting,
                                                   const struct ldnq_quantized_layer *quantized,
                                                   const struct ldnq_layer_solution *solution,
                                                   struct ldnq_layer_diagnostics *diagnostics,
                                                   struct ldnq_arena *arena,
                                                   struct ldnq_error *err);

/* Warnings about all layers, after the last one. */
void ldnq_quantizer_warn_late_layers(const struct ldnq_quantizer *quantizer);
void ldnq_quantizer_warn_few_samples(const struct ldnq_quantizer *quantizer);
void ldnq_quantizer_warn_unreached_layers(const struct ldnq_quantizer *quantizer);

#endif
