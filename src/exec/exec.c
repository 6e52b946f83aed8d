/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/mapping.h"
#include "base/size.h"
#include "exec/batch_tiling.h"
#include "exec/control_flow.h"
#include "ops/operation_count.h"

/* ---- create and destroy ------------------------------------------------------------------------
 */

enum ldnq_status ldnq_exec_make_lists(struct ldnq_exec *exec, struct ldnq_arena *arena,
                                      struct ldnq_error *err)
{
    const struct ldnq_graph *graph = exec->graph;
    size_t inputs = 1, outputs = 1; /* the most of any node */
    for (size_t n = 0; n < graph->node_count; n++) {
        inputs = ldnq_size_max(inputs, graph->nodes[n]->input_count);
        outputs = ldnq_size_max(outputs, graph->nodes[n]->output_count);
    }
    exec->slots = ldnq_arena_alloc(arena, graph->value_count, sizeof *exec->slots, err);
    exec->in = ldnq_arena_alloc(arena, inputs, sizeof *exec->in, err);
    exec->out = ldnq_arena_alloc(arena, outputs, sizeof *exec->out, err);
    exec->omitted = ldnq_arena_alloc(arena, outputs, sizeof *exec->omitted, err);
    return exec->slots && exec->in && exec->out && exec->omitted ? LDNQ_OK : LDNQ_NOMEM;
}

static enum ldnq_status init_executor(struct ldnq_exec *exec, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = exec->graph;
    for (size_t n = 0; n < graph->node_count; n++)
        if (!graph->nodes[n]->op)
            return ldnq_node_fail(graph, graph->nodes[n], LDNQ_UNSUPPORTED, err,
                                  "the operator is not supported");
    LDNQ_TRY(ldnq_arena_create(&exec->arena, err));
    LDNQ_TRY(ldnq_exec_plan_init(&exec->plan, graph, exec->arena, err));
    LDNQ_TRY(ldnq_exec_make_lists(exec, exec->arena, err));
    LDNQ_TRY(ldnq_batch_tiling_init(exec, err));
    return ldnq_control_flow_init(exec, err);
}

enum ldnq_status ldnq_exec_create(const struct ldnq_graph *graph, struct ldnq_pool *pool,
                                  struct ldnq_exec **out, struct ldnq_error *err)
{
    struct ldnq_exec *exec = ldnq_calloc(1, sizeof *exec);
    *out = NULL;
    if (!exec)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    exec->graph = graph;
    exec->pool = pool;
    enum ldnq_status status = init_executor(exec, err);
    if (status != LDNQ_OK) {
        ldnq_exec_destroy(exec);
        return status;
    }
    *out = exec;
    return LDNQ_OK;
}

void ldnq_exec_destroy(struct ldnq_exec *exec)
{
    if (!exec)
        return;
    if (exec->slots)
        ldnq_exec_reset(exec);
    ldnq_control_flow_finish(exec);
    ldnq_batch_tiling_finish(exec);
    ldnq_buffer_pool_finish(&exec->buffers);
    ldnq_free(exec->scratch);
    ldnq_arena_destroy(exec->arena);
    ldnq_free(exec);
}

/* ---- values ----------------------------------------------------------------------- */

void ldnq_exec_free_value(struct ldnq_exec *exec, size_t value_index)
{
    struct ldnq_exec_slot *slot = &exec->slots[value_index];
    ldnq_buffer_pool_remove_user(&exec->buffers, slot->buffer);
    slot->tensor.data = NULL;
    slot->buffer = NULL;
    slot->is_live = false;
}

void ldnq_exec_reset(struct ldnq_exec *exec)
{
    exec->iterations = 0;
    exec->operations = 0;
    for (size_t i = 0; i < exec->graph->value_count; i++)
        ldnq_exec_free_value(exec, i);
}

void ldnq_exec_bind(struct ldnq_exec *exec, const struct ldnq_value *value,
                    const struct ldnq_tensor *tensor)
{
    ldnq_exec_free_value(exec, value->index);
    exec->slots[value->index] = (struct ldnq_exec_slot){ .tensor = *tensor, .is_live = true };
}

const struct ldnq_tensor *ldnq_exec_find_value(const struct ldnq_exec *exec,
                                               const struct ldnq_value *value)
{
    if (value->constant)
        return value->constant;
    const struct ldnq_exec_slot *slot = &exec->slots[value->index];
    return slot->is_live ? &slot->tensor : NULL;
}

