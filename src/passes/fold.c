/* SPDX-License-Identifier: Apache-2.0 */
/* fold.c: shape inference and constant folding, before any data.
 *
 * A small integer tensor may be known in part: value->partial holds its elements, some of
 * which are symbols (the Shape of a value with a symbolic batch). Operators that only
 * move elements run on partial tensors as on any data. A chain of Shape, Gather, Concat
 * and Slice thus folds to a constant wherever the batch drops out of it.
 */
#include "passes/fold.h"

#include <string.h>

#include "passes/passes.h"

#include "base/growing_list.h"
#include "base/size.h"
#include "ops/op.h"
#include "passes/subgraphs.h"

/* Bytes. A larger result (a constant expanded to the size of an image) is left to run
 * time. */
#define MAX_RESULT ((size_t)256 << 20)
/* Bytes of all results and their scratch, which live as long as the graph. */
#define MAX_TOTAL ((size_t)1 << 30)
/* A result that takes more operations is left to run time, which may never come. */
#define MAX_OPERATIONS ((size_t)1 << 32)
/* Elements of a tensor that is known in part. */
#define MAX_PARTIAL ((size_t)1024)

/* The node that is being folded, and its call. */
struct node_folding {
    struct ldnq_graph *graph;
    struct ldnq_node *node;
    struct ldnq_folding *folding;
    struct ldnq_op_call call;
    struct ldnq_tensor *in, *out;
    const struct ldnq_tensor **in_list;
};

/* How much of a value's data is known. */
enum knowledge { UNKNOWN, PARTIAL, COMPLETE };

static enum knowledge find_value_knowledge(const struct ldnq_value *value)
{
    if (value->constant)
        return COMPLETE;
    return value->partial ? PARTIAL : UNKNOWN;
}

static void make_input_tensor(const struct ldnq_value *value, struct ldnq_tensor *tensor)
{
    if (value->constant)
        *tensor = *value->constant;
    else
        *tensor = (struct ldnq_tensor){ .dtype = value->dtype,
                                        .shape = value->shape,
                                        .data = (void *)value->partial };
}

static enum ldnq_status prepare_op_call(struct node_folding *f, struct ldnq_error *err)
{
    struct ldnq_node *node = f->node;
    struct ldnq_arena *arena = f->graph->arena;
    f->in = ldnq_arena_alloc(arena, node->input_count, sizeof *f->in, err);
    f->out = ldnq_arena_alloc(arena, node->output_count, sizeof *f->out, err);
    f->in_list = ldnq_arena_alloc(arena, node->input_count, sizeof *f->in_list, err);
    if (!f->in || !f->out || !f->in_list)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < node->input_count; i++) {
        if (!node->inputs[i])
            continue;
        make_input_tensor(node->inputs[i], &f->in[i]);
        f->in_list[i] = &f->in[i];
    }
    f->call = (struct ldnq_op_call){
        .node = node,
        .attrs = node->op_attrs,
        .in_count = node->input_count,
        .out_count = node->output_count,
        .in = f->in_list,
        .out = f->out,
        .graph = f->graph,
    };
    return LDNQ_OK;
}

/* The longest unknown list whose elements get a symbol each. */
#define MAX_NAMED 8

/* Gives each element of an unknown list a new symbol. A size computed from the batch (its
 * product with the number of heads) is not known, but it is the same number wherever it
 * goes. Graph inputs are left out: 0 and -1 in a fed shape mean other sizes. */
static enum ldnq_status assign_symbols(struct ldnq_graph *graph, struct ldnq_value *value,
                                       struct ldnq_error *err)
{
    size_t count;
    if (!value->producer || value->dtype != LDNQ_INT64 ||
        !ldnq_shape_count(&value->shape, &count) || count == 0 || count > MAX_NAMED)
        return LDNQ_OK;
    int64_t *partial = ldnq_arena_alloc(graph->arena, count, sizeof *partial, err);
    if (!partial)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(ldnq_graph_find_or_add_symbol(graph, NULL, &partial[i], err));
    value->partial = partial;
    return LDNQ_OK;
}

