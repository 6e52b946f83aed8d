/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/float_pass.h"

#include "base/size.h"
#include "exec/exec.h"
#include "metric/sample_failure.h"

/* Samples per batch. More cost memory and gain no time. */
#define BATCH ((size_t)4)

/* Visits the part of a sample's value that is not masked. */
static enum ldnq_status visit_unmasked_part(const struct ldnq_float_pass *pass, size_t sample,
                                            const struct ldnq_value *value,
                                            const struct ldnq_tensor *tensor,
                                            struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    enum ldnq_status status =
        ldnq_samples_select_unmasked(pass->samples, sample, tensor, arena, &tensor, err);
    if (status == LDNQ_OK)
        status = pass->visit(pass->ctx, value, tensor, err);
    ldnq_arena_destroy(arena);
    return status;
}

static enum ldnq_status visit_value(const struct ldnq_float_pass *pass,
                                    const struct ldnq_exec *exec, size_t first,
                                    const struct ldnq_value *value, struct ldnq_error *err)
{
    if (!value || !pass->visited[value->index])
        return LDNQ_OK;
    const struct ldnq_tensor *tensor = ldnq_exec_find_value(exec, value);
    if (!tensor || tensor->dtype != LDNQ_FLOAT)
        return LDNQ_OK;
    return ldnq_samples_have_masked_positions(pass->samples)
               ? visit_unmasked_part(pass, first, value, tensor, err)
               : pass->visit(pass->ctx, value, tensor, err);
}

static bool visits_outputs(const struct ldnq_float_pass *pass, const struct ldnq_node *node)
{
    for (size_t o = 0; o < node->output_count; o++)
        if (node->outputs[o] && pass->visited[node->outputs[o]->index])
            return true;
    return false;
}

/* Nodes between two visited values run in one call. */
static enum ldnq_status run_and_visit_batch(const struct ldnq_float_pass *pass,
                                            struct ldnq_exec *exec,
                                            struct ldnq_tensor *const *inputs, size_t first,
                                            struct ldnq_error *err)
{
    const struct ldnq_graph *graph = pass->graph;
    size_t done = 0;
    LDNQ_TRY(ldnq_exec_bind_inputs(exec, inputs, err));
    for (size_t i = 0; i < graph->input_count; i++)
        LDNQ_TRY(visit_value(pass, exec, first, graph->inputs[i], err));
    for (size_t n = 0; n < graph->node_count; n++) {
        if (!visits_outputs(pass, graph->nodes[n]))
            continue;
        LDNQ_TRY(ldnq_exec_run_range(exec, done, n + 1, err));
        done = n + 1;
        for (size_t o = 0; o < graph->nodes[n]->output_count; o++)
            LDNQ_TRY(visit_value(pass, exec, first, graph->nodes[n]->outputs[o], err));
    }
    ldnq_exec_reset(exec);
    return LDNQ_OK;
}

static enum ldnq_status run_all_batches(const struct ldnq_float_pass *pass, struct ldnq_exec *exec,
                                        struct ldnq_error *err)
{
    const size_t all = ldnq_samples_count(pass->samples);
    const size_t most = ldnq_samples_choose_batch_size(pass->samples, pass->graph, BATCH);
    LDNQ_TRY(ldnq_sink_progress(pass->sink, "calibrate", NULL, 0, all, err));
    for (size_t first = 0; first < all; first += most) {
        const size_t count = ldnq_size_min(most, all - first);
        struct ldnq_sample_batch batch;
        LDNQ_TRY(ldnq_sample_batch_read(pass->samples, first, count, pass->pool, &batch, err));
        const enum ldnq_status status = run_and_visit_batch(pass, exec, batch.inputs, first, err);
        if (status != LDNQ_OK)
            ldnq_exec_reset(exec); /* its inputs are in the batch */
        ldnq_arena_destroy(batch.arena);
        LDNQ_TRY(ldnq_name_failed_sample(status, pass->graph, pass->samples, first, count, err));
        LDNQ_TRY(ldnq_sink_progress(pass->sink, "calibrate", NULL, first + count, all, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_float_pass_run(const struct ldnq_float_pass *pass, struct ldnq_error *err)
{
    struct ldnq_exec *exec;
    LDNQ_TRY(ldnq_exec_create(pass->graph, pass->pool, &exec, err));
    for (size_t i = 0; i < pass->graph->value_count; i++)
        if (pass->visited[i] && !pass->graph->values[i]->is_input)
            ldnq_exec_make_readable(exec, pass->graph->values[i]);
    const enum ldnq_status status = run_all_batches(pass, exec, err);
    ldnq_exec_destroy(exec);
    return status;
}
