/* fit_without_samples.c: round a layer where there are no samples.
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

enum ldnq_status ldnq_fitting_fit_without_samples(struct ldnq_layer_fitting *fitting,
                                                  struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_quantize_options *options = quantizer->options;
    struct ldnq_quantized_layer *quantized = &quantizer->result->network.layers[fitting->index];
    struct ldnq_layer_diagnostics *diagnostics = &quantizer->result->diagnostics[fitting->index];
    const struct ldnq_layer *layer = &quantized->layer;
    const size_t rows = ldnq_layer_rows(layer), cols = layer->geometry.cols;
    const size_t inputs = layer->geometry.groups * cols;
    const double start = ldnq_now();
    struct ldnq_layer_solution solution;
    struct ldnq_error reason;
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
        .solver = options->solver,
        .varying = cols,
        .rank = cols,
    };
    LDNQ_TRY(ldnq_fitting_share_or_set_blocks(fitting, quantized, err));
    LDNQ_TRY(ldnq_fitting_allocate_solution(quantized, arena, &solution, err));

    /* ---- the float weight W and bias b, in matrix order ---- */
    float *weight = ldnq_arena_alloc(arena, ldnq_layer_elements(layer), sizeof *weight, err);
    double *diagonal = ldnq_arena_alloc(arena, inputs, sizeof *diagonal, err);
    if (!weight || !diagonal)
        return LDNQ_NOMEM;
    ldnq_layer_read_weight(layer, weight);
    ldnq_layer_read_bias(layer, solution.bias);
    for (size_t i = 0; i < inputs; i++)
        diagonal[i] = 1 / (double)cols;

    /* ---- the codes ---- */
    if (quantized->shared) {
        quantized->codebook = quantized->shared->codebook;
        memcpy(solution.codes, quantized->shared->codes,
               ldnq_layer_elements(layer) * sizeof *solution.codes);
        memcpy(solution.scales, quantized->shared->scales,
               rows * ldnq_quantized_scales_per_row(quantized) * sizeof *solution.scales);
    } else {
        struct ldnq_layer_problem problem =
            ldnq_fitting_make_problem(fitting, quantized, weight, NULL);
        problem.gram = NULL;
        problem.diagonal = diagonal;
        problem.mean = NULL;
        problem.bias = NULL;
        const enum ldnq_status status = ldnq_solve(
            options->solver, &problem, &options->solver_options, options->pool, &solution, &reason);
        if (status != LDNQ_OK)
            return ldnq_node_fail(quantizer->graph, layer->node, status, err, "%s", reason.message);
    }
    /* It would be the error of inputs that nobody has seen. */
    solution.error = NAN;
    diagnostics->solver_seconds = ldnq_now() - start;
    LDNQ_TRY(ldnq_fitting_store_solution(fitting, quantized, &solution, err));
    return ldnq_fitting_finish_layer(fitting, &solution, start, err);
}
