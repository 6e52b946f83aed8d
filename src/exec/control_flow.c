/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/control_flow.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "ops/control.h"
#include "ops/operation_count.h"

/* Iterations of all loops in one run of a graph, nested ones included. Networks need thousands;
 * a model from elsewhere may ask for 2^60, which would never end. */
static atomic_int_fast64_t most_iterations = (int64_t)1 << 24;

void ldnq_control_flow_set_limit(int64_t iterations)
{
    atomic_store_explicit(&most_iterations, iterations, memory_order_relaxed);
}

static int64_t load_limit(void)
{
    return atomic_load_explicit(&most_iterations, memory_order_relaxed);
}

/* A tensor that outlives one iteration of a body; no buffer while it is empty. */
struct loop_tensor {
    struct ldnq_tensor tensor;
    struct ldnq_exec_buffer *buffer;
};

/* An output that is assembled along `axis` from one slice per iteration. A Loop does not
 * know its number of slices in advance; its axis is always 0. */
struct stacked_output {
    struct loop_tensor whole; /* has memory for `capacity` slices */
    struct ldnq_shape slice;
    enum ldnq_dtype dtype;
    size_t length, capacity; /* slices that are stored, and room for slices */
    size_t outer;            /* product of the dimensions before `axis` */
    size_t inner;            /* bytes of the dimensions after it */
    int axis;
    bool reversed; /* slices are stored from last to first */
};

/* One execution of a Loop or Scan node. */
struct loop_run {
    struct ldnq_exec *exec, *body;
    const struct ldnq_node *node;
    const struct ldnq_control *control;
    const struct ldnq_graph *graph; /* the body's graph */
    struct loop_tensor *carried;    /* empty until an iteration has replaced the node's input */
    struct stacked_output *stacked;
    struct loop_tensor *slices; /* by scanned input: this iteration's slice */
    uint64_t iterations;        /* so far, with those of loops in the body */
    size_t operations;          /* the same for operations */
    size_t trip_count;          /* known in advance for Scan alone; 0 for Loop */
};

/* ---- executors of the bodies --------------------------------------------------------- */

enum ldnq_status ldnq_control_flow_init(struct ldnq_exec *exec, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = exec->graph;
    exec->bodies = ldnq_arena_alloc(exec->arena, graph->node_count, sizeof *exec->bodies, err);
    if (!exec->bodies)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        if (!(node->op->flags & LDNQ_OP_CONTROL_FLOW))
            continue;
        const struct ldnq_control *control = node->op_attrs;
        for (size_t b = 0; b < control->body_count; b++)
            LDNQ_TRY(ldnq_exec_create(control->bodies[b], exec->pool, &exec->bodies[n][b], err));
    }
    return LDNQ_OK;
}

void ldnq_control_flow_finish(struct ldnq_exec *exec)
{
    for (size_t n = 0; exec->bodies && n < exec->graph->node_count; n++) {
        ldnq_exec_destroy(exec->bodies[n][0]);
        ldnq_exec_destroy(exec->bodies[n][1]);
    }
}

/* ---- tensors ------------------------------------------------------------------------- */

static void release_loop_tensor(struct ldnq_exec *exec, struct loop_tensor *tensor)
{
    ldnq_buffer_pool_remove_user(&exec->buffers, tensor->buffer);
    *tensor = (struct loop_tensor){ 0 };
}

static enum ldnq_status allocate_loop_tensor(struct ldnq_exec *exec, enum ldnq_dtype dtype,
                                             const struct ldnq_shape *shape,
                                             struct loop_tensor *out, struct ldnq_error *err)
{
    size_t bytes;
    out->tensor = (struct ldnq_tensor){ .dtype = dtype, .shape = *shape };
    if (!ldnq_tensor_bytes(&out->tensor, &bytes))
        return ldnq_fail(err, LDNQ_NOMEM, "an output of its body is too large");
    LDNQ_TRY(ldnq_buffer_pool_acquire(&exec->buffers, bytes, &out->buffer, err));
    out->tensor.data = out->buffer->data;
    return LDNQ_OK;
}

