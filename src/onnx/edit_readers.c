/* SPDX-License-Identifier: Apache-2.0 */
/* edit_readers.c: who reads a value of a model that is being edited. */
#include "onnx/edit.h"

#include <string.h>

#include "onnx/edit_bodies.h"
#include "onnx/model.h"
#include "onnx/uses.h"

/* In the main graph, or in a body. */
static const Onnx__NodeProto *find_proto_node(const struct ldnq_model *model, const void *origin)
{
    struct ldnq_graph_path path;
    size_t at;
    return ldnq_find_graph_of_node(model->proto->graph, origin, &path, &at)
               ? path.graphs[path.count - 1]->node[at]
               : NULL;
}

static bool is_operator(const Onnx__NodeProto *node, const char *op_type)
{
    return node && ldnq_is_onnx_domain(node->domain) && strcmp(node->op_type, op_type) == 0;
}

const char *ldnq_edit_find_input(const struct ldnq_model *model, const void *origin, size_t index)
{
    const Onnx__NodeProto *node = find_proto_node(model, origin);
    return node && index < node->n_input ? node->input[index] : NULL;
}

const char *ldnq_edit_find_output(const struct ldnq_model *model, const void *origin, size_t index)
{
    const Onnx__NodeProto *node = find_proto_node(model, origin);
    return node && index < node->n_output ? node->output[index] : NULL;
}

bool ldnq_edit_is_operator(const struct ldnq_model *model, const void *origin, const char *op_type)
{
    return is_operator(find_proto_node(model, origin), op_type);
}

bool ldnq_edit_is_read_by(const struct ldnq_model *model, const char *value, const char *op_type)
{
    const Onnx__GraphProto *graph = model->proto->graph;
    for (size_t n = 0; n < graph->n_node; n++)
        for (size_t i = 0; i < graph->node[n]->n_input; i++)
            if (is_operator(graph->node[n], op_type) &&
                strcmp(graph->node[n]->input[i], value) == 0)
                return true;
    return false;
}

struct read_count {
    const char *value;
    size_t count;
};

static enum ldnq_status count_read_of_value(void *ctx, const char *name, struct ldnq_error *err)
{
    struct read_count *reads = ctx;
    (void)err;
    reads->count += strcmp(name, reads->value) == 0;
    return LDNQ_OK;
}

static bool has_subgraph(const Onnx__NodeProto *node)
{
    for (size_t a = 0; a < node->n_attribute; a++)
        if (node->attribute[a]->g || node->attribute[a]->n_graphs)
            return true;
    return false;
}

/* The scratch arena is for nodes with subgraphs alone. */
static enum ldnq_status count_reads_of_node(const Onnx__NodeProto *node, struct read_count *reads,
                                            struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    if (!has_subgraph(node)) {
        for (size_t i = 0; i < node->n_input; i++)
            reads->count += strcmp(node->input[i], reads->value) == 0;
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    const enum ldnq_status status =
        ldnq_uses_visit_node(node, scratch, count_read_of_value, reads, err);
    ldnq_arena_destroy(scratch);
    return status;
}

enum ldnq_status ldnq_edit_find_only_reader(const struct ldnq_model *model, const char *value,
                                            const void **reader, struct ldnq_error *err)
{
    const Onnx__GraphProto *graph = model->proto->graph;
    struct read_count reads = { .value = value };
    *reader = NULL;
    for (size_t o = 0; o < graph->n_output; o++)
        reads.count += strcmp(graph->output[o]->name, value) == 0;
    for (size_t n = 0; n < graph->n_node; n++) {
        const size_t before = reads.count;
        LDNQ_TRY(count_reads_of_node(graph->node[n], &reads, err));
        if (reads.count > before)
            *reader = has_subgraph(graph->node[n]) ? NULL : graph->node[n];
    }
    if (reads.count != 1)
        *reader = NULL;
    return LDNQ_OK;
}
