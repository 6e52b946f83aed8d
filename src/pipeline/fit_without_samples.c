/* SPDX-License-Identifier: Apache-2.0 */
/* fit_without_samples.c: round a layer that no sample reaches: there are none, or all take other
 * branches.
 *
 * Without statistics all inputs count alike: H is the identity, so that codes and scales are those
 * nearest to the weight. The bias stays, and what the rounding costs the output is not known.
 *
 * Solves  min over codes q, scales a of  sum |a q - w|^2, over the weights under each scale
 */
#include "pipeline/layer_fitting.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"

/* Fills the solution by the solver of the diagnostics, or with the codes that the layer shares. */
static enum ldnq_status round_layer(const struct ldnq_layer_fitting *fitting, const float *weight,
                                    const float *bias, struct ldnq_layer_solution *solution,
                                    struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_quantize_options *options = quantizer->options;
    struct ldnq_quantized_layer *quantized = &quantizer->result->network.layers[fitting->index];
    struct ldnq_layer_diagnostics *diagnostics = &quantizer->result->diagnostics[fitting->index];
    const struct ldnq_layer *layer = &quantized->layer;
    const size_t inputs = layer->geometry.groups * layer->geometry.cols;
    LDNQ_TRY(ldnq_fitting_allocate_solution(quantized, arena, solution, err));
    double *diagonal = ldnq_arena_alloc(arena, inputs, sizeof *diagonal, err);
    if (!diagonal)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < inputs; i++)
        diagonal[i] = 1;
    struct ldnq_layer_problem problem = ldnq_fitting_make_problem(fitting, quantized, weight, NULL);
    problem.gram = NULL;
    problem.diagonal = diagonal;
    problem.mean = NULL;
    diagnostics->varying = diagnostics->rank = layer->geometry.cols;
    if (quantized->shared) {
        quantized->codebook = quantized->shared->codebook;
        ldnq_fitting_copy_shared_solution(fitting, quantized->shared, &problem, solution);
    } else {
        struct ldnq_error reason;
        const enum ldnq_status status =
            ldnq_solve(diagnostics->solver, &problem, &options->solver_options, options->pool,
                       solution, &reason);
        if (status != LDNQ_OK)
            return ldnq_node_fail(quantizer->graph, layer->node, status, err, "%s", reason.message);
    }
    memcpy(solution->bias, bias, ldnq_layer_rows(layer) * sizeof *bias);
    return LDNQ_OK;
}

enum ldnq_status ldnq_fitting_fit_without_samples(struct ldnq_layer_fitting *fitting,
                                                  struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = fitting->quantizer;
    struct ldnq_quantized_layer *quantized = &quantizer->result->network.layers[fitting->index];
    struct ldnq_layer_diagnostics *diagnostics = &quantizer->result->diagnostics[fitting->index];
    const struct ldnq_layer *layer = &quantized->layer;
    const double start = ldnq_now();
    struct ldnq_layer_solution solution;
    *diagnostics = (struct ldnq_layer_diagnostics){
        .choice = { .fit = LDNQ_LAYER_ROUNDED,
                    .fitted_error = NAN,
                    .damped_error = NAN,
                    .rounded_error = NAN },
        .error_start = NAN,
        .remaining_error = NAN,
        .change = NAN,
        .cascade_start = NAN,
        .cascade_error = NAN,
        .solver = quantizer->options->solver,
    };
    LDNQ_TRY(ldnq_fitting_share_or_set_blocks(fitting, quantized, err));
    float *weight = ldnq_arena_alloc(arena, ldnq_layer_elements(layer), sizeof *weight, err);
    float *bias = ldnq_arena_alloc(arena, ldnq_layer_rows(layer), sizeof *bias, err);
    if (!weight || !bias)
        return LDNQ_NOMEM;
    ldnq_layer_read_weight(layer, weight);
    ldnq_layer_read_bias(layer, bias);
    LDNQ_TRY(round_layer(fitting, weight, bias, &solution, arena, err));
    /* It would be the error of inputs that nobody has seen. */
    solution.error = NAN;
    diagnostics->solver_seconds = ldnq_now() - start;
    LDNQ_TRY(ldnq_fitting_store_solution(fitting, quantized, &solution, err));
    return ldnq_fitting_finish_layer(fitting, &solution, start, err);
}

enum ldnq_status ldnq_fitting_fit_unreached_layer(struct ldnq_layer_fitting *fitting,
                                                  const float *weight, const float *bias,
                                                  double start, struct ldnq_arena *arena,
                                                  struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = fitting->quantizer;
    struct ldnq_layer_solution solution;
    quantizer->result->diagnostics[fitting->index].solver = ldnq_solver_find("mse");
    LDNQ_TRY(round_layer(fitting, weight, bias, &solution, arena, err));
    LDNQ_TRY(ldnq_fitting_store_solution(
        fitting, &quantizer->result->network.layers[fitting->index], &solution, err));
    return ldnq_fitting_finish_layer(fitting, &solution, start, err);
}
