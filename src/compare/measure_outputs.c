/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/measure_outputs.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "compare/compute_view.h"
#include "metric/batch_check.h"
#include "metric/sample_failure.h"
#include "passes/passes.h"

#define BATCH ((size_t)8)

/* ---- before the first batch ---------------------------------------------------------- */

/* The value of this name; without one the value at `index`, if both files have as many. */
static size_t find_matching_value(struct ldnq_value *const *values, size_t count, const char *name,
                                  size_t index, size_t other_count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(values[i]->name, name) == 0)
            return i;
    return count == other_count ? index : LDNQ_NO_NODE;
}

enum ldnq_status ldnq_compared_network_init(struct ldnq_compared_network *network,
                                            struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_graph *a = network->graph_a, *b = network->graph_b;
    network->input_of_b = ldnq_arena_alloc(arena, b->input_count, sizeof *network->input_of_b, err);
    network->inputs_b = ldnq_arena_alloc(arena, b->input_count, sizeof *network->inputs_b, err);
    network->output_of_a =
        ldnq_arena_alloc(arena, a->output_count, sizeof *network->output_of_a, err);
    network->sums = ldnq_arena_alloc(arena, a->output_count, sizeof *network->sums, err);
    network->bounds = ldnq_arena_alloc(arena, a->output_count, sizeof *network->bounds, err);
    if (!network->bounds || !network->input_of_b || !network->inputs_b || !network->output_of_a ||
        !network->sums)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < b->input_count; i++) {
        network->input_of_b[i] =
            find_matching_value(a->inputs, a->input_count, b->inputs[i]->name, i, b->input_count);
        if (network->input_of_b[i] == LDNQ_NO_NODE)
            return ldnq_fail(err, LDNQ_UNSUPPORTED,
                             "%s: its input '%s' is not an input of %s; the same samples can't "
                             "be given to both",
                             b->file, b->inputs[i]->name, a->file);
    }
    for (size_t o = 0; o < a->output_count; o++) {
        network->output_of_a[o] = find_matching_value(b->outputs, b->output_count,
                                                      a->outputs[o]->name, o, a->output_count);
        network->bounds[o] = NAN;
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_compared_run_choose_batch(struct ldnq_compared_run *run,
                                                const struct ldnq_compared_network *networks,
                                                size_t count, struct ldnq_error *err)
{
    const struct ldnq_graph *a = networks[0].graph_a;
    LDNQ_TRY(ldnq_check_batch(a, run->samples, run->pool, run->sink, err));
    for (size_t i = 0; i < count && !ldnq_samples_single_reason(run->samples); i++)
        LDNQ_TRY(ldnq_check_batch(networks[i].graph_b, run->samples, run->pool, run->sink, err));
    run->batch = ldnq_samples_choose_batch_size(run->samples, a, BATCH);
    for (size_t i = 0; i < count; i++)
        run->batch = ldnq_size_min(
            run->batch, ldnq_samples_choose_batch_size(run->samples, networks[i].graph_b, BATCH));
    return LDNQ_OK;
}

/* ---- one batch ----------------------------------------------------------------------- */

void ldnq_compared_network_read_inputs(struct ldnq_compared_network *network,
                                       struct ldnq_tensor *const *inputs)
{
    for (size_t i = 0; i < network->graph_b->input_count; i++)
        network->inputs_b[i] = inputs[network->input_of_b[i]];
}

static enum ldnq_status add_output(struct ldnq_compared_network *network, size_t output,
                                   const struct ldnq_exec *a,
                                   const struct ldnq_compared_batch *batch, struct ldnq_pool *pool,
                                   struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t match = network->output_of_a[output];
    const struct ldnq_value *value = network->graph_a->outputs[output];
    const struct ldnq_tensor *t = ldnq_exec_find_value(a, value);
    const struct ldnq_tensor *y =
        match == LDNQ_NO_NODE
            ? NULL
            : ldnq_exec_find_value(network->exec, network->graph_b->outputs[match]);
    if (y && t) {
        LDNQ_TRY(
            ldnq_samples_select_unmasked(batch->samples, batch->first, y, batch->arena, &y, err));
        LDNQ_TRY(
            ldnq_samples_select_unmasked(batch->samples, batch->first, t, batch->arena, &t, err));
    }
    LDNQ_TRY(ldnq_output_sums_add(&network->sums[output], y, t, batch->count, pool, err));
    struct ldnq_compared_batch compared = *batch;
    compared.output = value->name;
    compared.t = t;
    compared.y = y;
    return ldnq_changed_samples_add(&compared, arena, network->diff, err);
}

enum ldnq_status ldnq_compared_network_add_outputs(struct ldnq_compared_network *network,
                                                   const struct ldnq_exec *a,
                                                   const struct ldnq_compared_batch *batch,
                                                   struct ldnq_pool *pool, struct ldnq_arena *arena,
                                                   struct ldnq_error *err)
{
    for (size_t o = 0; o < network->graph_a->output_count; o++)
        LDNQ_TRY(add_output(network, o, a, batch, pool, arena, err));
    return LDNQ_OK;
}

/* ---- the result ---------------------------------------------------------------------- */

enum ldnq_status ldnq_compared_network_store_outputs(const struct ldnq_compared_network *network,
                                                     struct ldnq_arena *arena,
                                                     struct ldnq_error *err)
{
    struct ldnq_diff *diff = network->diff;
    const struct ldnq_graph *a = network->graph_a;
    diff->output_count = a->output_count;
    diff->outputs = ldnq_arena_alloc(arena, diff->output_count, sizeof *diff->outputs, err);
    if (!diff->outputs)
        return LDNQ_NOMEM;
    for (size_t o = 0; o < diff->output_count; o++) {
        const size_t match = network->output_of_a[o];
        const struct ldnq_output_metrics metrics = ldnq_output_metrics_compute(&network->sums[o]);
        diff->outputs[o] = (struct ldnq_diff_output){
            .name = a->outputs[o]->name,
            .match = match == LDNQ_NO_NODE ? NULL : network->graph_b->outputs[match]->name,
            .error = { metrics.sqnr, metrics.cosine },
            .noise_to_signal = metrics.noise_to_signal,
            .bound = network->bounds[o],
            .max_error = metrics.max_error,
            .agreement = metrics.agreement,
            .agreement_low = metrics.agreement_interval.low,
            .agreement_high = metrics.agreement_interval.high,
            .kl = metrics.kl,
        };
    }
    return LDNQ_OK;
}

/* ---- all batches ---------------------------------------------------------------------- */

/* A float network and the quantized ones that are compared with it. */
struct outputs_measurement {
    const struct ldnq_compared_run *run;
    struct ldnq_arena *arena;
    struct ldnq_exec *a;
    struct ldnq_compared_network *networks;
    size_t count;
};

static enum ldnq_status measure_network(struct outputs_measurement *m,
                                        struct ldnq_compared_network *network,
                                        const struct ldnq_compared_batch *batch,
                                        struct ldnq_error *err)
{
    ldnq_compared_network_read_inputs(network, batch->inputs);
    LDNQ_TRY(ldnq_name_failed_sample(ldnq_exec_run(network->exec, network->inputs_b, err),
                                     network->graph_b, batch->samples, batch->first, batch->count,
                                     err));
    LDNQ_TRY(ldnq_compared_network_add_outputs(network, m->a, batch, m->run->pool, m->arena, err));
    ldnq_exec_reset(network->exec);
    return LDNQ_OK;
}

static enum ldnq_status measure_batch(struct outputs_measurement *m,
                                      const struct ldnq_compared_batch *batch,
                                      struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_name_failed_sample(ldnq_exec_run(m->a, batch->inputs, err),
                                     m->networks[0].graph_a, batch->samples, batch->first,
                                     batch->count, err));
    for (size_t i = 0; i < m->count; i++)
        LDNQ_TRY(measure_network(m, &m->networks[i], batch, err));
    return LDNQ_OK;
}