size_t ldnq_exec_live_values(const struct ldnq_exec *exec, size_t node_index,
                             const struct ldnq_value **values)
{
    const struct ldnq_exec_plan *plan = &exec->plan;
    size_t count = 0;
    for (size_t i = 0; i < exec->graph->value_count; i++) {
        const struct ldnq_value *value = exec->graph->values[i];
        size_t definition = plan->definition[i];
        bool exists = value->is_input || (definition != LDNQ_NO_NODE && definition < node_index);
        bool needed = plan->last_use[i] != LDNQ_NO_NODE && plan->last_use[i] >= node_index;
        if (!value->constant && exists && needed)
            values[count++] = value;
    }
    return count;
}

void ldnq_exec_make_readable(struct ldnq_exec *exec, const struct ldnq_value *value)
{
    const struct ldnq_graph *graph = exec->graph;
    for (size_t n = 0; n < graph->node_count; n++)
        if (exec->plan.fused[n] != LDNQ_NO_NODE && graph->nodes[n]->outputs[0] == value)
            ldnq_exec_plan_unfuse(&exec->plan, n);
    if (exec->plan.last_use[value->index] == LDNQ_NO_NODE)
        exec->plan.last_use[value->index] = graph->node_count;
}

void ldnq_exec_keep_until_reset(struct ldnq_exec *exec, const struct ldnq_value *value)
{
    ldnq_exec_make_readable(exec, value);
    exec->plan.last_use[value->index] = exec->graph->node_count;
}

void ldnq_exec_release_unused(struct ldnq_exec *exec)
{
    ldnq_buffer_pool_release_unused(&exec->buffers);
    ldnq_batch_tiling_release_unused(exec);
}

size_t ldnq_exec_peak_bytes(const struct ldnq_exec *exec)
{
    return exec->buffers.peak + exec->scratch_size + ldnq_batch_tiling_peak_bytes(exec);
}

/* ---- one node ------------------------------------------------------------------------ */

static bool is_last_use(const struct ldnq_exec *exec, const struct ldnq_value *value,
                        size_t node_index)
{
    return !value->constant && exec->plan.last_use[value->index] == node_index;
}

/* Whether another input is the same value as input 0: an operator that works in place
 * would overwrite it before reading it. */
static bool reads_first_input_twice(const struct ldnq_node *node)
{
    for (size_t i = 1; i < node->input_count; i++)
        if (node->inputs[i] == node->inputs[0])
            return true;
    return false;
}

/* Whether output 0 can be computed in the memory of input 0. */
static bool can_overwrite_first_input(const struct ldnq_exec *exec, size_t node_index,
                                      const struct ldnq_op_call *call)
{
    const struct ldnq_node *node = call->node;
    if (!(node->op->flags & LDNQ_OP_IN_PLACE) || !node->inputs[0] ||
        !is_last_use(exec, node->inputs[0], node_index) || reads_first_input_twice(node))
        return false;
    const struct ldnq_exec_buffer *buffer = exec->slots[node->inputs[0]->index].buffer;
    return buffer && buffer->users == 1 && call->in[0]->dtype == call->out[0].dtype &&
           ldnq_shapes_are_equal(&call->in[0]->shape, &call->out[0].shape);
}

/* Assigns memory to output i. Operators write all of their outputs: an omitted one gets
 * memory that is released after the node. */
