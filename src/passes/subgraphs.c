#include "passes/subgraphs.h"

#include "passes/passes.h"

#include "ops/control.h"

/* ---- looking into bodies ------------------------------------------------------------- */

static void take_captures(const struct ldnq_graph *body)
{
    for (size_t i = 0; i < body->capture_count; i++)
        ldnq_value_copy_facts(body->captures[i].inner, body->captures[i].outer);
}

static enum ldnq_status look_into(struct ldnq_folding *folding, struct ldnq_graph *body,
                                  struct ldnq_error *err)
{
    take_captures(body);
    folding->bodies++;
    enum ldnq_status status = ldnq_fold_graph(folding, body, err);
    folding->bodies--;
    return status;
}

/* ---- rehearsals ------------------------------------------------------------------------ */

/* What a fold changes of a graph; bodies in it have their own, in the same order. */
struct saved {
    struct saved *next;
    struct ldnq_graph *graph;
    struct ldnq_node **nodes;
    size_t node_count;
    struct ldnq_value *values;
};

static enum ldnq_status save(struct ldnq_graph *graph, struct saved **list, struct ldnq_error *err)
{
    struct saved *saved = ldnq_arena_alloc(graph->arena, 1, sizeof *saved, err);
    if (!saved)
        return LDNQ_NOMEM;
    *saved = (struct saved){
        .next = *list, .graph = graph, .nodes = graph->nodes, .node_count = graph->node_count
    };
    saved->values = ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *saved->values, err);
    if (!saved->values)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->value_count; i++)
        saved->values[i] = *graph->values[i];
    *list = saved;
    for (size_t i = 0; i < graph->node_count; i++)
        for (size_t k = 0; k < graph->nodes[i]->attr_count; k++)
            if (graph->nodes[i]->attrs[k].kind == LDNQ_ATTR_GRAPH)
                LDNQ_TRY(save(graph->nodes[i]->attrs[k].g, list, err));
    return LDNQ_OK;
}

static void restore(const struct saved *list)
{
    for (const struct saved *saved = list; saved; saved = saved->next) {
        saved->graph->nodes = saved->nodes;
        saved->graph->node_count = saved->node_count;
        for (size_t i = 0; i < saved->graph->value_count; i++)
            *saved->graph->values[i] = saved->values[i];
    }
}

/* ---- Loop and Scan ------------------------------------------------------------------------ */

/* Iterations of the search for what a loop leaves as it is; what is not found by then
 * counts as open. Loops in loops are searched a few deep. */
#define MOST_REHEARSALS 3
#define MOST_LOOPS 2

/* What one iteration starts with. `open` has a bit for each size that changes. */
struct carried {
    struct ldnq_tensor facts;
    unsigned open;
};

struct loop {
    struct ldnq_folding *folding;
    const struct ldnq_node *node;
    const struct ldnq_control *control;
    struct ldnq_graph *body;
    struct carried *carried;
};

static void set_facts(struct ldnq_value *value, const struct ldnq_tensor *facts)
{
    value->dtype = facts->dtype;
    value->shape = facts->shape;
    value->constant = NULL;
    value->partial = NULL;
}

/* A slice of a scanned input. */
static struct ldnq_tensor slice_of(const struct ldnq_value *whole, int64_t axis)
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

/* An iteration runs only while the condition holds. */
static void set_inputs(const struct loop *loop)
{
    static uint8_t yes = 1;
    static const struct ldnq_tensor holds = { .dtype = LDNQ_BOOL, .data = &yes };
    const struct ldnq_tensor number = { .dtype = LDNQ_INT64 };
    const struct ldnq_control *control = loop->control;
    struct ldnq_value **inputs = loop->body->inputs;
    if (control->kind == LDNQ_CONTROL_LOOP) {
        set_facts(inputs[0], &number);
        set_facts(inputs[1], &holds);
        inputs[1]->constant = &holds;
    }
    for (size_t i = 0; i < control->carried; i++)
        set_facts(inputs[control->body_first + i], &loop->carried[i].facts);
    for (size_t i = 0; i < control->scanned; i++) {
        struct ldnq_tensor slice = slice_of(loop->node->inputs[control->carried + i],
                                            ldnq_control_option(control->in_axes, i));
        set_facts(inputs[control->carried + i], &slice);
    }
}

