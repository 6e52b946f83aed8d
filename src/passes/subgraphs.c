/* SPDX-License-Identifier: Apache-2.0 */
#include "passes/subgraphs.h"

#include "passes/passes.h"

#include "ops/control.h"

/* ---- one body ------------------------------------------------------------------------- */

static enum ldnq_status fold_body_graph(struct ldnq_folding *folding, struct ldnq_graph *body,
                                        struct ldnq_error *err)
{
    for (size_t i = 0; i < body->capture_count; i++)
        ldnq_value_copy_facts(body->captures[i].inner, body->captures[i].outer);
    folding->body_depth++;
    enum ldnq_status status = ldnq_fold_graph(folding, body, err);
    folding->body_depth--;
    return status;
}

/* ---- dry runs -------------------------------------------------------------------------- */

/* A copy of all that folding changes in one graph. The bodies inside the graph have copies
 * of their own in the list. */
struct graph_snapshot {
    struct graph_snapshot *next;
    struct ldnq_graph *graph;
    struct ldnq_node **nodes;
    size_t node_count;
    struct ldnq_value *values;
};

static enum ldnq_status save_graph_snapshot(struct ldnq_graph *graph, struct graph_snapshot **list,
                                            struct ldnq_error *err)
{
    struct graph_snapshot *snapshot = ldnq_arena_alloc(graph->arena, 1, sizeof *snapshot, err);
    if (!snapshot)
        return LDNQ_NOMEM;
    *snapshot = (struct graph_snapshot){
        .next = *list, .graph = graph, .nodes = graph->nodes, .node_count = graph->node_count
    };
    snapshot->values =
        ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *snapshot->values, err);
    if (!snapshot->values)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->value_count; i++)
        snapshot->values[i] = *graph->values[i];
    *list = snapshot;
    for (size_t i = 0; i < graph->node_count; i++)
        for (size_t k = 0; k < graph->nodes[i]->attr_count; k++)
            if (graph->nodes[i]->attrs[k].kind == LDNQ_ATTR_GRAPH)
                LDNQ_TRY(save_graph_snapshot(graph->nodes[i]->attrs[k].g, list, err));
    return LDNQ_OK;
}

static void restore_snapshots(const struct graph_snapshot *list)
{
    for (const struct graph_snapshot *snapshot = list; snapshot; snapshot = snapshot->next) {
        snapshot->graph->nodes = snapshot->nodes;
        snapshot->graph->node_count = snapshot->node_count;
        for (size_t i = 0; i < snapshot->graph->value_count; i++)
            *snapshot->graph->values[i] = snapshot->values[i];
    }
}

/* ---- Loop and Scan ------------------------------------------------------------------------ */

/* Dry runs of a body that search for the sizes no iteration changes; carried values that
 * still change after the last one get unknown rank. Each level of nested loops multiplies
 * the number of dry runs, so loops deeper than MAX_LOOP_DEPTH have none. */
#define MAX_DRY_RUNS 3
#define MAX_LOOP_DEPTH 2

/* Type and shape of a carried value at the start of any iteration. A bit of `varying` is
 * set for each dimension that differs between iterations: it is a symbol. */
struct carried_value {
    struct ldnq_tensor facts;
    unsigned varying;
};

struct loop_folding {
    struct ldnq_folding *folding;
    const struct ldnq_node *node;
    const struct ldnq_control *control;
    struct ldnq_graph *body;
    struct carried_value *carried;
};

static void set_value_type_and_shape(struct ldnq_value *value, const struct ldnq_tensor *facts)
{
    value->dtype = facts->dtype;
    value->shape = facts->shape;
    value->constant = NULL;
    value->partial = NULL;
}

/* Returns type and shape of a slice of a scanned input. */
static struct ldnq_tensor describe_scan_input_slice(const struct ldnq_value *whole, int64_t axis)
{
    struct ldnq_tensor slice = { .dtype = whole->dtype, .shape.rank = LDNQ_RANK_UNKNOWN };
    int at = (int)(axis < 0 ? axis + whole->shape.rank : axis);
    if (whole->shape.rank < 1 || at < 0 || at >= whole->shape.rank)
        return slice;
    slice.shape.rank = whole->shape.rank - 1;
    for (int d = 0, to = 0; d < whole->shape.rank; d++)
        if (d != at)
            slice.shape.dim[to++] = whole->shape.dim[d];
    return slice;
}

/* Sets what is known about the body's inputs. A Loop's condition is true: an iteration runs
 * only while it holds. */
