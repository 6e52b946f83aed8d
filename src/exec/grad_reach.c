#include "exec/grad_reach.h"

#include "base/text.h"

/* ---- what an operator says ---------------------------------------------------------- */

static bool has_bit(unsigned mask, size_t i)
{
    return i < 32 ? mask >> i & 1u : mask == LDNQ_ALL_INPUTS;
}

bool ldnq_grad_flows(const struct ldnq_node *node, size_t i)
{
    unsigned flows = node->op->flags & LDNQ_OP_VIEW ? 1 : node->op->flows;
    return has_bit(flows, i);
}

bool ldnq_grad_reads_in(const struct ldnq_node *node, size_t i)
{
    return has_bit(node->op->reads_in, i);
}

bool ldnq_grad_reads_out(const struct ldnq_node *node, size_t i)
{
    return has_bit(node->op->reads_out, i);
}

bool ldnq_grad_is_codes(const struct ldnq_value *value)
{
    const struct ldnq_node *node = value->producer;
    while (node && node->op && (node->op->flags & LDNQ_OP_VIEW) && node->outputs[0] == value &&
           node->inputs[0]) {
        value = node->inputs[0];
        node = value->producer;
    }
    return node && node->op && (node->op->flags & LDNQ_OP_CODES) && node->outputs[0] == value;
}

static bool is_other_real(const struct ldnq_value *value)
{
    enum ldnq_dtype dtype = value->dtype;
    return dtype == LDNQ_DOUBLE || dtype == LDNQ_FLOAT16 || dtype == LDNQ_BFLOAT16;
}

/* A graph that was not folded does not know all types; the executor looks again. */
static bool may_carry(const struct ldnq_value *value)
{
    return value->dtype == LDNQ_FLOAT || value->dtype == LDNQ_UNDEFINED ||
           ldnq_grad_is_codes(value);
}

/* ---- the walk ------------------------------------------------------------------------ */

/* Forward: what the requested values change. Nodes are active where a gradient could
 * leave them. */
static void walk_down(struct ldnq_grad_reach *reach, const struct ldnq_graph *graph,
                      const struct ldnq_grad_options *options, bool *changed)
{
    for (size_t p = options->first; p < options->last; p++) {
        const struct ldnq_node *node = graph->nodes[p];
        for (size_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] && changed[node->inputs[i]->index] && ldnq_grad_flows(node, i))
                reach->active[p] = true;
        for (size_t i = 0; reach->active[p] && i < node->output_count; i++)
            if (node->outputs[i] && may_carry(node->outputs[i]))
                changed[node->outputs[i]->index] = true;
    }
}

/* Backward: of those, what changes a target. */
static void walk_up(struct ldnq_grad_reach *reach, const struct ldnq_graph *graph,
                    const struct ldnq_grad_options *options, const bool *changed)
{
    for (size_t p = options->last; p-- > options->first;) {
        const struct ldnq_node *node = graph->nodes[p];
        bool matters = false;
        for (size_t i = 0; i < node->output_count; i++)
            matters |= node->outputs[i] && reach->carries[node->outputs[i]->index];
        reach->active[p] = reach->active[p] && matters;
        for (size_t i = 0; reach->active[p] && i < node->input_count; i++)
            if (node->inputs[i] && changed[node->inputs[i]->index] && ldnq_grad_flows(node, i))
                reach->carries[node->inputs[i]->index] = true;
    }
}

static enum ldnq_status check_targets(const struct ldnq_graph *graph,
                                      const struct ldnq_grad_options *options, const bool *changed,
                                      struct ldnq_error *err)
{
    for (size_t i = 0; i < options->target_count; i++)
        if (!changed[options->targets[i]->index])
            return ldnq_fail(err, LDNQ_USAGE,
                             "%s: none of the values whose gradients are requested changes '%s'",
                             graph->file, options->targets[i]->name);
    return LDNQ_OK;
}