static enum ldnq_status copy_tensor(struct ldnq_exec *exec, const struct ldnq_tensor *from,
                                    struct loop_tensor *out, struct ldnq_error *err)
{
    size_t bytes;
    LDNQ_TRY(allocate_loop_tensor(exec, from->dtype, &from->shape, out, err));
    if (ldnq_tensor_bytes(from, &bytes) && bytes > 0)
        memcpy(out->tensor.data, from->data, bytes);
    return LDNQ_OK;
}

/* Moves the tensor into the value's slot; releases it when the output is omitted. */
static void store_output(struct ldnq_exec *exec, const struct ldnq_value *value,
                         struct loop_tensor *tensor)
{
    if (!value) {
        release_loop_tensor(exec, tensor);
        return;
    }
    ldnq_exec_free_value(exec, value->index);
    exec->slots[value->index] = (struct ldnq_exec_slot){ .tensor = tensor->tensor,
                                                         .buffer = tensor->buffer,
                                                         .is_live = true };
    *tensor = (struct loop_tensor){ 0 };
}

static enum ldnq_status read_scalar(const struct ldnq_tensor *tensor, enum ldnq_dtype dtype,
                                    const char *what, int64_t *number, struct ldnq_error *err)
{
    size_t count;
    if (!ldnq_shape_count(&tensor->shape, &count) || count != 1 || tensor->dtype != dtype)
        return ldnq_fail(err, LDNQ_MODEL, "its %s is not one %s", what, ldnq_dtype_name(dtype));
    *number = dtype == LDNQ_BOOL ? *(const uint8_t *)tensor->data : *(const int64_t *)tensor->data;
    return LDNQ_OK;
}

/* ---- one run of a body ----------------------------------------------------------------- */

/* Frees the body's values and binds its captures. */
static enum ldnq_status bind_captures(struct ldnq_exec *exec, struct ldnq_exec *body,
                                      struct ldnq_error *err)
{
    ldnq_exec_reset(body);
    body->watched = exec->watched;
    body->watch = exec->watch;
    body->watch_ctx = exec->watch_ctx;
    for (size_t i = 0; i < body->graph->capture_count; i++) {
        const struct ldnq_capture *capture = &body->graph->captures[i];
        const struct ldnq_tensor *tensor = ldnq_exec_find_value(exec, capture->outer);
        if (!tensor)
            return ldnq_fail(err, LDNQ_MODEL, "'%s', which its body reads, has no data yet",
                             capture->outer->name);
        if (!capture->inner->constant)
            ldnq_exec_bind(body, capture->inner, tensor);
    }
    return LDNQ_OK;
}

static enum ldnq_status run_body_once(struct ldnq_exec *body, struct ldnq_error *err)
{
    struct ldnq_error inner;
    enum ldnq_status status = ldnq_exec_run_range(body, 0, body->graph->node_count, &inner);
    if (status == LDNQ_OK)
        return LDNQ_OK;
    return ldnq_fail(err, status, "in its body: %s",
                     ldnq_graph_strip_file(body->graph, inner.message));
}

static enum ldnq_status find_body_output(const struct ldnq_exec *body, size_t i,
                                         const struct ldnq_tensor **tensor, struct ldnq_error *err)
{
    *tensor = ldnq_exec_find_value(body, body->graph->outputs[i]);
    if (*tensor && (*tensor)->dtype != LDNQ_STRING)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL, "its body does not compute '%s'",
                     body->graph->outputs[i]->name);
}

static void add_body_counts(struct ldnq_exec *exec, uint64_t iterations, size_t operations)
{
    exec->iterations += iterations;
    if (!ldnq_size_add(exec->operations, operations, &exec->operations))
        exec->operations = SIZE_MAX;
}

static enum ldnq_status run_if_node(struct ldnq_exec *exec, size_t node_index,
                                    struct ldnq_error *err)
{
    const struct ldnq_node *node = exec->graph->nodes[node_index];
    int64_t condition;
    LDNQ_TRY(read_scalar(exec->in[0], LDNQ_BOOL, "condition", &condition, err));
    struct ldnq_exec *body = exec->bodies[node_index][condition ? 0 : 1];
    LDNQ_TRY(bind_captures(exec, body, err));
    LDNQ_TRY(run_body_once(body, err));
    for (size_t i = 0; i < node->output_count; i++) {
        const struct ldnq_tensor *tensor;
        struct loop_tensor copy = { 0 };
        if (!node->outputs[i])
            continue;
        LDNQ_TRY(find_body_output(body, i, &tensor, err));
        LDNQ_TRY(copy_tensor(exec, tensor, &copy, err));
        store_output(exec, node->outputs[i], &copy);
    }
    add_body_counts(exec, body->iterations, body->operations);
    ldnq_exec_reset(body);
    return LDNQ_OK;
}

