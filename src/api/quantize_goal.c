/* SPDX-License-Identifier: Apache-2.0 */
#include "api/quantize_goal.h"

#include <math.h>
#include <string.h>

#include "api/json_graph.h"
#include "api/layer_rules.h"
#include "base/json_add.h"
#include "pipeline/select.h"

bool ldnq_job_goal_is_set(const struct ldnq_options *options)
{
    return ldnq_option_is_set(options, OPTION_MAX_DROP) ||
           ldnq_option_is_set(options, OPTION_MIN_AGREEMENT) ||
           ldnq_option_is_set(options, OPTION_MIN_SQNR);
}

static bool has_goal_data(const struct ldnq_options *options)
{
    return ldnq_option_is_set(options, OPTION_GOAL_DATA) || (options && options->goal_data);
}

static bool has_score(const struct ldnq_options *options)
{
    return options && options->score;
}

bool ldnq_job_goal_holds_out(const struct ldnq_job_plan *plan, const struct ldnq_options *options)
{
    return plan->holds_out || (ldnq_job_goal_is_set(options) && !has_goal_data(options));
}

/* ---- samples -------------------------------------------------------------------------------- */

static double read_part(const struct ldnq_options *options, enum ldnq_option_index index)
{
    return ldnq_option_is_set(options, index) ? ldnq_option_number(options, index) : NAN;
}

static enum ldnq_status open_goal_data(struct ldnq_job_goal *goal, const struct ldnq_job *job,
                                       const struct ldnq_graph *graph,
                                       const struct ldnq_job_samples *wanted,
                                       struct ldnq_error *err)
{
    struct ldnq_dataset *dataset;
    if (job->options->goal_data)
        return ldnq_job_open_samples(job, job->options->goal_data, graph, wanted,
                                     &goal->measured.samples, err);
    LDNQ_TRY(
        ldnq_dataset_from_path(ldnq_option_text(job->options, OPTION_GOAL_DATA), &dataset, err));
    const enum ldnq_status status =
        ldnq_job_open_samples(job, dataset, graph, wanted, &goal->measured.samples, err);
    ldnq_dataset_destroy(dataset);
    return status;
}

enum ldnq_status ldnq_job_goal_open(struct ldnq_job_goal *goal, const struct ldnq_job *job,
                                    const struct ldnq_dataset *dataset,
                                    const struct ldnq_graph *graph, struct ldnq_error *err)
{
    const struct ldnq_options *options = job->options;
    if (has_score(options) && !ldnq_option_is_set(options, OPTION_MAX_DROP))
        return ldnq_fail(err, LDNQ_USAGE, "a function that scores models goes with max-drop");
    if (!ldnq_job_goal_is_set(options))
        return has_goal_data(options)
                   ? ldnq_fail(err, LDNQ_USAGE,
                               "goal-data goes with max-drop, min-agreement or min-sqnr")
                   : LDNQ_OK;
    goal->goal = (struct ldnq_accuracy_goal){
        .max_drop = read_part(options, OPTION_MAX_DROP),
        .min_agreement = read_part(options, OPTION_MIN_AGREEMENT),
        .min_sqnr = read_part(options, OPTION_MIN_SQNR),
        .is_score = has_score(options),
    };
    goal->holds_out = !has_goal_data(options);
    const struct ldnq_job_samples wanted = {
        .need_labels = ldnq_option_is_set(options, OPTION_MAX_DROP) && !has_score(options),
        .shuffle = true, /* the page shows the first of them */
        .all = !goal->holds_out,
        .part = goal->holds_out ? LDNQ_SAMPLES_HELD_OUT : LDNQ_SAMPLES_ALL,
    };
    /* Class folders may be there for other reasons: only a drop says that they are classes. */
    goal->measured.uses_labels = wanted.need_labels;
    goal->measured.role =
        goal->holds_out ? LDNQ_SAMPLES_HELD_OUT_OF_FIT : LDNQ_SAMPLES_OF_THEIR_OWN;
    return goal->holds_out
               ? ldnq_job_open_samples(job, dataset, graph, &wanted, &goal->measured.samples, err)
               : open_goal_data(goal, job, graph, &wanted, err);
}

void ldnq_job_goal_finish(struct ldnq_job_goal *goal)
{
    ldnq_samples_destroy(goal->measured.samples);
    ldnq_goal_scorer_finish(&goal->scorer);
}

/* ---- the search ----------------------------------------------------------------------------- */

