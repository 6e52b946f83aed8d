#include "exec/control_flow.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "ops/control.h"

/* A tensor of the control node's own, while its body runs. */
struct held {
    struct ldnq_tensor tensor;
    struct ldnq_exec_buffer *buffer;
};

/* Slices put together along an axis; `room` of them have a place. While it is not
 * known how many there will be the axis is 0. */
struct stack {
    struct held whole;
    struct ldnq_shape slice;
    enum ldnq_dtype dtype;
    size_t length, room, outer, inner; /* the latter in bytes */
    int axis;
    bool reversed;
};

struct control_run {
    struct ldnq_exec *exec, *body;
    const struct ldnq_node *node;
    const struct ldnq_control *control;
    const struct ldnq_graph *graph; /* of the body */
    struct held *carried;           /* where they are no longer the node's inputs */
    struct stack *stacks;
    struct held *slices; /* by scanned input */
    size_t trip;         /* of Scan: how many there are; 0 of Loop: not known */
};

/* ---- life ----------------------------------------------------------------------------- */

enum ldnq_status ldnq_control_init(struct ldnq_exec *exec, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = exec->graph;
    exec->bodies = ldnq_arena_alloc(exec->arena, graph->node_count, sizeof *exec->bodies, err);
    if (!exec->bodies)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct ldnq_node *node = graph->nodes[i];
        if (!(node->op->flags & LDNQ_OP_CONTROL))
            continue;
        const struct ldnq_control *control = node->op_attrs;
        for (size_t b = 0; b < control->body_count; b++)
            LDNQ_TRY(ldnq_exec_create(control->bodies[b], exec->pool, &exec->bodies[i][b], err));
    }
    return LDNQ_OK;
}

void ldnq_control_finish(struct ldnq_exec *exec)
{
    for (size_t i = 0; exec->bodies && i < exec->graph->node_count; i++) {
        ldnq_exec_destroy(exec->bodies[i][0]);
        ldnq_exec_destroy(exec->bodies[i][1]);
    }
}

/* ---- tensors in and out ------------------------------------------------------------------ */

static void release(struct ldnq_exec *exec, struct held *held)
{
    ldnq_buffer_pool_release(&exec->buffers, held->buffer);
    *held = (struct held){ 0 };
}

static enum ldnq_status take(struct ldnq_exec *exec, enum ldnq_dtype dtype,
                             const struct ldnq_shape *shape, struct held *held,
                             struct ldnq_error *err)
{
    size_t bytes;
    held->tensor = (struct ldnq_tensor){ .dtype = dtype, .shape = *shape };
    if (!ldnq_tensor_bytes(&held->tensor, &bytes))
        return ldnq_fail(err, LDNQ_NOMEM, "an output of its body is too large");
    LDNQ_TRY(ldnq_buffer_pool_acquire(&exec->buffers, bytes, &held->buffer, err));
    held->tensor.data = held->buffer->data;
    return LDNQ_OK;
}

static enum ldnq_status copy(struct ldnq_exec *exec, const struct ldnq_tensor *from,
                             struct held *to, struct ldnq_error *err)
{
    size_t bytes;
    LDNQ_TRY(take(exec, from->dtype, &from->shape, to, err));
    if (ldnq_tensor_bytes(from, &bytes) && bytes > 0)
        memcpy(to->tensor.data, from->data, bytes);
    return LDNQ_OK;
}

/* The output is the value's from now on; of one that nobody wants nothing is left. */
static void give(struct ldnq_exec *exec, const struct ldnq_value *value, struct held *held)
{
    if (!value) {
        release(exec, held);
        return;
    }
    ldnq_exec_drop(exec, value->index);
    exec->slots[value->index] =
        (struct ldnq_slot){ .tensor = held->tensor, .buffer = held->buffer, .held = true };
    *held = (struct held){ 0 };
}

