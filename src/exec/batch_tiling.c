/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/batch_tiling.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"

/* Bytes of a tile of the largest value. A node reads one or two values and
 * writes one, and second-level caches have a megabyte. */
#define TILE_BYTES ((size_t)256 << 10)

/* ---- finding the tilings ----------------------------------------------------------- */

/* Whether the value has this rank and this symbol as its batch dimension; if so, raises
 * *sample_bytes to the size of one sample. */
static bool has_batch_axis(const struct ldnq_value *value, int rank, int64_t symbol,
                           size_t *sample_bytes)
{
    size_t count, size = ldnq_dtype_size(value->dtype);
    if (value->shape.rank != rank || value->shape.dim[0] != symbol ||
        !ldnq_shape_count_range(&value->shape, 1, rank, &count) ||
        !ldnq_size_mul(count, size, &count))
        return false;
    *sample_bytes = ldnq_size_max(*sample_bytes, count);
    return true;
}

/* Whether the node can be part of a tiling over the batch dimension *symbol; 0 stands for
 * any, and is replaced by the node's. All inputs except constants must have the output's
 * rank and batch dimension. A constant can't have samples of its own: then the batch
 * dimension would be a number, not a symbol. */
static bool can_join_tiling(const struct ldnq_node *node, int64_t *symbol, size_t *sample_bytes)
{
    size_t batched_inputs = 0;
    if (!node->op || !(node->op->flags & LDNQ_OP_PER_SAMPLE) || node->output_count != 1)
        return false;
    if (node->op->is_per_sample && !node->op->is_per_sample(node))
        return false;
    const struct ldnq_shape *out = &node->outputs[0]->shape;
    if (out->rank < 1 || !ldnq_is_symbol(out->dim[0]) || (*symbol && out->dim[0] != *symbol) ||
        !has_batch_axis(node->outputs[0], out->rank, out->dim[0], sample_bytes))
        return false;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_value *in = node->inputs[i];
        if (!in || in->constant)
            continue;
        if (!has_batch_axis(in, out->rank, out->dim[0], sample_bytes))
            return false;
        batched_inputs++;
    }
    *symbol = out->dim[0];
    return batched_inputs > 0;
}

