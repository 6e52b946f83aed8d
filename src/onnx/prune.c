/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/edit.h"
#include "onnx/model.h"
#include "onnx/uses.h"

struct pruner {
    struct ldnq_model *model;
    struct ldnq_names reads;
    bool changed;
};

static struct ldnq_name *find_name_entry(const struct pruner *pruner, const char *name)
{
    return name ? ldnq_names_find(&pruner->model->names, name) : NULL;
}

static bool is_name_removed(const struct pruner *pruner, const char *name)
{
    const struct ldnq_name *entry = find_name_entry(pruner, name);
    return entry && entry->flags & LDNQ_NAME_GONE;
}

static void set_removed_flag(const struct pruner *pruner, const char *name, bool gone)
{
    struct ldnq_name *entry = find_name_entry(pruner, name);
    if (entry && gone)
        entry->flags |= LDNQ_NAME_GONE;
    else if (entry)
        entry->flags &= ~(unsigned)LDNQ_NAME_GONE;
}

static bool is_read_by_any_node(const struct pruner *pruner, const char *name)
{
    const struct ldnq_name *entry = name ? ldnq_names_find(&pruner->reads, name) : NULL;
    return entry && entry->count;
}

static bool was_unread_before_edit(const struct pruner *pruner, const char *name)
{
    const struct ldnq_name *entry = find_name_entry(pruner, name);
    return entry && entry->flags & LDNQ_NAME_DEAD;
}

static enum ldnq_status decrement_read_count(void *ctx, const char *name, struct ldnq_error *err)
{
    struct pruner *pruner = ctx;
    struct ldnq_name *entry = ldnq_names_find(&pruner->reads, name);
    (void)err;
    if (entry && entry->count)
        entry->count--;
    return LDNQ_OK;
}

static const char *sparse_initializer_name(const Onnx__SparseTensorProto *sparse)
{
    return sparse->values ? sparse->values->name : NULL;
}

/* ---- what is made again by someone else is not gone ---------------------------------- */

static void clear_removed_flags_of_values(struct pruner *pruner)
{
    const Onnx__GraphProto *graph = pruner->model->proto->graph;
    for (size_t i = 0; i < graph->n_node; i++)
        for (size_t o = 0; o < graph->node[i]->n_output; o++)
            set_removed_flag(pruner, graph->node[i]->output[o], false);
    for (size_t i = 0; i < graph->n_initializer; i++)
        set_removed_flag(pruner, graph->initializer[i]->name, false);
    for (size_t i = 0; i < graph->n_sparse_initializer; i++)
        set_removed_flag(pruner, sparse_initializer_name(graph->sparse_initializer[i]), false);
}

/* ---- what goes --------------------------------------------------------------------------- */

static bool is_removable_node(const struct pruner *pruner, const Onnx__NodeProto *node)
{
    bool was_used = false;
    for (size_t i = 0; i < node->n_output; i++) {
        const char *name = node->output[i];
        if (is_read_by_any_node(pruner, name))
            return false;
        was_used |= *name && !was_unread_before_edit(pruner, name);
    }
    return was_used;
}

static enum ldnq_status remove_node(struct pruner *pruner, size_t at, struct ldnq_error *err)
{
    const Onnx__NodeProto *node = pruner->model->proto->graph->node[at];
    LDNQ_TRY(ldnq_uses_visit_node(node, pruner->reads.arena, decrement_read_count, pruner, err));
    ldnq_edit_remove_node(pruner->model, node);
    pruner->changed = true;
    return LDNQ_OK;
}

/* Backwards, so that a chain of nodes in topological order is removed in one pass. */
static enum ldnq_status remove_nodes(struct pruner *pruner, struct ldnq_error *err)
{
    const Onnx__GraphProto *graph = pruner->model->proto->graph;
    for (size_t i = graph->n_node; i-- > 0;)
        if (is_removable_node(pruner, graph->node[i]))
            LDNQ_TRY(remove_node(pruner, i, err));
    return LDNQ_OK;
}

static bool remove_if_unread(struct pruner *pruner, const char *name)
{
    if (!name || is_read_by_any_node(pruner, name) || was_unread_before_edit(pruner, name))
        return false;
    set_removed_flag(pruner, name, true);
    pruner->changed = true;
    return true;
}

static void remove_initializers_no_longer_read(struct pruner *pruner)
{
    Onnx__GraphProto *graph = pruner->model->proto->graph;
    size_t kept = 0;
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (!remove_if_unread(pruner, graph->initializer[i]->name))
            graph->initializer[kept++] = graph->initializer[i];
    graph->n_initializer = kept;
    kept = 0;
    for (size_t i = 0; i < graph->n_sparse_initializer; i++)
        if (!remove_if_unread(pruner, sparse_initializer_name(graph->sparse_initializer[i])))
            graph->sparse_initializer[kept++] = graph->sparse_initializer[i];
    graph->n_sparse_initializer = kept;
}

/* Removes the annotations of removed tensors, which then no longer read a scale. */
static void remove_annotations(struct pruner *pruner)
{
    Onnx__GraphProto *graph = pruner->model->proto->graph;
    size_t kept = 0;
    for (size_t i = 0; i < graph->n_quantization_annotation; i++) {
        Onnx__TensorAnnotation *annotation = graph->quantization_annotation[i];
        if (!is_name_removed(pruner, annotation->tensor_name)) {
            graph->quantization_annotation[kept++] = annotation;
            continue;
        }
        for (size_t k = 0; k < annotation->n_quant_parameter_tensor_names; k++)
            if (annotation->quant_parameter_tensor_names[k]->value)
                decrement_read_count(pruner, annotation->quant_parameter_tensor_names[k]->value,
                                     NULL);
        pruner->changed = true;
    }
    graph->n_quantization_annotation = kept;
}

static size_t remove_value_infos(const struct pruner *pruner, Onnx__ValueInfoProto **infos,
                                 size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_name_removed(pruner, infos[i]->name))
            infos[kept++] = infos[i];
    return kept;
}

static enum ldnq_status remove_unread_parts(struct pruner *pruner, struct ldnq_error *err)
{
    Onnx__GraphProto *graph = pruner->model->proto->graph;
    LDNQ_TRY(ldnq_uses_count(pruner->model, &pruner->reads, err));
    clear_removed_flags_of_values(pruner);
    do {
        pruner->changed = false;
        LDNQ_TRY(remove_nodes(pruner, err));
        remove_initializers_no_longer_read(pruner);
        remove_annotations(pruner);
    } while (pruner->changed);
    graph->n_value_info = remove_value_infos(pruner, graph->value_info, graph->n_value_info);
    graph->n_input = remove_value_infos(pruner, graph->input, graph->n_input);
    return LDNQ_OK;
}

enum ldnq_status ldnq_edit_prune(struct ldnq_model *model, struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    struct pruner pruner = { .model = model };
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    ldnq_names_init(&pruner.reads, scratch);
    enum ldnq_status status = remove_unread_parts(&pruner, err);
    ldnq_arena_destroy(scratch);
    return status;
}
