/* SPDX-License-Identifier: Apache-2.0 */
/* storage.c: choose the type of the codes, and the opset that it needs. */
#include "emit/emit.h"

#include "base/size.h"
#include "emit/emit_table.h"
#include "onnx/edit.h"

/* Narrow to wide; source: ONNX's DequantizeLinear, versions 10, 13, 21 and 25. */
static const struct storage_type {
    enum ldnq_storage storage;
    enum ldnq_dtype dtype;
    unsigned bits;
    int opset;
} types[] = {
    { LDNQ_STORAGE_INT2, LDNQ_INT2, 2, 25 },
    { LDNQ_STORAGE_INT4, LDNQ_INT4, 4, 21 },
    { LDNQ_STORAGE_INT8, LDNQ_INT8, 8, 10 },
};

#define TYPE_COUNT (sizeof types / sizeof *types)
#define LEAST_OPSET 10
#define AXIS_OPSET 13
#define HALF_OPSET 19 /* the first whose DequantizeLinear takes scales of 16 bits */
#define BLOCK_OPSET 21

static const struct storage_type *find_narrowest_type(unsigned code_bits, unsigned bits, int opset)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].bits >= bits && types[i].opset <= opset && code_bits >> types[i].bits & 1)
            return &types[i];
    return &types[TYPE_COUNT - 1];
}

/* The type of the chosen storage, or for auto the narrowest one. */
static const struct storage_type *find_storage_type(const struct ldnq_emit_choice *choice,
                                                    unsigned bits, int opset)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].storage == choice->storage)
            return &types[i];
    return find_narrowest_type(choice->code_bits, bits, opset);
}

enum ldnq_dtype ldnq_emit_dtype(const struct ldnq_emit_choice *choice,
                                const struct ldnq_codebook *codebook)
{
    return find_storage_type(choice, codebook->bits, choice->opset)->dtype;
}

enum ldnq_dtype ldnq_emit_layer_dtype(const struct ldnq_emit_choice *choice,
                                      const struct ldnq_quantized_layer *quantized)
{
    if (ldnq_layer_is_lookup(&quantized->layer))
        return ldnq_emit_table_bits(quantized) == 4 ? LDNQ_INT4 : LDNQ_INT8;
    return ldnq_emit_dtype(choice, quantized->codebook);
}

unsigned ldnq_emit_least_bits(const struct ldnq_emit_choice *choice)
{
    return find_storage_type(choice, 0, choice->opset)->bits;
}

enum ldnq_dtype ldnq_emit_narrowest_dtype(const struct ldnq_emit_choice *choice,
                                          const struct ldnq_codebook *codebook, int *opset)
{
    const struct storage_type *type =
        find_narrowest_type(choice->code_bits, codebook->bits, LDNQ_OPSET_LATEST);
    *opset = type->opset;
    return type->dtype;
}

/* The opset that scales and target need, whatever the type of the codes is. */
static int find_least_opset(const struct ldnq_emit_options *options, bool has_halves)
{
    const int scales = options->granularity == LDNQ_PER_BLOCK     ? BLOCK_OPSET
                       : options->granularity == LDNQ_PER_CHANNEL ? AXIS_OPSET
                                                                  : LEAST_OPSET;
    const int least = scales > options->least_opset ? scales : options->least_opset;
    return has_halves && least < HALF_OPSET ? HALF_OPSET
           : least > LEAST_OPSET            ? least
                                            : LEAST_OPSET;
}