/* ---- stacked outputs ------------------------------------------------------------------- */

/* Sets up stacked output i for slices like `slice`. */
static enum ldnq_status init_stacked_output(const struct loop_run *run, size_t i,
                                            const struct ldnq_tensor *slice, struct ldnq_error *err)
{
    struct stacked_output *out = &run->stacked[i];
    int64_t axis = ldnq_control_option(run->control->out_axes, i);
    if (slice->shape.rank >= LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its output %zu has more than %d axes",
                         run->control->carried + i, LDNQ_MAX_RANK);
    LDNQ_TRY(ldnq_op_resolve_axis(axis, slice->shape.rank + 1, &out->axis, err));
    out->slice = slice->shape;
    out->dtype = slice->dtype;
    out->reversed = ldnq_control_option(run->control->out_reversed, i) != 0;
    out->inner = ldnq_dtype_size(slice->dtype);
    out->outer = 1;
    for (int d = 0; d < slice->shape.rank; d++)
        *(d < out->axis ? &out->outer : &out->inner) *= (size_t)slice->shape.dim[d];
    return LDNQ_OK;
}

static struct ldnq_shape make_stacked_shape(const struct stacked_output *out, size_t length)
{
    struct ldnq_shape shape = { .rank = out->slice.rank + 1 };
    for (int d = 0, from = 0; d < shape.rank; d++)
        shape.dim[d] = d == out->axis ? (int64_t)length : out->slice.dim[from++];
    return shape;
}

/* Makes room for one more slice. A Scan allocates all slices at once; a Loop doubles, and
 * its axis is 0, so the slices so far are one run of memory. */
static enum ldnq_status grow_stacked_output(const struct loop_run *run, struct stacked_output *out,
                                            struct ldnq_error *err)
{
    if (out->length < out->capacity)
        return LDNQ_OK;
    struct loop_tensor larger = { 0 };
    size_t capacity = run->trip_count ? run->trip_count : ldnq_size_max(4, 2 * out->capacity);
    struct ldnq_shape shape = make_stacked_shape(out, capacity);
    LDNQ_TRY(allocate_loop_tensor(run->exec, out->dtype, &shape, &larger, err));
    if (out->length > 0)
        memcpy(larger.tensor.data, out->whole.tensor.data, out->length * out->inner);
    release_loop_tensor(run->exec, &out->whole);
    out->whole = larger;
    out->capacity = capacity;
    return LDNQ_OK;
}

static enum ldnq_status append_slice(const struct loop_run *run, size_t i,
                                     const struct ldnq_tensor *slice, struct ldnq_error *err)
{
    struct stacked_output *out = &run->stacked[i];
    char shape[LDNQ_SHAPE_TEXT], earlier[LDNQ_SHAPE_TEXT];
    if (out->length == 0)
        LDNQ_TRY(init_stacked_output(run, i, slice, err));
    if (slice->dtype != out->dtype || !ldnq_shapes_are_equal(&slice->shape, &out->slice))
        return ldnq_fail(err, LDNQ_MODEL,
                         "its output %zu is %s %s in iteration %zu and %s %s before",
                         run->control->carried + i, ldnq_dtype_name(slice->dtype),
                         ldnq_shape_print(&slice->shape, NULL, shape, sizeof shape), out->length,
                         ldnq_dtype_name(out->dtype),
                         ldnq_shape_print(&out->slice, NULL, earlier, sizeof earlier));
    LDNQ_TRY(grow_stacked_output(run, out, err));
    size_t at = out->reversed ? out->capacity - 1 - out->length : out->length;
    for (size_t outer = 0; out->inner > 0 && outer < out->outer; outer++)
        memcpy((char *)out->whole.tensor.data + (outer * out->capacity + at) * out->inner,
               (const char *)slice->data + outer * out->inner, out->inner);
    out->length++;
    return LDNQ_OK;
}

/* Stacked output i of a loop without iterations: no slices, and slices have the shape that
 * the body's output declares, with 0 for each unknown size. */