static enum ldnq_status read_one(const struct ldnq_tensor *tensor, enum ldnq_dtype dtype,
                                 const char *what, int64_t *number, struct ldnq_error *err)
{
    size_t count;
    if (!ldnq_shape_count(&tensor->shape, &count) || count != 1 || tensor->dtype != dtype)
        return ldnq_fail(err, LDNQ_MODEL, "its %s is not one %s", what, ldnq_dtype_name(dtype));
    *number = dtype == LDNQ_BOOL ? *(const uint8_t *)tensor->data : *(const int64_t *)tensor->data;
    return LDNQ_OK;
}

/* Starts a run of the body: its values go, what it reads from around it comes. */
static enum ldnq_status enter(struct ldnq_exec *exec, struct ldnq_exec *body,
                              struct ldnq_error *err)
{
    ldnq_exec_reset(body);
    for (size_t i = 0; i < body->graph->capture_count; i++) {
        const struct ldnq_capture *capture = &body->graph->captures[i];
        const struct ldnq_tensor *tensor = ldnq_exec_value(exec, capture->outer);
        if (!tensor)
            return ldnq_fail(err, LDNQ_MODEL, "'%s', which its body reads, is not there yet",
                             capture->outer->name);
        if (!capture->inner->constant)
            ldnq_exec_bind(body, capture->inner, tensor);
    }
    return LDNQ_OK;
}

static enum ldnq_status run_body(struct ldnq_exec *body, struct ldnq_error *err)
{
    struct ldnq_error inner;
    enum ldnq_status status = ldnq_exec_run_range(body, 0, body->graph->node_count, &inner);
    if (status == LDNQ_OK)
        return LDNQ_OK;
    return ldnq_fail(err, status, "in its body: %s",
                     ldnq_graph_strip_file(body->graph, inner.message));
}

static enum ldnq_status output_of(const struct ldnq_exec *body, size_t i,
                                  const struct ldnq_tensor **tensor, struct ldnq_error *err)
{
    *tensor = ldnq_exec_value(body, body->graph->outputs[i]);
    if (*tensor && (*tensor)->dtype != LDNQ_STRING)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL, "its body does not make '%s'", body->graph->outputs[i]->name);
}

/* ---- If ---------------------------------------------------------------------------------- */

static enum ldnq_status run_if(struct ldnq_exec *exec, size_t place, struct ldnq_error *err)
{
    const struct ldnq_node *node = exec->graph->nodes[place];
    int64_t condition;
    LDNQ_TRY(read_one(exec->in[0], LDNQ_BOOL, "condition", &condition, err));
    struct ldnq_exec *body = exec->bodies[place][condition ? 0 : 1];
    LDNQ_TRY(enter(exec, body, err));
    LDNQ_TRY(run_body(body, err));
    for (size_t i = 0; i < node->output_count; i++) {
        const struct ldnq_tensor *tensor;
        struct held held = { 0 };
        if (!node->outputs[i])
            continue;
        LDNQ_TRY(output_of(body, i, &tensor, err));
        LDNQ_TRY(copy(exec, tensor, &held, err));
        give(exec, node->outputs[i], &held);
    }
    ldnq_exec_reset(body);
    return LDNQ_OK;
}

/* ---- outputs that are put together -------------------------------------------------------- */

static enum ldnq_status start_stack(const struct control_run *run, struct stack *stack, size_t i,
                                    const struct ldnq_tensor *slice, struct ldnq_error *err)
{
    int64_t axis = ldnq_control_option(run->control->out_axes, i);
    if (slice->shape.rank >= LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its output %zu has more than %d axes",
                         run->control->carried + i, LDNQ_MAX_RANK);
    LDNQ_TRY(ldnq_op_axis(axis, slice->shape.rank + 1, &stack->axis, err));
    stack->slice = slice->shape;
    stack->dtype = slice->dtype;
    stack->reversed = ldnq_control_option(run->control->out_reversed, i) != 0;
    stack->inner = ldnq_dtype_size(slice->dtype);
    stack->outer = 1;
    for (int d = 0; d < slice->shape.rank; d++)
        *(d < stack->axis ? &stack->outer : &stack->inner) *= (size_t)slice->shape.dim[d];
    return LDNQ_OK;
}

