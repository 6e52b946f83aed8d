/* SPDX-License-Identifier: Apache-2.0 */
/* topk.c: TopK along one axis. k is an attribute up to opset 9 and an input since 10. The
 * output is sorted, also with sorted=0; equal values are in the order of their indices. */
#include "ops/operation_count.h"

#include <inttypes.h>
#include <string.h>

#define TOPK_TYPES                                                                                 \
    (LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64) |        \
     LDNQ_DTYPE_BIT(LDNQ_UINT64))

struct topk_loop {
    const void *x;
    void *values;
    int64_t *indices;
    struct ldnq_axis_split at;
    size_t k;
    bool largest;
};

/* Insertion sort of each line: the output holds the best elements so far, sorted. */
#define TOPK(name, T)                                                                              \
    static void name##_line(const struct topk_loop *t, const T *x, T *values, int64_t *indices)    \
    {                                                                                              \
        size_t inner = t->at.inner, held = 0;                                                      \
        for (size_t i = 0; i < t->at.size && t->k > 0; i++) {                                      \
            const T v = x[i * inner];                                                              \
            size_t rank = held;                                                                    \
            while (rank > 0 &&                                                                     \
                   (t->largest ? v > values[(rank - 1) * inner] : v < values[(rank - 1) * inner])) \
                rank--;                                                                            \
            if (rank == t->k)                                                                      \
                continue;                                                                          \
            held += held < t->k;                                                                   \
            for (size_t m = held - 1; m > rank; m--) {                                             \
                values[m * inner] = values[(m - 1) * inner];                                       \
                indices[m * inner] = indices[(m - 1) * inner];                                     \
            }                                                                                      \
            values[rank * inner] = v;                                                              \
            indices[rank * inner] = (int64_t)i;                                                    \
        }                                                                                          \
    }                                                                                              \
    static void name(const void *ctx, size_t first, size_t last)                                   \
    {                                                                                              \
        const struct topk_loop *t = ctx;                                                           \
        for (size_t line = first; line < last; line++) {                                           \
            size_t outer = line / t->at.inner, inner = line % t->at.inner;                         \
            size_t to = outer * t->k * t->at.inner + inner;                                        \
            name##_line(t, (const T *)t->x + outer * t->at.size * t->at.inner + inner,             \
                        (T *)t->values + to, t->indices + to);                                     \
        }                                                                                          \
    }

TOPK(topk_float, float)
TOPK(topk_int32, int32_t)
TOPK(topk_int64, int64_t)
TOPK(topk_uint64, uint64_t)

static enum ldnq_status read_axis(const struct ldnq_op_call *call, int *axis,
                                  struct ldnq_error *err)
{
    return ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", -1), call->in[0]->shape.rank,
                                axis, err);
}

/* `known`: whether k is known yet. */
static enum ldnq_status infer_output_shapes(struct ldnq_op_call *call, int64_t k, bool known,
                                            struct ldnq_error *err)
{
    const struct ldnq_shape *in = &call->in[0]->shape;
    int axis;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, TOPK_TYPES, err));
    if (in->rank >= 0) {
        LDNQ_TRY(read_axis(call, &axis, err));
        if (!known)
            LDNQ_TRY(ldnq_op_make_unknown_dim(call, &k, err));
        else if (k < 0 || (!ldnq_is_symbol(in->dim[axis]) && k > in->dim[axis]))
            return ldnq_fail(err, LDNQ_MODEL, "k=%" PRId64 " is not in 0 .. %" PRId64, k,
                             in->dim[axis]);
        call->out[0].shape.dim[axis] = k;
    }
    if (call->out_count > 1) {
        call->out[1].shape = call->out[0].shape;
        call->out[1].dtype = LDNQ_INT64;
    }
    return LDNQ_OK;
}

static enum ldnq_status topk_1_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return infer_output_shapes(call, ldnq_attr_int(call->node, "k", 0), true, err);
}

static enum ldnq_status topk_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    int64_t k = 0;
    size_t count;
    bool known;
    LDNQ_TRY(ldnq_op_read_ints(call, 1, &k, 1, &count, &known, err));
    return infer_output_shapes(call, k, known, err);
}

