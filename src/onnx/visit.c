/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/visit.h"

#include "onnx/names.h"

/* ---- messages of one kind ------------------------------------------------------- */

struct message_visit {
    const ProtobufCMessageDescriptor *kind;
    ldnq_visit_fn *visit;
    void *ctx;
};

static enum ldnq_status visit_message(const struct message_visit *walk, ProtobufCMessage *message,
                                      struct ldnq_error *err);

static enum ldnq_status visit_field(const struct message_visit *walk, ProtobufCMessage *message,
                                    const ProtobufCFieldDescriptor *field, struct ldnq_error *err)
{
    void *member = (char *)message + field->offset;
    void *quantifier = (char *)message + field->quantifier_offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        ProtobufCMessage **list = *(ProtobufCMessage ***)member;
        for (size_t i = 0, count = *(size_t *)quantifier; i < count; i++)
            LDNQ_TRY(visit_message(walk, list[i], err));
        return LDNQ_OK;
    }
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF && *(uint32_t *)quantifier != field->id)
        return LDNQ_OK;
    ProtobufCMessage *one = *(ProtobufCMessage **)member;
    return one ? visit_message(walk, one, err) : LDNQ_OK;
}

static enum ldnq_status visit_message(const struct message_visit *walk, ProtobufCMessage *message,
                                      struct ldnq_error *err)
{
    if (message->descriptor == walk->kind)
        LDNQ_TRY(walk->visit(walk->ctx, message, err));
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (field->type == PROTOBUF_C_TYPE_MESSAGE)
            LDNQ_TRY(visit_field(walk, message, field, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_visit(ProtobufCMessage *root, const ProtobufCMessageDescriptor *kind,
                            ldnq_visit_fn *visit, void *ctx, struct ldnq_error *err)
{
    const struct message_visit walk = { kind, visit, ctx };
    return visit_message(&walk, root, err);
}

/* ---- what subgraphs read from outside --------------------------------------------- */

struct scope {
    const struct scope *outer;
    struct ldnq_names names;
};

struct captures {
    struct ldnq_arena *scratch;
    ldnq_capture_fn *visit;
    void *ctx;
};

static enum ldnq_status define_name_in_scope(struct scope *scope, const char *name,
                                             struct ldnq_error *err)
{
    struct ldnq_name *ignored;
    return name && *name ? ldnq_names_insert(&scope->names, name, &ignored, err) : LDNQ_OK;
}

static enum ldnq_status define_graph(struct scope *scope, const Onnx__GraphProto *graph,
                                     struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->n_input; i++)
        LDNQ_TRY(define_name_in_scope(scope, graph->input[i]->name, err));
    for (size_t i = 0; i < graph->n_initializer; i++)
        LDNQ_TRY(define_name_in_scope(scope, graph->initializer[i]->name, err));
    for (size_t i = 0; i < graph->n_sparse_initializer; i++)
        if (graph->sparse_initializer[i]->values)
            LDNQ_TRY(define_name_in_scope(scope, graph->sparse_initializer[i]->values->name, err));
    for (size_t i = 0; i < graph->n_node; i++)
        for (size_t o = 0; o < graph->node[i]->n_output; o++)
            LDNQ_TRY(define_name_in_scope(scope, graph->node[i]->output[o], err));
    return LDNQ_OK;
}

static enum ldnq_status report_captured_name(const struct captures *captures,
                                             const struct scope *scope, const char *name,
                                             struct ldnq_error *err)
{
    if (!name || !*name)
        return LDNQ_OK;
    for (; scope; scope = scope->outer)
        if (ldnq_names_find(&scope->names, name))
            return LDNQ_OK;
    return captures->visit(captures->ctx, name, err);
}

static enum ldnq_status report_reads_of_graph(const struct captures *captures,
                                              const struct scope *outer,
                                              const Onnx__GraphProto *graph,
                                              struct ldnq_error *err);

static enum ldnq_status report_reads_of_subgraphs(const struct captures *captures,
                                                  const struct scope *scope,
                                                  const Onnx__NodeProto *node,
                                                  struct ldnq_error *err)
{
    for (size_t i = 0; i < node->n_attribute; i++) {
        const Onnx__AttributeProto *attr = node->attribute[i];
        if (attr->g)
            LDNQ_TRY(report_reads_of_graph(captures, scope, attr->g, err));
        for (size_t g = 0; g < attr->n_graphs; g++)
            LDNQ_TRY(report_reads_of_graph(captures, scope, attr->graphs[g], err));
    }
    return LDNQ_OK;
}

static enum ldnq_status report_reads_of_graph(const struct captures *captures,
                                              const struct scope *outer,
                                              const Onnx__GraphProto *graph, struct ldnq_error *err)
{
    struct scope scope = { .outer = outer };
    ldnq_names_init(&scope.names, captures->scratch);
    LDNQ_TRY(define_graph(&scope, graph, err));
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        for (size_t k = 0; k < node->n_input; k++)
            LDNQ_TRY(report_captured_name(captures, &scope, node->input[k], err));
        LDNQ_TRY(report_reads_of_subgraphs(captures, &scope, node, err));
    }
    for (size_t i = 0; i < graph->n_output; i++)
        LDNQ_TRY(report_captured_name(captures, &scope, graph->output[i]->name, err));
    return LDNQ_OK;
}

enum ldnq_status ldnq_visit_node_captures(const Onnx__NodeProto *node, struct ldnq_arena *scratch,
                                          ldnq_capture_fn *visit, void *ctx, struct ldnq_error *err)
{
    const struct captures captures = { scratch, visit, ctx };
    return report_reads_of_subgraphs(&captures, NULL, node, err);
}

enum ldnq_status ldnq_visit_graph_captures(const Onnx__GraphProto *graph,
                                           struct ldnq_arena *scratch, ldnq_capture_fn *visit,
                                           void *ctx, struct ldnq_error *err)
{
    const struct captures captures = { scratch, visit, ctx };
    return report_reads_of_graph(&captures, NULL, graph, err);
}
