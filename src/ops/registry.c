#include "ops/op.h"

#include <string.h>

#include "base/text.h"
#include "ops/attr_kinds.h"

/* One line an operator; records of the same type stand together. */
static const struct ldnq_op *const table[] = {
#define LDNQ_OP(name) &ldnq_op_##name,
#include "ops/list.h"
#undef LDNQ_OP
};

static bool is_default_domain(const char *domain)
{
    return *domain == '\0' || strcmp(domain, "ai.onnx") == 0;
}

const struct ldnq_op *ldnq_ops_find(const char *domain, const char *type, int opset)
{
    if (!is_default_domain(domain))
        return NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i]->type, type) == 0 && table[i]->since <= opset &&
            opset <= table[i]->until)
            return table[i];
    return NULL;
}

bool ldnq_ops_has_type(const char *domain, const char *type)
{
    for (size_t i = 0; is_default_domain(domain) && i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i]->type, type) == 0)
            return true;
    return false;
}

/* Inputs and outputs that are left out at the end are as if they weren't there.
 * An operator with any number of outputs may go by how many are listed (Split). */
static void trim_lists(struct ldnq_node *node, const struct ldnq_op *op)
{
    while (node->input_count > 0 && !node->inputs[node->input_count - 1])
        node->input_count--;
    while (op->outputs_max >= 0 && node->output_count > 0 && !node->outputs[node->output_count - 1])
        node->output_count--;
}

static bool has_output(const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->output_count; i++)
        if (node->outputs[i])
            return true;
    return false;
}

/* After trim_lists. */
static enum ldnq_status check_counts(const struct ldnq_graph *graph, const struct ldnq_node *node,
                                     const struct ldnq_op *op, struct ldnq_error *err)
{
    size_t given = node->input_count, wanted = node->output_count;
    if (given < (size_t)op->inputs_min || (op->inputs_max >= 0 && given > (size_t)op->inputs_max))
        return ldnq_node_fail(graph, node, LDNQ_MODEL, err,
                              "has %zu inputs, which is not a number that it can have", given);
    /* Where any number is possible, none is optional. */
    size_t required = op->inputs_max < 0 ? given : (size_t)op->inputs_min;
    for (size_t i = 0; i < required; i++)
        if (!node->inputs[i])
            return ldnq_node_fail(graph, node, LDNQ_MODEL, err, "lacks its input %zu", i);
    if (op->outputs_max >= 0 && wanted > (size_t)op->outputs_max)
        return ldnq_node_fail(graph, node, LDNQ_UNSUPPORTED, err,
                              "has %zu outputs where ldnq makes %d", wanted, op->outputs_max);
    if (!has_output(node))
        return ldnq_node_fail(graph, node, LDNQ_MODEL, err, "has no output");
    return LDNQ_OK;
}

enum ldnq_status ldnq_ops_bind_node(const struct ldnq_graph *graph, struct ldnq_node *node,
                                    struct ldnq_error *err)
{
    const struct ldnq_op *op = ldnq_ops_find(node->domain, node->op_type, node->opset);
    if (!op && ldnq_ops_has_type(node->domain, node->op_type))
        return ldnq_node_fail(graph, node, LDNQ_UNSUPPORTED, err,
                              "its meaning at this opset is not supported");
    if (!op)
        return ldnq_node_fail(graph, node, LDNQ_UNSUPPORTED, err, "the operator is not supported");
    trim_lists(node, op);
    LDNQ_TRY(check_counts(graph, node, op, err));
    struct ldnq_error reason = { 0 };
    enum ldnq_status status = ldnq_op_check_attr_kinds(node, &reason);
    if (status == LDNQ_OK && op->read_attrs)
        status = op->read_attrs(node, graph->arena, &node->op_attrs, &reason);
    if (status != LDNQ_OK)
        return ldnq_node_fail(graph, node, status, err, "%s", reason.message);
    node->op = op;
    return LDNQ_OK;
}

struct binding {
    struct ldnq_text text;
    enum ldnq_status worst;
};

static enum ldnq_status bind_all(struct binding *binding, struct ldnq_graph *graph,
                                 struct ldnq_error *err);

/* Bodies first: their nodes are named even where the node around them is refused. */
static enum ldnq_status bind_bodies(struct binding *binding, const struct ldnq_node *node,
                                    struct ldnq_error *err)
{
    for (size_t i = 0; i < node->attr_count; i++)
        if (node->attrs[i].kind == LDNQ_ATTR_GRAPH)
            LDNQ_TRY(bind_all(binding, node->attrs[i].g, err));
    return LDNQ_OK;
}

static enum ldnq_status bind_all(struct binding *binding, struct ldnq_graph *graph,
                                 struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->node_count; i++) {
        struct ldnq_error reason = { 0 };
        LDNQ_TRY(bind_bodies(binding, graph->nodes[i], err));
        enum ldnq_status status = ldnq_ops_bind_node(graph, graph->nodes[i], &reason);
        if (status == LDNQ_OK)
            continue;
        if (status == LDNQ_NOMEM)
            return ldnq_fail(err, status, "%s", reason.message);
        /* The message of the whole list names the file. */
        ldnq_text_item(&binding->text, "; ", "%s", ldnq_graph_strip_file(graph, reason.message));
        if (binding->worst != LDNQ_MODEL)
            binding->worst = status;
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_ops_bind(struct ldnq_graph *graph, struct ldnq_error *err)
{
    char list[LDNQ_ERROR_SIZE];
    struct binding binding = { .worst = LDNQ_OK };
    ldnq_text_init(&binding.text, list, sizeof list);
    LDNQ_TRY(bind_all(&binding, graph, err));
    if (binding.worst == LDNQ_OK)
        return LDNQ_OK;
    ldnq_text_end(&binding.text);
    return ldnq_fail(err, binding.worst, "%s: %s", graph->file, list);
}
