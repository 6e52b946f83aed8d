#include <ldnq/grad.h>

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "exec/grad_reach.h"
#include "exec/state.h"

/* Gradient of a value; no data while nothing has flowed to it. */
struct slot {
    struct ldnq_tensor tensor;
    struct ldnq_buffer *buffer;
};

struct ldnq_grad {
    const struct ldnq_graph *graph;
    struct ldnq_arena *arena;
    struct ldnq_grad_options options; /* lists of our own */
    struct ldnq_grad_reach reach;
    struct ldnq_exec *exec;
    struct slot *slots; /* by value */
    struct slot *seeds; /* by target; only while the loss is computed */
    /* For the node at hand: gradients of its outputs, and of its inputs. */
    const struct ldnq_tensor **out;
    struct ldnq_tensor *in;
    struct ldnq_buffer **in_buffer;
    /* For the loss. */
    const struct ldnq_tensor **values;
    struct ldnq_tensor *gradients;
};

/* ---- life -------------------------------------------------------------------------- */

static enum ldnq_status copy_list(struct ldnq_grad *grad, const struct ldnq_value *const **list,
                                  size_t count, struct ldnq_error *err)
{
    const struct ldnq_value **copy = ldnq_arena_alloc(grad->arena, count, sizeof *copy, err);
    if (!copy)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        copy[i] = (*list)[i];
    *list = copy;
    return LDNQ_OK;
}

static enum ldnq_status take_options(struct ldnq_grad *grad,
                                     const struct ldnq_grad_options *options,
                                     struct ldnq_error *err)
{
    struct ldnq_grad_options *own = &grad->options;
    *own = *options;
    if (own->last == 0)
        own->last = grad->graph->node_count;
    if (own->target_count == 0) {
        own->targets = (const struct ldnq_value *const *)grad->graph->outputs;
        own->target_count = grad->graph->output_count;
    }
    LDNQ_TRY(copy_list(grad, &own->targets, own->target_count, err));
    return copy_list(grad, &own->wanted, own->wanted_count, err);
}

static enum ldnq_status allocate(struct ldnq_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = grad->graph;
    size_t inputs = 1, outputs = 1, targets = grad->options.target_count;
    for (size_t i = 0; i < graph->node_count; i++) {
        inputs = ldnq_size_max(inputs, graph->nodes[i]->input_count);
        outputs = ldnq_size_max(outputs, graph->nodes[i]->output_count);
    }
    grad->slots = ldnq_arena_alloc(grad->arena, graph->value_count, sizeof *grad->slots, err);
    grad->seeds = ldnq_arena_alloc(grad->arena, targets, sizeof *grad->seeds, err);
    grad->out = ldnq_arena_alloc(grad->arena, outputs, sizeof *grad->out, err);
    grad->in = ldnq_arena_alloc(grad->arena, inputs, sizeof *grad->in, err);
    grad->in_buffer = ldnq_arena_alloc(grad->arena, inputs, sizeof *grad->in_buffer, err);
    grad->values = ldnq_arena_alloc(grad->arena, targets, sizeof *grad->values, err);
    grad->gradients = ldnq_arena_alloc(grad->arena, targets, sizeof *grad->gradients, err);
    return grad->slots && grad->seeds && grad->out && grad->in && grad->in_buffer &&
                   grad->values && grad->gradients
               ? LDNQ_OK
               : LDNQ_NOMEM;
}

static enum ldnq_status init(struct ldnq_grad *grad, struct ldnq_pool *pool,
                             const struct ldnq_grad_options *options, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_arena_create(&grad->arena, err));
    LDNQ_TRY(ldnq_exec_create(grad->graph, pool, &grad->exec, err));
    LDNQ_TRY(take_options(grad, options, err));
    LDNQ_TRY(ldnq_grad_reach_init(&grad->reach, grad->graph, &grad->options, grad->arena, err));
    struct ldnq_plan *plan = &grad->exec->plan;
    for (size_t i = 0; i < grad->graph->node_count; i++)
        ldnq_plan_unfuse(plan, i);
    for (size_t i = 0; i < grad->graph->value_count; i++)
        plan->last_read[i] = grad->graph->node_count;
    return allocate(grad, err);
}