/* Opens what an iteration makes different from what it started with. */
static enum ldnq_status widen(const struct loop *loop, size_t i, const struct ldnq_value *out,
                              bool *changed, struct ldnq_error *err)
{
    struct carried *carried = &loop->carried[i];
    struct ldnq_shape *shape = &carried->facts.shape;
    if (shape->rank < 0)
        return LDNQ_OK;
    if (out->shape.rank != shape->rank) {
        shape->rank = LDNQ_RANK_UNKNOWN;
        *changed = true;
        return LDNQ_OK;
    }
    for (int d = 0; d < shape->rank; d++) {
        if (carried->open >> d & 1u || out->shape.dim[d] == shape->dim[d])
            continue;
        LDNQ_TRY(ldnq_graph_symbol(loop->body, NULL, &shape->dim[d], err));
        carried->open |= 1u << d;
        *changed = true;
    }
    return LDNQ_OK;
}

static enum ldnq_status rehearse(const struct loop *loop, bool *changed, struct ldnq_error *err)
{
    struct ldnq_folding *folding = loop->folding;
    struct saved *saved = NULL;
    bool before = folding->rehearsal;
    *changed = false;
    set_inputs(loop);
    LDNQ_TRY(save(loop->body, &saved, err));
    folding->rehearsal = true;
    enum ldnq_status status = look_into(folding, loop->body, err);
    folding->rehearsal = before;
    for (size_t i = 0; status == LDNQ_OK && i < loop->control->carried; i++)
        status = widen(loop, i, loop->body->outputs[loop->control->body_out + i], changed, err);
    restore(saved);
    return status;
}

static enum ldnq_status settle(const struct loop *loop, struct ldnq_error *err)
{
    size_t most = loop->folding->loops > MOST_LOOPS ? 0 : MOST_REHEARSALS;
    bool changed = loop->control->carried > 0;
    for (size_t i = 0; changed && i < most; i++)
        LDNQ_TRY(rehearse(loop, &changed, err));
    for (size_t i = 0; changed && i < loop->control->carried; i++)
        loop->carried[i].facts.shape.rank = LDNQ_RANK_UNKNOWN;
    set_inputs(loop);
    return look_into(loop->folding, loop->body, err);
}

static enum ldnq_status look_into_loop(struct ldnq_folding *folding, const struct ldnq_node *node,
                                       struct ldnq_error *err)
{
    const struct ldnq_control *control = node->op_attrs;
    struct loop loop = {
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
    folding->loops++;
    enum ldnq_status status = settle(&loop, err);
    folding->loops--;
    return status;
}

enum ldnq_status ldnq_control_look(struct ldnq_folding *folding, const struct ldnq_node *node,
                                   struct ldnq_error *err)
{
    const struct ldnq_control *control = node->op_attrs;
    if (control->kind != LDNQ_CONTROL_IF)
        return look_into_loop(folding, node, err);
    LDNQ_TRY(look_into(folding, control->bodies[0], err));
    return look_into(folding, control->bodies[1], err);
}

/* ---- the branch that is taken --------------------------------------------------------------- */

struct ldnq_graph *ldnq_control_taken(const struct ldnq_node *node)
{
    const struct ldnq_control *control = node->op_attrs;
    if (control->kind != LDNQ_CONTROL_IF)
        return NULL;
    const struct ldnq_tensor *condition = node->inputs[0]->constant;
    if (!condition || condition->dtype != LDNQ_BOOL || ldnq_tensor_count(condition) != 1)
        return NULL;
    return control->bodies[*(const uint8_t *)condition->data ? 0 : 1];
}

/* By a value's place in the body: what stands for it in the graph. */
struct move {
    struct ldnq_graph *graph, *body;
    struct ldnq_node *node;
    struct ldnq_value **now;
    struct ldnq_node **nodes;
    size_t count;
};

/* Two outputs may be one value, and one that is captured or constant has a place
 * already: an Identity gives it the second. */
static enum ldnq_status add_identity(struct move *move, size_t i, struct ldnq_value *from,
                                     struct ldnq_error *err)
{
    struct ldnq_node *node = ldnq_arena_alloc(move->graph->arena, 1, sizeof *node, err);
    struct ldnq_value **ends = ldnq_arena_alloc(move->graph->arena, 2, sizeof *ends, err);
    if (!node || !ends)
        return LDNQ_NOMEM;
    *node = (struct ldnq_node){
        .name = "",
        .op_type = "Identity",
        .domain = "",
        .opset = move->node->opset,
        .index = move->node->index,
        .within = move->body->name,
        .input_count = 1,
        .output_count = 1,
        .inputs = &ends[0],
        .outputs = &ends[1],
    };
    node->label = ldnq_arena_printf(move->graph->arena, err, "%s/output#%zu", move->node->label, i);
    if (!node->label)
        return LDNQ_NOMEM;
    ends[0] = from;
    ends[1] = move->node->outputs[i];
    ends[1]->producer = node;
    move->nodes[move->count++] = node;
    return ldnq_ops_bind_node(move->graph, node, err);
}

static bool is_own(const struct ldnq_value *value)
{
    return value->producer && !value->constant;
}

/* Captured values are what they stand for, outputs what the node made; all others
 * move over. */
static void map_values(struct move *move)
{
    const struct ldnq_graph *body = move->body;
    for (size_t i = 0; i < body->capture_count; i++)
        move->now[body->captures[i].inner->index] = body->captures[i].outer;
    for (size_t i = 0; i < body->output_count; i++) {
        struct ldnq_value *inner = body->outputs[i], *outer = move->node->outputs[i];
        if (outer && is_own(inner) && !move->now[inner->index])
            move->now[inner->index] = outer;
    }
    for (size_t i = 0; i < body->value_count; i++)
        if (!move->now[i])
            move->now[i] = body->values[i];
}

static void map_node(const struct move *move, struct ldnq_node *node)
{
    struct ldnq_value **now = move->now;
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i])
            node->inputs[i] = now[node->inputs[i]->index];
    for (size_t i = 0; i < node->capture_count; i++)
        node->captures[i] = now[node->captures[i]->index];
    for (size_t i = 0; i < node->output_count; i++) {
        if (!node->outputs[i])
            continue;
        node->outputs[i] = now[node->outputs[i]->index];
        node->outputs[i]->producer = node;
    }
    for (size_t i = 0; i < node->attr_count; i++) {
        struct ldnq_graph *inner = node->attrs[i].g;
        if (node->attrs[i].kind != LDNQ_ATTR_GRAPH)
            continue;
        inner->outer = move->graph;
        for (size_t k = 0; k < inner->capture_count; k++)
            inner->captures[k].outer = now[inner->captures[k].outer->index];
    }
}

