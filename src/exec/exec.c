#include "base/alloc.h"
#include "base/size.h"
#include "exec/control_flow.h"
#include "exec/batch_tiling.h"

/* ---- life ------------------------------------------------------------------------ */

static enum ldnq_status check_bound(const struct ldnq_graph *graph, size_t *most_inputs,
                                    size_t *most_outputs, struct ldnq_error *err)
{
    *most_inputs = *most_outputs = 1;
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct ldnq_node *node = graph->nodes[i];
        if (!node->op)
            return ldnq_node_fail(graph, node, LDNQ_UNSUPPORTED, err,
                                  "the operator is not supported");
        *most_inputs = ldnq_size_max(*most_inputs, node->input_count);
        *most_outputs = ldnq_size_max(*most_outputs, node->output_count);
    }
    return LDNQ_OK;
}

static enum ldnq_status init(struct ldnq_exec *exec, struct ldnq_error *err)
{
    size_t inputs, outputs;
    LDNQ_TRY(check_bound(exec->graph, &inputs, &outputs, err));
    LDNQ_TRY(ldnq_arena_create(&exec->arena, err));
    LDNQ_TRY(ldnq_exec_plan_init(&exec->plan, exec->graph, exec->arena, err));
    exec->slots = ldnq_arena_alloc(exec->arena, exec->graph->value_count, sizeof *exec->slots, err);
    exec->in = ldnq_arena_alloc(exec->arena, inputs, sizeof *exec->in, err);
    exec->out = ldnq_arena_alloc(exec->arena, outputs, sizeof *exec->out, err);
    exec->unwanted = ldnq_arena_alloc(exec->arena, outputs, sizeof *exec->unwanted, err);
    if (!exec->slots || !exec->in || !exec->out || !exec->unwanted)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_stretch_init(exec, err));
    return ldnq_control_init(exec, err);
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
    enum ldnq_status status = init(exec, err);
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
    ldnq_control_finish(exec);
    ldnq_buffer_pool_finish(&exec->buffers);
    ldnq_free(exec->scratch);
    ldnq_arena_destroy(exec->arena);
    ldnq_free(exec);
}

/* ---- values ----------------------------------------------------------------------- */

void ldnq_exec_drop(struct ldnq_exec *exec, size_t value)
{
    struct ldnq_slot *slot = &exec->slots[value];
    ldnq_buffer_pool_release(&exec->buffers, slot->buffer);
    slot->tensor.data = NULL;
    slot->buffer = NULL;
    slot->held = false;
}

void ldnq_exec_reset(struct ldnq_exec *exec)
{
    for (size_t i = 0; i < exec->graph->value_count; i++)
        ldnq_exec_drop(exec, i);
}

void ldnq_exec_bind(struct ldnq_exec *exec, const struct ldnq_value *value,
                    const struct ldnq_tensor *tensor)
{
    ldnq_exec_drop(exec, value->index);
    exec->slots[value->index] = (struct ldnq_slot){ .tensor = *tensor, .held = true };
}

const struct ldnq_tensor *ldnq_exec_value(const struct ldnq_exec *exec,
                                          const struct ldnq_value *value)
{
    if (value->constant)
        return value->constant;
    const struct ldnq_slot *slot = &exec->slots[value->index];
    return slot->held ? &slot->tensor : NULL;
}

size_t ldnq_exec_frontier(const struct ldnq_exec *exec, size_t place,
                          const struct ldnq_value **values)
{
    const struct ldnq_exec_plan *plan = &exec->plan;
    size_t count = 0;
    for (size_t i = 0; i < exec->graph->value_count; i++) {
        const struct ldnq_value *value = exec->graph->values[i];
        bool exists = value->is_input || (plan->made[i] != LDNQ_NEVER && plan->made[i] < place);
        bool needed = plan->last_read[i] != LDNQ_NEVER && plan->last_read[i] >= place;
        if (!value->constant && exists && needed)
            values[count++] = value;
    }
    return count;
}

void ldnq_exec_retain(struct ldnq_exec *exec, const struct ldnq_value *value, bool keep)
{
    const struct ldnq_graph *graph = exec->graph;
    for (size_t place = 0; place < graph->node_count; place++)
        if (exec->plan.fused[place] != LDNQ_NEVER && graph->nodes[place]->outputs[0] == value)
            ldnq_exec_plan_unfuse(&exec->plan, place);
    if (keep || exec->plan.last_read[value->index] == LDNQ_NEVER)
        exec->plan.last_read[value->index] = graph->node_count;
}

size_t ldnq_exec_peak_bytes(const struct ldnq_exec *exec)
{
    return exec->buffers.peak + exec->scratch_size;
}

/* ---- one node ------------------------------------------------------------------------ */

static bool is_last_reader(const struct ldnq_exec *exec, const struct ldnq_value *value,
                           size_t place)
{
    return !value->constant && exec->plan.last_read[value->index] == place;
}

/* Another input that is the same value would be overwritten under the operator. */
static bool is_read_twice(const struct ldnq_node *node)
{
    for (size_t i = 1; i < node->input_count; i++)
        if (node->inputs[i] == node->inputs[0])
            return true;
    return false;
}