enum ldnq_status ldnq_grad_create(const struct ldnq_graph *graph, struct ldnq_pool *pool,
                                  const struct ldnq_grad_options *options,
                                  struct ldnq_grad **out, struct ldnq_error *err)
{
    struct ldnq_grad *grad = ldnq_calloc(1, sizeof *grad);
    *out = NULL;
    if (!grad)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    grad->graph = graph;
    enum ldnq_status status = init(grad, pool, options, err);
    if (status != LDNQ_OK) {
        ldnq_grad_destroy(grad);
        return status;
    }
    *out = grad;
    return LDNQ_OK;
}

static void clear(struct ldnq_grad *grad, struct slot *slot)
{
    ldnq_buffers_release(&grad->exec->buffers, slot->buffer);
    *slot = (struct slot){ 0 };
}

static void reset(struct ldnq_grad *grad)
{
    for (size_t i = 0; grad->slots && i < grad->graph->value_count; i++)
        clear(grad, &grad->slots[i]);
    for (size_t i = 0; grad->seeds && i < grad->options.target_count; i++)
        clear(grad, &grad->seeds[i]);
}

void ldnq_grad_destroy(struct ldnq_grad *grad)
{
    if (!grad)
        return;
    reset(grad);
    ldnq_exec_destroy(grad->exec);
    ldnq_arena_destroy(grad->arena);
    ldnq_free(grad);
}

/* ---- gradients of values --------------------------------------------------------------- */

static enum ldnq_status make(struct ldnq_grad *grad, const struct ldnq_shape *shape,
                             struct ldnq_tensor *tensor, struct ldnq_buffer **buffer,
                             struct ldnq_error *err)
{
    size_t bytes;
    *tensor = (struct ldnq_tensor){ .dtype = LDNQ_FLOAT, .shape = *shape };
    if (!ldnq_tensor_bytes(tensor, &bytes))
        return ldnq_fail(err, LDNQ_NOMEM, "a gradient is too large");
    LDNQ_TRY(ldnq_buffers_take(&grad->exec->buffers, bytes, buffer, err));
    tensor->data = (*buffer)->data;
    return LDNQ_OK;
}

static enum ldnq_status make_zero(struct ldnq_grad *grad, const struct ldnq_shape *shape,
                                  struct slot *slot, struct ldnq_error *err)
{
    LDNQ_TRY(make(grad, shape, &slot->tensor, &slot->buffer, err));
    memset(slot->tensor.data, 0, ldnq_tensor_count(&slot->tensor) * sizeof(float));
    return LDNQ_OK;
}

struct addition {
    float *to;
    const float *from;
};

static void add_range(const void *ctx, size_t first, size_t last)
{
    const struct addition *addition = ctx;
    for (size_t i = first; i < last; i++)
        addition->to[i] += addition->from[i];
}

static void add(struct ldnq_grad *grad, struct ldnq_tensor *to, const struct ldnq_tensor *from)
{
    struct addition addition = { to->data, from->data };
    struct ldnq_op_call call = { .pool = grad->exec->pool };
    ldnq_op_for_ranges(&call, ldnq_tensor_count(to), add_range, &addition);
}

/* Before its elements change: another value's gradient may be the same memory. */
static enum ldnq_status make_own(struct ldnq_grad *grad, struct slot *slot,
                                 struct ldnq_error *err)
{
    struct slot own = { 0 };
    if (slot->buffer->users == 1)
        return LDNQ_OK;
    LDNQ_TRY(make(grad, &slot->tensor.shape, &own.tensor, &own.buffer, err));
    memcpy(own.tensor.data, slot->tensor.data, ldnq_tensor_count(&own.tensor) * sizeof(float));
    clear(grad, slot);
    *slot = own;
    return LDNQ_OK;
}