enum ldnq_status ldnq_job_goal_reach(struct ldnq_job_goal *goal, const struct ldnq_job *job,
                                     const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                     struct ldnq_job_plan *plan,
                                     const struct ldnq_emit_choice *choice,
                                     struct ldnq_quantize_options *quantize, struct ldnq_error *err)
{
    if (!goal->measured.samples)
        return LDNQ_OK;
    const struct ldnq_goal_score score = ldnq_goal_scorer_functions(&goal->scorer);
    for (size_t i = 0; i < plan->choice_count; i++)
        plan->bits[i] = ldnq_dtype_bits(ldnq_emit_dtype(choice, plan->codebooks[i]));
    const struct ldnq_goal_options options = {
        .goal = goal->goal,
        .measured = goal->measured,
        .codebooks = plan->codebooks,
        .bits = plan->bits,
        .codebook_count = plan->choice_count,
        .score = goal->goal.is_score ? &score : NULL,
    };
    LDNQ_TRY(ldnq_reach_goal(graph, samples, quantize, &options, job->arena, &goal->reached, err));
    quantize->plan = goal->reached->entries;
    quantize->plan_count = goal->reached->entry_count;
    return LDNQ_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

bool ldnq_json_add_accuracy(cJSON *item, const struct ldnq_accuracy *accuracy)
{
    return ldnq_json_add_number(item, "outputs", (double)accuracy->outputs) &&
           ldnq_json_add_text(item, "worst_output", accuracy->worst_output) &&
           ldnq_json_add_number(item, "sqnr", accuracy->sqnr) &&
           cJSON_AddBoolToObject(item, "exact", isinf(accuracy->sqnr) && accuracy->sqnr > 0) &&
           ldnq_json_add_number(item, "noise_to_signal", accuracy->noise_to_signal) &&
           ldnq_json_add_number(item, "agreement", accuracy->agreement) &&
           ldnq_json_add_number(item, "agreement_low", accuracy->agreement_interval.low) &&
           ldnq_json_add_number(item, "agreement_high", accuracy->agreement_interval.high) &&
           ldnq_json_add_number(item, "top1", accuracy->top1) &&
           ldnq_json_add_number(item, "reference_top1", accuracy->reference_top1) &&
           ldnq_json_add_number(item, "drop", accuracy->drop);
}

static bool add_step(cJSON *list, const struct ldnq_job_goal *goal,
                     const struct ldnq_goal_step *step)
{
    const double score = goal->goal.is_score ? goal->scorer.reference - step->accuracy.drop : NAN;
    cJSON *item = ldnq_json_append_object(list);
    return item && ldnq_json_add_number(item, "moves", (double)step->moves) &&
           ldnq_json_add_text(item, "node", step->node) &&
           ldnq_json_add_number(item, "bytes", step->bytes) &&
           ldnq_json_add_number(item, "estimate", step->estimate) &&
           ldnq_json_add_number(item, "wide_layers", (double)step->wide_layers) &&
           ldnq_json_add_number(item, "float_layers", (double)step->float_layers) &&
           cJSON_AddBoolToObject(item, "meets", step->meets) &&
           ldnq_json_add_number(item, "score", score) &&
           ldnq_json_add_accuracy(item, &step->accuracy);
}

static bool fill_goal_json(cJSON *item, const struct ldnq_job_goal *goal)
{
    const struct ldnq_goal_result *reached = goal->reached;
    if (!ldnq_json_add_number(item, "max_drop", goal->goal.max_drop) ||
        !ldnq_json_add_number(item, "min_agreement", goal->goal.min_agreement) ||
        !ldnq_json_add_number(item, "min_sqnr", goal->goal.min_sqnr) ||
        !ldnq_json_add_number(item, "reference_score",
                              goal->goal.is_score ? goal->scorer.reference : NAN) ||
        !ldnq_json_add_number(item, "samples",
                              (double)ldnq_samples_count(goal->measured.samples)) ||
        !cJSON_AddBoolToObject(item, "held_out", goal->holds_out) ||
        !ldnq_json_add_number(item, "chosen", (double)reached->chosen))
        return false;
    cJSON *list = cJSON_AddArrayToObject(item, "steps");
    for (size_t i = 0; list && i < reached->step_count; i++)
        if (!add_step(list, goal, &reached->steps[i]))
            return false;
    return list != NULL;
}

bool ldnq_job_goal_add_result_to_json(cJSON *root, const struct ldnq_job_goal *goal)
{
    if (!goal->reached)
        return cJSON_AddNullToObject(root, "goal") != NULL;
    cJSON *item = cJSON_AddObjectToObject(root, "goal");
    return item && fill_goal_json(item, goal);
}

/* ---- the plan ------------------------------------------------------------------------------- */

/* The type of what the layer reads, where the goal gave it 16 bits; else NULL. */
static const char *find_wide_type(const struct ldnq_job_goal *goal, const struct ldnq_layer *layer,
                                  const struct ldnq_placement *placement)
{
    for (size_t i = 0; placement && i < goal->reached->entry_count; i++)
        if (ldnq_select_matches(layer, goal->reached->entries[i].node))
            return goal->reached->entries[i].wide_input
                       ? ldnq_dtype_name(placement->target->wide_activation)
                       : NULL;
    return NULL;
}

static bool add_plan_layer(cJSON *list, const struct ldnq_job_goal *goal,
                           const struct ldnq_quantized_network *network, size_t i)
{
    cJSON *item = ldnq_json_append_object(list);
    const struct ldnq_layer *layer = &network->layers[i].layer;
    const char *wide = find_wide_type(goal, layer, network->placement);
    return item && ldnq_json_add_text(item, "node", layer->label) &&
           ldnq_json_add_text(item, "weights", network->layers[i].codebook->name) &&
           (!wide || ldnq_json_add_text(item, "activations", wide));
}

static bool is_quantized(const struct ldnq_quantized_network *network, const char *label)
{
    for (size_t i = 0; i < network->count; i++)
        if (strcmp(network->layers[i].layer.label, label) == 0)
            return true;
    return false;
}

/* What the search left float is named, and what the target computes faster in float. */
static bool is_plan_float(const struct ldnq_plan_entry *entry,
                          const struct ldnq_quantized_network *network)
{
    return !entry->codebook || (entry->yields_to_speed && !is_quantized(network, entry->node));
}

/* "weights" lists the codebooks to choose from, and "held_out" says that a part of the samples was
 * not fitted: both decide what a run with this plan writes. */
static bool fill_plan_json(cJSON *root, const struct ldnq_job_goal *goal,
                           const struct ldnq_job_plan *plan, const struct ldnq_quantization *result)
{
    cJSON *item = cJSON_AddObjectToObject(root, "goal");
    cJSON *names = cJSON_AddArrayToObject(root, "weights");
    if (!item || !fill_goal_json(item, goal) || !names ||
        !cJSON_AddBoolToObject(root, "held_out", goal->holds_out))
        return false;
    for (size_t i = 0; i < plan->choice_count; i++)
        if (!cJSON_AddItemToArray(names, cJSON_CreateString(plan->codebooks[i]->name)))
            return false;
    cJSON *list = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; list && i < result->network.count; i++)
        if (!add_plan_layer(list, goal, &result->network, i))
            return false;
    for (size_t i = 0; list && i < goal->reached->entry_count; i++)
        if (is_plan_float(&goal->reached->entries[i], &result->network)) {
            cJSON *entry = ldnq_json_append_object(list);
            if (!entry || !ldnq_json_add_text(entry, "node", goal->reached->entries[i].node) ||
                !ldnq_json_add_text(entry, "weights", LDNQ_FLOAT_LAYER))
                return false;
        }
    return list != NULL;
}