/* Values that change a target in any way: along some of these a gradient is lost. */
static void walk_all(bool *matters, const struct ldnq_graph *graph,
                     const struct ldnq_grad_options *options)
{
    for (size_t i = 0; i < options->target_count; i++)
        matters[options->targets[i]->index] = true;
    for (size_t p = options->last; p-- > options->first;) {
        const struct ldnq_node *node = graph->nodes[p];
        bool used = false;
        for (size_t i = 0; i < node->output_count; i++)
            used |= node->outputs[i] && matters[node->outputs[i]->index];
        for (size_t i = 0; used && i < node->input_count; i++)
            if (node->inputs[i])
                matters[node->inputs[i]->index] = true;
    }
}

/* Why a gradient that should go through a node can't; NULL where it can. Integers
 * that are no codes have no gradient, and that is right. */
static const char *obstacle(const struct ldnq_node *node, bool active, const bool *changed,
                            const bool *matters)
{
    bool flows = false, from_codes = false;
    for (size_t i = 0; i < node->input_count; i++) {
        bool here = node->inputs[i] && changed[node->inputs[i]->index] && ldnq_grad_flows(node, i);
        flows |= here;
        from_codes |= here && ldnq_grad_is_codes(node->inputs[i]);
    }
    for (size_t i = 0; flows && i < node->output_count; i++) {
        const struct ldnq_value *out = node->outputs[i];
        if (out && matters[out->index] && is_other_real(out))
            return "its output is not float32";
        if (out && matters[out->index] && from_codes && !may_carry(out))
            return "it reads integer codes, whose gradients only a DequantizeLinear takes";
    }
    bool passes = node->op->backward || (node->op->flags & LDNQ_OP_VIEW);
    return active && !passes ? "it has no gradient" : NULL;
}

static enum ldnq_status check_nodes(const struct ldnq_grad_reach *reach,
                                    const struct ldnq_graph *graph,
                                    const struct ldnq_grad_options *options, const bool *changed,
                                    const bool *matters, struct ldnq_error *err)
{
    char list[LDNQ_ERROR_SIZE];
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    for (size_t p = options->first; p < options->last; p++) {
        const struct ldnq_node *node = graph->nodes[p];
        const char *why = obstacle(node, reach->active[p], changed, matters);
        if (why)
            ldnq_text_item(&text, "; ", "node '%s' (%s, opset %d): %s", node->label, node->op_type,
                           node->opset, why);
    }
    ldnq_text_end(&text);
    return text.items
               ? ldnq_fail(err, LDNQ_UNSUPPORTED, "%s: gradients can't pass %s", graph->file, list)
               : LDNQ_OK;
}

enum ldnq_status ldnq_grad_reach_init(struct ldnq_grad_reach *reach, const struct ldnq_graph *graph,
                                      const struct ldnq_grad_options *options,
                                      struct ldnq_arena *arena, struct ldnq_error *err)
{
    size_t values = graph->value_count;
    reach->carries = ldnq_arena_alloc(arena, values, sizeof(bool), err);
    reach->requested = ldnq_arena_alloc(arena, values, sizeof(bool), err);
    reach->target = ldnq_arena_alloc(arena, values, sizeof(bool), err);
    reach->active = ldnq_arena_alloc(arena, graph->node_count, sizeof(bool), err);
    bool *changed = ldnq_arena_alloc(arena, values, sizeof(bool), err);
    bool *matters = ldnq_arena_alloc(arena, values, sizeof(bool), err);
    if (!reach->carries || !reach->requested || !reach->target || !reach->active || !changed ||
        !matters)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < options->requested_count; i++)
        reach->requested[options->requested[i]->index] = changed[options->requested[i]->index] =
            true;
    walk_down(reach, graph, options, changed);
    walk_all(matters, graph, options);
    for (size_t i = 0; i < options->target_count; i++)
        reach->target[options->targets[i]->index] = reach->carries[options->targets[i]->index] =
            true;
    walk_up(reach, graph, options, changed);
    LDNQ_TRY(check_nodes(reach, graph, options, changed, matters, err));
    return check_targets(graph, options, changed, err);
}