/* Takes over one use of the buffer, whatever the outcome. */
static enum ldnq_status collect(struct ldnq_grad *grad, const struct ldnq_value *value,
                                const struct ldnq_tensor *part, struct ldnq_buffer *buffer,
                                struct ldnq_error *err)
{
    struct slot *slot = &grad->slots[value->index];
    if (!slot->buffer) {
        *slot = (struct slot){ *part, buffer };
        return LDNQ_OK;
    }
    enum ldnq_status status = make_own(grad, slot, err);
    if (status == LDNQ_OK)
        add(grad, &slot->tensor, part);
    ldnq_buffers_release(&grad->exec->buffers, buffer);
    return status;
}

/* ---- one node ---------------------------------------------------------------------------- */

/* The value's type and shape, and its data where they are kept. */
static const struct ldnq_tensor *seen(const struct ldnq_grad *grad, const struct ldnq_value *value)
{
    return value->constant ? value->constant : &grad->exec->slots[value->index].tensor;
}

static bool is_wanted(const struct ldnq_grad *grad, const struct ldnq_node *node, size_t i)
{
    const struct ldnq_value *value = node->inputs[i];
    return value && grad->reach.carries[value->index] && ldnq_grad_flows(node, i) &&
           (seen(grad, value)->dtype == LDNQ_FLOAT || ldnq_grad_is_codes(value));
}

static enum ldnq_status pass_view(struct ldnq_grad *grad, const struct ldnq_node *node,
                                  struct ldnq_error *err)
{
    const struct slot *out = &grad->slots[node->outputs[0]->index];
    struct ldnq_tensor part = out->tensor;
    if (!out->buffer || !is_wanted(grad, node, 0))
        return LDNQ_OK;
    part.shape = seen(grad, node->inputs[0])->shape;
    out->buffer->users++;
    return collect(grad, node->inputs[0], &part, out->buffer, err);
}

static enum ldnq_status call_backward(struct ldnq_grad *grad, const struct ldnq_node *node,
                                      struct ldnq_error *err)
{
    struct ldnq_exec *exec = grad->exec;
    struct ldnq_op_call call = {
        .node = node, .attrs = node->op_attrs, .in_count = node->input_count,
        .out_count = node->output_count, .in = exec->in, .out = exec->out, .pool = exec->pool,
    };
    struct ldnq_op_grad use = { .call = &call, .out = grad->out, .in = grad->in };
    for (size_t i = 0; i < node->input_count; i++)
        exec->in[i] = node->inputs[i] ? seen(grad, node->inputs[i]) : NULL;
    for (size_t i = 0; i < node->output_count; i++)
        exec->out[i] = node->outputs[i] ? *seen(grad, node->outputs[i])
                                        : (struct ldnq_tensor){ .shape.rank = LDNQ_RANK_UNKNOWN };
    for (size_t i = 0; i < node->input_count; i++)
        if (is_wanted(grad, node, i))
            LDNQ_TRY(make(grad, &exec->in[i]->shape, &grad->in[i], &grad->in_buffer[i], err));
    size_t bytes = node->op->backward_scratch ? node->op->backward_scratch(&use) : 0;
    LDNQ_TRY(ldnq_exec_scratch(exec, bytes, err));
    call.scratch = exec->scratch;
    return node->op->backward(&use, err);
}

static enum ldnq_status pass_node(struct ldnq_grad *grad, const struct ldnq_node *node,
                                  struct ldnq_error *err)
{
    bool matters = false;
    for (size_t i = 0; i < node->output_count; i++) {
        const struct slot *slot =
            node->outputs[i] ? &grad->slots[node->outputs[i]->index] : NULL;
        grad->out[i] = slot && slot->buffer ? &slot->tensor : NULL;
        matters |= grad->out[i] != NULL;
    }
    if (!matters)
        return LDNQ_OK;
    for (size_t i = 0; i < node->input_count; i++) {
        grad->in[i] = (struct ldnq_tensor){ .dtype = LDNQ_FLOAT };
        grad->in_buffer[i] = NULL;
    }
    enum ldnq_status status = call_backward(grad, node, err);
    for (size_t i = 0; i < node->input_count; i++) {
        if (grad->in_buffer[i] && status == LDNQ_OK)
            status = collect(grad, node->inputs[i], &grad->in[i], grad->in_buffer[i], err);
        else
            ldnq_buffers_release(&grad->exec->buffers, grad->in_buffer[i]);
    }
    return status;
}