static void set_body_inputs(const struct loop_folding *loop)
{
    static uint8_t yes = 1;
    static const struct ldnq_tensor holds = { .dtype = LDNQ_BOOL, .data = &yes };
    const struct ldnq_tensor number = { .dtype = LDNQ_INT64 };
    const struct ldnq_control *control = loop->control;
    struct ldnq_value **inputs = loop->body->inputs;
    if (control->kind == LDNQ_CONTROL_LOOP) {
        set_value_type_and_shape(inputs[0], &number);
        set_value_type_and_shape(inputs[1], &holds);
        inputs[1]->constant = &holds;
    }
    for (size_t i = 0; i < control->carried; i++)
        set_value_type_and_shape(inputs[control->body_first + i], &loop->carried[i].facts);
    for (size_t i = 0; i < control->scanned; i++) {
        struct ldnq_tensor slice = describe_scan_input_slice(
            loop->node->inputs[control->carried + i], ldnq_control_option(control->in_axes, i));
        set_value_type_and_shape(inputs[control->carried + i], &slice);
    }
}

/* Replaces each dimension that one iteration changed by a new symbol. */
static enum ldnq_status make_changed_dims_symbolic(const struct loop_folding *loop, size_t i,
                                                   const struct ldnq_value *out, bool *changed,
                                                   struct ldnq_error *err)
{
    struct carried_value *carried = &loop->carried[i];
    struct ldnq_shape *shape = &carried->facts.shape;
    if (shape->rank < 0)
        return LDNQ_OK;
    if (out->shape.rank != shape->rank) {
        shape->rank = LDNQ_RANK_UNKNOWN;
        *changed = true;
        return LDNQ_OK;
    }
    for (int d = 0; d < shape->rank; d++) {
        if (carried->varying >> d & 1u || out->shape.dim[d] == shape->dim[d])
            continue;
        LDNQ_TRY(ldnq_graph_find_or_add_symbol(loop->body, NULL, &shape->dim[d], err));
        carried->varying |= 1u << d;
        *changed = true;
    }
    return LDNQ_OK;
}

/* Folds one iteration, widens the carried values, and restores the body. */
static enum ldnq_status fold_one_iteration(const struct loop_folding *loop, bool *changed,
                                           struct ldnq_error *err)
{
    struct ldnq_folding *folding = loop->folding;
    struct graph_snapshot *snapshots = NULL;
    bool before = folding->is_dry_run;
    *changed = false;
    set_body_inputs(loop);
    LDNQ_TRY(save_graph_snapshot(loop->body, &snapshots, err));
    folding->is_dry_run = true;
    enum ldnq_status status = fold_body_graph(folding, loop->body, err);
    folding->is_dry_run = before;
    for (size_t i = 0; status == LDNQ_OK && i < loop->control->carried; i++)
        status = make_changed_dims_symbolic(
            loop, i, loop->body->outputs[loop->control->body_out + i], changed, err);
    restore_snapshots(snapshots);
    return status;
}

static enum ldnq_status fold_loop(struct ldnq_folding *folding, const struct ldnq_node *node,
                                  struct ldnq_error *err)
{
    const struct ldnq_control *control = node->op_attrs;
    struct loop_folding loop = {
        .folding = folding, .node = node, .control = control, .body = control->bodies[0]
    };
    loop.carried = ldnq_arena_alloc(loop.body->arena, control->carried, sizeof *loop.carried, err);
    if (!loop.carried)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < control->carried; i++) {
        const struct ldnq_value *first = node->inputs[control->first + i];
        loop.carried[i].facts =
            (struct ldnq_tensor){ .dtype = first->dtype, .shape = first->shape };
    }
    folding->loop_depth++;

    /* ---- fixed point: facts about the carried values that every iteration preserves ---- */
    size_t dry_runs = folding->loop_depth > MAX_LOOP_DEPTH ? 0 : MAX_DRY_RUNS;
    bool changed = control->carried > 0;
    enum ldnq_status status = LDNQ_OK;
    for (size_t i = 0; status == LDNQ_OK && changed && i < dry_runs; i++)
        status = fold_one_iteration(&loop, &changed, err);
    for (size_t i = 0; changed && i < control->carried; i++)
        loop.carried[i].facts.shape.rank = LDNQ_RANK_UNKNOWN;

    /* ---- the body, with these ---- */
    if (status == LDNQ_OK) {
        set_body_inputs(&loop);
        status = fold_body_graph(folding, loop.body, err);
    }
    folding->loop_depth--;
    return status;
}