static struct ldnq_shape stacked_shape(const struct stack *stack, size_t length)
{
    struct ldnq_shape shape = { .rank = stack->slice.rank + 1 };
    for (int d = 0, from = 0; d < shape.rank; d++)
        shape.dim[d] = d == stack->axis ? (int64_t)length : stack->slice.dim[from++];
    return shape;
}

/* Room for one more: of Scan for all at once, of Loop for twice as many. */
static enum ldnq_status make_room(const struct control_run *run, struct stack *stack,
                                  struct ldnq_error *err)
{
    if (stack->length < stack->room)
        return LDNQ_OK;
    struct held larger = { 0 };
    size_t room = run->trip ? run->trip : ldnq_size_max(4, 2 * stack->room);
    struct ldnq_shape shape = stacked_shape(stack, room);
    LDNQ_TRY(take(run->exec, stack->dtype, &shape, &larger, err));
    if (stack->length > 0)
        memcpy(larger.tensor.data, stack->whole.tensor.data, stack->length * stack->inner);
    release(run->exec, &stack->whole);
    stack->whole = larger;
    stack->room = room;
    return LDNQ_OK;
}

static enum ldnq_status push(const struct control_run *run, size_t i,
                             const struct ldnq_tensor *slice, struct ldnq_error *err)
{
    struct stack *stack = &run->stacks[i];
    char one[LDNQ_SHAPE_TEXT], other[LDNQ_SHAPE_TEXT];
    if (stack->length == 0)
        LDNQ_TRY(start_stack(run, stack, i, slice, err));
    if (slice->dtype != stack->dtype || !ldnq_shape_equal(&slice->shape, &stack->slice))
        return ldnq_fail(err, LDNQ_MODEL,
                         "its output %zu is %s %s in iteration %zu and %s %s before",
                         run->control->carried + i, ldnq_dtype_name(slice->dtype),
                         ldnq_shape_print(&slice->shape, NULL, one, sizeof one), stack->length,
                         ldnq_dtype_name(stack->dtype),
                         ldnq_shape_print(&stack->slice, NULL, other, sizeof other));
    LDNQ_TRY(make_room(run, stack, err));
    size_t at = stack->reversed ? stack->room - 1 - stack->length : stack->length;
    for (size_t outer = 0; stack->inner > 0 && outer < stack->outer; outer++)
        memcpy((char *)stack->whole.tensor.data + (outer * stack->room + at) * stack->inner,
               (const char *)slice->data + outer * stack->inner, stack->inner);
    stack->length++;
    return LDNQ_OK;
}

/* No iteration: as the body's output is declared, with nothing of what is open. */
static enum ldnq_status empty_stack(const struct control_run *run, size_t i, struct ldnq_error *err)
{
    size_t at = run->control->carried + i;
    const struct ldnq_value *value = run->graph->outputs[run->control->body_out + at];
    struct ldnq_tensor slice = { .dtype = value->dtype, .shape = value->shape };
    if (ldnq_dtype_size(slice.dtype) == 0)
        return ldnq_fail(err, LDNQ_MODEL, "runs not once, and the type of its output %zu is open",
                         at);
    if (slice.shape.rank < 0)
        slice.shape.rank = 0;
    for (int d = 0; d < slice.shape.rank; d++)
        if (ldnq_is_symbol(slice.shape.dim[d]))
            slice.shape.dim[d] = 0;
    LDNQ_TRY(start_stack(run, &run->stacks[i], i, &slice, err));
    struct ldnq_shape shape = stacked_shape(&run->stacks[i], 0);
    return take(run->exec, slice.dtype, &shape, &run->stacks[i].whole, err);
}

/* ---- iterations ----------------------------------------------------------------------------- */

static enum ldnq_status allocate(struct control_run *run, struct ldnq_error *err)
{
    const struct ldnq_control *control = run->control;
    run->carried = ldnq_calloc(control->carried, sizeof *run->carried);
    run->stacks = ldnq_calloc(control->stacked, sizeof *run->stacks);
    run->slices = ldnq_calloc(control->scanned, sizeof *run->slices);
    return run->carried && run->stacks && run->slices ? LDNQ_OK
                                                      : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}