/* Whether output 0 can take over input 0's memory. */
static bool can_take_over(const struct ldnq_exec *exec, size_t place,
                          const struct ldnq_op_call *call)
{
    const struct ldnq_node *node = call->node;
    if (!(node->op->flags & LDNQ_OP_IN_PLACE) || !node->inputs[0] ||
        !is_last_reader(exec, node->inputs[0], place) || is_read_twice(node))
        return false;
    const struct ldnq_exec_buffer *buffer = exec->slots[node->inputs[0]->index].buffer;
    return buffer && buffer->users == 1 && call->in[0]->dtype == call->out[0].dtype &&
           ldnq_shape_equal(&call->in[0]->shape, &call->out[0].shape);
}

/* Operators write all of their outputs: one that is left out gets memory that
 * goes back after the node. */
static enum ldnq_status place_output(struct ldnq_exec *exec, size_t place,
                                     struct ldnq_op_call *call, size_t i, struct ldnq_error *err)
{
    const struct ldnq_node *node = call->node;
    const struct ldnq_value *value = ldnq_exec_plan_output(&exec->plan, place, i);
    size_t bytes;
    if (!ldnq_tensor_bytes(&call->out[i], &bytes))
        return ldnq_fail(err, LDNQ_NOMEM, "its output %zu is too large", i);
    struct ldnq_exec_buffer **buffer =
        value ? &exec->slots[value->index].buffer : &exec->unwanted[i];
    bool is_view = i == 0 && (node->op->flags & LDNQ_OP_VIEW);
    if (is_view || (i == 0 && can_take_over(exec, place, call))) {
        bool from_slot = !node->inputs[0]->constant;
        *buffer = from_slot ? exec->slots[node->inputs[0]->index].buffer : NULL;
        call->out[i].data = call->in[0]->data;
        if (*buffer)
            (*buffer)->users++;
    } else {
        LDNQ_TRY(ldnq_buffer_pool_acquire(&exec->buffers, bytes, buffer, err));
        call->out[i].data = (*buffer)->data;
    }
    if (value)
        exec->slots[value->index] =
            (struct ldnq_slot){ .tensor = call->out[i], .buffer = *buffer, .held = true };
    if (value != node->outputs[i])
        exec->slots[node->outputs[i]->index].tensor =
            (struct ldnq_tensor){ .dtype = call->out[i].dtype, .shape = call->out[i].shape };
    return LDNQ_OK;
}

enum ldnq_status ldnq_exec_scratch(struct ldnq_exec *exec, size_t bytes, struct ldnq_error *err)
{
    if (bytes == SIZE_MAX)
        return ldnq_fail(err, LDNQ_NOMEM, "its scratch memory can't be counted");
    if (bytes <= exec->scratch_size)
        return LDNQ_OK;
    ldnq_free(exec->scratch);
    exec->scratch_size = 0;
    exec->scratch = ldnq_malloc_aligned(bytes);
    if (!exec->scratch)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory: %zu bytes of scratch", bytes);
    exec->scratch_size = bytes;
    return LDNQ_OK;
}

static enum ldnq_status gather_inputs(struct ldnq_exec *exec, const struct ldnq_node *node,
                                      struct ldnq_error *err)
{
    for (size_t i = 0; i < node->input_count; i++) {
        exec->in[i] = node->inputs[i] ? ldnq_exec_value(exec, node->inputs[i]) : NULL;
        if (node->inputs[i] && !exec->in[i])
            return ldnq_fail(err, LDNQ_MODEL, "its input '%s' is not there yet",
                             node->inputs[i]->name);
    }
    return LDNQ_OK;
}

/* In place of infer, which may need data. */
static void recall_shapes(struct ldnq_exec *exec, const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->output_count; i++) {
        if (node->outputs[i])
            exec->out[i] = exec->slots[node->outputs[i]->index].tensor;
        else
            exec->out[i] = (struct ldnq_tensor){ .dtype = LDNQ_FLOAT, .shape.rank = 1 };
    }
}

static enum ldnq_status run_node(struct ldnq_exec *exec, size_t place, struct ldnq_error *err)
{
    const struct ldnq_node *node = exec->graph->nodes[place];
    LDNQ_TRY(gather_inputs(exec, node, err));
    if ((node->op->flags & LDNQ_OP_CONTROL) && !exec->rehearsal)
        return ldnq_control_run(exec, place, err);
    struct ldnq_op_call call = {
        .node = node,
        .attrs = node->op_attrs,
        .in_count = node->input_count,
        .out_count = node->output_count,
        .in = exec->in,
        .out = exec->out,
        .pool = exec->pool,
        .clamp = exec->plan.fused[place] != LDNQ_NEVER ? &exec->plan.clamp[place] : NULL,
    };
    if (exec->rehearsal)
        recall_shapes(exec, node);
    else
        LDNQ_TRY(ldnq_ops_infer(&call, err));
    for (size_t i = 0; i < call.out_count; i++)
        LDNQ_TRY(place_output(exec, place, &call, i, err));
    if ((node->op->flags & LDNQ_OP_VIEW) || exec->rehearsal)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_exec_scratch(exec, ldnq_ops_scratch(&call), err));
    call.scratch = exec->scratch;
    return ldnq_ops_forward(&call, err);
}