static enum ldnq_status allocate_empty_stacked_output(const struct loop_run *run, size_t i,
                                                      struct ldnq_error *err)
{
    size_t at = run->control->carried + i;
    const struct ldnq_value *value = run->graph->outputs[run->control->body_out + at];
    struct ldnq_tensor slice = { .dtype = value->dtype, .shape = value->shape };
    if (ldnq_dtype_size(slice.dtype) == 0)
        return ldnq_fail(err, LDNQ_MODEL,
                         "it has no iterations, and the type of its output %zu is unknown", at);
    if (slice.shape.rank < 0)
        slice.shape.rank = 0;
    for (int d = 0; d < slice.shape.rank; d++)
        if (ldnq_is_symbol(slice.shape.dim[d]))
            slice.shape.dim[d] = 0;
    LDNQ_TRY(init_stacked_output(run, i, &slice, err));
    struct ldnq_shape shape = make_stacked_shape(&run->stacked[i], 0);
    return allocate_loop_tensor(run->exec, slice.dtype, &shape, &run->stacked[i].whole, err);
}

/* ---- carried values ------------------------------------------------------------------- */

static const struct ldnq_tensor *find_carried_value(const struct loop_run *run, size_t i)
{
    return run->carried[i].buffer ? &run->carried[i].tensor
                                  : run->exec->in[run->control->first + i];
}

static void bind_carried(const struct loop_run *run)
{
    const struct ldnq_control *control = run->control;
    for (size_t i = 0; i < control->carried; i++)
        ldnq_exec_bind(run->body, run->graph->inputs[control->body_first + i],
                       find_carried_value(run, i));
}

/* After an iteration: appends the slices of stacked outputs and copies carried values. */
static enum ldnq_status store_iteration_outputs(struct loop_run *run, struct ldnq_error *err)
{
    const struct ldnq_control *control = run->control;
    const struct ldnq_tensor *tensor;
    for (size_t i = 0; i < control->stacked; i++) {
        LDNQ_TRY(
            find_body_output(run->body, control->body_out + control->carried + i, &tensor, err));
        LDNQ_TRY(append_slice(run, i, tensor, err));
    }
    /* All are copied before any is replaced: an output of the body may be the bound
     * tensor of another carried value. */
    struct loop_tensor *next = ldnq_calloc(control->carried, sizeof *next);
    enum ldnq_status status = next ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    for (size_t i = 0; status == LDNQ_OK && i < control->carried; i++) {
        status = find_body_output(run->body, control->body_out + i, &tensor, err);
        if (status == LDNQ_OK)
            status = copy_tensor(run->exec, tensor, &next[i], err);
    }
    for (size_t i = 0; next && i < control->carried; i++) {
        release_loop_tensor(run->exec, status == LDNQ_OK ? &run->carried[i] : &next[i]);
        if (status == LDNQ_OK)
            run->carried[i] = next[i];
    }
    ldnq_free(next);
    return status;
}

/* After the last iteration: stores the node's outputs. A carried value that no iteration
 * replaced is a copy of the node's input. */
static enum ldnq_status finish_loop_outputs(struct loop_run *run, struct ldnq_error *err)
{
    const struct ldnq_control *control = run->control;
    for (size_t i = 0; i < control->carried; i++) {
        if (!run->carried[i].buffer)
            LDNQ_TRY(copy_tensor(run->exec, find_carried_value(run, i), &run->carried[i], err));
        store_output(run->exec, run->node->outputs[i], &run->carried[i]);
    }
    for (size_t i = 0; i < control->stacked; i++) {
        struct stacked_output *out = &run->stacked[i];
        if (!run->node->outputs[control->carried + i])
            continue;
        if (out->length == 0)
            LDNQ_TRY(allocate_empty_stacked_output(run, i, err));
        out->whole.tensor.shape = make_stacked_shape(out, out->length);
        store_output(run->exec, run->node->outputs[control->carried + i], &out->whole);
    }
    return LDNQ_OK;
}

static enum ldnq_status fail_too_many_iterations(struct ldnq_error *err)
{
    return ldnq_fail(err, LDNQ_UNSUPPORTED,
                     "repeats its body more than %" PRId64 " times, which is not supported",
                     load_limit());
}