/* When a node joins known and unknown lists (Concat), gives symbols to the unknown ones,
 * so that the known ones are not lost. */
static enum ldnq_status assign_unknown_inputs(struct node_folding *f, struct ldnq_error *err)
{
    struct ldnq_node *node = f->node;
    bool some = false;
    for (size_t i = 0; i < node->input_count; i++)
        some = some || (node->inputs[i] && find_value_knowledge(node->inputs[i]) != UNKNOWN);
    if (!some || !(node->op->flags & LDNQ_OP_MOVES_ALL))
        return LDNQ_OK;
    for (size_t i = 0; i < node->input_count; i++) {
        struct ldnq_value *value = node->inputs[i];
        if (!value || find_value_knowledge(value) != UNKNOWN)
            continue;
        LDNQ_TRY(assign_symbols(f->graph, value, err));
        make_input_tensor(value, &f->in[i]);
    }
    return LDNQ_OK;
}

/* How much of the node's outputs forward can compute now. */
static enum knowledge find_result_knowledge(const struct ldnq_node *node)
{
    unsigned flags = node->op->flags;
    enum knowledge result = COMPLETE;
    if (flags & LDNQ_OP_RANDOM)
        return UNKNOWN;
    if (flags & LDNQ_OP_READS_SHAPE)
        return PARTIAL;
    for (size_t i = 0; i < node->input_count; i++) {
        if (!node->inputs[i] || find_value_knowledge(node->inputs[i]) == COMPLETE)
            continue;
        bool moves = (flags & LDNQ_OP_MOVES_ALL) ||
                     (i == 0 && (flags & (LDNQ_OP_MOVES_FIRST | LDNQ_OP_VIEW)));
        if (!moves || find_value_knowledge(node->inputs[i]) == UNKNOWN)
            return UNKNOWN;
        result = PARTIAL;
    }
    return result;
}

/* Whether the outputs are small enough to be stored with the graph. */
static bool result_is_small_enough(const struct node_folding *f, enum knowledge knowledge)
{
    for (size_t i = 0; i < f->node->output_count; i++) {
        size_t bytes, count;
        if (!ldnq_tensor_bytes(&f->out[i], &bytes) || bytes > MAX_RESULT ||
            !ldnq_shape_count(&f->out[i].shape, &count))
            return false;
        if (knowledge == PARTIAL && (f->out[i].dtype != LDNQ_INT64 || count > MAX_PARTIAL))
            return false;
        if (ldnq_dtype_size(f->out[i].dtype) == 0)
            return false;
    }
    return (f->node->op->flags & LDNQ_OP_CONTROL_FLOW) ||
           ldnq_ops_count_operations(&f->call) <= MAX_OPERATIONS;
}

/* Subtracts the node's outputs and scratch from the budget; false when they exceed it. */
static bool subtract_from_budget(struct node_folding *f)
{
    const struct ldnq_op *op = f->node->op;
    size_t needed = ldnq_ops_scratch_bytes(&f->call), bytes;
    if (op->flags & LDNQ_OP_VIEW)
        return true;
    for (size_t i = 0; i < f->node->output_count; i++)
        if (!ldnq_tensor_bytes(&f->out[i], &bytes) || !ldnq_size_add(needed, bytes, &needed))
            return false;
    if (needed > f->folding->budget)
        return false;
    f->folding->budget -= needed;
    return true;
}

static enum ldnq_status compute_outputs(struct node_folding *f, struct ldnq_error *err)
{
    struct ldnq_op_call *call = &f->call;
    const struct ldnq_op *op = f->node->op;
    if (op->flags & LDNQ_OP_VIEW) {
        f->out[0].data = f->in[0].data;
        return LDNQ_OK;
    }
    return ldnq_ops_allocate_and_forward(call, f->graph->arena, err);
}

static bool has_symbol(const struct ldnq_tensor *tensor)
{
    const int64_t *data = tensor->data;
    for (size_t i = 0, count = ldnq_tensor_count(tensor); i < count; i++)
        if (ldnq_is_symbol(data[i]))
            return true;
    return false;
}

