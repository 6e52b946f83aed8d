/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/index/scatter_update.h"

#include <string.h>

enum scatter_reduction { NONE, ADD, MUL, MAX, MIN };
static const char *const names[] = { "none", "add", "mul", "max", "min" };

struct scatter_attrs {
    enum scatter_reduction reduction;
};

enum ldnq_status ldnq_scatter_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                         const void **attrs, struct ldnq_error *err)
{
    const char *name = ldnq_attr_string(node, "reduction", "none");
    struct scatter_attrs *a = ldnq_arena_alloc(arena, 1, sizeof *a, err);
    if (!a)
        return LDNQ_NOMEM;
    *attrs = a;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            a->reduction = (enum scatter_reduction)i;
            return LDNQ_OK;
        }
    }
    return ldnq_fail(err, LDNQ_MODEL, "reduction=%s is not none, add, mul, max or min", name);
}

static enum scatter_reduction read_reduction(const struct ldnq_op_call *call)
{
    return ((const struct scatter_attrs *)call->attrs)->reduction;
}

enum ldnq_status ldnq_scatter_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const unsigned numbers =
        LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64);
    if (call->in[0]->dtype != call->in[2]->dtype)
        return ldnq_fail(err, LDNQ_MODEL, "its data and updates have the types %s and %s",
                         ldnq_dtype_name(call->in[0]->dtype), ldnq_dtype_name(call->in[2]->dtype));
    return ldnq_op_infer_like_first_input(call, read_reduction(call) == NONE ? ~0u : numbers, err);
}

void ldnq_scatter_copy_data(const struct ldnq_op_call *call)
{
    const struct ldnq_tensor *data = call->in[0];
    if (call->out[0].data != data->data)
        memcpy(call->out[0].data, data->data,
               ldnq_tensor_count(data) * ldnq_dtype_size(data->dtype));
}

/* y = y op x. U is the type of sums and products, unsigned so that integers wrap around. */
#define COMBINE(name, T, U)                                                                        \
    static void name(enum scatter_reduction reduction, T *y, const T *x, size_t count)             \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            const T a = y[i], b = x[i];                                                            \
            y[i] = reduction == ADD   ? (T)((U)a + (U)b)                                           \
                   : reduction == MUL ? (T)((U)a * (U)b)                                           \
                   : reduction == MAX ? (a < b ? b : a)                                            \
                                      : (b < a ? b : a);                                           \
        }                                                                                          \
    }

COMBINE(combine_float, float, float)
COMBINE(combine_int32, int32_t, uint32_t)
COMBINE(combine_int64, int64_t, uint64_t)

void ldnq_scatter_update(const struct ldnq_op_call *call, size_t to, size_t from, size_t count)
{
    enum scatter_reduction reduction = read_reduction(call);
    size_t size = ldnq_dtype_size(call->out[0].dtype);
    char *y = (char *)call->out[0].data + to * size;
    const char *x = (const char *)call->in[2]->data + from * size;
    if (reduction == NONE)
        memcpy(y, x, count * size);
    else if (call->out[0].dtype == LDNQ_FLOAT)
        combine_float(reduction, (void *)y, (const void *)x, count);
    else if (call->out[0].dtype == LDNQ_INT32)
        combine_int32(reduction, (void *)y, (const void *)x, count);
    else
        combine_int64(reduction, (void *)y, (const void *)x, count);
}

enum ldnq_status ldnq_scatter_grad_copy(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_tensor *dy = grad->out[0];
    enum scatter_reduction reduction = read_reduction(grad->call);
    if (reduction > ADD)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "gradients through reduction=%s are not supported",
                         names[reduction]);
    if (grad->in[0].data)
        memcpy(grad->in[0].data, dy->data, ldnq_tensor_count(dy) * sizeof(float));
    return LDNQ_OK;
}

void ldnq_scatter_grad_update(const struct ldnq_op_grad *grad, size_t to, size_t from, size_t count)
{
    const float *dy = grad->out[0]->data;
    float *data = grad->in[0].data, *updates = grad->in[2].data;
    if (updates)
        memcpy(updates + from, dy + to, count * sizeof *updates);
    if (data && read_reduction(grad->call) == NONE)
        memset(data + to, 0, count * sizeof *data);
}
