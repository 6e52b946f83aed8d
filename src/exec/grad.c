/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/grad.h"

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "exec/grad_state.h"

/* Plans with more segments are not tried. */
#define MAX_SEGMENTS 64

/* ---- create and destroy
 * -------------------------------------------------------------------------- */

static enum ldnq_status copy_value_list(struct ldnq_grad *grad,
                                        const struct ldnq_value *const **list, size_t count,
                                        struct ldnq_error *err)
{
    const struct ldnq_value **copy = ldnq_arena_alloc(grad->arena, count, sizeof *copy, err);
    if (!copy)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        copy[i] = (*list)[i];
    *list = copy;
    return LDNQ_OK;
}

static enum ldnq_status copy_gradient_options(struct ldnq_grad *grad,
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
    LDNQ_TRY(copy_value_list(grad, &own->targets, own->target_count, err));
    return copy_value_list(grad, &own->requested, own->requested_count, err);
}

static enum ldnq_status allocate_gradient_slots(struct ldnq_grad *grad, struct ldnq_error *err)
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
    grad->planned_shape =
        ldnq_arena_alloc(grad->arena, graph->value_count, sizeof *grad->planned_shape, err);
    grad->planned_fed =
        ldnq_arena_alloc(grad->arena, graph->value_count, sizeof *grad->planned_fed, err);
    grad->symbol_sizes =
        ldnq_arena_alloc(grad->arena, graph->symbol_count, sizeof *grad->symbol_sizes, err);
    return grad->slots && grad->seeds && grad->out && grad->in && grad->in_buffer && grad->values &&
                   grad->gradients && grad->planned_shape && grad->planned_fed && grad->symbol_sizes
               ? LDNQ_OK
               : LDNQ_NOMEM;
}

static enum ldnq_status init_gradient_run(struct ldnq_grad *grad, struct ldnq_pool *pool,
                                          const struct ldnq_grad_options *options,
                                          struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_arena_create(&grad->arena, err));
    LDNQ_TRY(ldnq_exec_create(grad->graph, pool, &grad->exec, err));
    LDNQ_TRY(copy_gradient_options(grad, options, err));
    LDNQ_TRY(ldnq_grad_reach_init(&grad->reach, grad->graph, &grad->options, grad->arena, err));
    LDNQ_TRY(ldnq_grad_plan_init(&grad->plan, grad->exec, &grad->options, &grad->reach, grad->arena,
                                 err));
    grad->exec->buffers.ceiling = options->max_bytes;
    return allocate_gradient_slots(grad, err);
}

enum ldnq_status ldnq_grad_create(const struct ldnq_graph *graph, struct ldnq_pool *pool,
                                  const struct ldnq_grad_options *options, struct ldnq_grad **out,
                                  struct ldnq_error *err)
{
    struct ldnq_grad *grad = ldnq_calloc(1, sizeof *grad);
    *out = NULL;
    if (!grad)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    grad->graph = graph;
    enum ldnq_status status = init_gradient_run(grad, pool, options, err);
    if (status != LDNQ_OK) {
        ldnq_grad_destroy(grad);
        return status;
    }
    *out = grad;
    return LDNQ_OK;
}

static void reset_gradients(struct ldnq_grad *grad)
{
    for (size_t i = 0; grad->slots && i < grad->graph->value_count; i++)
        ldnq_grad_free_gradient(grad, &grad->slots[i]);
    for (size_t i = 0; grad->seeds && i < grad->options.target_count; i++)
        ldnq_grad_free_gradient(grad, &grad->seeds[i]);
}

void ldnq_grad_destroy(struct ldnq_grad *grad)
{
    if (!grad)
        return;
    reset_gradients(grad);
    ldnq_exec_destroy(grad->exec);
    ldnq_arena_destroy(grad->arena);
    ldnq_free(grad);
}

/* ---- one run ------------------------------------------------------------------------- */

static enum ldnq_status check_and_mark_feed(struct ldnq_grad *grad,
                                            const struct ldnq_grad_feed *feed,
                                            struct ldnq_error *err)
{
    const struct ldnq_value *value = feed->value;
    size_t definition = grad->exec->plan.definition[value->index];
    if (value->is_input)
        LDNQ_TRY(ldnq_exec_check_input(grad->graph, value, feed->tensor, grad->symbol_sizes, err));
    if (definition != LDNQ_NO_NODE && definition >= grad->options.first &&
        grad->reach.active[definition])
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s: '%s' is given from outside, but gradients flow through the node "
                         "that computes it",
                         grad->graph->file, value->name);
    grad->plan.is_fed[value->index] = true;
    return LDNQ_OK;
}

static enum ldnq_status check_and_mark_feeds(struct ldnq_grad *grad,
                                             const struct ldnq_grad_feed *feeds, size_t count,
                                             struct ldnq_error *err)
{
    memset(grad->plan.is_fed, 0, grad->graph->value_count * sizeof *grad->plan.is_fed);
    for (size_t i = 0; i < grad->graph->symbol_count; i++)
        grad->symbol_sizes[i] = -1;
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(check_and_mark_feed(grad, &feeds[i], err));
    return LDNQ_OK;
}

