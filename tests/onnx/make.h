/* SPDX-License-Identifier: Apache-2.0 */
/* make.h: models made piece by piece, for the tests of room onnx. */
#ifndef TESTS_ONNX_MAKE_H
#define TESTS_ONNX_MAKE_H

#include "test.h"

#include <string.h>

#include "onnx/build.h"
#include "onnx/edit.h"

static struct ldnq_error err;

/* A model under construction; its pieces live in `arena`. */
struct make {
    struct ldnq_arena *arena;
    Onnx__ModelProto *proto;
    Onnx__GraphProto *graph;
    void *bytes; /* what make_bytes packed last */
    size_t size;
};

static inline void make_append(struct make *make, void *list_address, size_t *count, void *item)
{
    void ***list = list_address;
    void **copy = ldnq_arena_alloc(make->arena, *count + 1, sizeof *copy, NULL);
    if (*count)
        memcpy(copy, *list, *count * sizeof *copy);
    copy[(*count)++] = item;
    *list = copy;
}

static inline void *make_message(struct make *make, const ProtobufCMessageDescriptor *kind)
{
    void *message = ldnq_arena_alloc(make->arena, 1, kind->sizeof_message, NULL);
    protobuf_c_message_init(kind, message);
    return message;
}

static inline char *make_text(struct make *make, const char *text)
{
    return ldnq_arena_strdup(make->arena, text, NULL);
}

static inline Onnx__StringStringEntryProto *make_pair(struct make *make, const char *key,
                                                      const char *value)
{
    Onnx__StringStringEntryProto *pair =
        make_message(make, &onnx__string_string_entry_proto__descriptor);
    pair->key = make_text(make, key);
    pair->value = make_text(make, value);
    return pair;
}

static inline void make_import(struct make *make, const char *domain, int64_t version)
{
    Onnx__OperatorSetIdProto *import = make_message(make, &onnx__operator_set_id_proto__descriptor);
    import->domain = make_text(make, domain);
    import->has_version = 1;
    import->version = version;
    make_append(make, &make->proto->opset_import, &make->proto->n_opset_import, import);
}

static inline struct make make_begin(int opset)
{
    struct make make = { 0 };
    assert_ok(ldnq_arena_create(&make.arena, &err));
    make.proto = make_message(&make, &onnx__model_proto__descriptor);
    make.graph = make.proto->graph = make_message(&make, &onnx__graph_proto__descriptor);
    make.graph->name = make_text(&make, "g");
    make.proto->has_ir_version = 1;
    make.proto->ir_version = 8;
    make_import(&make, "", opset);
    return make;
}

static inline void make_end(struct make *make)
{
    ldnq_arena_destroy(make->arena);
}

/* A float tensor's type; -1 is a symbol "N", -2 a size that is not given. */
static inline Onnx__ValueInfoProto *make_info(struct make *make, const char *name, int rank,
                                              const int64_t *dims)
{
    Onnx__ValueInfoProto *info = make_message(make, &onnx__value_info_proto__descriptor);
    info->name = make_text(make, name);
    info->type = make_message(make, &onnx__type_proto__descriptor);
    info->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    info->type->tensor_type = make_message(make, &onnx__type_proto__tensor__descriptor);
    info->type->tensor_type->has_elem_type = 1;
    info->type->tensor_type->elem_type = LDNQ_FLOAT;
    if (rank < 0)
        return info;
    Onnx__TensorShapeProto *shape = make_message(make, &onnx__tensor_shape_proto__descriptor);
    info->type->tensor_type->shape = shape;
    for (int i = 0; i < rank; i++) {
        Onnx__TensorShapeProto__Dimension *dim =
            make_message(make, &onnx__tensor_shape_proto__dimension__descriptor);
        if (dims[i] == -1) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = make_text(make, "N");
        } else if (dims[i] >= 0 || dims[i] < -2) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = dims[i];
        }
        make_append(make, &shape->dim, &shape->n_dim, dim);
    }
    return info;
}

/* The rank and the dimensions: two arguments. */
#define DIMS(...)                                                                                  \
    (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[])                       \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static inline void make_input(struct make *make, const char *name, int rank, const int64_t *dims)
{
    make_append(make, &make->graph->input, &make->graph->n_input,
                make_info(make, name, rank, dims));
}