static enum ldnq_status check_kept_opset(const struct ldnq_model *model,
                                         const struct ldnq_emit_options *options, int needed,
                                         struct ldnq_error *err)
{
    const int opset = ldnq_model_opset(model);
    if (!options->keeps_opset || needed <= opset)
        return LDNQ_OK;
    if (needed == options->least_opset)
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s: target '%s' needs opset %d, and the model's opset %d is to be kept; "
                         "choose target weights, or let the opset be raised",
                         ldnq_model_path(model), options->target->name, needed, opset);
    if (needed == HALF_OPSET)
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s: quantized float16 and bfloat16 weights need opset %d, and the "
                         "model's opset %d is to be kept; let it be raised",
                         ldnq_model_path(model), needed, opset);
    if (options->granularity == LDNQ_PER_TENSOR)
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s: quantized weights need opset %d, and the model's opset %d is to be "
                         "kept; let it be raised",
                         ldnq_model_path(model), needed, opset);
    const bool has_blocks = options->granularity == LDNQ_PER_BLOCK;
    return ldnq_fail(err, LDNQ_USAGE,
                     "%s: a scale per %s needs opset %d, and the model's opset %d is to be kept; "
                     "choose granularity %s",
                     ldnq_model_path(model), has_blocks ? "block" : "channel", needed, opset,
                     has_blocks && opset >= AXIS_OPSET ? "channel" : "tensor");
}

/* Raises the opset for the narrowest types, as far as the model's nodes can be converted. */
static enum ldnq_status raise_as_far_as_possible(struct ldnq_model *model,
                                                 const struct ldnq_emit_options *options, int least,
                                                 struct ldnq_error *obstacle, int *opset,
                                                 struct ldnq_error *err)
{
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        struct ldnq_error reason;
        if (types[i].bits < options->narrowest->bits || types[i].opset <= least ||
            !(options->code_bits >> types[i].bits & 1))
            continue;
        *opset = types[i].opset;
        const enum ldnq_status status = ldnq_model_raise_opset(model, *opset, &reason);
        if (status == LDNQ_OK)
            return LDNQ_OK;
        if (status != LDNQ_UNSUPPORTED)
            return ldnq_fail(err, status, "%s", reason.message);
        if (obstacle->status == LDNQ_OK)
            *obstacle = reason;
    }
    *opset = least;
    return ldnq_model_raise_opset(model, least, err);
}

enum ldnq_status ldnq_emit_prepare(struct ldnq_model *model,
                                   const struct ldnq_emit_options *options,
                                   struct ldnq_emit_choice *choice, struct ldnq_error *err)
{
    const struct ldnq_codebook *widest = options->widest;
    const bool limits_type = options->opset > 0 || options->keeps_opset;
    bool has_halves;
    LDNQ_TRY(ldnq_model_find_halves(model, &has_halves, err));
    const int needed = find_least_opset(options, has_halves);
    int opset = ldnq_model_opset(model);
    LDNQ_TRY(check_kept_opset(model, options, needed, err));
    if (options->opset > opset)
        opset = options->opset;
    if (needed > opset)
        opset = needed;
    *choice = (struct ldnq_emit_choice){ .target = options->target,
                                         .code_bits = options->code_bits,
                                         .storage = options->storage };
    if (options->storage == LDNQ_STORAGE_AUTO && !limits_type) {
        LDNQ_TRY(raise_as_far_as_possible(model, options, opset, &choice->obstacle, &choice->opset,
                                          err));
        choice->dtype = ldnq_emit_dtype(choice, widest);
        return LDNQ_OK;
    }
    const struct storage_type *type = find_storage_type(choice, widest->bits, opset);
    if (type->bits < widest->bits)
        return ldnq_fail(err, LDNQ_USAGE,
                         "codes of '%s' do not fit %s; storage auto chooses a type that fits",
                         widest->name, ldnq_dtype_name(type->dtype));
    if (options->keeps_opset && type->opset > opset)
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s: codes in %s need opset %d, and the model's opset %d is to be kept; "
                         "leave storage at auto",
                         ldnq_model_path(model), ldnq_dtype_name(type->dtype), type->opset, opset);
    choice->opset = opset > type->opset ? opset : type->opset;
    choice->dtype = type->dtype;
    return ldnq_model_raise_opset(model, choice->opset, err);
}
