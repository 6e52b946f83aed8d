/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/batch_tiling.h"

#include <string.h>

#include "base/size.h"

/* Bytes per thread of a tile of the largest value. A node reads one or two values and
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

enum ldnq_status ldnq_batch_tiling_init(struct ldnq_exec *exec, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = exec->graph;
    const bool *skipped = exec->plan.skipped;
    exec->tilings = ldnq_arena_alloc(exec->arena, graph->node_count, sizeof *exec->tilings, err);
    exec->full = ldnq_arena_alloc(exec->arena, graph->value_count, sizeof *exec->full, err);
    if (!exec->tilings || !exec->full)
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
        last = ldnq_size_max(last, first + 1);
    }
    return LDNQ_OK;
}

/* ---- running one ------------------------------------------------------------------- */

/* The samples start .. start+count-1 of `batch`, in the nodes first .. last-1. */
struct batch_tile {
    size_t first, last;
    size_t batch, start, count;
};

/* Samples per tile. */
static size_t count_tile_samples(const struct ldnq_exec *exec,
                                 const struct ldnq_batch_tiling *tiling)
{
    size_t per_thread = ldnq_size_max(1, TILE_BYTES / ldnq_size_max(1, tiling->sample_bytes));
    return per_thread * ldnq_pool_threads(exec->pool);
}

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

bool ldnq_batch_tiling_applies(const struct ldnq_exec *exec, size_t first)
{
    const struct ldnq_batch_tiling *tiling = &exec->tilings[first];
    return tiling->last > 0 && find_batch_size(exec, first) > count_tile_samples(exec, tiling);
}

/* Whether one of the tile's nodes computes the value. */
static bool is_computed_in_tile(const struct ldnq_exec *exec, const struct batch_tile *tile,
                                size_t value)
{
    size_t definition = exec->plan.definition[value];
    return definition != LDNQ_NO_NODE && definition >= tile->first && definition < tile->last;
}

static size_t count_bytes_per_sample(const struct ldnq_tensor *tensor)
{
    size_t bytes = 0;
    ldnq_tensor_bytes(tensor, &bytes);
    return tensor->shape.dim[0] > 0 ? bytes / (size_t)tensor->shape.dim[0] : 0;
}

/* Copies the samples in the value's slot into its full batch, which is allocated with the
 * first tile, and frees the slot. */
static enum ldnq_status append_tile_to_batch_value(struct ldnq_exec *exec,
                                                   const struct batch_tile *tile, size_t value,
                                                   struct ldnq_error *err)
{
    struct ldnq_exec_slot *full = &exec->full[value];
    const struct ldnq_tensor *part = &exec->slots[value].tensor;
    const char *name = exec->graph->values[value]->name;
    size_t bytes, sample = count_bytes_per_sample(part);
    if (part->shape.rank < 1 || part->shape.dim[0] != (int64_t)tile->count)
        return ldnq_fail(err, LDNQ_MODEL,
                         "value '%s' does not have the batch size of its node's inputs", name);
    if (!full->is_live) {
        struct ldnq_tensor tensor = *part;
        tensor.shape.dim[0] = (int64_t)tile->batch;
        if (!ldnq_tensor_bytes(&tensor, &bytes))
            return ldnq_fail(err, LDNQ_NOMEM, "value '%s' is too large", name);
        LDNQ_TRY(ldnq_buffer_pool_acquire(&exec->buffers, bytes, &full->buffer, err));
        tensor.data = full->buffer->data;
        full->tensor = tensor;
        full->is_live = true;
    }
    memcpy((char *)full->tensor.data + tile->start * sample, part->data, tile->count * sample);
    ldnq_exec_free_value(exec, value);
    return LDNQ_OK;
}

static enum ldnq_status run_batch_tile(struct ldnq_exec *exec, const struct batch_tile *tile,
                                       struct ldnq_error *err)
{
    /* Inputs: the slots of values from before the range become views of the tile. */
    for (size_t i = 0; i < exec->graph->value_count; i++) {
        if (!exec->full[i].is_live || is_computed_in_tile(exec, tile, i))
            continue;
        struct ldnq_exec_slot *slot = &exec->slots[i];
        *slot = exec->full[i];
        slot->tensor.data =
            (char *)slot->tensor.data + tile->start * count_bytes_per_sample(&slot->tensor);
        slot->tensor.shape.dim[0] = (int64_t)tile->count;
        if (slot->buffer)
            slot->buffer->users++;
    }

    LDNQ_TRY(ldnq_exec_run_range(exec, tile->first, tile->last, err));

    /* Outputs: values that are used after the range. */
    for (size_t i = 0; i < exec->graph->value_count; i++) {
        size_t last_use = exec->plan.last_use[i];
        if (is_computed_in_tile(exec, tile, i) && last_use != LDNQ_NO_NODE &&
            last_use >= tile->last)
            LDNQ_TRY(append_tile_to_batch_value(exec, tile, i, err));
        else if (exec->full[i].is_live)
            ldnq_exec_free_value(exec, i);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_batch_tiling_run(struct ldnq_exec *exec, size_t first, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = exec->graph;
    const struct ldnq_exec_plan *plan = &exec->plan;
    const size_t samples = count_tile_samples(exec, &exec->tilings[first]);
    struct batch_tile tile = { .first = first,
                               .last = exec->tilings[first].last,
                               .batch = find_batch_size(exec, first) };
    enum ldnq_status status = LDNQ_OK;

    /* ---- save the full batches of values from before the range ----
     * The buffer gets a second user with each tile, so that no node runs in place on it. */
    for (size_t n = first; n < tile.last; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        for (size_t i = 0; i < node->input_count && !plan->skipped[n]; i++)
            if (node->inputs[i] && !node->inputs[i]->constant &&
                !is_computed_in_tile(exec, &tile, node->inputs[i]->index))
                exec->full[node->inputs[i]->index] = exec->slots[node->inputs[i]->index];
    }

    /* ---- run tile by tile ---- */
    for (; tile.start < tile.batch && status == LDNQ_OK; tile.start += tile.count) {
        tile.count = ldnq_size_min(samples, tile.batch - tile.start);
        status = run_batch_tile(exec, &tile, err);
    }

    /* ---- replace the tiles by full batches ----
     * Values that lived within the range keep the shape of a full batch, as they would
     * without tiling. */
    for (size_t i = 0; i < graph->value_count; i++) {
        struct ldnq_exec_slot *slot = &exec->slots[i], *full = &exec->full[i];
        bool inner = is_computed_in_tile(exec, &tile, i);
        if (full->is_live) {
            ldnq_exec_free_value(exec, i);
            *slot = *full;
            *full = (struct ldnq_exec_slot){ 0 };
            if (!inner && plan->last_use[i] < tile.last)
                ldnq_exec_free_value(exec, i);
        } else if (inner && slot->tensor.shape.rank > 0) {
            slot->tensor.shape.dim[0] = (int64_t)tile.batch;
        }
    }
    return status;
}
