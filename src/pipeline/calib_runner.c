/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/calib_runner.h"

#include "base/size.h"
#include "calib/augment.h"
#include "exec/value_sizes.h"
#include "metric/sample_failure.h"
#include "pipeline/holdout.h"
#include "pipeline/sum_tree.h"

/* Advances in a row that start from the same values, and how many times as large those must be that
 * are computed again. */
#define MOST_RERUNS ((size_t)2)
#define LEAST_GROWTH ((size_t)2)

/* The largest batch that blocks are made of and whose values are small: networks of large values
 * then take the same memory for few samples, whose blocks are small, as for many. */
size_t ldnq_calib_runner_choose_batch(const struct ldnq_graph *graph,
                                      const struct ldnq_samples *samples, size_t count)
{
    const size_t block = ldnq_samples_choose_batch_size(samples, graph, ldnq_holdout_block(count));
    size_t batch = ldnq_limit_batch(graph, block);
    while (block % batch != 0)
        batch--;
    return batch;
}

enum ldnq_status ldnq_calib_runner_init(struct ldnq_calib_runner *runner,
                                        const struct ldnq_graph *graph,
                                        struct ldnq_samples *samples,
                                        const struct ldnq_calib_runner_options *options,
                                        struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t all = ldnq_samples_count(samples);
    const size_t count = ldnq_size_min(options->samples, all);
    const size_t batch = ldnq_calib_runner_choose_batch(graph, samples, count);
    *runner = (struct ldnq_calib_runner){
        .graph = graph,
        .samples = samples,
        .pool = options->pool,
        .batch_size = batch,
        .batch_count = options->copies * ldnq_size_ceil_div(count, batch),
        .sample_count = count,
        .copies = options->copies,
        .seed = options->seed,
    };
    runner->leaf_count = ldnq_sum_leaves(runner->batch_count);
    const struct ldnq_rank_share own =
        ldnq_sum_batches(ldnq_pool_ranks(options->pool), runner->batch_count, runner->leaf_count);
    runner->first_batch = own.first;
    runner->end_batch = own.end;
    size_t values = graph->value_count;
    runner->live = ldnq_arena_alloc(arena, values, sizeof *runner->live, err);
    runner->next_live = ldnq_arena_alloc(arena, values, sizeof *runner->next_live, err);
    runner->tensors = ldnq_arena_alloc(arena, values, sizeof *runner->tensors, err);
    if (!runner->live || !runner->next_live || !runner->tensors)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_exec_create(graph, options->pool, &runner->exec, err));
    return ldnq_activation_store_create(runner->batch_count, options->max_bytes, &runner->store,
                                        err);
}

void ldnq_calib_runner_finish(struct ldnq_calib_runner *runner)
{
    ldnq_exec_destroy(runner->exec);
    ldnq_activation_store_destroy(runner->store);
    *runner = (struct ldnq_calib_runner){ 0 };
}

size_t ldnq_calib_runner_first_sample(const struct ldnq_calib_runner *runner, size_t batch)
{
    return batch % (runner->batch_count / runner->copies) * runner->batch_size;
}

/* The first copy is the samples as they are. */
static enum ldnq_status augment_input_of_copy(const struct ldnq_calib_runner *runner, size_t batch,
                                              struct ldnq_tensor *input, struct ldnq_arena *arena,
                                              struct ldnq_error *err)
{
    if (batch < runner->batch_count / runner->copies || !ldnq_augment_fits(input))
        return LDNQ_OK;
    struct ldnq_tensor *changed;
    LDNQ_TRY(ldnq_tensor_create(arena, LDNQ_FLOAT, &input->shape, &changed, err));
    ldnq_augment_batch(input, changed->data, runner->seed, batch * runner->batch_size,
                       runner->pool);
    input->data = changed->data;
    return LDNQ_OK;
}

/* Before the first node, the live values are the samples. */
static enum ldnq_status bind_samples(struct ldnq_calib_runner *runner, size_t batch,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    size_t first = ldnq_calib_runner_first_sample(runner, batch);
    size_t count = ldnq_size_min(runner->batch_size, runner->sample_count - first);
    struct ldnq_tensor **inputs =
        ldnq_arena_alloc(arena, runner->graph->input_count, sizeof *inputs, err);
    if (!inputs)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_samples_read(runner->samples, first, count, runner->pool, arena, inputs, err));
    for (size_t i = 0; i < runner->graph->input_count; i++) {
        LDNQ_TRY(augment_input_of_copy(runner, batch, inputs[i], arena, err));
        ldnq_exec_bind(runner->exec, runner->graph->inputs[i], inputs[i]);
    }
    return LDNQ_OK;
}

static enum ldnq_status bind_live_values(struct ldnq_calib_runner *runner, size_t batch,
                                         struct ldnq_error *err)
{
    const struct ldnq_tensor *tensors;
    size_t count;
    LDNQ_TRY(ldnq_activation_store_load(runner->store, batch, &tensors, &count, err));
    for (size_t i = 0; i < count; i++)
        ldnq_exec_bind(runner->exec, runner->live[i], &tensors[i]);
    return LDNQ_OK;
}

static enum ldnq_status store_live_values(struct ldnq_calib_runner *runner, size_t batch,
                                          size_t count, struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        runner->tensors[i] = ldnq_exec_find_value(runner->exec, runner->next_live[i]);
    return ldnq_activation_store_save(runner->store, batch, runner->tensors, count, err);
}