static void finish(struct control_run *run)
{
    const struct ldnq_control *control = run->control;
    ldnq_exec_reset(run->body);
    for (size_t i = 0; run->carried && i < control->carried; i++)
        release(run->exec, &run->carried[i]);
    for (size_t i = 0; run->stacks && i < control->stacked; i++)
        release(run->exec, &run->stacks[i].whole);
    for (size_t i = 0; run->slices && i < control->scanned; i++)
        release(run->exec, &run->slices[i]);
    ldnq_free(run->carried);
    ldnq_free(run->stacks);
    ldnq_free(run->slices);
}

static const struct ldnq_tensor *carried_now(const struct control_run *run, size_t i)
{
    return run->carried[i].buffer ? &run->carried[i].tensor
                                  : run->exec->in[run->control->first + i];
}

static void lend_carried(const struct control_run *run)
{
    const struct ldnq_control *control = run->control;
    for (size_t i = 0; i < control->carried; i++)
        ldnq_exec_bind(run->body, run->graph->inputs[control->body_first + i], carried_now(run, i));
}

static enum ldnq_status keep_outputs(struct control_run *run, struct ldnq_error *err)
{
    const struct ldnq_control *control = run->control;
    const struct ldnq_tensor *tensor;
    for (size_t i = 0; i < control->stacked; i++) {
        LDNQ_TRY(output_of(run->body, control->body_out + control->carried + i, &tensor, err));
        LDNQ_TRY(push(run, i, tensor, err));
    }
    /* Two steps: an output may be the other's input, as it was lent. */
    struct held *next = ldnq_calloc(control->carried, sizeof *next);
    enum ldnq_status status = next ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    for (size_t i = 0; status == LDNQ_OK && i < control->carried; i++) {
        status = output_of(run->body, control->body_out + i, &tensor, err);
        if (status == LDNQ_OK)
            status = copy(run->exec, tensor, &next[i], err);
    }
    for (size_t i = 0; next && i < control->carried; i++) {
        release(run->exec, status == LDNQ_OK ? &run->carried[i] : &next[i]);
        if (status == LDNQ_OK)
            run->carried[i] = next[i];
    }
    ldnq_free(next);
    return status;
}

/* What no iteration changed is still the input. */
static enum ldnq_status give_outputs(struct control_run *run, struct ldnq_error *err)
{
    const struct ldnq_control *control = run->control;
    for (size_t i = 0; i < control->carried; i++) {
        if (!run->carried[i].buffer)
            LDNQ_TRY(copy(run->exec, carried_now(run, i), &run->carried[i], err));
        give(run->exec, run->node->outputs[i], &run->carried[i]);
    }
    for (size_t i = 0; i < control->stacked; i++) {
        struct stack *stack = &run->stacks[i];
        if (!run->node->outputs[control->carried + i])
            continue;
        if (stack->length == 0)
            LDNQ_TRY(empty_stack(run, i, err));
        stack->whole.tensor.shape = stacked_shape(stack, stack->length);
        give(run->exec, run->node->outputs[control->carried + i], &stack->whole);
    }
    return LDNQ_OK;
}

static enum ldnq_status run_loop(struct control_run *run, struct ldnq_error *err)
{
    struct ldnq_exec *exec = run->exec;
    size_t own = run->node->input_count - run->node->capture_count;
    int64_t most = INT64_MAX, going = 1;
    uint8_t yes = 1;
    const struct ldnq_shape scalar = { .rank = 0 };
    if (own > 0 && exec->in[0])
        LDNQ_TRY(read_one(exec->in[0], LDNQ_INT64, "trip count", &most, err));
    if (own > 1 && exec->in[1])
        LDNQ_TRY(read_one(exec->in[1], LDNQ_BOOL, "condition", &going, err));
    for (int64_t i = 0; i < most && going; i++) {
        const struct ldnq_tensor number = { LDNQ_INT64, scalar, &i };
        const struct ldnq_tensor condition = { LDNQ_BOOL, scalar, &yes }, *next;
        LDNQ_TRY(enter(exec, run->body, err));
        ldnq_exec_bind(run->body, run->graph->inputs[0], &number);
        ldnq_exec_bind(run->body, run->graph->inputs[1], &condition);
        lend_carried(run);
        LDNQ_TRY(run_body(run->body, err));
        LDNQ_TRY(output_of(run->body, 0, &next, err));
        LDNQ_TRY(read_one(next, LDNQ_BOOL, "body's condition", &going, err));
        LDNQ_TRY(keep_outputs(run, err));
    }
    return give_outputs(run, err);
}