/* Frees all values and gradients, then binds the feeds. */
static void bind_feeds(struct ldnq_grad *grad, const struct ldnq_grad_feed *feeds, size_t count)
{
    reset_gradients(grad);
    ldnq_exec_reset(grad->exec);
    for (size_t i = 0; i < count; i++)
        ldnq_exec_bind(grad->exec, feeds[i].value, feeds[i].tensor);
}

struct loss_call {
    ldnq_loss_fn *compute;
    void *ctx;
    double value;
};

/* Computes the loss, and starts the backward pass with its gradients on the targets. */
static enum ldnq_status compute_loss(struct ldnq_grad *grad, struct loss_call *loss,
                                     struct ldnq_error *err)
{
    const struct ldnq_grad_options *options = &grad->options;
    for (size_t i = 0; i < options->target_count; i++) {
        const struct ldnq_value *target = options->targets[i];
        grad->values[i] = ldnq_exec_find_value(grad->exec, target);
        if (!grad->values[i])
            return ldnq_fail(err, LDNQ_USAGE, "%s: the target '%s' was neither fed nor computed",
                             grad->graph->file, target->name);
        LDNQ_TRY(ldnq_grad_allocate_zero(grad, &grad->values[i]->shape, &grad->seeds[i], err));
        grad->gradients[i] = grad->seeds[i].tensor;
    }
    if (!grad->exec->is_dry_run)
        LDNQ_TRY(loss->compute(loss->ctx, grad->values, grad->gradients, &loss->value, err));
    for (size_t i = 0; i < options->target_count; i++) {
        struct ldnq_grad_slot seed = grad->seeds[i];
        grad->seeds[i] = (struct ldnq_grad_slot){ 0 };
        LDNQ_TRY(ldnq_grad_accumulate(grad, options->targets[i], &seed.tensor, seed.buffer, err));
    }
    return LDNQ_OK;
}

static void free_if_dead(struct ldnq_grad *grad, const struct ldnq_value *value, size_t m,
                         size_t node_index)
{
    if (value && !value->constant &&
        ldnq_grad_plan_is_dead(&grad->plan, value->index, m, node_index))
        ldnq_exec_free_value(grad->exec, value->index);
}

static void free_dead_values(struct ldnq_grad *grad, size_t m, size_t node_index)
{
    for (size_t i = 0; i < grad->graph->value_count; i++)
        free_if_dead(grad, grad->graph->values[i], m, node_index);
}

/* Runs the backward of the nodes of segment m, and frees saved tensors after their use. */
static enum ldnq_status run_segment_backward(struct ldnq_grad *grad, size_t m,
                                             struct ldnq_error *err)
{
    for (size_t n = grad->plan.start[m + 1]; n-- > grad->plan.start[m];) {
        const struct ldnq_node *node = grad->graph->nodes[n];
        if (!grad->reach.active[n])
            continue;
        LDNQ_TRY(ldnq_grad_backward_node(grad, n, err));
        for (size_t i = 0; i < node->input_count; i++)
            free_if_dead(grad, node->inputs[i], m, n);
        for (size_t i = 0; i < node->output_count; i++)
            free_if_dead(grad, node->outputs[i], m, n);
    }
    free_dead_values(grad, m, grad->plan.start[m]);
    return LDNQ_OK;
}

