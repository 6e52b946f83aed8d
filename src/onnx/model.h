/* SPDX-License-Identifier: Apache-2.0 */
/* model.h: the struct of a loaded model, for the files of this room.
 *
 * Owns    everything is in the model's arena, and protobuf-c frees nothing: edits
 *         allocate new messages there and abandon the old ones.
 */
#ifndef LDNQ_ONNX_MODEL_H
#define LDNQ_ONNX_MODEL_H

#include "onnx/onnx.h"

#include "onnx.pb-c.h"
#include "onnx/names.h"

/* Flags in struct ldnq_model's names. */
enum {
    /* A value of the main graph that had no reader when the model was loaded. */
    LDNQ_NAME_DEAD = 1,
    /* A value that an edit removed from the main graph. */
    LDNQ_NAME_GONE = 2,
};

struct ldnq_data_file {
    const char *path; /* resolved */
    const void *bytes;
};

struct ldnq_model {
    struct ldnq_arena *arena;
    const char *path;
    Onnx__ModelProto *proto;
    size_t bytes, file_bytes; /* of model and external data; of the model alone */
    uint64_t hash;
    struct ldnq_data_file *data_files; /* mapped external data */
    size_t data_file_count, data_file_capacity;
    struct ldnq_names names; /* every name of a value or node, in all graphs */
    size_t node_capacity;    /* room in proto->graph->node; 0 until it grows for the first time */
    size_t initializer_capacity;
};

static inline const char *ldnq_or_empty(const char *text)
{
    return text ? text : "";
}

/* ONNX's own operators have two names for their domain. */
static inline bool ldnq_is_onnx_domain(const char *domain)
{
    return !domain || !*domain || __builtin_strcmp(domain, "ai.onnx") == 0;
}

static inline bool ldnq_is_external(const Onnx__TensorProto *tensor)
{
    return tensor->has_data_location &&
           tensor->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

/* Raises the IR version when it is lower. From IR 4 on initializers need not be graph
 * inputs, and those that are would become inputs with a default value, which no runtime
 * treats as weights: they are removed from the inputs. */
enum ldnq_status ldnq_model_raise_ir(struct ldnq_model *model, int64_t version,
                                     struct ldnq_error *err);

/* The version of ai.onnx in a list of opset imports; 0 when it is missing. */
int ldnq_find_onnx_opset(Onnx__OperatorSetIdProto *const *imports, size_t count);

#endif
