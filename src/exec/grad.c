#include "exec/grad.h"

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "exec/grad_state.h"

/* Plans with more segments than this are not looked at. */
#define MOST_SEGMENTS 64

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
    return copy_list(grad, &own->requested, own->requested_count, err);
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
    grad->planned = ldnq_arena_alloc(grad->arena, graph->value_count, sizeof *grad->planned, err);
    grad->planned_fed =
        ldnq_arena_alloc(grad->arena, graph->value_count, sizeof *grad->planned_fed, err);
    grad->bound = ldnq_arena_alloc(grad->arena, graph->symbol_count, sizeof *grad->bound, err);
    return grad->slots && grad->seeds && grad->out && grad->in && grad->in_buffer && grad->values &&
                   grad->gradients && grad->planned && grad->planned_fed && grad->bound
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
    LDNQ_TRY(ldnq_grad_plan_init(&grad->plan, grad->exec, &grad->options, &grad->reach, grad->arena,
                                 err));
    grad->exec->buffers.ceiling = options->max_bytes;
    return allocate(grad, err);
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
    enum ldnq_status status = init(grad, pool, options, err);
    if (status != LDNQ_OK) {
        ldnq_grad_destroy(grad);
        return status;
    }
    *out = grad;
    return LDNQ_OK;
}

static void reset(struct ldnq_grad *grad)
{
    for (size_t i = 0; grad->slots && i < grad->graph->value_count; i++)
        ldnq_grad_clear(grad, &grad->slots[i]);
    for (size_t i = 0; grad->seeds && i < grad->options.target_count; i++)
        ldnq_grad_clear(grad, &grad->seeds[i]);
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

/* ---- one run ------------------------------------------------------------------------- */

static enum ldnq_status take_feed(struct ldnq_grad *grad, const struct ldnq_grad_feed *feed,
                                  struct ldnq_error *err)
{
    const struct ldnq_value *value = feed->value;
    size_t made = grad->exec->plan.made[value->index];
    if (value->is_input)
        LDNQ_TRY(ldnq_exec_check_input(grad->graph, value, feed->tensor, grad->bound, err));
    if (made != LDNQ_NEVER && made >= grad->options.first && grad->reach.active[made])
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s: '%s' is given from outside, and a gradient passes the node that "
                         "makes it",
                         grad->graph->file, value->name);
    grad->plan.fed[value->index] = true;
    return LDNQ_OK;
}

static enum ldnq_status take_feeds(struct ldnq_grad *grad, const struct ldnq_grad_feed *feeds,
                                   size_t count, struct ldnq_error *err)
{
    memset(grad->plan.fed, 0, grad->graph->value_count * sizeof *grad->plan.fed);
    for (size_t i = 0; i < grad->graph->symbol_count; i++)
        grad->bound[i] = -1;
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(take_feed(grad, &feeds[i], err));
    return LDNQ_OK;
}

/* Only what is fed is held after that. */
static void start(struct ldnq_grad *grad, const struct ldnq_grad_feed *feeds, size_t count)
{
    reset(grad);
    ldnq_exec_reset(grad->exec);
    for (size_t i = 0; i < count; i++)
        ldnq_exec_bind(grad->exec, feeds[i].value, feeds[i].tensor);
}

struct loss {
    ldnq_loss_fn *compute;
    void *ctx;
    double value;
};

static enum ldnq_status compute_loss(struct ldnq_grad *grad, struct loss *loss,
                                     struct ldnq_error *err)
{
    const struct ldnq_grad_options *options = &grad->options;
    for (size_t i = 0; i < options->target_count; i++) {
        const struct ldnq_value *target = options->targets[i];
        grad->values[i] = ldnq_exec_value(grad->exec, target);
        if (!grad->values[i])
            return ldnq_fail(err, LDNQ_USAGE, "%s: the target '%s' was neither given nor computed",
                             grad->graph->file, target->name);
        LDNQ_TRY(ldnq_grad_make_zero(grad, &grad->values[i]->shape, &grad->seeds[i], err));
        grad->gradients[i] = grad->seeds[i].tensor;
    }
    if (!grad->exec->rehearsal)
        LDNQ_TRY(loss->compute(loss->ctx, grad->values, grad->gradients, &loss->value, err));
    for (size_t i = 0; i < options->target_count; i++) {
        struct ldnq_grad_slot seed = grad->seeds[i];
        grad->seeds[i] = (struct ldnq_grad_slot){ 0 };
        LDNQ_TRY(ldnq_grad_collect(grad, options->targets[i], &seed.tensor, seed.buffer, err));
    }
    return LDNQ_OK;
}

