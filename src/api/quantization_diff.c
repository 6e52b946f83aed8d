/* SPDX-License-Identifier: Apache-2.0 */
#include "api/quantization_diff.h"

#include <math.h>
#include <string.h>

/* The nodes that the target computes in float, from the placement of the pairs. */
static enum ldnq_status fill_diff_float_nodes(const struct ldnq_quantization *result,
                                              struct ldnq_arena *arena, struct ldnq_diff *diff,
                                              struct ldnq_error *err)
{
    const struct ldnq_placement *placement = result->network.placement;
    if (!placement)
        return LDNQ_OK;
    diff->float_nodes =
        ldnq_arena_alloc(arena, placement->float_count, sizeof *diff->float_nodes, err);
    if (!diff->float_nodes)
        return LDNQ_NOMEM;
    diff->float_node_count = placement->float_count;
    for (size_t i = 0; i < placement->float_count; i++)
        diff->float_nodes[i] =
            (struct ldnq_diff_change){ .node = placement->float_nodes[i].node->label,
                                       .op = placement->float_nodes[i].node->op_type,
                                       .text = placement->float_nodes[i].reason };
    return LDNQ_OK;
}

static enum ldnq_status fill_diff_wide_values(const struct ldnq_quantization *result,
                                              struct ldnq_arena *arena, struct ldnq_diff *diff,
                                              struct ldnq_error *err)
{
    const struct ldnq_placement *placement = result->network.placement;
    if (!placement)
        return LDNQ_OK;
    diff->wide_values = ldnq_arena_alloc(arena, placement->count, sizeof *diff->wide_values, err);
    if (!diff->wide_values)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < placement->count; i++)
        if (placement->activations[i].wide_reason)
            diff->wide_values[diff->wide_value_count++] = (struct ldnq_diff_change){
                .node = ldnq_activation_name(&placement->activations[i]),
                .op = ldnq_dtype_name(placement->activations[i].dtype),
                .text = placement->activations[i].wide_reason,
            };
    return LDNQ_OK;
}

/* Adds the parts of the layers as well. */
static enum ldnq_status fill_diff_estimate(const struct ldnq_quantization *result,
                                           struct ldnq_arena *arena, struct ldnq_diff *diff,
                                           struct ldnq_error *err)
{
    if (isnan(result->output_estimate.error))
        return LDNQ_OK;
    struct ldnq_diff_estimate *estimate = ldnq_arena_alloc(arena, 1, sizeof *estimate, err);
    if (!estimate)
        return LDNQ_NOMEM;
    *estimate = (struct ldnq_diff_estimate){ .error = result->output_estimate.error,
                                             .deviation = result->output_estimate.deviation,
                                             .measured = result->accuracy.noise_to_signal };
    diff->estimate = estimate;
    /* Layers of one node are in the same order in both. */
    for (size_t i = 0; i < result->network.count; i++)
        for (size_t k = 0; k < diff->layer_count; k++)
            if (isnan(diff->layers[k].output_estimate) &&
                strcmp(result->network.layers[i].layer.label, diff->layers[k].node) == 0) {
                diff->layers[k].output_estimate = result->output_estimate.layers[i];
                break;
            }
    return LDNQ_OK;
}

enum ldnq_status ldnq_quantization_fill_diff(const struct ldnq_quantization *result,
                                             struct ldnq_arena *arena, struct ldnq_diff *diff,
                                             struct ldnq_error *err)
{
    LDNQ_TRY(fill_diff_estimate(result, arena, diff, err));
    LDNQ_TRY(fill_diff_float_nodes(result, arena, diff, err));
    return fill_diff_wide_values(result, arena, diff, err);
}