enum ldnq_status ldnq_subgraphs_fold_constants(struct ldnq_folding *folding,
                                               const struct ldnq_node *node, struct ldnq_error *err)
{
    const struct ldnq_control *control = node->op_attrs;
    if (control->kind != LDNQ_CONTROL_IF)
        return fold_loop(folding, node, err);
    LDNQ_TRY(fold_body_graph(folding, control->bodies[0], err));
    return fold_body_graph(folding, control->bodies[1], err);
}

/* The outputs of a body are the node's, but for a Loop's condition. */
enum ldnq_dtype ldnq_subgraphs_find_half_of_output(const struct ldnq_node *node, size_t i)
{
    const struct ldnq_control *control = node->op_attrs;
    const struct ldnq_graph *body = control->bodies[0];
    const size_t at = i + (control->kind == LDNQ_CONTROL_LOOP ? 1 : 0);
    return at < body->output_count ? body->outputs[at]->half : LDNQ_UNDEFINED;
}

/* ---- inlining a branch --------------------------------------------------------------- */

struct ldnq_graph *ldnq_subgraph_find_taken_branch(const struct ldnq_node *node)
{
    const struct ldnq_control *control = node->op_attrs;
    if (control->kind != LDNQ_CONTROL_IF)
        return NULL;
    const struct ldnq_tensor *condition = node->inputs[0]->constant;
    if (!condition || condition->dtype != LDNQ_BOOL || ldnq_tensor_count(condition) != 1)
        return NULL;
    return control->bodies[*(const uint8_t *)condition->data ? 0 : 1];
}

struct branch_inlining {
    struct ldnq_graph *graph, *body;
    struct ldnq_node *node;
    struct ldnq_value **map; /* by value of the body: the value that replaces it */
    struct ldnq_node **nodes;
    size_t count;
};

/* Copies `from` to output i of the node by an Identity: for a value that already has a
 * place in the graph, as another output, a capture or a constant. */
static enum ldnq_status append_identity_to_output(struct branch_inlining *inlining, size_t i,
                                                  struct ldnq_value *from, struct ldnq_error *err)
{
    struct ldnq_node *node = ldnq_arena_alloc(inlining->graph->arena, 1, sizeof *node, err);
    struct ldnq_value **ends = ldnq_arena_alloc(inlining->graph->arena, 2, sizeof *ends, err);
    if (!node || !ends)
        return LDNQ_NOMEM;
    *node = (struct ldnq_node){
        .name = "",
        .op_type = "Identity",
        .domain = "",
        .opset = inlining->node->opset,
        .index = inlining->node->index,
        .within = inlining->body->name,
        .input_count = 1,
        .output_count = 1,
        .inputs = &ends[0],
        .outputs = &ends[1],
    };
    node->label =
        ldnq_arena_printf(inlining->graph->arena, err, "%s/output#%zu", inlining->node->label, i);
    if (!node->label)
        return LDNQ_NOMEM;
    ends[0] = from;
    ends[1] = inlining->node->outputs[i];
    ends[1]->producer = node;
    inlining->nodes[inlining->count++] = node;
    return ldnq_ops_bind_node(inlining->graph, node, err);
}

static bool is_computed_inside(const struct ldnq_value *value)
{
    return value->producer && !value->constant;
}

/* Captures map to the values they represent, the branch's outputs to those of the node;
 * all other values move to the graph as they are. */
static void map_values(struct branch_inlining *inlining)
{
    const struct ldnq_graph *body = inlining->body;
    for (size_t i = 0; i < body->capture_count; i++)
        inlining->map[body->captures[i].inner->index] = body->captures[i].outer;
    for (size_t i = 0; i < body->output_count; i++) {
        struct ldnq_value *inner = body->outputs[i], *outer = inlining->node->outputs[i];
        if (outer && is_computed_inside(inner) && !inlining->map[inner->index])
            inlining->map[inner->index] = outer;
    }
    for (size_t i = 0; i < body->value_count; i++)
        if (!inlining->map[i])
            inlining->map[i] = body->values[i];
}