/* Counts an iteration that has run. */
static enum ldnq_status count_iteration(struct loop_run *run, struct ldnq_error *err)
{
    run->iterations += 1 + run->body->iterations;
    const uint64_t all = run->exec->iterations + run->iterations;
    if (!ldnq_size_add(run->operations, run->body->operations, &run->operations))
        run->operations = SIZE_MAX;
    LDNQ_TRY(ldnq_operations_check_loop(run->operations, err));
    return all > (uint64_t)load_limit() ? fail_too_many_iterations(err) : LDNQ_OK;
}

/* Refuses a loop after its first iteration rather than at the limit, where `trips` is certain. */
static enum ldnq_status check_all_iterations(const struct loop_run *run, size_t trips,
                                             struct ldnq_error *err)
{
    const size_t iterations[] = { (size_t)run->iterations, trips };
    const size_t factors[] = { run->operations, trips };
    if (ldnq_operations_multiply(iterations, 2) > (uint64_t)load_limit())
        return fail_too_many_iterations(err);
    return ldnq_operations_check_loop(ldnq_operations_multiply(factors, 2), err);
}

/* ---- Loop ------------------------------------------------------------------------------ */

/* Whether the body's condition is always true, so that the trip count alone ends the loop. */
static bool has_constant_true_condition(const struct ldnq_graph *body)
{
    const struct ldnq_tensor *condition = body->outputs[0]->constant;
    if (body->outputs[0] == body->inputs[1]) /* input 1, the condition, is bound to true */
        return true;
    return condition && condition->data && condition->dtype == LDNQ_BOOL &&
           ldnq_tensor_count(condition) == 1 && *(const uint8_t *)condition->data;
}

static enum ldnq_status run_loop_node(struct loop_run *run, struct ldnq_error *err)
{
    struct ldnq_exec *exec = run->exec;
    size_t own_inputs = run->node->input_count - run->node->capture_count;
    int64_t trip_count = INT64_MAX, condition = 1;
    uint8_t yes = 1;
    const struct ldnq_shape scalar = { .rank = 0 };
    if (own_inputs > 0 && exec->in[0])
        LDNQ_TRY(read_scalar(exec->in[0], LDNQ_INT64, "trip count", &trip_count, err));
    if (own_inputs > 1 && exec->in[1])
        LDNQ_TRY(read_scalar(exec->in[1], LDNQ_BOOL, "condition", &condition, err));
    const bool runs_all = has_constant_true_condition(run->graph);
    if (condition && trip_count > load_limit() && runs_all)
        return fail_too_many_iterations(err);
    for (int64_t i = 0; i < trip_count && condition; i++) {
        const struct ldnq_tensor iteration = { LDNQ_INT64, scalar, &i };
        const struct ldnq_tensor holds = { LDNQ_BOOL, scalar, &yes }, *next;
        LDNQ_TRY(bind_captures(exec, run->body, err));
        ldnq_exec_bind(run->body, run->graph->inputs[0], &iteration);
        ldnq_exec_bind(run->body, run->graph->inputs[1], &holds);
        bind_carried(run);
        LDNQ_TRY(run_body_once(run->body, err));
        LDNQ_TRY(find_body_output(run->body, 0, &next, err));
        LDNQ_TRY(read_scalar(next, LDNQ_BOOL, "body's condition", &condition, err));
        LDNQ_TRY(store_iteration_outputs(run, err));
        LDNQ_TRY(count_iteration(run, err));
        if (i == 0 && runs_all)
            LDNQ_TRY(check_all_iterations(run, (size_t)trip_count, err));
    }
    return finish_loop_outputs(run, err);
}

/* ---- Scan ------------------------------------------------------------------------------ */

/* The axis along which scanned input i is cut. */
static enum ldnq_status resolve_scan_axis(const struct loop_run *run, size_t i, int *axis,
                                          struct ldnq_error *err)
{
    const struct ldnq_tensor *whole = run->exec->in[run->control->carried + i];
    return ldnq_op_resolve_axis(ldnq_control_option(run->control->in_axes, i), whole->shape.rank,
                                axis, err);
}