/* Makes an executor per thread, with the memory of its tiles. */
static enum ldnq_status make_tile_execs(struct ldnq_exec *exec, struct ldnq_error *err)
{
    const size_t threads = ldnq_pool_threads(exec->pool);
    exec->tile_execs = ldnq_arena_alloc(exec->arena, threads, sizeof *exec->tile_execs, err);
    if (!exec->tile_execs)
        return LDNQ_NOMEM;
    for (exec->tile_exec_count = 0; exec->tile_exec_count < threads; exec->tile_exec_count++) {
        struct ldnq_exec *tile = &exec->tile_execs[exec->tile_exec_count];
        *tile = (struct ldnq_exec){ .graph = exec->graph, .plan = exec->plan };
        LDNQ_TRY(ldnq_exec_make_lists(tile, exec->arena, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_batch_tiling_init(struct ldnq_exec *exec, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = exec->graph;
    const bool *skipped = exec->plan.skipped;
    bool has_tiling = false;
    exec->tilings = ldnq_arena_alloc(exec->arena, graph->node_count, sizeof *exec->tilings, err);
    if (!exec->tilings)
        return LDNQ_NOMEM;
    for (size_t first = 0, last; first < graph->node_count; first = last) {
        size_t sample_bytes = 0, nodes = 0;
        int64_t symbol = 0;
        for (last = first; last < graph->node_count; last++) {
            size_t bytes = sample_bytes;
            if (skipped[last] && last > first)
                continue;
            if (skipped[last] || !can_join_tiling(graph->nodes[last], &symbol, &bytes))
                break;
            sample_bytes = bytes;
            nodes++;
        }
        if (nodes > 1)
            exec->tilings[first] = (struct ldnq_batch_tiling){ last, sample_bytes };
        has_tiling = has_tiling || nodes > 1;
        last = ldnq_size_max(last, first + 1);
    }
    return has_tiling ? make_tile_execs(exec, err) : LDNQ_OK;
}

void ldnq_batch_tiling_release_unused(struct ldnq_exec *exec)
{
    for (size_t i = 0; i < exec->tile_exec_count; i++)
        ldnq_buffer_pool_release_unused(&exec->tile_execs[i].buffers);
}

void ldnq_batch_tiling_finish(struct ldnq_exec *exec)
{
    for (size_t i = 0; i < exec->tile_exec_count; i++) {
        ldnq_buffer_pool_finish(&exec->tile_execs[i].buffers);
        ldnq_free(exec->tile_execs[i].scratch);
    }
}

size_t ldnq_batch_tiling_peak_bytes(const struct ldnq_exec *exec)
{
    size_t bytes = 0;
    for (size_t i = 0; i < exec->tile_exec_count; i++)
        bytes += exec->tile_execs[i].buffers.peak + exec->tile_execs[i].scratch_size;
    return bytes;
}

/* ---- running one ------------------------------------------------------------------- */

/* The nodes first .. last-1 on a batch, in `count` tiles. */
struct tiling_job {
    struct ldnq_exec *exec;
    size_t first, last;
    size_t batch, count;
    size_t shapes_from;   /* the thread of tile 0 */
    pthread_mutex_t lock; /* of exec's values and of the members below */
    size_t failed;        /* the first tile that failed; count: none */
    enum ldnq_status status;
    struct ldnq_error *err; /* of that tile */
};

/* Samples in the batch that the node is about to read; 0 when its input has no data. */
static size_t find_batch_size(const struct ldnq_exec *exec, size_t node_index)
{
    const struct ldnq_node *node = exec->graph->nodes[node_index];
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && !node->inputs[i]->constant) {
            const struct ldnq_tensor *tensor = ldnq_exec_find_value(exec, node->inputs[i]);
            return tensor && tensor->shape.rank > 0 ? (size_t)tensor->shape.dim[0] : 0;
        }
    return 0;
}

/* Cuts a batch into tiles of nearly equal size, as many for each thread. One tile where threads
 * would wait for the one with the most samples: they share each node's work instead. */
static size_t count_tiles(const struct ldnq_exec *exec, const struct ldnq_batch_tiling *tiling,
                          size_t batch)
{
    const size_t threads = exec->tile_exec_count;
    const size_t most = ldnq_size_max(1, TILE_BYTES / ldnq_size_max(1, tiling->sample_bytes));
    const bool is_even = batch >= 4 * threads || batch % threads == 0;
    if (threads > 1 && !is_even)
        return 1;
    const size_t per_thread = ldnq_size_ceil_div(ldnq_size_ceil_div(batch, most), threads);
    return ldnq_size_min(per_thread * threads, batch);
}

bool ldnq_batch_tiling_applies(const struct ldnq_exec *exec, size_t first)
{
    const struct ldnq_batch_tiling *tiling = &exec->tilings[first];
    return tiling->last > 0 && count_tiles(exec, tiling, find_batch_size(exec, first)) > 1;
}

static bool is_computed_in_range(const struct tiling_job *job, size_t value)
{
    const size_t definition = job->exec->plan.definition[value];
    return definition != LDNQ_NO_NODE && definition >= job->first && definition < job->last;
}

static size_t count_bytes_per_sample(const struct ldnq_tensor *tensor)
{
    size_t bytes = 0;
    ldnq_tensor_bytes(tensor, &bytes);
    return tensor->shape.dim[0] > 0 ? bytes / (size_t)tensor->shape.dim[0] : 0;
}

/* Binds the samples start .. start+count-1 of the values that the range reads from outside.
 * A bound tensor has no buffer, so that no node runs in place on it. */
static void bind_tile_inputs(const struct tiling_job *job, struct ldnq_exec *tile, size_t start,
                             size_t count)
{
    const struct ldnq_graph *graph = job->exec->graph;
    for (size_t n = job->first; n < job->last; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        for (size_t i = 0; i < node->input_count && !tile->plan.skipped[n]; i++) {
            const struct ldnq_value *value = node->inputs[i];
            if (!value || value->constant || is_computed_in_range(job, value->index))
                continue;
            struct ldnq_tensor tensor = job->exec->slots[value->index].tensor;
            tensor.data = (char *)tensor.data + start * count_bytes_per_sample(&tensor);
            tensor.shape.dim[0] = (int64_t)count;
            ldnq_exec_bind(tile, value, &tensor);
        }
    }
}

/* Makes the value's memory for the whole batch, unless another tile has. */
static enum ldnq_status allocate_whole_value(struct tiling_job *job, const struct ldnq_tensor *part,
                                             size_t value, struct ldnq_error *err)
{
    struct ldnq_exec_slot *whole = &job->exec->slots[value];
    struct ldnq_tensor tensor = *part;
    size_t bytes;
    if (whole->is_live)
        return LDNQ_OK;
    tensor.shape.dim[0] = (int64_t)job->batch;
    if (!ldnq_tensor_bytes(&tensor, &bytes))
        return ldnq_fail(err, LDNQ_NOMEM, "value '%s' is too large",
                         job->exec->graph->values[value]->name);
    LDNQ_TRY(ldnq_buffer_pool_acquire(&job->exec->buffers, bytes, &whole->buffer, err));
    tensor.data = whole->buffer->data;
    whole->tensor = tensor;
    whole->is_live = true;
    return LDNQ_OK;
}

/* Copies the tile's samples of a value into the whole batch. */
static enum ldnq_status store_tile_value(struct tiling_job *job, const struct ldnq_tensor *part,
                                         size_t value, size_t start, size_t count,
                                         struct ldnq_error *err)
{
    const size_t sample = count_bytes_per_sample(part);
    if (part->shape.rank < 1 || part->shape.dim[0] != (int64_t)count)
        return ldnq_fail(err, LDNQ_MODEL,
                         "value '%s' does not have the batch size of its node's inputs",
                         job->exec->graph->values[value]->name);
    pthread_mutex_lock(&job->lock);
    const enum ldnq_status status = allocate_whole_value(job, part, value, err);
    char *data = job->exec->slots[value].tensor.data;
    pthread_mutex_unlock(&job->lock);
    if (status == LDNQ_OK)
        memcpy(data + start * sample, part->data, count * sample);
    return status;
}

static enum ldnq_status run_nodes_on_tile(struct tiling_job *job, struct ldnq_exec *tile,
                                          size_t start, size_t count, struct ldnq_error *err)
{
    bind_tile_inputs(job, tile, start, count);
    LDNQ_TRY(ldnq_exec_run_range(tile, job->first, job->last, err));
    for (size_t i = 0; i < job->exec->graph->value_count; i++) {
        const size_t last_use = tile->plan.last_use[i];
        if (is_computed_in_range(job, i) && last_use != LDNQ_NO_NODE && last_use >= job->last)
            LDNQ_TRY(store_tile_value(job, &tile->slots[i].tensor, i, start, count, err));
    }
    return LDNQ_OK;
}

static void record_tile_failure(struct tiling_job *job, size_t index, enum ldnq_status status,
                                const struct ldnq_error *err)
{
    pthread_mutex_lock(&job->lock);
    if (index < job->failed) {
        job->failed = index;
        job->status = status;
        if (job->err)
            *job->err = *err;
    }
    pthread_mutex_unlock(&job->lock);
}

static bool has_failed_before(struct tiling_job *job, size_t index)
{
    pthread_mutex_lock(&job->lock);
    const bool has_failed = job->failed < index;
    pthread_mutex_unlock(&job->lock);
    return has_failed;
}

static void run_tile(void *argument, size_t index, size_t thread)
{
    struct tiling_job *job = argument;
    struct ldnq_exec *tile = &job->exec->tile_execs[thread];
    const size_t start = index * job->batch / job->count;
    const size_t end = (index + 1) * job->batch / job->count;
    struct ldnq_error err;
    if (has_failed_before(job, index))
        return;
    if (index == 0)
        job->shapes_from = thread;
    const enum ldnq_status status = run_nodes_on_tile(job, tile, start, end - start, &err);
    for (size_t i = 0; i < job->exec->graph->value_count; i++)
        ldnq_exec_free_value(tile, i);
    if (status != LDNQ_OK)
        record_tile_failure(job, index, status, &err);
}

/* Values that lived within the range keep the shape of a whole batch, as they would without
 * tiling. */
static void store_inner_shapes(struct tiling_job *job)
{
    struct ldnq_exec *exec = job->exec;
    for (size_t i = 0; i < exec->graph->value_count; i++) {
        struct ldnq_tensor *tensor = &exec->slots[i].tensor;
        if (!is_computed_in_range(job, i) || exec->slots[i].is_live)
            continue;
        *tensor = exec->tile_execs[job->shapes_from].slots[i].tensor;
        if (tensor->shape.rank > 0)
            tensor->shape.dim[0] = (int64_t)job->batch;
    }
}

/* Frees the values from outside that nothing reads after the range. */
static void free_dead_inputs(struct tiling_job *job)
{
    const struct ldnq_exec_plan *plan = &job->exec->plan;
    for (size_t n = job->first; n < job->last; n++) {
        const struct ldnq_node *node = job->exec->graph->nodes[n];
        for (size_t i = 0; i < node->input_count && !plan->skipped[n]; i++) {
            const struct ldnq_value *value = node->inputs[i];
            if (value && !value->constant && !is_computed_in_range(job, value->index) &&
                plan->last_use[value->index] < job->last)
                ldnq_exec_free_value(job->exec, value->index);
        }
    }
}

enum ldnq_status ldnq_batch_tiling_run(struct ldnq_exec *exec, size_t first, struct ldnq_error *err)
{
    const size_t batch = find_batch_size(exec, first);
    struct tiling_job job = { .exec = exec,
                              .first = first,
                              .last = exec->tilings[first].last,
                              .batch = batch,
                              .count = count_tiles(exec, &exec->tilings[first], batch),
                              .lock = PTHREAD_MUTEX_INITIALIZER,
                              .status = LDNQ_OK,
                              .err = err };
    job.failed = job.count;
    for (size_t i = 0; i < exec->tile_exec_count; i++)
        exec->tile_execs[i].operations = 0;
    ldnq_pool_run(exec->pool, job.count, run_tile, &job);
    for (size_t i = 0; i < exec->tile_exec_count; i++)
        if (!ldnq_size_add(exec->operations, exec->tile_execs[i].operations, &exec->operations))
            exec->operations = SIZE_MAX;
    store_inner_shapes(&job);
    free_dead_inputs(&job);
    pthread_mutex_destroy(&job.lock);
    return job.status;
}
