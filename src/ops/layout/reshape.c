/* SPDX-License-Identifier: Apache-2.0 */
/* reshape.c: Reshape. A size of 0 means the input's size of the same axis (without
 * allowzero), -1 the size that makes the number of elements equal. It is computed by
 * dividing two products of sizes; symbols that are in both cancel. */
#include "ops/op.h"

#include <inttypes.h>

#include "base/size.h"

/* A product of sizes: a number times the symbols in the list. */
struct size_product {
    int64_t number;
    int symbols;
    int64_t symbol[LDNQ_MAX_RANK];
};

static bool multiply_size_product(struct size_product *product, int64_t dim)
{
    if (!ldnq_is_symbol(dim))
        return ldnq_int64_mul(product->number, dim, &product->number);
    product->symbol[product->symbols++] = dim;
    return true;
}

/* Removes symbols that are in both products, each as often as in both. */
static void cancel_symbols(struct size_product *a, struct size_product *b)
{
    for (int i = 0; i < a->symbols; i++) {
        for (int k = 0; k < b->symbols; k++) {
            if (a->symbol[i] != b->symbol[k])
                continue;
            a->symbol[i--] = a->symbol[--a->symbols];
            b->symbol[k] = b->symbol[--b->symbols];
            break;
        }
    }
}

/* The size for -1: the elements of the input divided by the other sizes of the output. */
static enum ldnq_status infer_remaining_dim(struct ldnq_op_call *call,
                                            const struct size_product *all,
                                            const struct size_product *rest, int64_t *dim,
                                            struct ldnq_error *err)
{
    if (rest->symbols == 0 && all->symbols == 0) {
        if (rest->number == 0 || all->number % rest->number != 0)
            return ldnq_fail(err, LDNQ_MODEL,
                             "%" PRId64 " elements can't be divided into groups of %" PRId64,
                             all->number, rest->number);
        *dim = all->number / rest->number;
        return LDNQ_OK;
    }
    if (rest->symbols == 0 && all->symbols == 1 && rest->number == all->number) {
        *dim = all->symbol[0];
        return LDNQ_OK;
    }
    return ldnq_op_make_unknown_dim(call, dim, err);
}

/* Replaces each 0 by the input's size, finds the -1 (*inferred is its axis or -1), and multiplies
 * all other sizes. */
static enum ldnq_status resolve_sizes(const struct ldnq_op_call *call, struct ldnq_shape *shape,
                                      struct size_product *rest, int *inferred,
                                      struct ldnq_error *err)
{
    const struct ldnq_shape *from = &call->in[0]->shape;
    bool keep_zero = ldnq_attr_int(call->node, "allowzero", 0) != 0;
    *inferred = -1;
    for (int i = 0; i < shape->rank; i++) {
        int64_t *dim = &shape->dim[i];
        if (*dim == 0 && !keep_zero) {
            if (i >= from->rank)
                return ldnq_fail(err, LDNQ_MODEL,
                                 "its size 0 copies axis %d, but its input has %d axes", i,
                                 from->rank);
            *dim = from->dim[i];
        }
        if (*dim == -1 && *inferred < 0) {
            *inferred = i;
            continue;
        }
        if (*dim < 0 && !ldnq_is_symbol(*dim))
            return ldnq_fail(err, LDNQ_MODEL, "%" PRId64 " is not a size", *dim);
        if (!multiply_size_product(rest, *dim))
            return ldnq_fail(err, LDNQ_MODEL, "its shape is too large");
    }
    return LDNQ_OK;
}

static enum ldnq_status reshape_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *from = &call->in[0]->shape;
    struct ldnq_shape shape;
    struct size_product all = { .number = 1 }, rest = { .number = 1 };
    int inferred;
    call->out[0].dtype = call->in[0]->dtype;
    LDNQ_TRY(ldnq_op_read_dims(call, 1, &shape, err));
    if (shape.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if (from->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(resolve_sizes(call, &shape, &rest, &inferred, err));
    for (int i = 0; i < from->rank; i++)
        if (!multiply_size_product(&all, from->dim[i]))
            return ldnq_fail(err, LDNQ_MODEL, "its input's shape is too large");
    bool known = all.symbols == 0 && rest.symbols == 0;
    cancel_symbols(&all, &rest);
    if (inferred >= 0)
        LDNQ_TRY(infer_remaining_dim(call, &all, &rest, &shape.dim[inferred], err));
    else if (known && all.number != rest.number)
        return ldnq_fail(err, LDNQ_MODEL, "%" PRId64 " elements can't be reshaped to %" PRId64,
                         all.number, rest.number);
    call->out[0].shape = shape;
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_reshape = {
    .type = "Reshape",
    .since = 5,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_VIEW,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = reshape_infer_shape,
};