static bool is_from_codes(const struct ldnq_node *node)
{
    if (strcmp(node->op->type, "DequantizeLinear") == 0)
        return true;
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && node->inputs[i]->from_codes)
            return true;
    return false;
}

static void store_output(struct node_folding *f, size_t i, enum knowledge knowledge)
{
    struct ldnq_value *value = f->node->outputs[i];
    if (!value)
        return;
    if (knowledge == PARTIAL && has_symbol(&f->out[i])) {
        value->partial = f->out[i].data;
        return;
    }
    value->constant = &f->out[i];
    value->folded_from = f->node;
    value->from_codes = is_from_codes(f->node);
    value->producer = NULL;
}

/* An output of a node without operator has no type, so nothing can be inferred from it. */
static bool inputs_have_types(const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && node->inputs[i]->dtype == LDNQ_UNDEFINED)
            return false;
    return true;
}

/* The type that the file has for output i of a node whose inputs were widened: the rule is that of
 * ops/widen.h. A type that the node itself names is marked already. */
static enum ldnq_dtype find_half_of_output(const struct ldnq_node *node, size_t i)
{
    const unsigned flags = node->op->flags;
    if (node->outputs[i]->half || (i > 0 && flags & LDNQ_OP_FLOAT32_STATISTICS) ||
        strcmp(node->op_type, "Cast") == 0)
        return node->outputs[i]->half;
    if (flags & LDNQ_OP_CONTROL_FLOW)
        return ldnq_subgraphs_find_half_of_output(node, i);
    const size_t first = strcmp(node->op_type, "CastLike") == 0 ? 1 : 0;
    for (size_t k = first; k < node->input_count; k++) {
        const struct ldnq_value *input = node->inputs[k];
        if (input && input->half)
            return input->half;
        if (k == first && input && input->dtype == LDNQ_FLOAT)
            break;
    }
    return LDNQ_UNDEFINED;
}

static enum ldnq_status infer_and_compute_outputs(struct node_folding *f, struct ldnq_error *err)
{
    struct ldnq_node *node = f->node;
    bool has_bodies = node->op->flags & LDNQ_OP_CONTROL_FLOW;
    LDNQ_TRY(prepare_op_call(f, err));
    if (has_bodies)
        LDNQ_TRY(ldnq_subgraphs_fold_constants(f->folding, node, err));
    LDNQ_TRY(assign_unknown_inputs(f, err));
    LDNQ_TRY(ldnq_ops_infer_shape(&f->call, err));
    for (size_t i = 0; i < node->output_count; i++) {
        if (!node->outputs[i])
            continue;
        node->outputs[i]->dtype = f->out[i].dtype;
        node->outputs[i]->shape = f->out[i].shape;
        if (f->out[i].dtype == LDNQ_FLOAT)
            node->outputs[i]->half = find_half_of_output(node, i);
    }
    enum knowledge knowledge = find_result_knowledge(node);
    if (has_bodies || knowledge == UNKNOWN || !result_is_small_enough(f, knowledge) ||
        !subtract_from_budget(f))
        return LDNQ_OK;
    enum ldnq_status status = compute_outputs(f, err);
    /* What can't be computed with symbols (the Size of a symbolic shape) is left to run time. */
    if (knowledge == PARTIAL && status != LDNQ_OK && status != LDNQ_NOMEM)
        return LDNQ_OK;
    for (size_t i = 0; status == LDNQ_OK && i < node->output_count; i++)
        store_output(f, i, knowledge);
    return status;
}

static bool all_outputs_are_constant(const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] && !node->outputs[i]->constant)
            return false;
    return true;
}

/* ---- all nodes of a graph
 * -------------------------------------------------------------------------- */

/* The nodes that remain. The list grows when a branch is inlined. */
struct remaining_nodes {
    struct ldnq_node **nodes;
    size_t count, capacity;
};

