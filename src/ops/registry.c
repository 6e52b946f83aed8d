/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/op.h"

#include <string.h>

#include "ir/node_problems.h"
#include "ops/attr_kinds.h"

/* One line per record. */
static const struct ldnq_op *const table[] = {
#define LDNQ_OP(name) &ldnq_op_##name,
#include "ops/list.h"
#undef LDNQ_OP
};

static bool is_default_domain(const char *domain)
{
    return *domain == '\0' || strcmp(domain, "ai.onnx") == 0;
}

static bool has_domain(const struct ldnq_op *op, const char *domain)
{
    return op->domain ? strcmp(op->domain, domain) == 0 : is_default_domain(domain);
}

const struct ldnq_op *ldnq_ops_find(const char *domain, const char *type, int opset)
{
    opset = opset < LDNQ_OPSET_LATEST ? opset : LDNQ_OPSET_LATEST;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i]->type, type) == 0 && has_domain(table[i], domain) &&
            table[i]->since <= opset && opset <= table[i]->until)
            return table[i];
    return NULL;
}

bool ldnq_ops_has_type(const char *domain, const char *type)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i]->type, type) == 0 && has_domain(table[i], domain))
            return true;
    return false;
}

/* Removes omitted optional inputs and outputs from the ends of the lists. Outputs stay
 * where the operator has any number of them: Split computes as many as are listed. */
static void trim_omitted_inputs_and_outputs(struct ldnq_node *node, const struct ldnq_op *op)
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

/* Requires lists without omitted inputs or outputs at their end. */
static enum ldnq_status check_counts(const struct ldnq_node *node, const struct ldnq_op *op,
                                     struct ldnq_error *err)
{
    size_t inputs = node->input_count, outputs = node->output_count;
    if (op->inputs_max < 0 && inputs < (size_t)op->inputs_min)
        return ldnq_fail(err, LDNQ_MODEL, "has %zu inputs where at least %d are needed", inputs,
                         op->inputs_min);
    if (op->inputs_max >= 0 && (inputs < (size_t)op->inputs_min || inputs > (size_t)op->inputs_max))
        return ldnq_fail(err, LDNQ_MODEL, "has %zu inputs where %d to %d are needed", inputs,
                         op->inputs_min, op->inputs_max);
    /* Operators with any number of inputs have no optional ones. */
    size_t required = op->inputs_max < 0 ? inputs : (size_t)op->inputs_min;
    for (size_t i = 0; i < required; i++)
        if (!node->inputs[i])
            return ldnq_fail(err, LDNQ_MODEL, "lacks its input %zu", i);
    if (op->outputs_max >= 0 && outputs > (size_t)op->outputs_max)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "has %zu outputs, of which only %d are supported",
                         outputs, op->outputs_max);
    if (!has_output(node))
        return ldnq_fail(err, LDNQ_MODEL, "has no output");
    return LDNQ_OK;
}

/* com.microsoft and the domains below it. */
static bool is_from_onnx_runtime(const char *domain)
{
    return strncmp(domain, "com.microsoft", 13) == 0;
}

/* As ldnq_ops_bind_node, with messages that do not name the node. */
static enum ldnq_status bind_node(const struct ldnq_graph *graph, struct ldnq_node *node,
                                  struct ldnq_error *err)
{
    const struct ldnq_op *op = ldnq_ops_find(node->domain, node->op_type, node->opset);
    if (!op && ldnq_ops_has_type(node->domain, node->op_type))
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its meaning at this opset is not supported");
    if (!op)
        return ldnq_fail(
            err, LDNQ_UNSUPPORTED, "the operator%s",
            is_from_onnx_runtime(node->domain)
                ? ", or this form of it, is not supported; where ONNX Runtime's "
                  "optimizer wrote it, take the model from before, or one of its basic "
                  "level"
                : " is not supported");
    trim_omitted_inputs_and_outputs(node, op);
    LDNQ_TRY(check_counts(node, op, err));
    LDNQ_TRY(ldnq_op_check_attr_kinds(node, err));
    if (op->read_attrs)
        LDNQ_TRY(op->read_attrs(node, graph->arena, &node->op_attrs, err));
    node->op = op;
    return LDNQ_OK;
}

enum ldnq_status ldnq_ops_bind_node(const struct ldnq_graph *graph, struct ldnq_node *node,
                                    struct ldnq_error *err)
{
    struct ldnq_error reason;
    const enum ldnq_status status = bind_node(graph, node, &reason);
    return status == LDNQ_OK ? status
                             : ldnq_node_fail(graph, node, status, err, "%s", reason.message);
}

/* Binds the nodes of a graph and of all bodies in it. Returns errors that end the binding
 * (NOMEM), and adds all others to the list. */
static enum ldnq_status bind_graph(struct ldnq_node_problems *problems, struct ldnq_graph *graph,
                                   struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->node_count; i++) {
        struct ldnq_node *node = graph->nodes[i];
        struct ldnq_error reason = { 0 };
        /* Bodies first, so that the list names their nodes even if this node is refused. */
        for (size_t k = 0; k < node->attr_count; k++)
            if (node->attrs[k].kind == LDNQ_ATTR_GRAPH)
                LDNQ_TRY(bind_graph(problems, node->attrs[k].g, err));
        enum ldnq_status status = bind_node(graph, node, &reason);
        if (status == LDNQ_NOMEM)
            return ldnq_node_fail(graph, node, status, err, "%s", reason.message);
        if (status != LDNQ_OK)
            LDNQ_TRY(ldnq_node_problems_add(problems, graph, node, status, reason.message, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_ops_bind(struct ldnq_graph *graph, struct ldnq_error *err)
{
    struct ldnq_node_problems problems = { .worst = LDNQ_OK };
    LDNQ_TRY(bind_graph(&problems, graph, err));
    return ldnq_node_problems_fail(&problems, graph, err);
}

static enum ldnq_status bind_nodes_with_bodies(struct ldnq_graph *graph, struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->node_count; i++) {
        struct ldnq_node *node = graph->nodes[i];
        if (!node->op || !(node->op->flags & LDNQ_OP_CONTROL_FLOW))
            continue;
        LDNQ_TRY(ldnq_ops_bind_node(graph, node, err));
        for (size_t k = 0; k < node->attr_count; k++)
            if (node->attrs[k].kind == LDNQ_ATTR_GRAPH)
                LDNQ_TRY(bind_nodes_with_bodies(node->attrs[k].g, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_ops_clone_graph(const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                      struct ldnq_graph **out, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_graph_clone(graph, arena, out, err));
    return bind_nodes_with_bodies(*out, err);
}
