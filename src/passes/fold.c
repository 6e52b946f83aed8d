/* fold.c: shapes ahead of data, and constants out of nodes.
 *
 * A small integer tensor may be known in part: `content` holds its elements with
 * symbols among them (a Shape of a symbolic batch). Operators that only move
 * elements run on contents as they do on data, so that a chain of Shape, Gather,
 * Concat and Slice comes out plain wherever the batch drops out of it.
 */
#include "passes/fold.h"

#include <string.h>

#include "passes/passes.h"

#include "base/size.h"
#include "ops/op.h"
#include "passes/subgraphs.h"

/* Larger results (a constant expanded to an image's size) are left to run time. */
#define LARGEST_RESULT ((size_t)256 << 20)
/* All results and their scratch live as long as the graph. */
#define LARGEST_TOTAL ((size_t)1 << 30)
#define LARGEST_CONTENT ((size_t)1024)

struct folder {
    struct ldnq_graph *graph;
    struct ldnq_node *node;
    struct ldnq_folding *folding;
    struct ldnq_op_call call;
    struct ldnq_tensor *in, *out;
    const struct ldnq_tensor **in_list;
};

enum knowledge { UNKNOWN, PARTLY, FULLY };

static enum knowledge knowledge_of(const struct ldnq_value *value)
{
    if (value->constant)
        return FULLY;
    return value->partial ? PARTLY : UNKNOWN;
}

static void fill_input(const struct ldnq_value *value, struct ldnq_tensor *tensor)
{
    if (value->constant)
        *tensor = *value->constant;
    else
        *tensor = (struct ldnq_tensor){ .dtype = value->dtype,
                                        .shape = value->shape,
                                        .data = (void *)value->partial };
}

static enum ldnq_status prepare(struct folder *folder, struct ldnq_error *err)
{
    struct ldnq_node *node = folder->node;
    struct ldnq_arena *arena = folder->graph->arena;
    folder->in = ldnq_arena_alloc(arena, node->input_count, sizeof *folder->in, err);
    folder->out = ldnq_arena_alloc(arena, node->output_count, sizeof *folder->out, err);
    folder->in_list = ldnq_arena_alloc(arena, node->input_count, sizeof *folder->in_list, err);
    if (!folder->in || !folder->out || !folder->in_list)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < node->input_count; i++) {
        if (!node->inputs[i])
            continue;
        fill_input(node->inputs[i], &folder->in[i]);
        folder->in_list[i] = &folder->in[i];
    }
    folder->call = (struct ldnq_op_call){
        .node = node,
        .attrs = node->op_attrs,
        .in_count = node->input_count,
        .out_count = node->output_count,
        .in = folder->in_list,
        .out = folder->out,
        .graph = folder->graph,
    };
    return LDNQ_OK;
}

/* The longest list whose elements are named although nothing is known of them. */
#define LONGEST_NAMED 8

/* Gives each element of a value a symbol: what was computed of the batch (a product of
 * it with the number of heads) is not known, but it is one number wherever it goes. Not
 * of what is fed, where 0 and -1 may stand for other sizes. */
static enum ldnq_status name_elements(struct ldnq_graph *graph, struct ldnq_value *value,
                                      struct ldnq_error *err)
{
    size_t count;
    if (!value->producer || value->dtype != LDNQ_INT64 ||
        !ldnq_shape_count(&value->shape, &count) || count == 0 || count > LONGEST_NAMED)
        return LDNQ_OK;
    int64_t *content = ldnq_arena_alloc(graph->arena, count, sizeof *content, err);
    if (!content)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(ldnq_graph_symbol(graph, NULL, &content[i], err));
    value->partial = content;
    return LDNQ_OK;
}

/* A list that is joined out of known and unknown parts keeps the known ones. */
static enum ldnq_status name_unknown(struct folder *folder, struct ldnq_error *err)
{
    struct ldnq_node *node = folder->node;
    bool some = false;
    for (size_t i = 0; i < node->input_count; i++)
        some = some || (node->inputs[i] && knowledge_of(node->inputs[i]) != UNKNOWN);
    if (!some || !(node->op->flags & LDNQ_OP_MOVES_ALL))
        return LDNQ_OK;
    for (size_t i = 0; i < node->input_count; i++) {
        struct ldnq_value *value = node->inputs[i];
        if (!value || knowledge_of(value) != UNKNOWN)
            continue;
        LDNQ_TRY(name_elements(folder->graph, value, err));
        fill_input(value, &folder->in[i]);
    }
    return LDNQ_OK;
}

/* Whether forward gives, now, what it would give on data; and for how much of it. */
static enum knowledge result_knowledge(const struct ldnq_node *node)
{
    unsigned flags = node->op->flags;
    enum knowledge least = FULLY;
    if (flags & LDNQ_OP_RANDOM)
        return UNKNOWN;
    if (flags & LDNQ_OP_READS_SHAPE)
        return PARTLY;
    for (size_t i = 0; i < node->input_count; i++) {
        if (!node->inputs[i] || knowledge_of(node->inputs[i]) == FULLY)
            continue;
        bool moves = (flags & LDNQ_OP_MOVES_ALL) ||
                     (i == 0 && (flags & (LDNQ_OP_MOVES_FIRST | LDNQ_OP_VIEW)));
        if (!moves || knowledge_of(node->inputs[i]) == UNKNOWN)
            return UNKNOWN;
        least = PARTLY;
    }
    return least;
}

