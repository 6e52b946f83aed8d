/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/edit.h"

#include <string.h>

#include "base/growing_list.h"
#include "base/mapping.h"
#include "onnx/build.h"
#include "onnx/codec.h"
#include "onnx/edit_bodies.h"
#include "onnx/model.h"

/* The first IR version whose initializers need not be graph inputs as well. */
#define IR_FOR_INITIALIZERS 4

enum ldnq_status ldnq_edit_unique_name(struct ldnq_model *model, const char *base,
                                       const char *suffix, const char **name,
                                       struct ldnq_error *err)
{
    struct ldnq_name *entry;
    char *unique = ldnq_arena_printf(model->arena, err, "%s%s", base, suffix);
    for (size_t i = 1; unique && (!*unique || ldnq_names_find(&model->names, unique)); i++)
        unique = ldnq_arena_printf(model->arena, err, "%s%s_%zu", base, suffix, i);
    if (!unique)
        return LDNQ_NOMEM;
    *name = unique;
    return ldnq_names_insert(&model->names, unique, &entry, err);
}

/* Where the weights of a model are in a file of their own, so are those that are added. */
static void move_to_data_file(const struct ldnq_model *model, Onnx__TensorProto *proto)
{
    if (model->data_file_count == 0)
        return;
    proto->has_raw_data = 0;
    proto->has_data_location = 1;
    proto->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

enum ldnq_status ldnq_edit_add_initializer(struct ldnq_model *model, const char *name,
                                           const struct ldnq_tensor *tensor, struct ldnq_error *err)
{
    Onnx__GraphProto *graph = model->proto->graph;
    Onnx__TensorProto *proto;
    struct ldnq_name *entry;
    LDNQ_TRY(ldnq_codec_encode(tensor, name, model->arena, &proto, err));
    move_to_data_file(model, proto);
    ldnq_mapping_release_pages(proto->raw_data.data, proto->raw_data.len);
    LDNQ_TRY(ldnq_names_insert(&model->names, proto->name, &entry, err));
    LDNQ_TRY(ldnq_list_reserve(model->arena, &graph->initializer, graph->n_initializer,
                               &model->initializer_capacity, sizeof *graph->initializer, err));
    graph->initializer[graph->n_initializer++] = proto;
    return ldnq_model_raise_ir(model, IR_FOR_INITIALIZERS, err);
}

enum ldnq_status ldnq_edit_add_named(struct ldnq_model *model, const char *base, const char *suffix,
                                     const struct ldnq_tensor *tensor, const char **name,
                                     struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_edit_unique_name(model, base, suffix, name, err));
    return ldnq_edit_add_initializer(model, *name, tensor, err);
}

/* ---- nodes ------------------------------------------------------------------------------ */

/* Returns n_node for an origin that is not in this model. */
static size_t find_node_index(const struct ldnq_model *model, const void *origin)
{
    const Onnx__GraphProto *graph = model->proto->graph;
    size_t at = 0;
    while (at < graph->n_node && graph->node[at] != origin)
        at++;
    return at;
}

static enum ldnq_status find_node_or_fail(const struct ldnq_model *model, const void *origin,
                                          Onnx__NodeProto **node, struct ldnq_error *err)
{
    struct ldnq_graph_path path;
    size_t at;
    if (!ldnq_find_graph_of_node(model->proto->graph, origin, &path, &at))
        return ldnq_fail(err, LDNQ_USAGE, "%s: a node to be changed is not in the model",
                         model->path);
    *node = path.graphs[path.count - 1]->node[at];
    return LDNQ_OK;
}

/* The list of a subgraph has no room: it is copied. */
static enum ldnq_status insert_node_at(struct ldnq_model *model, Onnx__GraphProto *graph, size_t at,
                                       Onnx__NodeProto *node, struct ldnq_error *err)
{
    size_t full = graph->n_node;
    size_t *capacity = graph == model->proto->graph ? &model->node_capacity : &full;
    LDNQ_TRY(ldnq_list_reserve(model->arena, &graph->node, graph->n_node, capacity,
                               sizeof *graph->node, err));
    memmove(graph->node + at + 1, graph->node + at, (graph->n_node - at) * sizeof *graph->node);
    graph->node[at] = node;
    graph->n_node++;
    return LDNQ_OK;
}

static enum ldnq_status reserve_name(struct ldnq_model *model, const char *name,
                                     struct ldnq_error *err)
{
    struct ldnq_name *entry;
    return *name ? ldnq_names_insert(&model->names, name, &entry, err) : LDNQ_OK;
}