/* The indices, if they are no output: sorting needs them. */
static size_t topk_scratch_bytes(const struct ldnq_op_call *call)
{
    size_t count = ldnq_tensor_count(&call->out[0]);
    return count > SIZE_MAX / sizeof(int64_t) ? SIZE_MAX : count * sizeof(int64_t);
}

static enum ldnq_status find_topk(const struct ldnq_op_call *call, void *values, int64_t *indices,
                                  struct ldnq_error *err)
{
    const struct ldnq_tensor *x = call->in[0];
    int axis;
    LDNQ_TRY(read_axis(call, &axis, err));
    struct topk_loop topk = { .x = x->data,
                              .values = values,
                              .indices = indices,
                              .at = ldnq_op_split_at_axis(&x->shape, axis),
                              .k = (size_t)call->out[0].shape.dim[axis],
                              .largest = ldnq_attr_int(call->node, "largest", 1) != 0 };
    ldnq_range_fn *run = x->dtype == LDNQ_FLOAT    ? topk_float
                         : x->dtype == LDNQ_INT32  ? topk_int32
                         : x->dtype == LDNQ_UINT64 ? topk_uint64
                                                   : topk_int64;
    ldnq_op_run_rows(call, topk.at.outer * topk.at.inner, topk.at.size, run, &topk);
    return LDNQ_OK;
}

/* An insertion moves up to k elements. */
static size_t topk_count_operations(const struct ldnq_op_call *call)
{
    int axis;
    if (read_axis(call, &axis, NULL) != LDNQ_OK)
        return 0;
    const size_t factors[] = { ldnq_tensor_count(call->in[0]),
                               (size_t)call->out[0].shape.dim[axis] };
    return ldnq_operations_multiply(factors, 2);
}

static enum ldnq_status topk_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    bool has_indices = call->out_count > 1 && call->out[1].data;
    return find_topk(call, call->out[0].data, has_indices ? call->out[1].data : call->scratch, err);
}

/* ---- gradient ------------------------------------------------------------------- */

/* Indices, and values to sort by. */
static size_t topk_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    size_t count = ldnq_tensor_count(&grad->call->out[0]);
    return count > SIZE_MAX / 16 ? SIZE_MAX : count * 2 * sizeof(int64_t);
}

/* Copies the gradient of each value to the element it came from. The indices are computed
 * again, as a model may omit the output that holds them. */
static enum ldnq_status topk_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    size_t count = ldnq_tensor_count(&call->out[0]), all = ldnq_tensor_count(&grad->in[0]);
    int64_t *indices = call->scratch;
    float *gradient = grad->in[0].data;
    int axis;
    if (!gradient || all == 0)
        return LDNQ_OK;
    memset(gradient, 0, all * sizeof(float));
    if (!grad->out[0] || count == 0)
        return LDNQ_OK;
    LDNQ_TRY(find_topk(call, indices + count, indices, err));
    LDNQ_TRY(read_axis(call, &axis, err));
    struct ldnq_axis_split at = ldnq_op_split_at_axis(&call->in[0]->shape, axis);
    size_t k = (size_t)call->out[0].shape.dim[axis];
    for (size_t i = 0; i < count; i++) {
        size_t outer = i / (k * at.inner), inner = i % at.inner;
        gradient[(outer * at.size + (size_t)indices[i]) * at.inner + inner] =
            ((const float *)grad->out[0]->data)[i];
    }
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_topk_1 = {
    .type = "TopK",
    .since = 1,
    .until = 9,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 2,
    .infer = topk_1_infer_shape,
    .scratch_bytes = topk_scratch_bytes,
    .count_operations = topk_count_operations,
    .forward = topk_forward,
    .differentiable = 1,
    .saved_inputs = 1,
    .backward_scratch_bytes = topk_backward_scratch_bytes,
    .backward = topk_backward,
};

const struct ldnq_op ldnq_op_topk = {
    .type = "TopK",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 2,
    .infer = topk_infer_shape,
    .scratch_bytes = topk_scratch_bytes,
    .count_operations = topk_count_operations,
    .forward = topk_forward,
    .differentiable = 1,
    .saved_inputs = 1,
    .backward_scratch_bytes = topk_backward_scratch_bytes,
    .backward = topk_backward,
};