static enum ldnq_status run_backward(struct ldnq_grad *grad, size_t first, size_t last,
                                     struct ldnq_error *err)
{
    for (size_t p = last; p-- > first;) {
        const struct ldnq_node *node = grad->graph->nodes[p];
        struct ldnq_error reason;
        if (!grad->reach.active[p])
            continue;
        enum ldnq_status status = node->op->flags & LDNQ_OP_VIEW ? pass_view(grad, node, &reason)
                                                                 : pass_node(grad, node, &reason);
        if (status != LDNQ_OK)
            return ldnq_node_fail(grad->graph, node, status, err, "its gradient: %s",
                                  reason.message);
        for (size_t i = 0; i < node->output_count; i++)
            if (node->outputs[i] && !grad->reach.wanted[node->outputs[i]->index])
                clear(grad, &grad->slots[node->outputs[i]->index]);
    }
    return LDNQ_OK;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static enum ldnq_status compute_loss(struct ldnq_grad *grad, ldnq_loss_fn *loss, void *ctx,
                                     double *value, struct ldnq_error *err)
{
    const struct ldnq_grad_options *options = &grad->options;
    for (size_t i = 0; i < options->target_count; i++) {
        const struct ldnq_value *target = options->targets[i];
        grad->values[i] = ldnq_exec_value(grad->exec, target);
        if (!grad->values[i])
            return ldnq_fail(err, LDNQ_USAGE, "the target '%s' was not computed", target->name);
        LDNQ_TRY(make_zero(grad, &grad->values[i]->shape, &grad->seeds[i], err));
        grad->gradients[i] = grad->seeds[i].tensor;
    }
    LDNQ_TRY(loss(ctx, grad->values, grad->gradients, value, err));
    for (size_t i = 0; i < options->target_count; i++) {
        struct slot seed = grad->seeds[i];
        grad->seeds[i] = (struct slot){ 0 };
        LDNQ_TRY(collect(grad, options->targets[i], &seed.tensor, seed.buffer, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status fill_unreached(struct ldnq_grad *grad, struct ldnq_error *err)
{
    for (size_t i = 0; i < grad->options.wanted_count; i++) {
        const struct ldnq_value *value = grad->options.wanted[i];
        struct slot *slot = &grad->slots[value->index];
        if (!slot->buffer)
            LDNQ_TRY(make_zero(grad, &seen(grad, value)->shape, slot, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_grad_run(struct ldnq_grad *grad, const struct ldnq_grad_feed *feeds,
                               size_t feed_count, ldnq_loss_fn *loss, void *ctx, double *value,
                               struct ldnq_error *err)
{
    const struct ldnq_grad_options *options = &grad->options;
    reset(grad);
    ldnq_exec_reset(grad->exec);
    for (size_t i = 0; i < feed_count; i++)
        ldnq_exec_lend(grad->exec, feeds[i].value, feeds[i].tensor);
    LDNQ_TRY(ldnq_exec_step(grad->exec, options->first, options->last, err));
    LDNQ_TRY(compute_loss(grad, loss, ctx, value, err));
    LDNQ_TRY(run_backward(grad, options->first, options->last, err));
    return fill_unreached(grad, err);
}

const struct ldnq_tensor *ldnq_grad_of(const struct ldnq_grad *grad, size_t i)
{
    return &grad->slots[grad->options.wanted[i]->index].tensor;
}

size_t ldnq_grad_peak_bytes(const struct ldnq_grad *grad)
{
    return grad->exec->buffers.peak;
}