/* Runs one batch up to the node. */
static enum ldnq_status run_batch_up_to_node(struct ldnq_calib_runner *runner, size_t batch,
                                             size_t node_index, struct ldnq_arena *arena,
                                             struct ldnq_error *err)
{
    ldnq_exec_reset(runner->exec);
    if (runner->node_index == 0)
        LDNQ_TRY(bind_samples(runner, batch, arena, err));
    else
        LDNQ_TRY(bind_live_values(runner, batch, err));
    const size_t first = ldnq_calib_runner_first_sample(runner, batch);
    return ldnq_name_failed_sample(
        ldnq_exec_run_range(runner->exec, runner->node_index, node_index, err), runner->graph,
        runner->samples, first, ldnq_size_min(runner->batch_size, runner->sample_count - first),
        err);
}

static enum ldnq_status store_batch_and_reset(struct ldnq_calib_runner *runner, size_t batch,
                                              size_t node_index, struct ldnq_error *err)
{
    /* Before the first node nothing is stored: the samples are read again. */
    if (node_index > 0 && !runner->reruns)
        LDNQ_TRY(store_live_values(runner, batch, runner->next_live_count, err));
    ldnq_exec_reset(runner->exec);
    if (!runner->reruns)
        ldnq_activation_store_release(runner->store, batch);
    return LDNQ_OK;
}

/* Whether the next advance starts from the values that are stored now: those of this batch would be
 * written to a file, and computing them again from fewer values takes less time. */
static bool should_rerun(const struct ldnq_calib_runner *runner)
{
    const size_t stored = ldnq_activation_store_count_bytes(runner->store);
    size_t bytes = 0, all;
    for (size_t i = 0; i < runner->next_live_count; i++) {
        size_t size = 0;
        ldnq_tensor_bytes(ldnq_exec_find_value(runner->exec, runner->next_live[i]), &size);
        bytes += size;
    }
    return runner->node_index > 0 && runner->rerun_count < MOST_RERUNS &&
           ldnq_size_mul(bytes, runner->end_batch - runner->first_batch, &all) &&
           !ldnq_activation_store_fits(runner->store, all) &&
           ldnq_activation_store_fits(runner->store, stored) && stored <= all / LEAST_GROWTH;
}

static enum ldnq_status advance_batch_to_node(struct ldnq_calib_runner *runner, size_t batch,
                                              size_t node_index, ldnq_calib_runner_fn *visit,
                                              void *ctx, struct ldnq_arena *arena,
                                              struct ldnq_error *err)
{
    struct ldnq_calib_runner *reference = runner->reference;
    LDNQ_TRY(run_batch_up_to_node(runner, batch, node_index, arena, err));
    if (reference)
        LDNQ_TRY(run_batch_up_to_node(reference, batch, node_index, arena, err));
    if (batch == runner->first_batch)
        runner->reruns = should_rerun(runner);
    if (batch == runner->first_batch && reference)
        reference->reruns = should_rerun(reference);
    LDNQ_TRY(visit(ctx, runner->exec, batch, err));
    if (reference)
        LDNQ_TRY(store_batch_and_reset(reference, batch, node_index, err));
    return store_batch_and_reset(runner, batch, node_index, err);
}

static void switch_to_next_generation(struct ldnq_calib_runner *runner, size_t node_index)
{
    runner->rerun_count = runner->reruns ? runner->rerun_count + 1 : 0;
    if (runner->reruns)
        return;
    ldnq_activation_store_advance(runner->store);
    const struct ldnq_value **spare = runner->live;
    runner->live = runner->next_live;
    runner->next_live = spare;
    runner->node_index = node_index;
}

static enum ldnq_status advance_all_batches(struct ldnq_calib_runner *runner, size_t node_index,
                                            ldnq_calib_runner_fn *visit, void *ctx,
                                            struct ldnq_error *err)
{
    struct ldnq_calib_runner *const both[] = { runner, runner->reference };
    for (size_t batch = runner->first_batch; batch < runner->end_batch; batch++) {
        struct ldnq_arena *arena;
        LDNQ_TRY(ldnq_arena_create(&arena, err));
        enum ldnq_status status =
            advance_batch_to_node(runner, batch, node_index, visit, ctx, arena, err);
        for (size_t i = 0; status != LDNQ_OK && i < 2 && both[i]; i++)
            ldnq_exec_reset(both[i]->exec); /* its values may point into the arena */
        ldnq_arena_destroy(arena);
        LDNQ_TRY(status);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_calib_runner_advance(struct ldnq_calib_runner *runner, size_t node_index,
                                           ldnq_calib_runner_fn *visit, void *ctx,
                                           struct ldnq_error *err)
{
    struct ldnq_calib_runner *const both[] = { runner, runner->reference };
    for (size_t i = 0; i < 2 && both[i]; i++)
        both[i]->next_live_count =
            ldnq_exec_live_values(both[i]->exec, node_index, both[i]->next_live);
    const enum ldnq_status status = advance_all_batches(runner, node_index, visit, ctx, err);
    LDNQ_TRY(ldnq_ranks_share_first_failure(ldnq_pool_ranks(runner->pool), status, err));
    for (size_t i = 0; i < 2 && both[i]; i++) {
        switch_to_next_generation(both[i], node_index);
        ldnq_exec_release_unused(both[i]->exec); /* the layer's matrices come next */
    }
    return LDNQ_OK;
}