static enum ldnq_status read_and_measure_batch(struct outputs_measurement *m, size_t first,
                                               size_t count, struct ldnq_error *err)
{
    const struct ldnq_compared_run *run = m->run;
    struct ldnq_sample_batch read;
    LDNQ_TRY(ldnq_sample_batch_read(run->samples, first, count, run->pool, &read, err));
    const struct ldnq_compared_batch batch = {
        .samples = run->samples,
        .first = first,
        .count = count,
        .inputs = read.inputs,
        .input_count = m->networks[0].graph_a->input_count,
        .arena = read.arena,
    };
    const enum ldnq_status status = measure_batch(m, &batch, err);
    for (size_t i = 0; i < m->count; i++)
        ldnq_exec_reset(m->networks[i].exec);
    ldnq_exec_reset(m->a);
    ldnq_arena_destroy(read.arena);
    return status;
}

/* The nodes that both graphs have are paired and described by now. */
static enum ldnq_status merge_nodes(struct ldnq_graph *graph, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_pass_merge_pads(graph, err));
    return ldnq_pass_remove_dead_nodes(graph, err);
}

static enum ldnq_status measure_samples(struct outputs_measurement *m, size_t first,
                                        struct ldnq_error *err)
{
    const struct ldnq_compared_run *run = m->run;
    LDNQ_TRY(merge_nodes(m->networks[0].graph_a, err));
    for (size_t i = 0; i < m->count; i++)
        LDNQ_TRY(merge_nodes(m->networks[i].graph_b, err));
    LDNQ_TRY(ldnq_exec_create(m->networks[0].graph_a, run->pool, &m->a, err));
    for (size_t i = 0; i < m->count; i++)
        LDNQ_TRY(ldnq_exec_create(m->networks[i].graph_b, run->pool, &m->networks[i].exec, err));
    for (; first < run->count; first += run->batch) {
        const size_t count = ldnq_size_min(run->batch, run->count - first);
        LDNQ_TRY(read_and_measure_batch(m, first, count, err));
        LDNQ_TRY(ldnq_sink_progress(run->sink, "diff", NULL, first + count, run->count, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_measure_outputs(const struct ldnq_compared_run *run, size_t first,
                                      struct ldnq_compared_network *networks, size_t count,
                                      struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct outputs_measurement m = {
        .run = run, .arena = arena, .networks = networks, .count = count
    };
    const enum ldnq_status status = measure_samples(&m, first, err);
    for (size_t i = 0; i < count; i++) {
        ldnq_exec_destroy(networks[i].exec);
        networks[i].exec = NULL;
    }
    ldnq_exec_destroy(m.a);
    return status;
}
