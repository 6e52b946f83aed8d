/* storage.c: choose the type of the codes, and the opset that it needs. */
#include "emit/emit.h"

#include "base/size.h"
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
#define AXIS_OPSET 13
#define BLOCK_OPSET 21

static const struct storage_type *find_narrowest_type(unsigned bits, int opset)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].bits >= bits && types[i].opset <= opset)
            return &types[i];
    return &types[TYPE_COUNT - 1];
}

/* The type of a storage that is not auto, or the narrowest one. */
static const struct storage_type *find_storage_type(enum ldnq_storage storage, unsigned bits,
                                                    int opset)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].storage == storage)
            return &types[i];
    return find_narrowest_type(bits, opset);
}

enum ldnq_dtype ldnq_emit_dtype(const struct ldnq_emit_choice *choice,
                                const struct ldnq_codebook *codebook)
{
    return find_storage_type(choice->storage, codebook->bits, choice->opset)->dtype;
}

enum ldnq_status ldnq_emit_prepare(struct ldnq_model *model, const struct ldnq_codebook *widest,
                                   enum ldnq_granularity granularity,
                                   const struct ldnq_emit_options *options,
                                   struct ldnq_emit_choice *choice, struct ldnq_error *err)
{
    int opset = ldnq_model_opset(model);
    if (opset > LDNQ_OPSET_LATEST)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "%s: opset %d is newer than the latest that ldnq "
                         "knows, %d",
                         ldnq_model_path(model), opset, LDNQ_OPSET_LATEST);
    if (options->opset > opset)
        opset = options->opset;
    if (granularity != LDNQ_PER_TENSOR && opset < AXIS_OPSET)
        opset = AXIS_OPSET;
    if (granularity == LDNQ_PER_BLOCK && opset < BLOCK_OPSET)
        opset = BLOCK_OPSET;
    const struct storage_type *type = find_storage_type(options->storage, widest->bits, opset);
    if (type->bits < widest->bits)
        return ldnq_fail(err, LDNQ_USAGE,
                         "codes of '%s' do not fit %s; storage auto chooses a type that fits",
                         widest->name, ldnq_dtype_name(type->dtype));
    if (opset < type->opset)
        opset = type->opset;
    const struct storage_type *least = find_narrowest_type(widest->bits, types[0].opset);
    *choice = (struct ldnq_emit_choice){ .storage = options->storage,
                                         .dtype = type->dtype,
                                         .opset = opset,
                                         .narrowest = least->dtype,
                                         .narrowest_opset = least->opset };
    return ldnq_model_raise_opset(model, opset, err);
}
