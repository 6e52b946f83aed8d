/* emit.h: writes a quantization into the model that the graph was read from.
 *
 * A layer's weight becomes an integer initializer and a DequantizeLinear in front
 * of the layer; behind that one comes a Transpose where the weight lies as (K, M),
 * as its codes are stored as (M, K) (emit.c says why). Folded BatchNormalizations
 * disappear into the layer; what nothing reads any more is dropped. All else stays
 * as it was loaded.
 */
#ifndef LDNQ_EMIT_H
#define LDNQ_EMIT_H

#include "layer/quantized_layer.h"
#include "onnx/onnx.h"

enum ldnq_storage { LDNQ_STORAGE_AUTO, LDNQ_STORAGE_INT8, LDNQ_STORAGE_INT4, LDNQ_STORAGE_INT2 };

struct ldnq_emit_options {
    enum ldnq_storage storage;
    int opset; /* at least this one; 0: the model's own */
};

struct ldnq_emit_choice {
    enum ldnq_storage storage;
    enum ldnq_dtype dtype; /* of the widest codebook's codes */
    int opset;             /* the model's, after it was raised as far as needed */
    /* The narrowest type that its codes fit, and the opset that has it. */
    enum ldnq_dtype narrowest;
    int narrowest_opset;
};

/* Before any work is done: chooses the codes' type, and raises the model's opset
 * as far as that needs. `widest` is the codebook with the most bits of those in
 * use. auto takes the narrowest type that the codes fit and that the opset has: int8
 * from opset 10, int4 from 21, int2 from 25; scales a channel need 13, scales a block
 * 21. A storage that is asked for by name raises the opset instead. The
 * model's graph must be imported after this.
 * Errors: USAGE (codes that do not fit the storage), UNSUPPORTED (nodes that
 * can't be brought to the opset: all of them; the model is then unchanged). */
enum ldnq_status ldnq_emit_prepare(struct ldnq_model *model, const struct ldnq_codebook *widest,
                                   enum ldnq_granularity granularity,
                                   const struct ldnq_emit_options *options,
                                   struct ldnq_emit_choice *choice, struct ldnq_error *err);

/* The type in which codes of this codebook are stored. */
enum ldnq_dtype ldnq_emit_dtype(const struct ldnq_emit_choice *choice,
                                const struct ldnq_codebook *codebook);

/* Patches the model, and notes each layer's scales and error in its metadata as
 * "ldnq.layer.LABEL". Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_emit(struct ldnq_model *model, const struct ldnq_quantized_network *network,
                           const struct ldnq_emit_choice *choice, struct ldnq_error *err);

#endif