static void drop_unwanted(struct ldnq_exec *exec, size_t place)
{
    for (size_t i = 0; i < exec->graph->nodes[place]->output_count; i++) {
        ldnq_buffer_pool_release(&exec->buffers, exec->unwanted[i]);
        exec->unwanted[i] = NULL;
    }
}

static void drop_unread(struct ldnq_exec *exec, size_t place)
{
    const struct ldnq_node *node = exec->graph->nodes[place];
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && is_last_reader(exec, node->inputs[i], place))
            ldnq_exec_drop(exec, node->inputs[i]->index);
    for (size_t i = 0; i < node->output_count; i++) {
        const struct ldnq_value *value = ldnq_exec_plan_output(&exec->plan, place, i);
        if (value && exec->plan.last_read[value->index] == LDNQ_NEVER)
            ldnq_exec_drop(exec, value->index);
    }
}

enum ldnq_status ldnq_exec_run_range(struct ldnq_exec *exec, size_t first, size_t last,
                                     struct ldnq_error *err)
{
    for (size_t place = first; place < last; place++) {
        if (exec->plan.skipped[place])
            continue;
        struct ldnq_error reason;
        enum ldnq_status status = run_node(exec, place, &reason);
        drop_unwanted(exec, place);
        if (status != LDNQ_OK)
            return ldnq_node_fail(exec->graph, exec->graph->nodes[place], status, err, "%s",
                                  reason.message);
        drop_unread(exec, place);
    }
    return LDNQ_OK;
}

/* ---- the whole graph ------------------------------------------------------------------- */

/* A symbol takes the first size that an input gives it and must keep it. */
static bool fits(const struct ldnq_shape *want, const struct ldnq_shape *have, int64_t *bound)
{
    if (want->rank == LDNQ_RANK_UNKNOWN)
        return true;
    if (want->rank != have->rank)
        return false;
    for (int i = 0; i < want->rank; i++) {
        int64_t dim = want->dim[i];
        int64_t *size = ldnq_is_symbol(dim) ? &bound[dim - LDNQ_SYMBOL_BASE] : &dim;
        if (*size < 0)
            *size = have->dim[i];
        if (*size != have->dim[i])
            return false;
    }
    return true;
}

enum ldnq_status ldnq_exec_check_input(const struct ldnq_graph *graph,
                                       const struct ldnq_value *value,
                                       const struct ldnq_tensor *tensor, int64_t *bound,
                                       struct ldnq_error *err)
{
    char want[LDNQ_SHAPE_TEXT], have[LDNQ_SHAPE_TEXT];
    if (tensor->dtype == value->dtype && fits(&value->shape, &tensor->shape, bound))
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_DATA, "%s: input '%s' is %s %s where the data are %s %s",
                     graph->file, value->name, ldnq_dtype_name(value->dtype),
                     ldnq_shape_print(&value->shape, graph, want, sizeof want),
                     ldnq_dtype_name(tensor->dtype),
                     ldnq_shape_print(&tensor->shape, NULL, have, sizeof have));
}

static enum ldnq_status check_inputs(const struct ldnq_exec *exec,
                                     struct ldnq_tensor *const *inputs, int64_t *bound,
                                     struct ldnq_error *err)
{
    const struct ldnq_graph *graph = exec->graph;
    for (size_t i = 0; i < graph->symbol_count; i++)
        bound[i] = -1;
    for (size_t i = 0; i < graph->input_count; i++)
        LDNQ_TRY(ldnq_exec_check_input(graph, graph->inputs[i], inputs[i], bound, err));
    return LDNQ_OK;
}

enum ldnq_status ldnq_exec_bind_inputs(struct ldnq_exec *exec, struct ldnq_tensor *const *inputs,
                                       struct ldnq_error *err)
{
    int64_t *bound = ldnq_calloc(exec->graph->symbol_count, sizeof *bound);
    if (!bound)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    enum ldnq_status status = check_inputs(exec, inputs, bound, err);
    ldnq_free(bound);
    LDNQ_TRY(status);
    ldnq_exec_reset(exec);
    for (size_t i = 0; i < exec->graph->input_count; i++)
        ldnq_exec_bind(exec, exec->graph->inputs[i], inputs[i]);
    return LDNQ_OK;
}

enum ldnq_status ldnq_exec_run(struct ldnq_exec *exec, struct ldnq_tensor *const *inputs,
                               struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_exec_bind_inputs(exec, inputs, err));
    for (size_t place = 0, next; place < exec->graph->node_count; place = next) {
        bool is_stretch = ldnq_stretch_applies(exec, place);
        next = is_stretch ? exec->stretches[place].end : place + 1;
        LDNQ_TRY(is_stretch ? ldnq_stretch_run(exec, place, err)
                            : ldnq_exec_run_range(exec, place, next, err));
    }
    return LDNQ_OK;
}
