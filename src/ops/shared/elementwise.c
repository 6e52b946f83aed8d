/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/shared/elementwise.h"

#include <assert.h>
#include <string.h>

#include "base/size.h"

/* The output's axes after merging. Runs are along the last one. */
struct elementwise_iterator {
    ldnq_elementwise_fn *run;
    size_t inputs;
    size_t rank; /* at least 1 */
    size_t extent[LDNQ_MAX_RANK];
    size_t stride[LDNQ_ELEMENTWISE_INPUTS][LDNQ_MAX_RANK]; /* strides in elements */
    size_t size[LDNQ_ELEMENTWISE_INPUTS], out_size;        /* bytes per element */
    const char *in[LDNQ_ELEMENTWISE_INPUTS];
    char *out;
};

/* Whether the next axis, of `extent` elements, can be merged into axis `at`: in every input the
 * stride of axis `at` is `extent` times that of the next one. */
static bool can_merge_axis(const struct elementwise_iterator *it, size_t at, const size_t *strides,
                           size_t extent)
{
    for (size_t k = 0; k < it->inputs; k++)
        if (it->stride[k][at] != strides[k] * extent)
            return false;
    return true;
}

/* Appends the next axis of the output, or merges it into the last one. strides: one per
 * input. */
static void append_or_merge_axis(struct elementwise_iterator *it, size_t extent,
                                 const size_t strides[LDNQ_ELEMENTWISE_INPUTS])
{
    size_t at = it->rank;
    if (extent == 1)
        return;
    if (at > 0 && can_merge_axis(it, at - 1, strides, extent)) {
        at--;
        extent *= it->extent[at];
    }
    /* Both bounds hold for every shape; the compiler has to see them. */
    assert(at < LDNQ_MAX_RANK && it->inputs <= LDNQ_ELEMENTWISE_INPUTS);
    it->rank = at + 1;
    it->extent[at] = extent;
    for (size_t k = 0; k < it->inputs; k++)
        it->stride[k][at] = strides[k];
}

/* Elements first .. last-1 of the output, run by run. */
static void run_kernel_on_range(const void *ctx, size_t first, size_t last)
{
    const struct elementwise_iterator *it = ctx;
    size_t inner = it->rank - 1;
    size_t step[LDNQ_ELEMENTWISE_INPUTS] = { 0 };
    for (size_t k = 0; k < it->inputs; k++)
        step[k] = it->stride[k][inner];
    while (first < last) {
        const void *in[LDNQ_ELEMENTWISE_INPUTS] = { NULL };
        size_t at[LDNQ_ELEMENTWISE_INPUTS] = { 0 }, rest = first;
        for (size_t i = it->rank; i-- > 0;) {
            size_t index = rest % it->extent[i];
            rest /= it->extent[i];
            for (size_t k = 0; k < it->inputs; k++)
                at[k] += index * it->stride[k][i];
        }
        for (size_t k = 0; k < it->inputs; k++)
            in[k] = it->in[k] + at[k] * it->size[k];
        size_t left = it->extent[inner] - first % it->extent[inner];
        size_t count = ldnq_size_min(left, last - first);
        it->run(it->out + first * it->out_size, in, step, count);
        first += count;
    }
}

void ldnq_elementwise_run(const struct ldnq_op_call *call, ldnq_elementwise_fn *run,
                          const struct ldnq_tensor *out, const struct ldnq_tensor *const *in,
                          size_t inputs)
{
    struct elementwise_iterator it = {
        .run = run, .inputs = inputs, .out = out->data, .out_size = ldnq_dtype_size(out->dtype)
    };
    size_t strides[LDNQ_ELEMENTWISE_INPUTS][LDNQ_MAX_RANK];
    assert(inputs <= LDNQ_ELEMENTWISE_INPUTS && out->shape.rank <= LDNQ_MAX_RANK);
    for (size_t k = 0; k < inputs; k++) {
        ldnq_op_broadcast_strides(&in[k]->shape, &out->shape, strides[k]);
        it.in[k] = in[k]->data;
        it.size[k] = ldnq_dtype_size(in[k]->dtype);
    }
    for (int i = 0; i < out->shape.rank; i++) {
        size_t of_axis[LDNQ_ELEMENTWISE_INPUTS] = { 0 };
        for (size_t k = 0; k < inputs; k++)
            of_axis[k] = strides[k][i];
        append_or_merge_axis(&it, (size_t)out->shape.dim[i], of_axis);
    }
    if (it.rank == 0) {
        it.rank = 1;
        it.extent[0] = 1;
    }
    ldnq_op_run_ranges(call, ldnq_tensor_count(out), run_kernel_on_range, &it);
}

bool ldnq_elementwise_has_zero(const struct ldnq_tensor *tensor)
{
    static const char zero[8] = { 0 };
    size_t size = ldnq_dtype_size(tensor->dtype);
    const char *data = tensor->data;
    for (size_t i = 0, count = ldnq_tensor_count(tensor); i < count; i++)
        if (memcmp(data + i * size, zero, size) == 0)
            return true;
    return false;
}

/* ---- binary operators --------------------------------------------------------------- */

ldnq_elementwise_fn *ldnq_elementwise_find(const struct ldnq_elementwise_kernel *kernels,
                                           size_t count, enum ldnq_dtype dtype)
{
    for (size_t i = 0; i < count; i++)
        if (kernels[i].dtype == dtype)
            return kernels[i].run;
    return NULL;
}

enum ldnq_status ldnq_binary_infer_shape(struct ldnq_op_call *call,
                                         const struct ldnq_elementwise_kernel *kernels,
                                         size_t count, enum ldnq_dtype out_dtype,
                                         struct ldnq_error *err)
{
    const struct ldnq_tensor *a = call->in[0], *b = call->in[1];
    if (a->dtype != b->dtype)
        return ldnq_fail(err, LDNQ_MODEL, "its inputs have the types %s and %s",
                         ldnq_dtype_name(a->dtype), ldnq_dtype_name(b->dtype));
    unsigned mask = 0;
    for (size_t i = 0; i < count; i++)
        mask |= LDNQ_DTYPE_BIT(kernels[i].dtype);
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, mask, err));
    call->out[0].dtype = out_dtype ? out_dtype : a->dtype;
    return ldnq_op_broadcast(call, &a->shape, &b->shape, &call->out[0].shape, err);
}

void ldnq_binary_run(const struct ldnq_op_call *call, const struct ldnq_elementwise_kernel *kernels,
                     size_t count)
{
    const struct ldnq_tensor *in[] = { call->in[0], call->in[1] };
    ldnq_elementwise_run(call, ldnq_elementwise_find(kernels, count, in[0]->dtype), &call->out[0],
                         in, 2);
}
