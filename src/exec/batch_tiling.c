#include "exec/batch_tiling.h"

#include <string.h>

#include "base/size.h"

/* Of the largest value, for each thread: a node reads one or two and writes one, and
 * second-level caches have a megabyte. */
#define SAMPLE_BYTES ((size_t)256 << 10)

/* ---- before data come ------------------------------------------------------------------ */

/* Takes one more value into account: its samples go along the symbol. */
static bool has_samples(const struct ldnq_value *value, int rank, int64_t symbol, size_t *bytes)
{
    size_t count, size = ldnq_dtype_size(value->dtype);
    if (value->shape.rank != rank || value->shape.dim[0] != symbol ||
        !ldnq_shape_count_range(&value->shape, 1, rank, &count) ||
        !ldnq_size_mul(count, size, &count))
        return false;
    *bytes = ldnq_size_max(*bytes, count);
    return true;
}

/* What is read besides constants must have the output's samples, axis by axis. A
 * constant that had some of its own would have made a number of the symbol. */
static bool works_on_samples(const struct ldnq_node *node, int64_t *symbol, size_t *bytes)
{
    size_t read = 0;
    if (!node->op || !(node->op->flags & LDNQ_OP_SAMPLES) || node->output_count != 1)
        return false;
    const struct ldnq_shape *out = &node->outputs[0]->shape;
    if (out->rank < 1 || !ldnq_is_symbol(out->dim[0]) || (*symbol && out->dim[0] != *symbol) ||
        !has_samples(node->outputs[0], out->rank, out->dim[0], bytes))
        return false;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_value *in = node->inputs[i];
        if (!in || in->constant)
            continue;
        if (!has_samples(in, out->rank, out->dim[0], bytes))
            return false;
        read++;
    }
    *symbol = out->dim[0];
    return read > 0;
}

enum ldnq_status ldnq_stretch_init(struct ldnq_exec *exec, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = exec->graph;
    const bool *skipped = exec->plan.skipped;
    exec->stretches =
        ldnq_arena_alloc(exec->arena, graph->node_count, sizeof *exec->stretches, err);
    exec->whole = ldnq_arena_alloc(exec->arena, graph->value_count, sizeof *exec->whole, err);
    if (!exec->stretches || !exec->whole)
        return LDNQ_NOMEM;
    for (size_t first = 0, end; first < graph->node_count; first = end) {
        struct ldnq_stretch stretch = { 0 };
        int64_t symbol = 0;
        size_t nodes = 0;
        for (end = first; end < graph->node_count; end++) {
            size_t bytes = stretch.bytes;
            if (skipped[end] && end > first)
                continue;
            if (skipped[end] || !works_on_samples(graph->nodes[end], &symbol, &bytes))
                break;
            stretch.bytes = bytes;
            nodes++;
        }
        stretch.end = end;
        if (nodes > 1)
            exec->stretches[first] = stretch;
        end = ldnq_size_max(end, first + 1);
    }
    return LDNQ_OK;
}

/* ---- a run ------------------------------------------------------------------------------ */

/* Samples `at` .. at+count-1 of `all`, in nodes first .. end-1. */
struct run {
    struct ldnq_exec *exec;
    size_t first, end, all;
    size_t at, count;
};

static size_t step_of(const struct ldnq_exec *exec, const struct ldnq_stretch *stretch)
{
    size_t each = ldnq_size_max(1, SAMPLE_BYTES / ldnq_size_max(1, stretch->bytes));
    return each * ldnq_pool_threads(exec->pool);
}

static size_t samples_of(const struct ldnq_exec *exec, size_t place)
{
    const struct ldnq_node *node = exec->graph->nodes[place];
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && !node->inputs[i]->constant) {
            const struct ldnq_tensor *tensor = ldnq_exec_value(exec, node->inputs[i]);
            return tensor && tensor->shape.rank > 0 ? (size_t)tensor->shape.dim[0] : 0;
        }
    return 0;
}

bool ldnq_stretch_applies(const struct ldnq_exec *exec, size_t place)
{
    const struct ldnq_stretch *stretch = &exec->stretches[place];
    return stretch->end > 0 && samples_of(exec, place) > step_of(exec, stretch);
}

static bool is_made_inside(const struct run *run, size_t value)
{
    size_t made = run->exec->plan.made[value];
    return made != LDNQ_NEVER && made >= run->first && made < run->end;
}

/* Remembers the values that come from in front, which nothing may overwrite now. */
static void open(const struct run *run)
{
    struct ldnq_exec *exec = run->exec;
    for (size_t place = run->first; place < run->end; place++) {
        const struct ldnq_node *node = exec->graph->nodes[place];
        for (size_t i = 0; i < node->input_count && !exec->plan.skipped[place]; i++)
            if (node->inputs[i] && !node->inputs[i]->constant &&
                !is_made_inside(run, node->inputs[i]->index))
                exec->whole[node->inputs[i]->index] = exec->slots[node->inputs[i]->index];
    }
}

