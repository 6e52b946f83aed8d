/* model.h: what a loaded model is made of, for the files of this room.
 *
 * Owns    all of it lives in the model's arena; protobuf-c frees nothing, so
 *         edits put new pieces there and leave the old ones behind.
 */
#ifndef LDNQ_ONNX_MODEL_H
#define LDNQ_ONNX_MODEL_H

#include "onnx/onnx.h"

#include "onnx.pb-c.h"
#include "onnx/names.h"

/* Flags in struct ldnq_model's names. */
enum {
    /* Made in the main graph, and read by nothing when the model was loaded. */
    LDNQ_NAME_DEAD = 1,
    /* Of a value that an edit took out of the main graph. */
    LDNQ_NAME_GONE = 2,
};

struct ldnq_model {
    struct ldnq_arena *arena;
    const char *path;
    Onnx__ModelProto *proto;
    size_t bytes;
    uint64_t hash;
    struct ldnq_names names; /* every name of a value or node, in all graphs */
    size_t node_capacity;    /* of proto->graph->node; 0 until it first grew */
    size_t initializer_capacity;
};

static inline const char *ldnq_or_empty(const char *text)
{
    return text ? text : "";
}

/* The file has two names for ONNX's own operators. */
static inline bool ldnq_is_onnx_domain(const char *domain)
{
    return !domain || !*domain || __builtin_strcmp(domain, "ai.onnx") == 0;
}

static inline bool ldnq_is_external(const Onnx__TensorProto *tensor)
{
    return tensor->has_data_location &&
           tensor->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

/* Raises the IR version when it is lower. From 4 on initializers need not be
 * graph inputs; they stop being, as they would become inputs with a default,
 * which no runtime treats as weights. */
enum ldnq_status ldnq_model_need_ir(struct ldnq_model *model, int64_t version,
                                    struct ldnq_error *err);

/* The version of ai.onnx in a list of imports; 0 when it is not there. */
int ldnq_opset_in(Onnx__OperatorSetIdProto *const *imports, size_t count);

#endif
