/* SPDX-License-Identifier: Apache-2.0 */
#include "passes/passes.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "ops/op.h"
#include "passes/sequences.h"
#include "passes/subgraphs.h"

static size_t replace_symbol(struct ldnq_graph *graph, int64_t symbol, int64_t size)
{
    size_t replaced = 0;
    for (size_t i = 0; i < graph->input_count; i++) {
        struct ldnq_shape *shape = &graph->inputs[i]->shape;
        for (int d = 0; d < shape->rank; d++) {
            if (shape->dim[d] == symbol) {
                shape->dim[d] = size;
                replaced++;
            }
        }
    }
    return replaced;
}

/* The first input and axis with this symbol; NULL when there is none. */
static const struct ldnq_value *find_symbol(const struct ldnq_graph *graph, int64_t symbol,
                                            int *axis)
{
    for (size_t i = 0; i < graph->input_count; i++)
        for (*axis = 0; *axis < graph->inputs[i]->shape.rank; ++*axis)
            if (graph->inputs[i]->shape.dim[*axis] == symbol)
                return graph->inputs[i];
    return NULL;
}

static enum ldnq_status fail_unknown_dim(const struct ldnq_graph *graph, const char *name,
                                         struct ldnq_error *err)
{
    char list[1024];
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    for (size_t i = 0; i < graph->symbol_count; i++) {
        int axis;
        const struct ldnq_value *value = find_symbol(graph, LDNQ_SYMBOL_BASE + (int64_t)i, &axis);
        if (value && graph->symbols[i])
            ldnq_text_append_item(&text, ", ", "'%s'", graph->symbols[i]);
        else if (value)
            ldnq_text_append_item(&text, ", ", "'%s:%d'", value->name, axis);
    }
    ldnq_text_append_omitted_count(&text);
    return ldnq_fail(err, LDNQ_USAGE, "%s: no open dimension of an input is named '%s'; %s%s",
                     graph->file, name, *list ? "there are " : "there is none", list);
}

/* The dimension that INPUT:AXIS names; 0 when there is none. */
static int64_t find_dim_by_input_axis(const struct ldnq_graph *graph, const char *name)
{
    const char *colon = strrchr(name, ':');
    for (size_t i = 0; colon && i < graph->input_count; i++) {
        const struct ldnq_value *value = graph->inputs[i];
        size_t length = (size_t)(colon - name);
        if (strncmp(value->name, name, length) != 0 || value->name[length] != '\0')
            continue;
        for (int d = 0; d < value->shape.rank && d < 10; d++)
            if (colon[1] == '0' + d && colon[2] == '\0')
                return value->shape.dim[d];
    }
    return 0;
}

enum ldnq_status ldnq_pass_bind_dim(struct ldnq_graph *graph, const char *name, int64_t size,
                                    struct ldnq_error *err)
{
    if (size < 1)
        return ldnq_fail(err, LDNQ_USAGE, "dimension '%s' can't be %" PRId64, name, size);
    int64_t symbol = find_dim_by_input_axis(graph, name);
    for (size_t i = 0; i < graph->symbol_count; i++)
        if (graph->symbols[i] && strcmp(graph->symbols[i], name) == 0)
            symbol = LDNQ_SYMBOL_BASE + (int64_t)i;
    if (!ldnq_is_symbol(symbol) || replace_symbol(graph, symbol, size) == 0)
        return fail_unknown_dim(graph, name, err);
    return LDNQ_OK;
}

static bool has_needed_output(const struct ldnq_node *node, const bool *needed)
{
    for (size_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] && needed[node->outputs[i]->index])
            return true;
    return false;
}

static void mark_inputs_as_needed(const struct ldnq_node *node, bool *needed)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i])
            needed[node->inputs[i]->index] = true;
    for (size_t i = 0; i < node->capture_count; i++)
        needed[node->captures[i]->index] = true;
}

enum ldnq_status ldnq_pass_remove_dead_nodes(struct ldnq_graph *graph, struct ldnq_error *err)
{
    bool *needed = ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *needed, err);
    bool *alive = ldnq_arena_alloc(graph->arena, graph->node_count, sizeof *alive, err);
    if (!needed || !alive)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->output_count; i++)
        needed[graph->outputs[i]->index] = true;
    for (size_t i = graph->node_count; i-- > 0;) {
        alive[i] = has_needed_output(graph->nodes[i], needed);
        if (alive[i] && graph->nodes[i]->op && (graph->nodes[i]->op->flags & LDNQ_OP_CONTROL_FLOW))
            LDNQ_TRY(ldnq_subgraphs_remove_unread(graph, graph->nodes[i], err));
        if (alive[i])
            mark_inputs_as_needed(graph->nodes[i], needed);
    }
    size_t kept = 0;
    for (size_t i = 0; i < graph->node_count; i++) {
        struct ldnq_node *node = graph->nodes[i];
        if (alive[i])
            graph->nodes[kept++] = node;
        for (size_t o = 0; !alive[i] && o < node->output_count; o++)
            if (node->outputs[o])
                node->outputs[o]->producer = NULL;
    }
    graph->node_count = kept;
    return LDNQ_OK;
}

/* One message with the nodes that can't be bound and those that can't be folded. */
static enum ldnq_status
fail_with_both_problems(const struct ldnq_graph *graph, enum ldnq_status bound,
                        const struct ldnq_error *first, enum ldnq_status folded,
                        const struct ldnq_error *second, struct ldnq_error *err)
{
    enum ldnq_status worst = bound == LDNQ_MODEL ? bound : folded;
    if (bound == LDNQ_OK || folded == LDNQ_NOMEM)
        return ldnq_fail(err, folded, "%s", second->message);
    if (folded == LDNQ_OK)
        return ldnq_fail(err, bound, "%s", first->message);
    return ldnq_fail(err, worst, "%s; %s", first->message,
                     ldnq_graph_strip_file(graph, second->message));
}

enum ldnq_status ldnq_pass_bind_and_fold(struct ldnq_graph *graph, struct ldnq_error *err)
{
    struct ldnq_error first, second;
    LDNQ_TRY(ldnq_pass_remove_dead_nodes(graph, err));
    LDNQ_TRY(ldnq_pass_replace_sequences(graph, err));
    LDNQ_TRY(ldnq_pass_remove_dead_nodes(graph, err));
    enum ldnq_status bound = ldnq_ops_bind(graph, &first);
    if (bound == LDNQ_NOMEM)
        return ldnq_fail(err, bound, "%s", first.message);
    LDNQ_TRY(ldnq_pass_remove_dead_nodes(graph, err));
    enum ldnq_status folded = ldnq_pass_fold_constants(graph, &second);
    if (folded == LDNQ_OK)
        ldnq_pass_move_lookups(graph);
    if (bound == LDNQ_OK && folded == LDNQ_OK)
        return LDNQ_OK;
    return fail_with_both_problems(graph, bound, &first, folded, &second, err);
}

enum ldnq_status ldnq_passes_run(struct ldnq_graph *graph, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_pass_bind_and_fold(graph, err));
    LDNQ_TRY(ldnq_pass_merge_batchnorms(graph, err));
    LDNQ_TRY(ldnq_pass_merge_pads(graph, err));
    LDNQ_TRY(ldnq_pass_remove_dead_nodes(graph, err));
    return ldnq_graph_verify(graph, err);
}

enum ldnq_status ldnq_passes_widen_and_run(struct ldnq_graph *graph, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_pass_widen_halves(graph, err));
    return ldnq_passes_run(graph, err);
}