enum ldnq_status ldnq_job_goal_write_plan(const struct ldnq_job_goal *goal,
                                          const struct ldnq_job *job,
                                          const struct ldnq_job_plan *plan,
                                          const struct ldnq_quantization *result,
                                          struct ldnq_error *err)
{
    const char *path = ldnq_option_text(job->options, OPTION_PLAN);
    if (!goal->reached || !path)
        return LDNQ_OK;
    cJSON *root = cJSON_CreateObject();
    return ldnq_job_plan_write_json(path, root, root && fill_plan_json(root, goal, plan, result),
                                    err);
}

/* ---- the page ------------------------------------------------------------------------------- */

enum ldnq_status ldnq_job_goal_fill_diff(const struct ldnq_job_goal *goal,
                                         const struct ldnq_job *job, struct ldnq_diff *diff,
                                         struct ldnq_error *err)
{
    const struct ldnq_goal_result *reached = goal->reached;
    if (!reached)
        return LDNQ_OK;
    struct ldnq_diff_goal *shown = ldnq_arena_alloc(job->arena, 1, sizeof *shown, err);
    struct ldnq_diff_goal_step *steps =
        ldnq_arena_alloc(job->arena, reached->step_count, sizeof *steps, err);
    char *on = ldnq_arena_alloc(job->arena, LDNQ_SAMPLES_TEXT, 1, err);
    if (!shown || !steps || !on)
        return LDNQ_NOMEM;
    ldnq_describe_samples(goal->measured.role, ldnq_samples_count(goal->measured.samples), on,
                          LDNQ_SAMPLES_TEXT);
    for (size_t i = 0; i < reached->step_count; i++) {
        const struct ldnq_accuracy_part part =
            ldnq_accuracy_find_part(&reached->steps[i].accuracy, &goal->goal);
        steps[i] = (struct ldnq_diff_goal_step){ .bytes = reached->steps[i].bytes,
                                                 .value = part.value,
                                                 .estimate = reached->steps[i].estimate,
                                                 .wide_layers = reached->steps[i].wide_layers,
                                                 .float_layers = reached->steps[i].float_layers,
                                                 .meets = reached->steps[i].meets };
        *shown = (struct ldnq_diff_goal){ .measure = part.name,
                                          .limit = part.limit,
                                          .is_upper = part.is_upper };
    }
    shown->steps = steps;
    shown->step_count = reached->step_count;
    shown->chosen = reached->chosen;
    shown->measured_on = on;
    diff->goal = shown;
    return LDNQ_OK;
}