static enum ldnq_status allocate_output(struct ldnq_exec *exec, size_t node_index,
                                        struct ldnq_op_call *call, size_t i, struct ldnq_error *err)
{
    const struct ldnq_node *node = call->node;
    const struct ldnq_value *value = ldnq_exec_plan_output(&exec->plan, node_index, i);
    size_t bytes;
    if (!ldnq_tensor_bytes(&call->out[i], &bytes))
        return ldnq_fail(err, LDNQ_NOMEM, "its output %zu is too large", i);
    struct ldnq_exec_buffer **buffer =
        value ? &exec->slots[value->index].buffer : &exec->omitted[i];
    bool is_view = i == 0 && (node->op->flags & LDNQ_OP_VIEW);
    if (is_view || (i == 0 && can_overwrite_first_input(exec, node_index, call))) {
        bool from_slot = !node->inputs[0]->constant;
        *buffer = from_slot ? exec->slots[node->inputs[0]->index].buffer : NULL;
        call->out[i].data = call->in[0]->data;
        if (*buffer)
            (*buffer)->users++;
    } else {
        const enum ldnq_status status =
            ldnq_buffer_pool_acquire(&exec->buffers, bytes, buffer, err);
        if (status != LDNQ_OK)
            return ldnq_fail_within(err, status, "its output '%s'",
                                    node->outputs[i] ? node->outputs[i]->name : "");
        call->out[i].data = (*buffer)->data;
    }
    if (value)
        exec->slots[value->index] =
            (struct ldnq_exec_slot){ .tensor = call->out[i], .buffer = *buffer, .is_live = true };
    if (value != node->outputs[i])
        exec->slots[node->outputs[i]->index].tensor =
            (struct ldnq_tensor){ .dtype = call->out[i].dtype, .shape = call->out[i].shape };
    return LDNQ_OK;
}

enum ldnq_status ldnq_exec_reserve_scratch(struct ldnq_exec *exec, size_t bytes,
                                           struct ldnq_error *err)
{
    if (bytes == SIZE_MAX)
        return ldnq_fail(err, LDNQ_NOMEM, "its scratch memory can't be counted");
    /* Never NULL: an operator on an empty axis adds offsets of 0 to its scratch of 0 bytes. */
    if (exec->scratch && bytes <= exec->scratch_size)
        return LDNQ_OK;
    ldnq_free(exec->scratch);
    exec->scratch_size = 0;
    exec->scratch = ldnq_malloc_aligned(bytes);
    if (!exec->scratch)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory: %zu bytes of scratch", bytes);
    exec->scratch_size = bytes;
    return LDNQ_OK;
}

static enum ldnq_status collect_node_inputs(struct ldnq_exec *exec, const struct ldnq_node *node,
                                            struct ldnq_error *err)
{
    for (size_t i = 0; i < node->input_count; i++) {
        exec->in[i] = node->inputs[i] ? ldnq_exec_find_value(exec, node->inputs[i]) : NULL;
        if (node->inputs[i] && !exec->in[i])
            return ldnq_fail(err, LDNQ_MODEL, "its input '%s' has no data yet",
                             node->inputs[i]->name);
    }
    return LDNQ_OK;
}

/* Sets the outputs' types and shapes to those of the last real run: a dry run has no
 * data, which shape inference may need. */
static void restore_output_shapes(struct ldnq_exec *exec, const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->output_count; i++) {
        if (node->outputs[i])
            exec->out[i] = exec->slots[node->outputs[i]->index].tensor;
        else
            exec->out[i] = (struct ldnq_tensor){ .dtype = LDNQ_FLOAT, .shape.rank = 1 };
    }
}

/* Counts a node that is about to run. */
static enum ldnq_status count_node_operations(struct ldnq_exec *exec,
                                              const struct ldnq_op_call *call,
                                              struct ldnq_error *err)
{
    const size_t operations = ldnq_ops_count_operations(call);
    if (call->node->op->count_operations)
        LDNQ_TRY(ldnq_operations_check(operations, err));
    if (!ldnq_size_add(exec->operations, operations, &exec->operations))
        exec->operations = SIZE_MAX;
    return LDNQ_OK;
}

static enum ldnq_status run_node(struct ldnq_exec *exec, size_t node_index, struct ldnq_error *err)
{
    const struct ldnq_node *node = exec->graph->nodes[node_index];
    const size_t reader = exec->plan.fused[node_index];
    LDNQ_TRY(collect_node_inputs(exec, node, err));
    if ((node->op->flags & LDNQ_OP_CONTROL_FLOW) && !exec->is_dry_run)
        return ldnq_control_flow_run(exec, node_index, err);
    struct ldnq_op_call call = {
        .node = node,
        .attrs = node->op_attrs,
        .in_count = node->input_count,
        .out_count = node->output_count,
        .in = exec->in,
        .out = exec->out,
        .pool = exec->pool,
        .clamp = reader != LDNQ_NO_NODE ? &exec->plan.clamp[node_index] : NULL,
        .fused_reader = reader != LDNQ_NO_NODE ? exec->graph->nodes[reader] : NULL,
    };
    if (exec->is_dry_run)
        restore_output_shapes(exec, node);
    else
        LDNQ_TRY(ldnq_ops_infer_shape(&call, err));
    if (!exec->is_dry_run)
        LDNQ_TRY(count_node_operations(exec, &call, err));
    if (node == exec->watched)
        LDNQ_TRY(exec->watch(exec->watch_ctx, &call, err));
    for (size_t i = 0; i < call.out_count; i++)
        LDNQ_TRY(allocate_output(exec, node_index, &call, i, err));
    if ((node->op->flags & LDNQ_OP_VIEW) || exec->is_dry_run)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_exec_reserve_scratch(exec, ldnq_ops_scratch_bytes(&call), err));
    call.scratch = exec->scratch;
    const enum ldnq_status status = ldnq_ops_forward(&call, err);
    /* The shapes fit, so that the contents are at fault: an index out of range. */
    return status == LDNQ_MODEL ? LDNQ_DATA : status;
}

