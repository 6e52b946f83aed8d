/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/opset.h"

#include <string.h>

#include "onnx/edit.h"
#include "onnx/visit.h"

/* The IR version released with each opset, which has all that the opset needs. */
static const int ir_versions[LDNQ_OPSET_LATEST + 1] = {
    [7] = 3,   [8] = 3,   [9] = 4,   [10] = 5,  [11] = 6,  [12] = 7, [13] = 7,
    [14] = 7,  [15] = 8,  [16] = 8,  [17] = 8,  [18] = 8,  [19] = 9, [20] = 9,
    [21] = 10, [22] = 10, [23] = 11, [24] = 12, [25] = 13,
};

/* A pass over all nodes: the first one checks, the second one converts. */
typedef enum ldnq_status node_fn(struct ldnq_raise *raise, Onnx__NodeProto *node, size_t index,
                                 int from, struct ldnq_error *err);

/* ---- one node ------------------------------------------------------------------------ */

static void append_refusal(struct ldnq_raise *raise, const Onnx__NodeProto *node, size_t index,
                           const char *reason)
{
    const char *type = ldnq_or_empty(node->op_type);
    if (node->name && *node->name)
        ldnq_text_append_item(raise->refusals, "; ", "node '%s' (%s): %s", node->name, type,
                              reason);
    else
        ldnq_text_append_item(raise->refusals, "; ", "node '%s#%zu' (%s): %s", type, index, type,
                              reason);
}

static bool has_attr_references(const Onnx__NodeProto *node)
{
    for (size_t i = 0; i < node->n_attribute; i++)
        if (node->attribute[i]->ref_attr_name && *node->attribute[i]->ref_attr_name)
            return true;
    return false;
}

static const char *find_step_obstacle(const struct ldnq_raise *raise, const Onnx__NodeProto *node,
                                      const struct ldnq_opset_step *step, struct ldnq_error *reason)
{
    if (has_attr_references(node))
        return "its meaning changes, and its attributes are parameters of the function";
    if (step->check && step->check(raise, node, reason) != LDNQ_OK)
        return reason->message;
    return NULL;
}

/* Reports at most one reason per node. */
static enum ldnq_status check_node(struct ldnq_raise *raise, Onnx__NodeProto *node, size_t index,
                                   int from, struct ldnq_error *err)
{
    struct ldnq_error reason;
    const char *refused = NULL;
    (void)err;
    if (!ldnq_is_onnx_domain(node->domain))
        return LDNQ_OK;
    const struct ldnq_opset_op *op = ldnq_opset_find(ldnq_or_empty(node->op_type));
    if (!op)
        refused = "is not an operator that ai.onnx has";
    for (int opset = from + 1; op && !refused && opset <= raise->target; opset++) {
        const struct ldnq_opset_step *step = ldnq_opset_step(op, opset);
        if (step)
            refused = find_step_obstacle(raise, node, step, &reason);
        if (step && step->becomes)
            op = ldnq_opset_find(step->becomes);
    }
    if (refused)
        append_refusal(raise, node, index, refused);
    return LDNQ_OK;
}

