/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/node_problems.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static bool has_same_problem(const struct ldnq_node_problem *problem, const struct ldnq_node *node,
                             const char *reason)
{
    return problem->node->opset == node->opset &&
           strcmp(problem->node->op_type, node->op_type) == 0 &&
           strcmp(problem->node->domain, node->domain) == 0 && strcmp(problem->reason, reason) == 0;
}

enum ldnq_status ldnq_node_problems_add(struct ldnq_node_problems *problems,
                                        const struct ldnq_graph *graph,
                                        const struct ldnq_node *node, enum ldnq_status status,
                                        const char *reason, struct ldnq_error *err)
{
    if (problems->worst != LDNQ_MODEL)
        problems->worst = status;
    for (size_t i = 0; i < problems->count; i++) {
        if (has_same_problem(&problems->list[i], node, reason)) {
            problems->list[i].count++;
            return LDNQ_OK;
        }
    }
    if (problems->count == LDNQ_MOST_NODE_PROBLEMS) {
        problems->omitted++;
        return LDNQ_OK;
    }
    const char *copy = ldnq_arena_strdup(graph->arena, reason, err);
    if (!copy)
        return LDNQ_NOMEM;
    problems->list[problems->count++] = (struct ldnq_node_problem){ node, copy, 1 };
    return LDNQ_OK;
}

enum ldnq_status ldnq_node_problems_fail(const struct ldnq_node_problems *problems,
                                         const struct ldnq_graph *graph, struct ldnq_error *err)
{
    char list[LDNQ_ERROR_SIZE];
    struct ldnq_text text;
    if (problems->worst == LDNQ_OK)
        return LDNQ_OK;
    ldnq_text_init(&text, list, sizeof list);
    for (size_t i = 0; i < problems->count; i++) {
        const struct ldnq_node_problem *problem = &problems->list[i];
        const struct ldnq_node *node = problem->node;
        char others[48] = "";
        if (problem->count > 1)
            snprintf(others, sizeof others, " and %zu more", problem->count - 1);
        ldnq_text_append_item(&text, "; ", "node '%s'%s (%s%s%s, opset %d): %s", node->label,
                              others, node->domain, *node->domain ? "." : "", node->op_type,
                              node->opset, problem->reason);
    }
    text.left_out += problems->omitted;
    ldnq_text_append_omitted_count(&text);
    return ldnq_fail(err, problems->worst, "%s: %s", graph->file, list);
}