static enum ldnq_status build_attrs(struct ldnq_model *model, Onnx__NodeProto *node,
                                    const struct ldnq_edit_int_attr *attrs, size_t count,
                                    struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(attrs[i].values
                     ? ldnq_build_ints_attr(model->arena, node, attrs[i].name, attrs[i].values,
                                            attrs[i].count, err)
                     : ldnq_build_int_attr(model->arena, node, attrs[i].name, attrs[i].value, err));
    return LDNQ_OK;
}

static enum ldnq_status build_and_insert_node(struct ldnq_model *model, Onnx__GraphProto *graph,
                                              size_t at, const char *op_type, const char *name,
                                              const char *const *inputs, size_t input_count,
                                              const char *output,
                                              const struct ldnq_edit_int_attr *attrs,
                                              size_t attr_count, struct ldnq_error *err)
{
    Onnx__NodeProto *node =
        ldnq_build_node(model->arena, op_type, name, inputs, input_count, &output, 1, err);
    if (!node)
        return LDNQ_NOMEM;
    LDNQ_TRY(build_attrs(model, node, attrs, attr_count, err));
    LDNQ_TRY(reserve_name(model, node->name, err));
    LDNQ_TRY(reserve_name(model, node->output[0], err));
    return insert_node_at(model, graph, at, node, err);
}

enum ldnq_status ldnq_edit_insert_node(struct ldnq_model *model, const void *before,
                                       const char *op_type, const char *name,
                                       const char *const *inputs, size_t input_count,
                                       const char *output, const struct ldnq_edit_int_attr *attrs,
                                       size_t attr_count, struct ldnq_error *err)
{
    struct ldnq_graph_path path;
    Onnx__NodeProto *ignored;
    size_t at;
    LDNQ_TRY(find_node_or_fail(model, before, &ignored, err));
    ldnq_find_graph_of_node(model->proto->graph, before, &path, &at);
    return build_and_insert_node(model, path.graphs[path.count - 1], at, op_type, name, inputs,
                                 input_count, output, attrs, attr_count, err);
}

enum ldnq_status ldnq_edit_append_node(struct ldnq_model *model, const void *after,
                                       const char *op_type, const char *name,
                                       const char *const *inputs, size_t input_count,
                                       const char *output, const struct ldnq_edit_int_attr *attrs,
                                       size_t attr_count, struct ldnq_error *err)
{
    Onnx__NodeProto *ignored;
    if (after)
        LDNQ_TRY(find_node_or_fail(model, after, &ignored, err));
    return build_and_insert_node(model, model->proto->graph,
                                 after ? find_node_index(model, after) + 1 : 0, op_type, name,
                                 inputs, input_count, output, attrs, attr_count, err);
}

#define CONTRIBUTED_DOMAIN "com.microsoft"

static enum ldnq_status import_contributed_domain(struct ldnq_model *model, struct ldnq_error *err)
{
    Onnx__ModelProto *proto = model->proto;
    const size_t count = proto->n_opset_import;
    for (size_t i = 0; i < count; i++)
        if (strcmp(ldnq_or_empty(proto->opset_import[i]->domain), CONTRIBUTED_DOMAIN) == 0)
            return LDNQ_OK;
    Onnx__OperatorSetIdProto **list = ldnq_arena_alloc(model->arena, count + 1, sizeof *list, err);
    Onnx__OperatorSetIdProto *import = ldnq_arena_alloc(model->arena, 1, sizeof *import, err);
    if (!list || !import)
        return LDNQ_NOMEM;
    onnx__operator_set_id_proto__init(import);
    import->domain = ldnq_arena_strdup(model->arena, CONTRIBUTED_DOMAIN, err);
    import->has_version = 1;
    import->version = 1;
    memcpy(list, proto->opset_import, count * sizeof *list);
    list[count] = import;
    proto->opset_import = list;
    proto->n_opset_import = count + 1;
    return import->domain ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_edit_set_contributed(struct ldnq_model *model, const char *output,
                                           struct ldnq_error *err)
{
    const Onnx__GraphProto *graph = model->proto->graph;
    for (size_t n = 0; n < graph->n_node; n++) {
        Onnx__NodeProto *node = graph->node[n];
        if (node->n_output == 0 || strcmp(node->output[0], output) != 0)
            continue;
        node->domain = ldnq_arena_strdup(model->arena, CONTRIBUTED_DOMAIN, err);
        return node->domain ? import_contributed_domain(model, err) : LDNQ_NOMEM;
    }
    return ldnq_fail(err, LDNQ_USAGE, "%s: no node writes '%s'", model->path, output);
}

enum ldnq_status ldnq_edit_replace_node(struct ldnq_model *model, const void *origin,
                                        const char *op_type, const char *const *inputs,
                                        size_t input_count, const struct ldnq_edit_int_attr *attrs,
                                        size_t attr_count, struct ldnq_error *err)
{
    Onnx__NodeProto *node;
    LDNQ_TRY(find_node_or_fail(model, origin, &node, err));
    node->op_type = ldnq_arena_strdup(model->arena, op_type, err);
    node->domain = (char *)protobuf_c_empty_string;
    if (!node->op_type)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < input_count; i++)
        if (inputs[i])
            LDNQ_TRY(
                ldnq_build_set_name(model->arena, &node->input, &node->n_input, i, inputs[i], err));
    if (node->n_input > input_count)
        node->n_input = input_count;
    node->n_attribute = 0;
    return build_attrs(model, node, attrs, attr_count, err);
}