static enum ldnq_status move_all(struct move *move, struct ldnq_error *err)
{
    const struct ldnq_graph *body = move->body;
    map_values(move);
    for (size_t i = 0; i < body->node_count; i++) {
        map_node(move, body->nodes[i]);
        move->nodes[move->count++] = body->nodes[i];
    }
    for (size_t i = 0; i < body->output_count; i++) {
        struct ldnq_value *value = move->now[body->outputs[i]->index];
        if (move->node->outputs[i] && move->node->outputs[i] != value)
            LDNQ_TRY(add_identity(move, i, value, err));
    }
    for (size_t i = 0; i < body->value_count; i++) {
        struct ldnq_value *value = body->values[i];
        if (move->now[i] != value)
            continue;
        value->is_output = false;
        LDNQ_TRY(ldnq_graph_adopt_value(move->graph, value, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_control_inline(struct ldnq_graph *graph, struct ldnq_node *node,
                                     struct ldnq_graph *body, struct ldnq_node ***nodes,
                                     size_t *count, struct ldnq_error *err)
{
    struct move move = { .graph = graph, .body = body, .node = node };
    size_t most = body->node_count + body->output_count;
    move.now = ldnq_arena_alloc(graph->arena, body->value_count, sizeof *move.now, err);
    move.nodes = ldnq_arena_alloc(graph->arena, most, sizeof *move.nodes, err);
    if (!move.now || !move.nodes)
        return LDNQ_NOMEM;
    LDNQ_TRY(move_all(&move, err));
    *nodes = move.nodes;
    *count = move.count;
    return LDNQ_OK;
}

/* ---- what bodies no longer read ------------------------------------------------------------- */

static void mark_reads(const struct ldnq_graph *body, bool *read)
{
    for (size_t i = 0; i < body->node_count; i++)
        for (size_t k = 0; k < body->nodes[i]->input_count; k++)
            if (body->nodes[i]->inputs[k])
                read[body->nodes[i]->inputs[k]->index] = true;
    for (size_t i = 0; i < body->output_count; i++)
        read[body->outputs[i]->index] = true;
}

/* One that is constant inside is not read from around it. */
static enum ldnq_status trim_body(struct ldnq_graph *body, bool *needed, struct ldnq_error *err)
{
    bool *read = ldnq_arena_alloc(body->arena, body->value_count, sizeof *read, err);
    size_t kept = 0;
    if (!read)
        return LDNQ_NOMEM;
    mark_reads(body, read);
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

enum ldnq_status ldnq_control_trim(struct ldnq_graph *graph, struct ldnq_node *node,
                                   struct ldnq_error *err)
{
    bool *needed = ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *needed, err);
    size_t own = node->input_count - node->capture_count, kept = 0;
    if (!needed)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < node->attr_count; i++) {
        if (node->attrs[i].kind != LDNQ_ATTR_GRAPH)
            continue;
        LDNQ_TRY(ldnq_pass_dead(node->attrs[i].g, err));
        LDNQ_TRY(trim_body(node->attrs[i].g, needed, err));
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
