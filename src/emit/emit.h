/* emit.h: write a quantized network into the model that its graph was imported from.
 *
 * A layer's weight becomes an integer initializer and a DequantizeLinear, whose output the
 * layer reads. A weight (K, M) is stored as (M, K), with a Transpose after its
 * DequantizeLinear (emit.c says why). BatchNormalizations that were folded into a layer are
 * removed, and so is all that no node reads any more. Everything else stays as it was
 * loaded.
 * Owns    nothing; the model belongs to the caller
 */
#ifndef LDNQ_EMIT_H
#define LDNQ_EMIT_H

#include "layer/quantized_layer.h"
#include "onnx/onnx.h"

enum ldnq_storage { LDNQ_STORAGE_AUTO, LDNQ_STORAGE_INT8, LDNQ_STORAGE_INT4, LDNQ_STORAGE_INT2 };

struct ldnq_emit_options {
    enum ldnq_storage storage;
    int opset; /* the least opset; 0: the model's own */
};

struct ldnq_emit_choice {
    enum ldnq_storage storage;
    enum ldnq_dtype dtype; /* of the codes of the widest codebook */
    int opset;             /* of the model, after it was raised */
    /* The narrowest type that holds those codes, and the opset that has this type. */
    enum ldnq_dtype narrowest;
    int narrowest_opset;
};

/* Chooses the type of the codes, and raises the model's opset as far as the type needs. Must be
 * called before the model is imported. `widest` is the codebook in use with the most bits.
 * LDNQ_STORAGE_AUTO chooses the narrowest type that holds the codes and that the opset has:
 * int8 from opset 10, int4 from 21, int2 from 25. Any other storage raises the opset
 * instead. Scales per channel need opset 13, scales per block 21.
 * Errors: USAGE (codes that do not fit the storage), UNSUPPORTED (nodes that can't be
 * converted to the opset, all of them named; the model is then unchanged). */
enum ldnq_status ldnq_emit_prepare(struct ldnq_model *model, const struct ldnq_codebook *widest,
                                   enum ldnq_granularity granularity,
                                   const struct ldnq_emit_options *options,
                                   struct ldnq_emit_choice *choice, struct ldnq_error *err);

/* Returns the type that stores the codes of this codebook. */
enum ldnq_dtype ldnq_emit_dtype(const struct ldnq_emit_choice *choice,
                                const struct ldnq_codebook *codebook);

/* Patches the model, and writes each layer's scales and error to its metadata under the key
 * "ldnq.layer.LABEL". Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_emit(struct ldnq_model *model, const struct ldnq_quantized_network *network,
                           const struct ldnq_emit_choice *choice, struct ldnq_error *err);

#endif