static void release_omitted_outputs(struct ldnq_exec *exec, size_t node_index)
{
    for (size_t i = 0; i < exec->graph->nodes[node_index]->output_count; i++) {
        ldnq_buffer_pool_remove_user(&exec->buffers, exec->omitted[i]);
        exec->omitted[i] = NULL;
    }
}

static void free_dead_values(struct ldnq_exec *exec, size_t node_index)
{
    const struct ldnq_node *node = exec->graph->nodes[node_index];
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && is_last_use(exec, node->inputs[i], node_index))
            ldnq_exec_free_value(exec, node->inputs[i]->index);
    for (size_t i = 0; i < node->output_count; i++) {
        const struct ldnq_value *value = ldnq_exec_plan_output(&exec->plan, node_index, i);
        if (value && exec->plan.last_use[value->index] == LDNQ_NO_NODE)
            ldnq_exec_free_value(exec, value->index);
    }
}

static void release_constants(const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_tensor *constant = node->inputs[i] ? node->inputs[i]->constant : NULL;
        size_t bytes;
        if (constant && constant->data && ldnq_tensor_bytes(constant, &bytes))
            ldnq_mapping_release_pages(constant->data, bytes);
    }
}

enum ldnq_status ldnq_exec_run_range(struct ldnq_exec *exec, size_t first, size_t last,
                                     struct ldnq_error *err)
{
    for (size_t node_index = first; node_index < last; node_index++) {
        if (exec->plan.skipped[node_index])
            continue;
        struct ldnq_error reason;
        enum ldnq_status status = run_node(exec, node_index, &reason);
        release_omitted_outputs(exec, node_index);
        if (status != LDNQ_OK)
            return ldnq_node_fail(exec->graph, exec->graph->nodes[node_index], status, err, "%s",
                                  reason.message);
        free_dead_values(exec, node_index);
        if (exec->graph->releases_constants && !exec->is_dry_run)
            release_constants(exec->graph->nodes[node_index]);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_exec_watch_body(struct ldnq_exec *exec, size_t node_index,
                                      const struct ldnq_node *inner, ldnq_exec_watch_fn *watch,
                                      void *ctx, struct ldnq_error *err)
{
    const struct ldnq_node *node = exec->graph->nodes[node_index];
    struct ldnq_error reason;
    exec->watched = inner;
    exec->watch = watch;
    exec->watch_ctx = ctx;
    enum ldnq_status status = collect_node_inputs(exec, node, &reason);
    if (status == LDNQ_OK)
        status = ldnq_control_flow_run(exec, node_index, &reason);
    exec->watched = NULL;
    for (size_t i = 0; i < node->output_count; i++)
        if (node->outputs[i])
            ldnq_exec_free_value(exec, node->outputs[i]->index);
    return status == LDNQ_OK ? status
                             : ldnq_node_fail(exec->graph, node, status, err, "%s", reason.message);
}

/* ---- inputs ------------------------------------------------------------------- */

/* Whether a tensor of shape `have` fits a graph input of shape `want`. The first input
 * with a symbol determines the symbol's size. */
static bool shape_fits_graph_input(const struct ldnq_shape *want, const struct ldnq_shape *have,
                                   int64_t *symbol_sizes)
{
    if (want->rank == LDNQ_RANK_UNKNOWN)
        return true;
    if (want->rank != have->rank)
        return false;
    for (int i = 0; i < want->rank; i++) {
        int64_t dim = want->dim[i];
        int64_t *size = ldnq_is_symbol(dim) ? &symbol_sizes[dim - LDNQ_SYMBOL_BASE] : &dim;
        if (*size < 0)
            *size = have->dim[i];
        if (*size != have->dim[i])
            return false;
    }
    return true;
}

enum ldnq_status ldnq_exec_check_input(const struct ldnq_graph *graph,
                                       const struct ldnq_value *value,
                                       const struct ldnq_tensor *tensor, int64_t *symbol_sizes,
                                       struct ldnq_error *err)
{
    char want[LDNQ_SHAPE_TEXT], have[LDNQ_SHAPE_TEXT];
    if (tensor->dtype == value->dtype &&
        shape_fits_graph_input(&value->shape, &tensor->shape, symbol_sizes))
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_DATA, "%s: input '%s' is %s %s where the data are %s %s",
                     graph->file, value->name, ldnq_dtype_name(value->dtype),
                     ldnq_shape_print(&value->shape, graph, want, sizeof want),
                     ldnq_dtype_name(tensor->dtype),
                     ldnq_shape_print(&tensor->shape, NULL, have, sizeof have));
}

/* Bytes of a value when the graph's symbols have these sizes; 0 while they are not known. */
static size_t count_bytes(const struct ldnq_value *value, const int64_t *symbol_sizes)
{
    size_t bytes = ldnq_dtype_size(value->dtype);
    for (int i = 0; i < value->shape.rank; i++) {
        int64_t dim = value->shape.dim[i];
        if (ldnq_is_symbol(dim))
            dim = symbol_sizes[dim - LDNQ_SYMBOL_BASE];
        if (dim < 0)
            return 0;
        if (!ldnq_size_mul(bytes, (size_t)dim, &bytes))
            return SIZE_MAX;
    }
    return value->shape.rank == LDNQ_RANK_UNKNOWN ? 0 : bytes;
}

/* Refuses a value that can't fit in memory before the nodes upstream of it fill the memory. */
static enum ldnq_status check_sizes(const struct ldnq_graph *graph, const int64_t *symbol_sizes,
                                    struct ldnq_error *err)
{
    const size_t memory = ldnq_memory_size();
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        for (size_t i = 0; i < node->output_count; i++) {
            size_t bytes = node->outputs[i] ? count_bytes(node->outputs[i], symbol_sizes) : 0;
            if (bytes > memory)
                return ldnq_node_fail(graph, node, LDNQ_NOMEM, err,
                                      "out of memory: its output '%s' takes %zu bytes of %zu that "
                                      "there are",
                                      node->outputs[i]->name, bytes, memory);
        }
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_exec_bind_inputs(struct ldnq_exec *exec, struct ldnq_tensor *const *inputs,
                                       struct ldnq_error *err)
{
    const struct ldnq_graph *graph = exec->graph;
    enum ldnq_status status = LDNQ_OK;
    int64_t *symbol_sizes = ldnq_calloc(graph->symbol_count, sizeof *symbol_sizes);
    if (!symbol_sizes)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    for (size_t i = 0; i < graph->symbol_count; i++)
        symbol_sizes[i] = -1;
    for (size_t i = 0; i < graph->input_count && status == LDNQ_OK; i++)
        status = ldnq_exec_check_input(graph, graph->inputs[i], inputs[i], symbol_sizes, err);
    if (status == LDNQ_OK)
        status = check_sizes(graph, symbol_sizes, err);
    ldnq_free(symbol_sizes);
    LDNQ_TRY(status);
    ldnq_exec_reset(exec);
    for (size_t i = 0; i < graph->input_count; i++)
        ldnq_exec_bind(exec, graph->inputs[i], inputs[i]);
    return LDNQ_OK;
}

/* ---- the whole graph --------------------------------------------------------------- */

enum ldnq_status ldnq_exec_run(struct ldnq_exec *exec, struct ldnq_tensor *const *inputs,
                               struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_exec_bind_inputs(exec, inputs, err));
    for (size_t first = 0, last; first < exec->graph->node_count; first = last) {
        bool is_tiled = ldnq_batch_tiling_applies(exec, first);
        last = is_tiled ? exec->tilings[first].last : first + 1;
        LDNQ_TRY(is_tiled ? ldnq_batch_tiling_run(exec, first, err)
                          : ldnq_exec_run_range(exec, first, last, err));
    }
    return LDNQ_OK;
}