/* Copies slice `at` of scanned input i to run->slices[i] and binds it. */
static enum ldnq_status bind_slice(struct loop_run *run, size_t i, size_t at,
                                   struct ldnq_error *err)
{
    const struct ldnq_tensor *whole = run->exec->in[run->control->carried + i];
    struct loop_tensor *slice = &run->slices[i];
    struct ldnq_shape shape = { .rank = whole->shape.rank - 1 };
    int axis = 0;
    LDNQ_TRY(resolve_scan_axis(run, i, &axis, err));
    for (int d = 0, to = 0; d < whole->shape.rank; d++)
        if (d != axis)
            shape.dim[to++] = whole->shape.dim[d];
    struct ldnq_axis_split split = ldnq_op_split_at_axis(&whole->shape, axis);
    size_t inner = split.inner * ldnq_dtype_size(whole->dtype);
    if (ldnq_control_option(run->control->in_reversed, i))
        at = split.size - 1 - at;
    if (!slice->buffer)
        LDNQ_TRY(allocate_loop_tensor(run->exec, whole->dtype, &shape, slice, err));
    for (size_t outer = 0; inner > 0 && outer < split.outer; outer++)
        memcpy((char *)slice->tensor.data + outer * inner,
               (const char *)whole->data + (outer * split.size + at) * inner, inner);
    ldnq_exec_bind(run->body, run->graph->inputs[run->control->carried + i], &slice->tensor);
    return LDNQ_OK;
}

static enum ldnq_status run_scan_node(struct loop_run *run, struct ldnq_error *err)
{
    for (size_t i = 0; i < run->control->scanned; i++) {
        const struct ldnq_shape *shape = &run->exec->in[run->control->carried + i]->shape;
        int axis = 0;
        LDNQ_TRY(resolve_scan_axis(run, i, &axis, err));
        if (i > 0 && run->trip_count != (size_t)shape->dim[axis])
            return ldnq_fail(err, LDNQ_MODEL,
                             "scans %zu slices of one input and %" PRId64 " of another",
                             run->trip_count, shape->dim[axis]);
        run->trip_count = (size_t)shape->dim[axis];
    }
    for (size_t at = 0; at < run->trip_count; at++) {
        if (at == 1)
            LDNQ_TRY(check_all_iterations(run, run->trip_count, err));
        LDNQ_TRY(bind_captures(run->exec, run->body, err));
        bind_carried(run);
        for (size_t i = 0; i < run->control->scanned; i++)
            LDNQ_TRY(bind_slice(run, i, at, err));
        LDNQ_TRY(run_body_once(run->body, err));
        LDNQ_TRY(store_iteration_outputs(run, err));
        LDNQ_TRY(count_iteration(run, err));
    }
    return finish_loop_outputs(run, err);
}

/* ---- dispatch -------------------------------------------------------------------------- */

static void free_run_tensors(struct loop_run *run)
{
    const struct ldnq_control *control = run->control;
    ldnq_exec_reset(run->body);
    for (size_t i = 0; run->carried && i < control->carried; i++)
        release_loop_tensor(run->exec, &run->carried[i]);
    for (size_t i = 0; run->stacked && i < control->stacked; i++)
        release_loop_tensor(run->exec, &run->stacked[i].whole);
    for (size_t i = 0; run->slices && i < control->scanned; i++)
        release_loop_tensor(run->exec, &run->slices[i]);
    ldnq_free(run->carried);
    ldnq_free(run->stacked);
    ldnq_free(run->slices);
}

enum ldnq_status ldnq_control_flow_run(struct ldnq_exec *exec, size_t node_index,
                                       struct ldnq_error *err)
{
    const struct ldnq_node *node = exec->graph->nodes[node_index];
    const struct ldnq_control *control = node->op_attrs;
    if (control->kind == LDNQ_CONTROL_IF)
        return run_if_node(exec, node_index, err);
    struct loop_run run = {
        .exec = exec,
        .body = exec->bodies[node_index][0],
        .node = node,
        .control = control,
        .graph = control->bodies[0],
        .carried = ldnq_calloc(control->carried, sizeof *run.carried),
        .stacked = ldnq_calloc(control->stacked, sizeof *run.stacked),
        .slices = ldnq_calloc(control->scanned, sizeof *run.slices),
    };
    enum ldnq_status status;
    if (!run.carried || !run.stacked || !run.slices)
        status = ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    else
        status = control->kind == LDNQ_CONTROL_LOOP ? run_loop_node(&run, err)
                                                    : run_scan_node(&run, err);
    add_body_counts(exec, run.iterations, run.operations);
    free_run_tensors(&run);
    return status;
}