static void drop_if_done(struct ldnq_grad *grad, const struct ldnq_value *value, size_t m,
                         size_t place)
{
    if (value && !value->constant && ldnq_grad_plan_is_done(&grad->plan, value->index, m, place))
        ldnq_exec_drop(grad->exec, value->index);
}

static void drop_done(struct ldnq_grad *grad, size_t m, size_t place)
{
    for (size_t i = 0; i < grad->graph->value_count; i++)
        drop_if_done(grad, grad->graph->values[i], m, place);
}

static enum ldnq_status pass_segment(struct ldnq_grad *grad, size_t m, struct ldnq_error *err)
{
    for (size_t p = grad->plan.start[m + 1]; p-- > grad->plan.start[m];) {
        const struct ldnq_node *node = grad->graph->nodes[p];
        if (!grad->reach.active[p])
            continue;
        LDNQ_TRY(ldnq_grad_pass(grad, p, err));
        for (size_t i = 0; i < node->input_count; i++)
            drop_if_done(grad, node->inputs[i], m, p);
        for (size_t i = 0; i < node->output_count; i++)
            drop_if_done(grad, node->outputs[i], m, p);
    }
    drop_done(grad, m, grad->plan.start[m]);
    return LDNQ_OK;
}

/* A requested value that changes no target. */
static enum ldnq_status fill_unreached(struct ldnq_grad *grad, struct ldnq_error *err)
{
    for (size_t i = 0; i < grad->options.requested_count; i++) {
        const struct ldnq_value *value = grad->options.requested[i];
        const struct ldnq_tensor *tensor = ldnq_grad_seen(grad, value);
        struct ldnq_grad_slot *slot = &grad->slots[value->index];
        if (slot->buffer)
            continue;
        if (tensor->dtype == LDNQ_UNDEFINED)
            return ldnq_fail(err, LDNQ_USAGE, "%s: '%s' was neither given nor computed",
                             grad->graph->file, value->name);
        LDNQ_TRY(ldnq_grad_make_zero(grad, &tensor->shape, slot, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status run(struct ldnq_grad *grad, struct loss *loss, struct ldnq_error *err)
{
    struct ldnq_grad_plan *plan = &grad->plan;
    size_t last = plan->segments - 1;
    ldnq_grad_plan_forward(plan, true);
    LDNQ_TRY(ldnq_exec_run_range(grad->exec, grad->options.first, grad->options.last, err));
    LDNQ_TRY(compute_loss(grad, loss, err));
    drop_done(grad, last, grad->options.last);
    LDNQ_TRY(pass_segment(grad, last, err));
    for (size_t m = last; m-- > 0;) {
        ldnq_grad_plan_again(plan, m);
        LDNQ_TRY(ldnq_exec_run_range(grad->exec, plan->start[m], plan->start[m + 1], err));
        LDNQ_TRY(pass_segment(grad, m, err));
    }
    return fill_unreached(grad, err);
}

/* ---- under a ceiling -------------------------------------------------------------------- */

static bool is_planned_for(const struct ldnq_grad *grad)
{
    for (size_t i = 0; i < grad->graph->value_count; i++) {
        const struct ldnq_shape *shape = &grad->exec->slots[i].tensor.shape;
        if (grad->plan.fed[i] != grad->planned_fed[i] ||
            (grad->plan.fed[i] && !ldnq_shape_equal(shape, &grad->planned[i])))
            return false;
    }
    return grad->is_planned;
}

/* A run in which nothing is computed: how many bytes it would take. */
static enum ldnq_status rehearse(struct ldnq_grad *grad, const struct ldnq_grad_feed *feeds,
                                 size_t feed_count, size_t *peak, struct ldnq_error *err)
{
    struct ldnq_buffer_pool *buffers = &grad->exec->buffers, real = *buffers;
    /* A ceiling that is always met: no more is held than is in use. */
    *buffers = (struct ldnq_buffer_pool){ .counts = true, .ceiling = 1 };
    grad->exec->rehearsal = true;
    enum ldnq_status status = run(grad, NULL, err);
    *peak = buffers->peak;
    start(grad, feeds, feed_count);
    ldnq_buffer_pool_finish(buffers);
    *buffers = real;
    grad->exec->rehearsal = false;
    return status;
}

/* Cuts into the least number of segments that stays below the ceiling, or, where none
 * does, that takes the least. */
static enum ldnq_status choose(struct ldnq_grad *grad, const struct ldnq_grad_feed *feeds,
                               size_t feed_count, struct ldnq_error *err)
{
    size_t best = 1, least = SIZE_MAX;
    for (size_t k = 1; k <= MOST_SEGMENTS && least > grad->options.max_bytes; k++) {
        size_t peak;
        ldnq_grad_plan_cut(&grad->plan, k);
        LDNQ_TRY(rehearse(grad, feeds, feed_count, &peak, err));
        best = peak < least ? k : best;
        least = ldnq_size_min(least, peak);
    }
    ldnq_grad_plan_cut(&grad->plan, best);
    /* Where it has to go past the ceiling, at least no memory is given back in vain. */
    grad->exec->buffers.ceiling = ldnq_size_max(grad->options.max_bytes, least);
    return LDNQ_OK;
}

/* Sizes come from a forward pass that keeps nothing: they may depend on data. */
static enum ldnq_status plan_segments(struct ldnq_grad *grad, const struct ldnq_grad_feed *feeds,
                                      size_t feed_count, struct ldnq_error *err)
{
    if (grad->options.max_bytes == 0 || is_planned_for(grad))
        return LDNQ_OK;
    grad->is_planned = false;
    ldnq_grad_plan_cut(&grad->plan, 1);
    ldnq_grad_plan_forward(&grad->plan, false);
    LDNQ_TRY(ldnq_exec_run_range(grad->exec, grad->options.first, grad->options.last, err));
    ldnq_grad_plan_weigh(&grad->plan);
    start(grad, feeds, feed_count);
    LDNQ_TRY(choose(grad, feeds, feed_count, err));
    for (size_t i = 0; i < grad->graph->value_count; i++) {
        grad->planned_fed[i] = grad->plan.fed[i];
        grad->planned[i] = grad->exec->slots[i].tensor.shape;
    }
    grad->is_planned = true;
    return LDNQ_OK;
}

/* ---- the whole ---------------------------------------------------------------------------- */

enum ldnq_status ldnq_grad_run(struct ldnq_grad *grad, const struct ldnq_grad_feed *feeds,
                               size_t feed_count, ldnq_loss_fn *loss, void *ctx, double *value,
                               struct ldnq_error *err)
{
    struct loss use = { .compute = loss, .ctx = ctx };
    LDNQ_TRY(take_feeds(grad, feeds, feed_count, err));
    start(grad, feeds, feed_count);
    LDNQ_TRY(plan_segments(grad, feeds, feed_count, err));
    enum ldnq_status status = run(grad, &use, err);
    ldnq_exec_reset(grad->exec);
    *value = use.value;
    return status;
}

const struct ldnq_tensor *ldnq_grad_of(const struct ldnq_grad *grad, size_t i)
{
    return &grad->slots[grad->options.requested[i]->index].tensor;
}

size_t ldnq_grad_peak_bytes(const struct ldnq_grad *grad)
{
    return grad->exec->buffers.peak;
}
