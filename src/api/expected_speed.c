/* SPDX-License-Identifier: Apache-2.0 */
#include "api/expected_speed.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/option_value.h"
#include "passes/passes.h"
#include "target/run_time.h"

/* The target in the metadata "ldnq.options", "weights=int8 target=ort ..."; NULL: none is known. */
static const struct ldnq_target *find_target(const struct ldnq_model *model)
{
    static const char key[] = "target=";
    const char *text = ldnq_model_metadata(model, "ldnq.options");
    char name[32];
    text = text ? strstr(text, key) : NULL;
    if (!text || sscanf(text + strlen(key), "%31s", name) != 1)
        return NULL;
    return ldnq_target_find(name);
}

/* One sample: an open batch is 1. Dimensions that the option "dim" sets may be fixed already. */
static void bind_sizes(const struct ldnq_job *job, struct ldnq_graph *graph)
{
    struct ldnq_error ignored;
    size_t count;
    const char *const *dims = ldnq_option_list(job->options, OPTION_DIM, &count);
    char name[256];
    for (size_t i = 0; i < count; i++) {
        size_t size = 0;
        ldnq_parse_dim(dims[i], name, sizeof name, &size); /* checked when it was set */
        ldnq_pass_bind_dim(graph, name, (int64_t)size, &ignored);
    }
    for (size_t i = 0; i < graph->input_count; i++) {
        const struct ldnq_value *input = graph->inputs[i];
        if (input->shape.rank < 1 || !ldnq_is_symbol(input->shape.dim[0]))
            continue;
        snprintf(name, sizeof name, "%s:0", input->name);
        ldnq_pass_bind_dim(graph, name, 1, &ignored);
    }
}

/* What fails here fails in the comparison, with its message, or only keeps sizes from being known:
 * the time is NaN then. */
static enum ldnq_status predict_time(const struct ldnq_job *job, const struct ldnq_model *model,
                                     const struct ldnq_target *target, double *picoseconds,
                                     struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    struct ldnq_error ignored;
    *picoseconds = NAN;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    enum ldnq_status status = ldnq_model_import_as(model, LDNQ_FORM_PAIRS, arena, &graph, &ignored);
    if (status == LDNQ_OK) {
        bind_sizes(job, graph);
        status = ldnq_pass_bind_and_fold(graph, &ignored);
        if (status != LDNQ_NOMEM)
            status = ldnq_predict_run_time(graph, target, arena, picoseconds, &ignored);
    }
    ldnq_arena_destroy(arena);
    return status == LDNQ_NOMEM ? ldnq_fail(err, LDNQ_NOMEM, "out of memory") : LDNQ_OK;
}

enum ldnq_status ldnq_diff_fill_speed(const struct ldnq_job *job,
                                      const struct ldnq_model *reference,
                                      const struct ldnq_model *quantized, struct ldnq_diff *diff,
                                      struct ldnq_error *err)
{
    const struct ldnq_target *target = find_target(quantized);
    double before, after;
    if (!target || target->pairs == LDNQ_PAIRS_NONE)
        target = &ldnq_target_ort;
    diff->speed = (struct ldnq_diff_speed){ .target = target->name, .times_faster = NAN };
    if (!target->kernel_costs)
        return LDNQ_OK;
    LDNQ_TRY(predict_time(job, reference, target, &before, err));
    LDNQ_TRY(predict_time(job, quantized, target, &after, err));
    diff->speed.times_faster = after > 0 ? before / after : NAN;
    diff->speed.factor = target->kernel_costs->factor;
    diff->speed.measured_on = target->kernel_costs->measured_on;
    return LDNQ_OK;
}