static size_t sample_size(const struct ldnq_tensor *tensor)
{
    size_t bytes = 0;
    ldnq_tensor_bytes(tensor, &bytes);
    return tensor->shape.dim[0] > 0 ? bytes / (size_t)tensor->shape.dim[0] : 0;
}

/* Some samples of what comes from in front. */
static void show(const struct run *run)
{
    struct ldnq_exec *exec = run->exec;
    for (size_t i = 0; i < exec->graph->value_count; i++) {
        if (!exec->whole[i].held || is_made_inside(run, i))
            continue;
        struct ldnq_slot *slot = &exec->slots[i];
        *slot = exec->whole[i];
        slot->tensor.data = (char *)slot->tensor.data + run->at * sample_size(&slot->tensor);
        slot->tensor.shape.dim[0] = (int64_t)run->count;
        if (slot->buffer)
            slot->buffer->users++;
    }
}

/* Adds the samples of a value that is read behind the stretch to those before. */
static enum ldnq_status keep(const struct run *run, size_t value, struct ldnq_error *err)
{
    struct ldnq_exec *exec = run->exec;
    struct ldnq_slot *whole = &exec->whole[value];
    const struct ldnq_tensor *part = &exec->slots[value].tensor;
    size_t bytes, size = sample_size(part);
    if (part->shape.rank < 1 || part->shape.dim[0] != (int64_t)run->count)
        return ldnq_fail(err, LDNQ_MODEL,
                         "value '%s' does not have the samples of its node's "
                         "inputs",
                         exec->graph->values[value]->name);
    if (!whole->held) {
        struct ldnq_tensor tensor = *part;
        tensor.shape.dim[0] = (int64_t)run->all;
        if (!ldnq_tensor_bytes(&tensor, &bytes))
            return ldnq_fail(err, LDNQ_NOMEM, "value '%s' is too large",
                             exec->graph->values[value]->name);
        LDNQ_TRY(ldnq_buffer_pool_acquire(&exec->buffers, bytes, &whole->buffer, err));
        tensor.data = whole->buffer->data;
        whole->tensor = tensor;
        whole->held = true;
    }
    memcpy((char *)whole->tensor.data + run->at * size, part->data, run->count * size);
    ldnq_exec_drop(exec, value);
    return LDNQ_OK;
}

static enum ldnq_status run_part(const struct run *run, struct ldnq_error *err)
{
    struct ldnq_exec *exec = run->exec;
    show(run);
    LDNQ_TRY(ldnq_exec_run_range(exec, run->first, run->end, err));
    for (size_t i = 0; i < exec->graph->value_count; i++) {
        size_t last = exec->plan.last_read[i];
        if (is_made_inside(run, i) && last != LDNQ_NEVER && last >= run->end)
            LDNQ_TRY(keep(run, i, err));
        else if (exec->whole[i].held)
            ldnq_exec_drop(exec, i);
    }
    return LDNQ_OK;
}

/* Whole values take the place of their parts, also after a failure. Those that lay
 * between keep a shape, as they would have without all this. */
static void close(const struct run *run)
{
    struct ldnq_exec *exec = run->exec;
    for (size_t i = 0; i < exec->graph->value_count; i++) {
        struct ldnq_slot *slot = &exec->slots[i], *whole = &exec->whole[i];
        if (whole->held) {
            ldnq_exec_drop(exec, i);
            *slot = *whole;
            *whole = (struct ldnq_slot){ 0 };
            if (!is_made_inside(run, i) && exec->plan.last_read[i] < run->end)
                ldnq_exec_drop(exec, i);
        } else if (is_made_inside(run, i) && slot->tensor.shape.rank > 0) {
            slot->tensor.shape.dim[0] = (int64_t)run->all;
        }
    }
}

enum ldnq_status ldnq_stretch_run(struct ldnq_exec *exec, size_t place, struct ldnq_error *err)
{
    const struct ldnq_stretch *stretch = &exec->stretches[place];
    struct run run = {
        .exec = exec, .first = place, .end = stretch->end, .all = samples_of(exec, place)
    };
    const size_t step = step_of(exec, stretch);
    enum ldnq_status status = LDNQ_OK;
    open(&run);
    for (; run.at < run.all && status == LDNQ_OK; run.at += run.count) {
        run.count = ldnq_size_min(step, run.all - run.at);
        status = run_part(&run, err);
    }
    close(&run);
    return status;
}