static enum ldnq_status apply_conversion_steps(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                               int from, struct ldnq_error *err)
{
    for (int opset = from + 1; opset <= raise->target; opset++) {
        const struct ldnq_opset_op *op = ldnq_opset_find(node->op_type);
        const struct ldnq_opset_step *step = op ? ldnq_opset_step(op, opset) : NULL;
        if (step && step->convert)
            LDNQ_TRY(step->convert(raise, node, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status convert_node(struct ldnq_raise *raise, Onnx__NodeProto *node, size_t index,
                                     int from, struct ldnq_error *err)
{
    (void)index;
    raise->after.count = 0;
    if (ldnq_is_onnx_domain(node->domain))
        LDNQ_TRY(apply_conversion_steps(raise, node, from, err));
    LDNQ_TRY(ldnq_raise_add_before(raise, node, err));
    for (size_t i = 0; i < raise->after.count; i++)
        LDNQ_TRY(ldnq_raise_add_before(raise, raise->after.nodes[i], err));
    return LDNQ_OK;
}

/* ---- bodies: the graph, subgraphs, functions -------------------------------------------- */

static enum ldnq_status visit_graph(const struct ldnq_raise *outer, Onnx__GraphProto *graph,
                                    int from, node_fn *visit, struct ldnq_error *err);

static enum ldnq_status visit_subgraphs(const struct ldnq_raise *raise, Onnx__NodeProto *node,
                                        int from, node_fn *visit, struct ldnq_error *err)
{
    for (size_t i = 0; i < node->n_attribute; i++) {
        Onnx__AttributeProto *attr = node->attribute[i];
        if (attr->g)
            LDNQ_TRY(visit_graph(raise, attr->g, from, visit, err));
        for (size_t k = 0; k < attr->n_graphs; k++)
            LDNQ_TRY(visit_graph(raise, attr->graphs[k], from, visit, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status visit_nodes(struct ldnq_raise *raise, Onnx__NodeProto ***nodes,
                                    size_t *count, int from, node_fn *visit, struct ldnq_error *err)
{
    for (size_t i = 0; i < *count; i++) {
        LDNQ_TRY(visit_subgraphs(raise, (*nodes)[i], from, visit, err));
        LDNQ_TRY(visit(raise, (*nodes)[i], i, from, err));
    }
    if (raise->out.count > *count) {
        *nodes = raise->out.nodes;
        *count = raise->out.count;
    }
    return LDNQ_OK;
}

static enum ldnq_status visit_graph(const struct ldnq_raise *outer, Onnx__GraphProto *graph,
                                    int from, node_fn *visit, struct ldnq_error *err)
{
    struct ldnq_scope scope;
    struct ldnq_raise raise = *outer;
    LDNQ_TRY(ldnq_scope_init_from_graph(&scope, outer->scope, graph, outer->scratch, err));
    raise.scope = &scope;
    raise.graph = graph;
    raise.out = raise.after = (struct ldnq_node_list){ 0 };
    return visit_nodes(&raise, &graph->node, &graph->n_node, from, visit, err);
}

static enum ldnq_status visit_function(const struct ldnq_raise *outer,
                                       Onnx__FunctionProto *function, node_fn *visit,
                                       struct ldnq_error *err)
{
    struct ldnq_scope scope;
    struct ldnq_raise raise = *outer;
    int from = ldnq_find_onnx_opset(function->opset_import, function->n_opset_import);
    if (!from || from >= raise.target)
        return LDNQ_OK;
    if (from < LDNQ_OPSET_FIRST) {
        ldnq_text_append_item(raise.refusals, "; ", "function '%s' is written in opset %d",
                              ldnq_or_empty(function->name), from);
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_scope_init_from_function(&scope, function, raise.scratch, err));
    raise.scope = &scope;
    raise.graph = NULL;
    raise.out = raise.after = (struct ldnq_node_list){ 0 };
    return visit_nodes(&raise, &function->node, &function->n_node, from, visit, err);
}

static enum ldnq_status visit_model(struct ldnq_raise *raise, node_fn *visit,
                                    struct ldnq_error *err)
{
    Onnx__ModelProto *proto = raise->model->proto;
    int from = ldnq_model_opset(raise->model);
    LDNQ_TRY(visit_graph(raise, proto->graph, from, visit, err));
    for (size_t i = 0; i < proto->n_training_info; i++) {
        Onnx__TrainingInfoProto *info = proto->training_info[i];
        if (info->initialization)
            LDNQ_TRY(visit_graph(raise, info->initialization, from, visit, err));
        if (info->algorithm)
            LDNQ_TRY(visit_graph(raise, info->algorithm, from, visit, err));
    }
    for (size_t i = 0; i < proto->n_functions; i++)
        LDNQ_TRY(visit_function(raise, proto->functions[i], visit, err));
    return LDNQ_OK;
}

/* ---- what has to be known of the whole model --------------------------------------------- */

static bool is_other_float(int64_t type)
{
    return type == LDNQ_FLOAT16 || type == LDNQ_BFLOAT16 || type == LDNQ_DOUBLE;
}

static enum ldnq_status clear_flag_at_other_float_type(void *ctx, void *message,
                                                       struct ldnq_error *err)
{
    const Onnx__TypeProto__Tensor *type = message;
    (void)err;
    *(bool *)ctx &= !is_other_float(type->elem_type);
    return LDNQ_OK;
}

static enum ldnq_status clear_flag_at_other_float_tensor(void *ctx, void *message,
                                                         struct ldnq_error *err)
{
    const Onnx__TensorProto *tensor = message;
    (void)err;
    *(bool *)ctx &= !is_other_float(tensor->data_type);
    return LDNQ_OK;
}

/* Cast and the random generators name their output type in an integer attribute. */
static enum ldnq_status clear_flag_at_other_float_attr(void *ctx, void *message,
                                                       struct ldnq_error *err)
{
    const Onnx__AttributeProto *attr = message;
    const char *name = ldnq_or_empty(attr->name);
    (void)err;
    if (strcmp(name, "to") == 0 || strcmp(name, "dtype") == 0)
        *(bool *)ctx &= !is_other_float(attr->i);
    return LDNQ_OK;
}

static enum ldnq_status record_name_reader(struct ldnq_names *reads, const char *name, void *reader,
                                           struct ldnq_error *err)
{
    struct ldnq_name *entry;
    if (!name)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_names_insert(reads, name, &entry, err));
    entry->pointer = entry->count++ ? NULL : reader;
    return LDNQ_OK;
}

static enum ldnq_status record_node_reads(void *ctx, void *message, struct ldnq_error *err)
{
    Onnx__NodeProto *node = message;
    for (size_t i = 0; i < node->n_input; i++)
        LDNQ_TRY(record_name_reader(ctx, node->input[i], node, err));
    return LDNQ_OK;
}

static enum ldnq_status record_graph_outputs(void *ctx, void *message, struct ldnq_error *err)
{
    const Onnx__GraphProto *graph = message;
    for (size_t i = 0; i < graph->n_output; i++)
        LDNQ_TRY(record_name_reader(ctx, graph->output[i]->name, NULL, err));
    return LDNQ_OK;
}

static enum ldnq_status record_function_outputs(void *ctx, void *message, struct ldnq_error *err)
{
    const Onnx__FunctionProto *function = message;
    for (size_t i = 0; i < function->n_output; i++)
        LDNQ_TRY(record_name_reader(ctx, function->output[i], NULL, err));
    return LDNQ_OK;
}

static enum ldnq_status collect_model_facts(struct ldnq_raise *raise, struct ldnq_error *err)
{
    ProtobufCMessage *root = &raise->model->proto->base;
    bool *all_float = &raise->all_float;
    raise->all_float = true;
    ldnq_names_init(&raise->reads, raise->scratch);
    LDNQ_TRY(ldnq_visit(root, &onnx__type_proto__tensor__descriptor, clear_flag_at_other_float_type,
                        all_float, err));
    LDNQ_TRY(ldnq_visit(root, &onnx__tensor_proto__descriptor, clear_flag_at_other_float_tensor,
                        all_float, err));
    LDNQ_TRY(ldnq_visit(root, &onnx__attribute_proto__descriptor, clear_flag_at_other_float_attr,
                        all_float, err));
    LDNQ_TRY(
        ldnq_visit(root, &onnx__node_proto__descriptor, record_node_reads, &raise->reads, err));
    LDNQ_TRY(
        ldnq_visit(root, &onnx__graph_proto__descriptor, record_graph_outputs, &raise->reads, err));
    return ldnq_visit(root, &onnx__function_proto__descriptor, record_function_outputs,
                      &raise->reads, err);
}

/* ---- the model ------------------------------------------------------------------------------ */

static void set_opset_imports(Onnx__OperatorSetIdProto **imports, size_t count, int opset)
{
    for (size_t i = 0; i < count; i++)
        if (ldnq_is_onnx_domain(imports[i]->domain) && imports[i]->version < opset) {
            imports[i]->has_version = 1;
            imports[i]->version = opset;
        }
}

static enum ldnq_status set_opset_and_ir_versions(struct ldnq_model *model, int opset,
                                                  struct ldnq_error *err)
{
    Onnx__ModelProto *proto = model->proto;
    set_opset_imports(proto->opset_import, proto->n_opset_import, opset);
    for (size_t i = 0; i < proto->n_functions; i++)
        set_opset_imports(proto->functions[i]->opset_import, proto->functions[i]->n_opset_import,
                          opset);
    return ldnq_model_raise_ir(model, ir_versions[opset], err);
}

static enum ldnq_status raise_model(struct ldnq_raise *raise, struct ldnq_error *err)
{
    struct ldnq_model *model = raise->model;
    int from = ldnq_model_opset(model);
    char list[LDNQ_ERROR_SIZE - 1024];
    struct ldnq_text refusals;
    ldnq_text_init(&refusals, list, sizeof list);
    raise->refusals = &refusals;
    LDNQ_TRY(collect_model_facts(raise, err));
    LDNQ_TRY(visit_model(raise, check_node, err));
    ldnq_text_append_omitted_count(&refusals);
    if (refusals.items)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "%s: can't be raised from opset %d to %d: %s",
                         model->path, from, raise->target, list);
    LDNQ_TRY(visit_model(raise, convert_node, err));
    model->node_capacity = 0; /* the list may have been replaced */
    return set_opset_and_ir_versions(model, raise->target, err);
}

enum ldnq_status ldnq_model_raise_opset(struct ldnq_model *model, int opset, struct ldnq_error *err)
{
    int from = ldnq_model_opset(model);
    struct ldnq_raise raise = { .model = model, .target = opset };
    if (opset <= from)
        return LDNQ_OK;
    if (opset > LDNQ_OPSET_LATEST)
        return ldnq_fail(err, LDNQ_USAGE, "opset %d is unknown; the latest is %d", opset,
                         LDNQ_OPSET_LATEST);
    if (from < LDNQ_OPSET_FIRST)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "%s: is written in opset %d; it can be raised from "
                         "opset %d on",
                         model->path, from, LDNQ_OPSET_FIRST);
    LDNQ_TRY(ldnq_arena_create(&raise.scratch, err));
    enum ldnq_status status = raise_model(&raise, err);
    ldnq_arena_destroy(raise.scratch);
    return status;
}