static enum ldnq_status append_node(struct ldnq_graph *graph, struct remaining_nodes *remaining,
                                    struct ldnq_node *node, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_list_reserve(graph->arena, &remaining->nodes, remaining->count,
                               &remaining->capacity, sizeof *remaining->nodes, err));
    remaining->nodes[remaining->count++] = node;
    return LDNQ_OK;
}

/* Makes the outputs of a node that failed unknown, and adds it to the problems. In a body,
 * which may never run, inputs that don't fit are no fault of the model. */
static enum ldnq_status record_problem(struct ldnq_folding *folding, const struct ldnq_graph *graph,
                                       const struct ldnq_node *node, enum ldnq_status status,
                                       const char *reason, struct ldnq_error *err)
{
    for (size_t i = 0; i < node->output_count; i++) {
        if (!node->outputs[i])
            continue;
        node->outputs[i]->dtype = LDNQ_UNDEFINED;
        node->outputs[i]->shape.rank = LDNQ_RANK_UNKNOWN;
    }
    if (folding->is_dry_run || (folding->body_depth > 0 && status != LDNQ_UNSUPPORTED))
        return LDNQ_OK;
    return ldnq_node_problems_add(&folding->problems, graph, node, status, reason, err);
}

static enum ldnq_status fold_nodes(struct ldnq_folding *folding, struct ldnq_graph *graph,
                                   struct ldnq_node **nodes, size_t count,
                                   struct remaining_nodes *remaining, struct ldnq_error *err);

static enum ldnq_status fold_node(struct ldnq_folding *folding, struct ldnq_graph *graph,
                                  struct ldnq_node *node, struct remaining_nodes *remaining,
                                  struct ldnq_error *err)
{
    if (!node->op || !inputs_have_types(node))
        return append_node(graph, remaining, node, err);
    struct ldnq_graph *taken = node->op->flags & LDNQ_OP_CONTROL_FLOW && !folding->is_dry_run
                                   ? ldnq_subgraph_find_taken_branch(node)
                                   : NULL;
    if (taken) {
        struct ldnq_node **nodes;
        size_t count;
        LDNQ_TRY(ldnq_subgraph_inline(graph, node, taken, &nodes, &count, err));
        return fold_nodes(folding, graph, nodes, count, remaining, err);
    }
    struct node_folding f = { .graph = graph, .node = node, .folding = folding };
    struct ldnq_error reason;
    enum ldnq_status status = infer_and_compute_outputs(&f, &reason);
    if (status == LDNQ_NOMEM)
        return ldnq_fail(err, status, "%s", reason.message);
    if (status != LDNQ_OK)
        LDNQ_TRY(record_problem(folding, graph, node, status, reason.message, err));
    return all_outputs_are_constant(node) ? LDNQ_OK : append_node(graph, remaining, node, err);
}

static enum ldnq_status fold_nodes(struct ldnq_folding *folding, struct ldnq_graph *graph,
                                   struct ldnq_node **nodes, size_t count,
                                   struct remaining_nodes *remaining, struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(fold_node(folding, graph, nodes[i], remaining, err));
    return LDNQ_OK;
}

enum ldnq_status ldnq_fold_graph(struct ldnq_folding *folding, struct ldnq_graph *graph,
                                 struct ldnq_error *err)
{
    struct remaining_nodes remaining = { 0 };
    LDNQ_TRY(fold_nodes(folding, graph, graph->nodes, graph->node_count, &remaining, err));
    graph->nodes = remaining.nodes;
    graph->node_count = remaining.count;
    return LDNQ_OK;
}

enum ldnq_status ldnq_fold_within_budget(struct ldnq_graph *graph, size_t budget,
                                         struct ldnq_error *err)
{
    struct ldnq_folding folding = { .budget = budget };
    LDNQ_TRY(ldnq_fold_graph(&folding, graph, err));
    return ldnq_node_problems_fail(&folding.problems, graph, err);
}

enum ldnq_status ldnq_pass_fold_constants(struct ldnq_graph *graph, struct ldnq_error *err)
{
    return ldnq_fold_within_budget(graph, MAX_TOTAL, err);
}