/* Slice `at` of a scanned input, in memory of its own. */
static enum ldnq_status cut(struct control_run *run, size_t i, size_t at, struct ldnq_error *err)
{
    const struct ldnq_tensor *whole = run->exec->in[run->control->carried + i];
    struct ldnq_shape shape = { .rank = whole->shape.rank - 1 };
    int axis = 0;
    LDNQ_TRY(
        ldnq_op_axis(ldnq_control_option(run->control->in_axes, i), whole->shape.rank, &axis, err));
    for (int d = 0, to = 0; d < whole->shape.rank; d++)
        if (d != axis)
            shape.dim[to++] = whole->shape.dim[d];
    struct ldnq_split_at split = ldnq_op_split_at(&whole->shape, axis);
    size_t inner = split.inner * ldnq_dtype_size(whole->dtype);
    if (ldnq_control_option(run->control->in_reversed, i))
        at = split.size - 1 - at;
    if (!run->slices[i].buffer)
        LDNQ_TRY(take(run->exec, whole->dtype, &shape, &run->slices[i], err));
    for (size_t outer = 0; inner > 0 && outer < split.outer; outer++)
        memcpy((char *)run->slices[i].tensor.data + outer * inner,
               (const char *)whole->data + (outer * split.size + at) * inner, inner);
    return LDNQ_OK;
}

static enum ldnq_status count_slices(struct control_run *run, struct ldnq_error *err)
{
    for (size_t i = 0; i < run->control->scanned; i++) {
        const struct ldnq_shape *shape = &run->exec->in[run->control->carried + i]->shape;
        int axis = 0;
        LDNQ_TRY(
            ldnq_op_axis(ldnq_control_option(run->control->in_axes, i), shape->rank, &axis, err));
        if (i > 0 && run->trip != (size_t)shape->dim[axis])
            return ldnq_fail(err, LDNQ_MODEL,
                             "scans %zu slices of one input and %" PRId64 " of another", run->trip,
                             shape->dim[axis]);
        run->trip = (size_t)shape->dim[axis];
    }
    return LDNQ_OK;
}

static enum ldnq_status run_scan(struct control_run *run, struct ldnq_error *err)
{
    LDNQ_TRY(count_slices(run, err));
    for (size_t at = 0; at < run->trip; at++) {
        LDNQ_TRY(enter(run->exec, run->body, err));
        lend_carried(run);
        for (size_t i = 0; i < run->control->scanned; i++) {
            LDNQ_TRY(cut(run, i, at, err));
            ldnq_exec_bind(run->body, run->graph->inputs[run->control->carried + i],
                           &run->slices[i].tensor);
        }
        LDNQ_TRY(run_body(run->body, err));
        LDNQ_TRY(keep_outputs(run, err));
    }
    return give_outputs(run, err);
}

enum ldnq_status ldnq_control_run(struct ldnq_exec *exec, size_t place, struct ldnq_error *err)
{
    const struct ldnq_node *node = exec->graph->nodes[place];
    const struct ldnq_control *control = node->op_attrs;
    if (control->kind == LDNQ_CONTROL_IF)
        return run_if(exec, place, err);
    struct control_run run = { .exec = exec,
                               .body = exec->bodies[place][0],
                               .node = node,
                               .control = control,
                               .graph = control->bodies[0] };
    enum ldnq_status status = allocate(&run, err);
    if (status == LDNQ_OK)
        status = control->kind == LDNQ_CONTROL_LOOP ? run_loop(&run, err) : run_scan(&run, err);
    finish(&run);
    return status;
}