static inline void make_output(struct make *make, const char *name)
{
    make_append(make, &make->graph->output, &make->graph->n_output,
                make_info(make, name, LDNQ_RANK_UNKNOWN, NULL));
}

/* Up to three inputs, NULL behind the last; one output. */
static inline Onnx__NodeProto *make_node_in(struct make *make, Onnx__GraphProto *graph,
                                            const char *op_type, const char *name, const char *a,
                                            const char *b, const char *c, const char *output)
{
    const char *inputs[] = { a, b, c };
    size_t count = c ? 3 : b ? 2 : a ? 1 : 0;
    Onnx__NodeProto *node =
        ldnq_build_node(make->arena, op_type, name, inputs, count, &output, 1, NULL);
    make_append(make, &graph->node, &graph->n_node, node);
    return node;
}

static inline Onnx__NodeProto *make_node(struct make *make, const char *op_type, const char *name,
                                         const char *a, const char *b, const char *output)
{
    return make_node_in(make, make->graph, op_type, name, a, b, NULL, output);
}

static inline Onnx__TensorProto *make_tensor(struct make *make, const char *name, int32_t type,
                                             int rank, const int64_t *dims)
{
    Onnx__TensorProto *tensor = make_message(make, &onnx__tensor_proto__descriptor);
    tensor->name = make_text(make, name);
    tensor->has_data_type = 1;
    tensor->data_type = type;
    tensor->dims = ldnq_arena_alloc(make->arena, (size_t)rank, sizeof *tensor->dims, NULL);
    tensor->n_dims = (size_t)rank;
    if (rank)
        memcpy(tensor->dims, dims, (size_t)rank * sizeof *dims);
    return tensor;
}

static inline void make_raw(struct make *make, Onnx__TensorProto *tensor, const void *bytes,
                            size_t size)
{
    tensor->has_raw_data = 1;
    tensor->raw_data.len = size;
    tensor->raw_data.data = ldnq_arena_alloc(make->arena, size, 1, NULL);
    if (size)
        memcpy(tensor->raw_data.data, bytes, size);
}

/* A float initializer that counts 0, 1, 2 ... */
static inline Onnx__TensorProto *make_weight(struct make *make, const char *name, int rank,
                                             const int64_t *dims)
{
    Onnx__TensorProto *tensor = make_tensor(make, name, LDNQ_FLOAT, rank, dims);
    size_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= (size_t)dims[i];
    float *values = ldnq_arena_alloc(make->arena, count, sizeof *values, NULL);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)i;
    make_raw(make, tensor, values, count * sizeof *values);
    make_append(make, &make->graph->initializer, &make->graph->n_initializer, tensor);
    return tensor;
}

static inline Onnx__AttributeProto *make_graph_attr(struct make *make, Onnx__NodeProto *node,
                                                    const char *name)
{
    Onnx__AttributeProto *attr = ldnq_build_attr(make->arena, node, name, NULL);
    attr->has_type = 1;
    attr->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
    attr->g = make_message(make, &onnx__graph_proto__descriptor);
    attr->g->name = make_text(make, name);
    return attr;
}

static inline void make_bytes(struct make *make)
{
    make->size = onnx__model_proto__get_packed_size(make->proto);
    make->bytes = ldnq_arena_alloc(make->arena, make->size, 1, NULL);
    onnx__model_proto__pack(make->proto, make->bytes);
}

static inline struct ldnq_model *make_load(struct make *make)
{
    struct ldnq_model *model;
    make_bytes(make);
    assert_ok(ldnq_model_load_memory(make->bytes, make->size, "m.onnx", &model, &err));
    return model;
}

/* x (N,4) -> MatMul w (4,3) -> Add b -> Relu -> y */
static inline struct make make_small(int opset)
{
    struct make make = make_begin(opset);
    make_input(&make, "x", DIMS(-1, 4));
    make_weight(&make, "w", DIMS(4, 3));
    make_weight(&make, "b", DIMS(3));
    make_node(&make, "MatMul", "fc", "x", "w", "t");
    make_node(&make, "Add", "bias", "t", "b", "u");
    make_node(&make, "Relu", "", "u", NULL, "y");
    make_output(&make, "y");
    return make;
}

#endif
