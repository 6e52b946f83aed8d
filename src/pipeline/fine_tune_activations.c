/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/fine_tune_activations.h"

#include <math.h>

/* The least part of its start that a scale may shrink to. */
#define MIN_FACTOR 0.05f
/* Codes of more bits keep their scales. */
#define MOST_BITS 7u

static float scale_of(const struct ldnq_placed_activation *activation)
{
    return *(const float *)activation->scale->constant->data;
}

static void set_scale(struct ldnq_placed_activation *activation, float scale)
{
    const struct ldnq_scale changed = { scale, ldnq_activation_zero_point(activation) };
    if (scale != scale_of(activation))
        ldnq_activation_set_scale(activation, changed);
}

/* Where activations of a group have bounds, the loosest hold, as when the range was chosen. */
static void init_groups(struct ldnq_fine_tune_activations *tuned)
{
    const struct ldnq_placement *placement = tuned->placement;
    for (size_t a = 0; a < placement->count; a++) {
        const struct ldnq_placed_activation *activation = &placement->activations[a];
        const size_t group = activation->group;
        tuned->first[group] = scale_of(activation);
        tuned->largest[group] =
            fmaxf(tuned->largest[group], ldnq_activation_find_largest_scale(activation));
    }
    for (size_t a = 0; a < placement->count; a++)
        if (placement->activations[a].fixed ||
            ldnq_dtype_bits(placement->activations[a].dtype) > MOST_BITS)
            tuned->largest[placement->activations[a].group] = 0;
}

enum ldnq_status ldnq_fine_tune_activations_init(struct ldnq_fine_tune_activations *tuned,
                                                 struct ldnq_placement *placement,
                                                 struct ldnq_arena *arena, struct ldnq_error *err)
{
    *tuned = (struct ldnq_fine_tune_activations){ .placement = placement };
    if (!placement || placement->target->power_of_two)
        return LDNQ_OK;
    const size_t groups = placement->group_count;
    tuned->activations = ldnq_arena_alloc(arena, placement->count, sizeof *tuned->activations, err);
    tuned->first = ldnq_arena_alloc(arena, groups, sizeof *tuned->first, err);
    tuned->largest = ldnq_arena_alloc(arena, groups, sizeof *tuned->largest, err);
    tuned->best = ldnq_arena_alloc(arena, placement->count, sizeof *tuned->best, err);
    if (!tuned->activations || !tuned->first || !tuned->largest || !tuned->best)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_adam_init(&tuned->adam, groups, arena, err));
    init_groups(tuned);
    for (size_t a = 0; a < placement->count; a++)
        if (!placement->activations[a].is_constant &&
            tuned->largest[placement->activations[a].group] > 0)
            tuned->activations[tuned->count++] = a;
    ldnq_fine_tune_activations_save_best(tuned);
    return LDNQ_OK;
}

const struct ldnq_value *
ldnq_fine_tune_activations_find_scale(const struct ldnq_fine_tune_activations *tuned, size_t i)
{
    return tuned->placement->activations[tuned->activations[i]].scale;
}

void ldnq_fine_tune_activations_add_gradient(struct ldnq_fine_tune_activations *tuned, size_t i,
                                             const struct ldnq_tensor *gradient)
{
    const size_t group = tuned->placement->activations[tuned->activations[i]].group;
    tuned->adam.gradient[group] += *(const float *)gradient->data * tuned->first[group];
}

/* Brings p back to where the scale is within its limits. */
static float compute_scale(struct ldnq_fine_tune_activations *tuned, size_t group)
{
    const float first = tuned->first[group];
    const float scale = fmaxf(first * (1 + tuned->adam.value[group]), first * MIN_FACTOR);
    const float limited = fminf(scale, tuned->largest[group]);
    tuned->adam.value[group] = limited / first - 1;
    return limited;
}

void ldnq_fine_tune_activations_step(struct ldnq_fine_tune_activations *tuned, size_t step,
                                     double rate)
{
    struct ldnq_placement *placement = tuned->placement;
    if (tuned->count == 0)
        return;
    ldnq_adam_step(&tuned->adam, step, rate);
    for (size_t a = 0; a < placement->count; a++)
        if (tuned->largest[placement->activations[a].group] > 0)
            set_scale(&placement->activations[a],
                      compute_scale(tuned, placement->activations[a].group));
    ldnq_placement_unify_near_scales(placement);
}

void ldnq_fine_tune_activations_save_best(struct ldnq_fine_tune_activations *tuned)
{
    for (size_t a = 0; tuned->count > 0 && a < tuned->placement->count; a++)
        tuned->best[a] = scale_of(&tuned->placement->activations[a]);
}

void ldnq_fine_tune_activations_apply_best(struct ldnq_fine_tune_activations *tuned)
{
    for (size_t a = 0; tuned->count > 0 && a < tuned->placement->count; a++)
        set_scale(&tuned->placement->activations[a], tuned->best[a]);
}
