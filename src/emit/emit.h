/* SPDX-License-Identifier: Apache-2.0 */
/* emit.h: write a quantized network into the model that its graph was imported from.
 *
 * A layer's weight becomes an integer initializer and a DequantizeLinear, whose output the
 * layer reads. A weight (K, M) is stored as (M, K), with a Transpose after its
 * DequantizeLinear, unless the target has a kernel for (K, M) (emit.c says why).
 * A table is written as emit_table.h says.
 * BatchNormalizations that were folded into a layer are removed, and so is all that no node reads
 * any more. Everything else stays as it was loaded. Owns    nothing; the model belongs to the
 * caller
 */
#ifndef LDNQ_EMIT_H
#define LDNQ_EMIT_H

#include "layer/quantized_layer.h"
#include "onnx/onnx.h"
#include "target/target.h"

enum ldnq_storage { LDNQ_STORAGE_AUTO, LDNQ_STORAGE_INT8, LDNQ_STORAGE_INT4, LDNQ_STORAGE_INT2 };

struct ldnq_emit_options {
    const struct ldnq_codebook *widest,
        *narrowest;                    /* codebooks with most and fewest bits that may be used */
    enum ldnq_granularity granularity; /* the finest that may be used */
    const struct ldnq_target *target;
    unsigned code_bits; /* bit b: storage auto may choose a type of b bits; 8 is among them */
    enum ldnq_storage storage;
    int opset;        /* the opset that the user asks for; 0: none */
    int least_opset;  /* the least opset that the target needs; 0: any */
    bool keeps_opset; /* the model's opset must not change */
};

struct ldnq_emit_choice {
    const struct ldnq_target *target; /* NULL: none in particular */
    unsigned code_bits;               /* code_bits of the options */
    enum ldnq_storage storage;
    enum ldnq_dtype dtype; /* type of the codes of the widest codebook */
    int opset;             /* opset of the model after it was raised */
    /* Why the model could not be raised to the opset of the narrowest type; LDNQ_OK: it was, or
     * need not be. */
    struct ldnq_error obstacle;
};

/* Chooses the type of the codes, and raises the model's opset as far as the type needs. Must be
 * called before the model is imported.
 * LDNQ_STORAGE_AUTO chooses for each codebook the narrowest type that holds its codes: int8 from
 * opset 10, int4 from 21, int2 from 25. The opset is raised for that type. But an opset that was
 * asked for, or that must not change, stays, and the type is one that it has. A model whose nodes
 * can't be converted keeps a lower opset, and wider types. Any other storage raises the opset.
 * Scales per channel need opset 13, scales per block 21. Errors: USAGE (codes that do not fit the
 * storage; an opset that must not change and is too low), UNSUPPORTED (nodes that can't be
 * converted to the opset, all of them named; the model is then unchanged). */
enum ldnq_status ldnq_emit_prepare(struct ldnq_model *model,
                                   const struct ldnq_emit_options *options,
                                   struct ldnq_emit_choice *choice, struct ldnq_error *err);

/* Returns the type that stores the codes of this codebook. */
enum ldnq_dtype ldnq_emit_dtype(const struct ldnq_emit_choice *choice,
                                const struct ldnq_codebook *codebook);

/* The same for the codes of one layer: those of a table have types of their own (emit_table.h). */
enum ldnq_dtype ldnq_emit_layer_dtype(const struct ldnq_emit_choice *choice,
                                      const struct ldnq_quantized_layer *quantized);

/* Returns why the file has codes of layer i besides those of a table with the same elements; NULL:
 * there is no such table, or both read the same codes. */
const char *ldnq_emit_explain_copy(const struct ldnq_quantized_network *network,
                                   const struct ldnq_emit_choice *choice, size_t i);

/* Returns the narrowest type that may be chosen for the codes, and the opset that has it. */
enum ldnq_dtype ldnq_emit_narrowest_dtype(const struct ldnq_emit_choice *choice,
                                          const struct ldnq_codebook *codebook, int *opset);

/* Returns the bits of the narrowest type that the file can have for codes. */
unsigned ldnq_emit_least_bits(const struct ldnq_emit_choice *choice);

/* Patches the model, and writes each layer's scales and error to its metadata under the key
 * "ldnq.layer.LABEL". Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_emit(struct ldnq_model *model, const struct ldnq_quantized_network *network,
                           const struct ldnq_emit_choice *choice, struct ldnq_error *err);

#endif