/* Requested values on which no target depends get a gradient of zeros. */
static enum ldnq_status zero_unreached_gradients(struct ldnq_grad *grad, struct ldnq_error *err)
{
    for (size_t i = 0; i < grad->options.requested_count; i++) {
        const struct ldnq_value *value = grad->options.requested[i];
        const struct ldnq_tensor *tensor = ldnq_grad_saved_tensor(grad, value);
        struct ldnq_grad_slot *slot = &grad->slots[value->index];
        if (slot->buffer)
            continue;
        if (tensor->dtype == LDNQ_UNDEFINED)
            return ldnq_fail(err, LDNQ_USAGE, "%s: '%s' was neither fed nor computed",
                             grad->graph->file, value->name);
        LDNQ_TRY(ldnq_grad_allocate_zero(grad, &tensor->shape, slot, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status run_forward_and_backward(struct ldnq_grad *grad, struct loss_call *loss,
                                                 struct ldnq_error *err)
{
    struct ldnq_grad_plan *plan = &grad->plan;
    size_t last = plan->segment_count - 1;

    /* ---- forward ---- */
    ldnq_grad_plan_prepare_forward(plan, false);
    LDNQ_TRY(ldnq_exec_run_range(grad->exec, grad->options.first, grad->options.last, err));
    LDNQ_TRY(compute_loss(grad, loss, err));
    free_dead_values(grad, last, grad->options.last);

    /* ---- backward, recomputing each segment but the last from its checkpoints ---- */
    LDNQ_TRY(run_segment_backward(grad, last, err));
    for (size_t m = last; m-- > 0;) {
        ldnq_grad_plan_prepare_recompute(plan, m);
        LDNQ_TRY(ldnq_exec_run_range(grad->exec, plan->start[m], plan->start[m + 1], err));
        LDNQ_TRY(run_segment_backward(grad, m, err));
    }
    return zero_unreached_gradients(grad, err);
}

/* ---- under a ceiling -------------------------------------------------------------------- */

/* Whether the segments were chosen for feeds of just these shapes. */
static bool has_segments_for_feeds(const struct ldnq_grad *grad)
{
    for (size_t i = 0; i < grad->graph->value_count; i++) {
        const struct ldnq_shape *shape = &grad->exec->slots[i].tensor.shape;
        if (grad->plan.is_fed[i] != grad->planned_fed[i] ||
            (grad->plan.is_fed[i] && !ldnq_shapes_are_equal(shape, &grad->planned_shape[i])))
            return false;
    }
    return grad->has_segments;
}

/* A dry run of all passes with the current segments: the most bytes that they hold. */
static enum ldnq_status measure_peak_by_dry_run(struct ldnq_grad *grad,
                                                const struct ldnq_grad_feed *feeds,
                                                size_t feed_count, size_t *peak,
                                                struct ldnq_error *err)
{
    struct ldnq_buffer_pool *buffers = &grad->exec->buffers, real = *buffers;
    /* A ceiling of 1 is always exceeded: free buffers are released at once, so that the
     * peak counts live values alone. */
    *buffers = (struct ldnq_buffer_pool){ .counts_only = true, .ceiling = 1 };
    grad->exec->is_dry_run = true;
    enum ldnq_status status = run_forward_and_backward(grad, NULL, err);
    *peak = buffers->peak;
    bind_feeds(grad, feeds, feed_count);
    ldnq_buffer_pool_finish(buffers);
    *buffers = real;
    grad->exec->is_dry_run = false;
    return status;
}

static enum ldnq_status choose_segments(struct ldnq_grad *grad, const struct ldnq_grad_feed *feeds,
                                        size_t feed_count, struct ldnq_error *err)
{
    if (grad->options.max_bytes == 0 || has_segments_for_feeds(grad))
        return LDNQ_OK;
    grad->has_segments = false;

    /* ---- sizes of all values, by a forward pass that saves nothing: they may depend on
     * data, not only on shapes ---- */
    ldnq_grad_plan_split_into_segments(&grad->plan, 1);
    ldnq_grad_plan_prepare_forward(&grad->plan, true);
    LDNQ_TRY(ldnq_exec_run_range(grad->exec, grad->options.first, grad->options.last, err));
    ldnq_grad_plan_measure_bytes(&grad->plan);
    bind_feeds(grad, feeds, feed_count);

    /* ---- the fewest segments that stay below the ceiling; if none do, those that need
     * the least memory ---- */
    size_t best = 1, least = SIZE_MAX;
    for (size_t k = 1; k <= MAX_SEGMENTS && least > grad->options.max_bytes; k++) {
        size_t peak;
        ldnq_grad_plan_split_into_segments(&grad->plan, k);
        LDNQ_TRY(measure_peak_by_dry_run(grad, feeds, feed_count, &peak, err));
        best = peak < least ? k : best;
        least = ldnq_size_min(least, peak);
    }
    ldnq_grad_plan_split_into_segments(&grad->plan, best);
    /* When the ceiling can't be met, a lower one would only release buffers in vain. */
    grad->exec->buffers.ceiling = ldnq_size_max(grad->options.max_bytes, least);

    for (size_t i = 0; i < grad->graph->value_count; i++) {
        grad->planned_fed[i] = grad->plan.is_fed[i];
        grad->planned_shape[i] = grad->exec->slots[i].tensor.shape;
    }
    grad->has_segments = true;
    return LDNQ_OK;
}

/* ---- the whole run ------------------------------------------------------------------------ */

enum ldnq_status ldnq_grad_run(struct ldnq_grad *grad, const struct ldnq_grad_feed *feeds,
                               size_t feed_count, ldnq_loss_fn *loss, void *ctx, double *value,
                               struct ldnq_error *err)
{
    struct loss_call call = { .compute = loss, .ctx = ctx };
    LDNQ_TRY(check_and_mark_feeds(grad, feeds, feed_count, err));
    bind_feeds(grad, feeds, feed_count);
    LDNQ_TRY(choose_segments(grad, feeds, feed_count, err));
    enum ldnq_status status = run_forward_and_backward(grad, &call, err);
    ldnq_exec_reset(grad->exec);
    *value = call.value;
    return status;
}

const struct ldnq_tensor *ldnq_grad_find_gradient(const struct ldnq_grad *grad, size_t i)
{
    return &grad->slots[grad->options.requested[i]->index].tensor;
}

size_t ldnq_grad_peak_bytes(const struct ldnq_grad *grad)
{
    return grad->exec->buffers.peak;
}