enum ldnq_status ldnq_edit_set_ints(struct ldnq_model *model, const void *origin, const char *name,
                                    const int64_t *values, size_t count, struct ldnq_error *err)
{
    Onnx__NodeProto *node;
    LDNQ_TRY(find_node_or_fail(model, origin, &node, err));
    return ldnq_build_ints_attr(model->arena, node, name, values, count, err);
}

enum ldnq_status ldnq_edit_set_int(struct ldnq_model *model, const void *origin, const char *name,
                                   int64_t value, struct ldnq_error *err)
{
    Onnx__NodeProto *node;
    LDNQ_TRY(find_node_or_fail(model, origin, &node, err));
    return ldnq_build_int_attr(model->arena, node, name, value, err);
}

enum ldnq_status ldnq_edit_set_input(struct ldnq_model *model, const void *origin, size_t index,
                                     const char *name, struct ldnq_error *err)
{
    Onnx__NodeProto *node;
    LDNQ_TRY(find_node_or_fail(model, origin, &node, err));
    return ldnq_build_set_name(model->arena, &node->input, &node->n_input, index, name, err);
}

enum ldnq_status ldnq_edit_redirect_readers(struct ldnq_model *model, const char *from,
                                            const char *to, const char *op_type,
                                            struct ldnq_error *err)
{
    const Onnx__GraphProto *graph = model->proto->graph;
    for (size_t n = 0; n < graph->n_node; n++) {
        Onnx__NodeProto *node = graph->node[n];
        if (op_type && strcmp(node->op_type, op_type) != 0)
            continue;
        for (size_t i = 0; i < node->n_input; i++)
            if (strcmp(node->input[i], from) == 0)
                LDNQ_TRY(
                    ldnq_build_set_name(model->arena, &node->input, &node->n_input, i, to, err));
    }
    return LDNQ_OK;
}

static void mark_name_as_removed(struct ldnq_model *model, const char *name)
{
    struct ldnq_name *entry = ldnq_names_find(&model->names, name);
    if (entry)
        entry->flags |= LDNQ_NAME_GONE;
}

enum ldnq_status ldnq_edit_set_output(struct ldnq_model *model, const void *origin, size_t index,
                                      const char *name, struct ldnq_error *err)
{
    Onnx__NodeProto *node;
    LDNQ_TRY(find_node_or_fail(model, origin, &node, err));
    if (index < node->n_output)
        mark_name_as_removed(model, node->output[index]);
    LDNQ_TRY(ldnq_build_set_name(model->arena, &node->output, &node->n_output, index, name, err));
    return reserve_name(model, node->output[index], err);
}

bool ldnq_edit_has_node(const struct ldnq_model *model, const void *origin)
{
    return find_node_index(model, origin) < model->proto->graph->n_node;
}

void ldnq_edit_remove_node(struct ldnq_model *model, const void *origin)
{
    struct ldnq_graph_path path;
    size_t at;
    if (!ldnq_find_graph_of_node(model->proto->graph, origin, &path, &at))
        return;
    Onnx__GraphProto *graph = path.graphs[path.count - 1];
    for (size_t i = 0; i < graph->node[at]->n_output; i++)
        mark_name_as_removed(model, graph->node[at]->output[i]);
    memmove(graph->node + at, graph->node + at + 1, (graph->n_node - at - 1) * sizeof *graph->node);
    graph->n_node--;
}
