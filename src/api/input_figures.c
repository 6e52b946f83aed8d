/* SPDX-License-Identifier: Apache-2.0 */
#include "api/input_figures.h"

#include <math.h>
#include <string.h>

#include "api/json_graph.h"
#include "base/json_add.h"

/* Pixels from 0 to 255 have a deviation of some 60. Normalized ones have 1, those from -1 to 1
 * half of it, and pixels from 0 to 1 a quarter. */
#define LARGE_DEVIATION 8.0
#define LARGE_MEAN 16.0
#define SMALL_DEVIATION 0.35
#define NO_DEVIATION 0.05 /* as where mean and std are for another scale */

static bool node_normalizes(const struct ldnq_node *node)
{
    static const char *const types[] = { "Sub",
                                         "Div",
                                         "Mul",
                                         "Add",
                                         "BatchNormalization",
                                         "InstanceNormalization",
                                         "LayerNormalization",
                                         "MeanVarianceNormalization" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(node->op_type, types[i]) == 0)
            return true;
    return false;
}

static bool node_reads(const struct ldnq_node *node, const struct ldnq_value *value)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] == value)
            return true;
    return false;
}

static bool is_normalized_by_reader(const struct ldnq_graph *graph, const struct ldnq_value *value)
{
    for (size_t i = 0; i < graph->node_count; i++)
        if (node_normalizes(graph->nodes[i]) && node_reads(graph->nodes[i], value))
            return true;
    return false;
}

/* Whether the network normalizes the input itself, at once or after a Transpose. */
static bool network_normalizes(const struct ldnq_graph *graph, const struct ldnq_value *input)
{
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct ldnq_node *node = graph->nodes[i];
        if (strcmp(node->op_type, "Transpose") == 0 && node_reads(node, input))
            return is_normalized_by_reader(graph, node->outputs[0]);
    }
    return is_normalized_by_reader(graph, input);
}

/* Whether the moments are those of pictures whose preprocessing was forgotten. What the user has
 * set is taken as meant, unless it leaves nothing of the pictures. */
static bool looks_unprocessed(const struct ldnq_options *options, bool are_pictures,
                              const struct ldnq_input_moments *moments)
{
    const bool has_preset = ldnq_option_is_set(options, OPTION_PREPROCESS);
    const bool has_scale = has_preset || ldnq_option_is_set(options, OPTION_SCALE);
    const bool has_mean =
        ldnq_option_is_set(options, OPTION_MEAN) || ldnq_option_is_set(options, OPTION_STD);
    double deviation = 0, mean = 0;
    for (size_t c = 0; c < moments->channels; c++) {
        deviation = fmax(deviation, moments->deviation[c]);
        mean = fmax(mean, fabs(moments->mean[c]));
    }
    if (!(are_pictures && has_scale) && (deviation > LARGE_DEVIATION || mean > LARGE_MEAN))
        return true;
    if (!are_pictures)
        return false;
    return has_mean ? deviation < NO_DEVIATION
                    : !has_scale && moments->channels == 3 && deviation < SMALL_DEVIATION;
}

static void warn_of_input(const struct ldnq_job *job, const struct ldnq_graph *graph, size_t input,
                          const struct ldnq_samples *samples,
                          const struct ldnq_input_moments *moments)
{
    const bool are_pictures = ldnq_samples_are_pictures(samples);
    if (!moments->is_image || network_normalizes(graph, graph->inputs[input]) ||
        !looks_unprocessed(job->options, are_pictures, moments))
        return;
    ldnq_sink_warn(&job->sink,
                   "input '%s' has a mean of %.3g and a deviation of %.3g, where networks for "
                   "pictures mostly take values near 0 and 1: %s",
                   graph->inputs[input]->name, moments->mean[0], moments->deviation[0],
                   are_pictures ? "set scale, mean and std as for the network's training (mean 0 "
                                  "where it takes pixels from 0 to 1)"
                                : "normalize the arrays as for the network's training");
}

enum ldnq_status ldnq_job_measure_inputs(const struct ldnq_job *job, const struct ldnq_graph *graph,
                                         struct ldnq_samples *samples,
                                         struct ldnq_input_figures *figures, struct ldnq_error *err)
{
    const size_t count = graph->input_count;
    *figures = (struct ldnq_input_figures){ .count = count };
    figures->names = ldnq_arena_alloc(job->arena, count, sizeof *figures->names, err);
    figures->moments = ldnq_arena_alloc(job->arena, count, sizeof *figures->moments, err);
    if (!figures->names || !figures->moments)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_samples_measure_inputs(samples, job->pool, figures->moments, err));
    for (size_t i = 0; i < count; i++) {
        figures->names[i] = graph->inputs[i]->name;
        warn_of_input(job, graph, i, samples, &figures->moments[i]);
    }
    return LDNQ_OK;
}

static bool add_numbers(cJSON *item, const char *name, const double *values, size_t count)
{
    cJSON *list = cJSON_AddArrayToObject(item, name);
    for (size_t i = 0; list && i < count; i++) {
        cJSON *number = isfinite(values[i]) ? cJSON_CreateNumber(values[i]) : cJSON_CreateNull();
        if (!cJSON_AddItemToArray(list, number)) {
            cJSON_Delete(number);
            return false;
        }
    }
    return list != NULL;
}

bool ldnq_input_figures_add_json(cJSON *root, const struct ldnq_input_figures *figures)
{
    cJSON *list = cJSON_AddArrayToObject(root, "inputs");
    for (size_t i = 0; list && i < figures->count; i++) {
        const struct ldnq_input_moments *moments = &figures->moments[i];
        cJSON *item = moments->channels ? ldnq_json_append_object(list) : NULL;
        if (moments->channels &&
            (!item || !ldnq_json_add_text(item, "name", figures->names[i]) ||
             !add_numbers(item, "mean", moments->mean, moments->channels) ||
             !add_numbers(item, "deviation", moments->deviation, moments->channels)))
            return false;
    }
    return list != NULL;
}