static bool result_fits(const struct folder *folder, enum knowledge knowledge)
{
    for (size_t i = 0; i < folder->node->output_count; i++) {
        size_t bytes, count;
        if (!ldnq_tensor_bytes(&folder->out[i], &bytes) || bytes > LARGEST_RESULT ||
            !ldnq_shape_count(&folder->out[i].shape, &count))
            return false;
        if (knowledge == PARTLY && (folder->out[i].dtype != LDNQ_INT64 || count > LARGEST_CONTENT))
            return false;
        if (ldnq_dtype_size(folder->out[i].dtype) == 0)
            return false;
    }
    return true;
}

/* Takes what the node needs out of the budget; false where that is too much. */
static bool take_memory(struct folder *folder)
{
    const struct ldnq_op *op = folder->node->op;
    size_t needed = ldnq_ops_scratch(&folder->call), bytes;
    if (op->flags & LDNQ_OP_VIEW)
        return true;
    for (size_t i = 0; i < folder->node->output_count; i++)
        if (!ldnq_tensor_bytes(&folder->out[i], &bytes) || !ldnq_size_add(needed, bytes, &needed))
            return false;
    if (needed > folder->folding->budget)
        return false;
    folder->folding->budget -= needed;
    return true;
}

static enum ldnq_status compute(struct folder *folder, struct ldnq_error *err)
{
    struct ldnq_op_call *call = &folder->call;
    const struct ldnq_op *op = folder->node->op;
    if (op->flags & LDNQ_OP_VIEW) {
        folder->out[0].data = folder->in[0].data;
        return LDNQ_OK;
    }
    for (size_t i = 0; i < call->out_count; i++) {
        size_t bytes = 0;
        ldnq_tensor_bytes(&folder->out[i], &bytes);
        folder->out[i].data = ldnq_arena_alloc(folder->graph->arena, bytes, 1, err);
        if (!folder->out[i].data)
            return LDNQ_NOMEM;
    }
    size_t scratch = ldnq_ops_scratch(call);
    if (scratch)
        call->scratch = ldnq_arena_alloc(folder->graph->arena, scratch, 1, err);
    if (scratch && !call->scratch)
        return LDNQ_NOMEM;
    return ldnq_ops_forward(call, err);
}

static bool has_symbol(const struct ldnq_tensor *tensor)
{
    const int64_t *data = tensor->data;
    for (size_t i = 0, count = ldnq_tensor_count(tensor); i < count; i++)
        if (ldnq_is_symbol(data[i]))
            return true;
    return false;
}

static bool comes_from_codes(const struct ldnq_node *node)
{
    if (strcmp(node->op->type, "DequantizeLinear") == 0)
        return true;
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && node->inputs[i]->from_codes)
            return true;
    return false;
}

static void store(struct folder *folder, size_t i, enum knowledge knowledge)
{
    struct ldnq_value *value = folder->node->outputs[i];
    if (!value)
        return;
    if (knowledge == PARTLY && has_symbol(&folder->out[i])) {
        value->partial = folder->out[i].data;
        return;
    }
    value->constant = &folder->out[i];
    value->folded_from = folder->node;
    value->from_codes = comes_from_codes(folder->node);
    value->producer = NULL;
}

/* Inputs that a foreign node makes have no type; what comes of them has none either. */
static bool inputs_have_types(const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && node->inputs[i]->dtype == LDNQ_UNDEFINED)
            return false;
    return true;
}

static enum ldnq_status visit(struct folder *folder, struct ldnq_error *err)
{
    struct ldnq_node *node = folder->node;
    bool has_bodies = node->op->flags & LDNQ_OP_CONTROL_FLOW;
    LDNQ_TRY(prepare(folder, err));
    if (has_bodies)
        LDNQ_TRY(ldnq_control_look(folder->folding, node, err));
    LDNQ_TRY(name_unknown(folder, err));
    LDNQ_TRY(ldnq_ops_infer(&folder->call, err));
    for (size_t i = 0; i < node->output_count; i++) {
        if (!node->outputs[i])
            continue;
        node->outputs[i]->dtype = folder->out[i].dtype;
        node->outputs[i]->shape = folder->out[i].shape;
    }
    enum knowledge knowledge = result_knowledge(node);
    if (has_bodies || knowledge == UNKNOWN || !result_fits(folder, knowledge) ||
        !take_memory(folder))
        return LDNQ_OK;
    enum ldnq_status status = compute(folder, err);
    /* What symbols can't answer (the Size of a symbolic shape) is left to run time. */
    if (knowledge == PARTLY && status != LDNQ_OK && status != LDNQ_NOMEM)
        return LDNQ_OK;
    for (size_t i = 0; status == LDNQ_OK && i < node->output_count; i++)
        store(folder, i, knowledge);
    return status;
}

