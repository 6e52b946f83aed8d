/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/edit_bodies.h"

#include <string.h>

#include "onnx/edit.h"
#include "onnx/visit.h"

/* ---- finding ---------------------------------------------------------------------------- */

static bool find_in_graph(Onnx__GraphProto *graph, const void *node, struct ldnq_graph_path *path,
                          size_t *at)
{
    if (path->count == LDNQ_MOST_GRAPHS)
        return false;
    path->graphs[path->count++] = graph;
    for (*at = 0; *at < graph->n_node; ++*at)
        if (graph->node[*at] == node)
            return true;
    for (size_t n = 0; n < graph->n_node; n++)
        for (size_t a = 0; a < graph->node[n]->n_attribute; a++) {
            Onnx__GraphProto *body = graph->node[n]->attribute[a]->g;
            if (body && find_in_graph(body, node, path, at))
                return true;
        }
    path->count--;
    return false;
}

bool ldnq_find_graph_of_node(Onnx__GraphProto *graph, const void *node,
                             struct ldnq_graph_path *path, size_t *at)
{
    path->count = 0;
    return node && find_in_graph(graph, node, path, at);
}

/* ---- pruning ---------------------------------------------------------------------------- */

static enum ldnq_status add_read(void *ctx, const char *name, struct ldnq_error *err)
{
    struct ldnq_name *entry;
    return *name ? ldnq_names_insert(ctx, name, &entry, err) : LDNQ_OK;
}

static enum ldnq_status list_reads(const Onnx__GraphProto *graph, struct ldnq_names *reads,
                                   struct ldnq_error *err)
{
    for (size_t n = 0; n < graph->n_node; n++) {
        for (size_t i = 0; i < graph->node[n]->n_input; i++)
            LDNQ_TRY(add_read(reads, graph->node[n]->input[i], err));
        LDNQ_TRY(ldnq_visit_node_captures(graph->node[n], reads->arena, add_read, reads, err));
    }
    for (size_t o = 0; o < graph->n_output; o++)
        if (graph->output[o]->name)
            LDNQ_TRY(add_read(reads, graph->output[o]->name, err));
    return LDNQ_OK;
}

static bool is_unread_node(const Onnx__NodeProto *node, const struct ldnq_names *reads)
{
    for (size_t o = 0; o < node->n_output; o++)
        if (ldnq_names_find(reads, node->output[o]))
            return false;
    return true;
}

static bool is_unread_initializer(const char *name, const struct ldnq_names *reads)
{
    return name && !ldnq_names_find(reads, name);
}

/* Removes what nothing reads now; *changed: something was. */
static enum ldnq_status remove_unread(Onnx__GraphProto *graph, bool *changed,
                                      struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    struct ldnq_names reads;
    size_t kept = 0;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    ldnq_names_init(&reads, scratch);
    const enum ldnq_status status = list_reads(graph, &reads, err);
    const size_t before = graph->n_node;
    if (status == LDNQ_OK) {
        for (size_t n = 0; n < graph->n_node; n++)
            if (!is_unread_node(graph->node[n], &reads))
                graph->node[kept++] = graph->node[n];
        graph->n_node = kept;
        kept = 0;
        for (size_t i = 0; i < graph->n_initializer; i++)
            if (!is_unread_initializer(graph->initializer[i]->name, &reads))
                graph->initializer[kept++] = graph->initializer[i];
        graph->n_initializer = kept;
    }
    *changed = graph->n_node != before;
    ldnq_arena_destroy(scratch);
    return status;
}

enum ldnq_status ldnq_edit_prune_bodies(struct ldnq_model *model, const void *body_origin,
                                        struct ldnq_error *err)
{
    struct ldnq_graph_path path;
    size_t at;
    if (!ldnq_find_graph_of_node(model->proto->graph, body_origin, &path, &at))
        return LDNQ_OK;
    for (size_t g = path.count; g-- > 1;)
        for (bool changed = true; changed;)
            LDNQ_TRY(remove_unread(path.graphs[g], &changed, err));
    return LDNQ_OK;
}