static void replace_values_of_node(const struct branch_inlining *inlining, struct ldnq_node *node)
{
    struct ldnq_value **map = inlining->map;
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i])
            node->inputs[i] = map[node->inputs[i]->index];
    for (size_t i = 0; i < node->capture_count; i++)
        node->captures[i] = map[node->captures[i]->index];
    for (size_t i = 0; i < node->output_count; i++) {
        if (!node->outputs[i])
            continue;
        node->outputs[i] = map[node->outputs[i]->index];
        node->outputs[i]->producer = node;
    }
    for (size_t i = 0; i < node->attr_count; i++) {
        struct ldnq_graph *inner = node->attrs[i].g;
        if (node->attrs[i].kind != LDNQ_ATTR_GRAPH)
            continue;
        inner->outer = inlining->graph;
        for (size_t k = 0; k < inner->capture_count; k++)
            inner->captures[k].outer = map[inner->captures[k].outer->index];
    }
}

static enum ldnq_status move_branch_nodes(struct branch_inlining *inlining, struct ldnq_error *err)
{
    const struct ldnq_graph *body = inlining->body;
    map_values(inlining);
    for (size_t i = 0; i < body->node_count; i++) {
        replace_values_of_node(inlining, body->nodes[i]);
        inlining->nodes[inlining->count++] = body->nodes[i];
    }
    for (size_t i = 0; i < body->output_count; i++) {
        struct ldnq_value *value = inlining->map[body->outputs[i]->index];
        if (inlining->node->outputs[i] && inlining->node->outputs[i] != value)
            LDNQ_TRY(append_identity_to_output(inlining, i, value, err));
    }
    for (size_t i = 0; i < body->value_count; i++) {
        struct ldnq_value *value = body->values[i];
        if (inlining->map[i] != value)
            continue;
        value->is_output = false;
        LDNQ_TRY(ldnq_graph_adopt_value(inlining->graph, value, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_subgraph_inline(struct ldnq_graph *graph, struct ldnq_node *node,
                                      struct ldnq_graph *body, struct ldnq_node ***nodes,
                                      size_t *count, struct ldnq_error *err)
{
    struct branch_inlining inlining = { .graph = graph, .body = body, .node = node };
    size_t most = body->node_count + body->output_count;
    inlining.map = ldnq_arena_alloc(graph->arena, body->value_count, sizeof *inlining.map, err);
    inlining.nodes = ldnq_arena_alloc(graph->arena, most, sizeof *inlining.nodes, err);
    if (!inlining.map || !inlining.nodes)
        return LDNQ_NOMEM;
    LDNQ_TRY(move_branch_nodes(&inlining, err));
    *nodes = inlining.nodes;
    *count = inlining.count;
    return LDNQ_OK;
}

/* ---- trimming captures ------------------------------------------------------------- */

static void mark_values_read(const struct ldnq_graph *body, bool *read)
{
    for (size_t i = 0; i < body->node_count; i++)
        for (size_t k = 0; k < body->nodes[i]->input_count; k++)
            if (body->nodes[i]->inputs[k])
                read[body->nodes[i]->inputs[k]->index] = true;
    for (size_t i = 0; i < body->output_count; i++)
        read[body->outputs[i]->index] = true;
}

/* Removes the body's captures that no node reads or that are constant inside, and marks the
 * outer values of the others as needed. */
static enum ldnq_status remove_unread_captures(struct ldnq_graph *body, bool *needed,
                                               struct ldnq_error *err)
{
    bool *read = ldnq_arena_alloc(body->arena, body->value_count, sizeof *read, err);
    size_t kept = 0;
    if (!read)
        return LDNQ_NOMEM;
    mark_values_read(body, read);
    for (size_t i = 0; i < body->capture_count; i++) {
        struct ldnq_capture capture = body->captures[i];
        if (!read[capture.inner->index] || capture.inner->constant)
            continue;
        needed[capture.outer->index] = true;
        body->captures[kept++] = capture;
    }
    body->capture_count = kept;
    return LDNQ_OK;
}

enum ldnq_status ldnq_subgraphs_remove_unread(struct ldnq_graph *graph, struct ldnq_node *node,
                                              struct ldnq_error *err)
{
    bool *needed = ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *needed, err);
    size_t own = node->input_count - node->capture_count, kept = 0;
    if (!needed)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < node->attr_count; i++) {
        if (node->attrs[i].kind != LDNQ_ATTR_GRAPH)
            continue;
        LDNQ_TRY(ldnq_pass_remove_dead_nodes(node->attrs[i].g, err));
        LDNQ_TRY(remove_unread_captures(node->attrs[i].g, needed, err));
    }
    for (size_t i = 0; i < node->capture_count; i++) {
        if (!needed[node->captures[i]->index])
            continue;
        node->inputs[own + kept] = node->captures[i];
        node->captures[kept++] = node->captures[i];
    }
    node->capture_count = kept;
    node->input_count = own + kept;
    return LDNQ_OK;
}