static bool is_folded(const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] && !node->outputs[i]->constant)
            return false;
    return true;
}

/* ---- the walk -------------------------------------------------------------------------- */

/* The nodes that stay, in a list that grows where branches come into it. */
struct kept {
    struct ldnq_node **nodes;
    size_t count, capacity;
};

static enum ldnq_status keep(struct ldnq_graph *graph, struct kept *kept, struct ldnq_node *node,
                             struct ldnq_error *err)
{
    if (kept->count == kept->capacity) {
        size_t capacity = ldnq_size_max(64, 2 * kept->capacity);
        struct ldnq_node **larger = ldnq_arena_alloc(graph->arena, capacity, sizeof *larger, err);
        if (!larger)
            return LDNQ_NOMEM;
        if (kept->count)
            memcpy(larger, kept->nodes, kept->count * sizeof *larger);
        kept->nodes = larger;
        kept->capacity = capacity;
    }
    kept->nodes[kept->count++] = node;
    return LDNQ_OK;
}

/* What comes of a node that fails has no type. In a body that may never be run, data
 * that don't fit are none of the model's faults. */
static void note(struct ldnq_folding *folding, const struct ldnq_graph *graph,
                 const struct ldnq_node *node, enum ldnq_status status, const char *reason)
{
    struct ldnq_error problem;
    for (size_t i = 0; i < node->output_count; i++) {
        if (!node->outputs[i])
            continue;
        node->outputs[i]->dtype = LDNQ_UNDEFINED;
        node->outputs[i]->shape.rank = LDNQ_RANK_UNKNOWN;
    }
    if (folding->rehearsal || (folding->bodies > 0 && status != LDNQ_UNSUPPORTED))
        return;
    ldnq_node_fail(graph, node, status, &problem, "%s", reason);
    /* The message of the whole list names the file. */
    ldnq_text_item(&folding->problems, "; ", "%s", ldnq_graph_strip_file(graph, problem.message));
    if (folding->worst != LDNQ_MODEL)
        folding->worst = status;
}

static enum ldnq_status fold_nodes(struct ldnq_folding *folding, struct ldnq_graph *graph,
                                   struct ldnq_node **nodes, size_t count, struct kept *kept,
                                   struct ldnq_error *err);

static enum ldnq_status fold_node(struct ldnq_folding *folding, struct ldnq_graph *graph,
                                  struct ldnq_node *node, struct kept *kept, struct ldnq_error *err)
{
    if (!node->op || !inputs_have_types(node))
        return keep(graph, kept, node, err);
    struct ldnq_graph *taken = node->op->flags & LDNQ_OP_CONTROL_FLOW && !folding->rehearsal
                                   ? ldnq_control_taken(node)
                                   : NULL;
    if (taken) {
        struct ldnq_node **nodes;
        size_t count;
        LDNQ_TRY(ldnq_control_inline(graph, node, taken, &nodes, &count, err));
        return fold_nodes(folding, graph, nodes, count, kept, err);
    }
    struct folder folder = { .graph = graph, .node = node, .folding = folding };
    struct ldnq_error reason;
    enum ldnq_status status = visit(&folder, &reason);
    if (status == LDNQ_NOMEM)
        return ldnq_fail(err, status, "%s", reason.message);
    if (status != LDNQ_OK)
        note(folding, graph, node, status, reason.message);
    return is_folded(node) ? LDNQ_OK : keep(graph, kept, node, err);
}

static enum ldnq_status fold_nodes(struct ldnq_folding *folding, struct ldnq_graph *graph,
                                   struct ldnq_node **nodes, size_t count, struct kept *kept,
                                   struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(fold_node(folding, graph, nodes[i], kept, err));
    return LDNQ_OK;
}

enum ldnq_status ldnq_fold_graph(struct ldnq_folding *folding, struct ldnq_graph *graph,
                                 struct ldnq_error *err)
{
    struct kept kept = { 0 };
    LDNQ_TRY(fold_nodes(folding, graph, graph->nodes, graph->node_count, &kept, err));
    graph->nodes = kept.nodes;
    graph->node_count = kept.count;
    return LDNQ_OK;
}

enum ldnq_status ldnq_fold_within(struct ldnq_graph *graph, size_t budget, struct ldnq_error *err)
{
    char list[LDNQ_ERROR_SIZE];
    struct ldnq_folding folding = { .budget = budget, .worst = LDNQ_OK };
    ldnq_text_init(&folding.problems, list, sizeof list);
    LDNQ_TRY(ldnq_fold_graph(&folding, graph, err));
    if (folding.worst == LDNQ_OK)
        return LDNQ_OK;
    ldnq_text_end(&folding.problems);
    return ldnq_fail(err, folding.worst, "%s: %s", graph->file, list);
}

enum ldnq_status ldnq_pass_fold(struct ldnq_graph *graph, struct ldnq_error *err)
{
    return ldnq_fold_within(graph, LARGEST_TOTAL, err);
}
