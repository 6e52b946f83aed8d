#include "ops/shared/elementwise.h"

#include <string.h>

#include "base/size.h"

/* Axes merged: the last is the span, the others are walked. */
struct spans {
    ldnq_elementwise_fn *run;
    size_t inputs;
    int rank;
    size_t extent[LDNQ_MAX_RANK];
    size_t stride[LDNQ_ELEMENTWISE_INPUTS][LDNQ_MAX_RANK]; /* elements */
    size_t size[LDNQ_ELEMENTWISE_INPUTS], out_size;        /* bytes of an element */
    const char *in[LDNQ_ELEMENTWISE_INPUTS];
    char *out;
};

/* Whether axis i continues the last merged one in every input. */
static bool continues(const struct spans *spans, size_t strides[][LDNQ_MAX_RANK], int i,
                      size_t extent)
{
    for (size_t k = 0; k < spans->inputs; k++)
        if (spans->stride[k][spans->rank - 1] != strides[k][i] * extent)
            return false;
    return spans->rank > 0;
}

static void add_axis(struct spans *spans, size_t strides[][LDNQ_MAX_RANK], int i, size_t extent)
{
    if (extent == 1)
        return;
    if (spans->rank > 0 && continues(spans, strides, i, extent))
        spans->extent[spans->rank - 1] *= extent;
    else
        spans->extent[spans->rank++] = extent;
    for (size_t k = 0; k < spans->inputs; k++)
        spans->stride[k][spans->rank - 1] = strides[k][i];
}

/* Elements first .. last-1 of the output, span after span. */
static void run_range(const void *ctx, size_t first, size_t last)
{
    const struct spans *spans = ctx;
    int inner = spans->rank - 1;
    size_t step[LDNQ_ELEMENTWISE_INPUTS] = { 0 };
    for (size_t k = 0; k < spans->inputs; k++)
        step[k] = spans->stride[k][inner];
    while (first < last) {
        const void *in[LDNQ_ELEMENTWISE_INPUTS] = { NULL };
        size_t at[LDNQ_ELEMENTWISE_INPUTS] = { 0 }, rest = first;
        for (int i = inner; i >= 0; i--) {
            size_t index = rest % spans->extent[i];
            rest /= spans->extent[i];
            for (size_t k = 0; k < spans->inputs; k++)
                at[k] += index * spans->stride[k][i];
        }
        for (size_t k = 0; k < spans->inputs; k++)
            in[k] = spans->in[k] + at[k] * spans->size[k];
        size_t left = spans->extent[inner] - first % spans->extent[inner];
        size_t count = ldnq_size_min(left, last - first);
        spans->run(spans->out + first * spans->out_size, in, step, count);
        first += count;
    }
}

void ldnq_elementwise_run(const struct ldnq_op_call *call, ldnq_elementwise_fn *run,
                          const struct ldnq_tensor *out, const struct ldnq_tensor *const *in,
                          size_t inputs)
{
    struct spans spans = {
        .run = run, .inputs = inputs, .out = out->data, .out_size = ldnq_dtype_size(out->dtype)
    };
    size_t strides[LDNQ_ELEMENTWISE_INPUTS][LDNQ_MAX_RANK];
    for (size_t k = 0; k < inputs; k++) {
        ldnq_op_broadcast_strides(&in[k]->shape, &out->shape, strides[k]);
        spans.in[k] = in[k]->data;
        spans.size[k] = ldnq_dtype_size(in[k]->dtype);
    }
    for (int i = 0; i < out->shape.rank; i++)
        add_axis(&spans, strides, i, (size_t)out->shape.dim[i]);
    if (spans.rank == 0)
        spans.extent[spans.rank++] = 1;
    ldnq_op_run_ranges(call, ldnq_tensor_count(out), run_range, &spans);
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

ldnq_elementwise_fn *ldnq_elementwise_find(const struct ldnq_elementwise_kernel *cases,
                                           size_t count, enum ldnq_dtype dtype)
{
    for (size_t i = 0; i < count; i++)
        if (cases[i].dtype == dtype)
            return cases[i].run;
    return NULL;
}

enum ldnq_status ldnq_binary_infer(struct ldnq_op_call *call,
                                   const struct ldnq_elementwise_kernel *cases, size_t count,
                                   enum ldnq_dtype out_dtype, struct ldnq_error *err)
{
    const struct ldnq_tensor *a = call->in[0], *b = call->in[1];
    if (a->dtype != b->dtype)
        return ldnq_fail(err, LDNQ_MODEL, "its inputs have the types %s and %s",
                         ldnq_dtype_name(a->dtype), ldnq_dtype_name(b->dtype));
    unsigned mask = 0;
    for (size_t i = 0; i < count; i++)
        mask |= LDNQ_DTYPE_BIT(cases[i].dtype);
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, mask, err));
    call->out[0].dtype = out_dtype ? out_dtype : a->dtype;
    return ldnq_op_broadcast(call, &a->shape, &b->shape, &call->out[0].shape, err);
}

void ldnq_binary_run(const struct ldnq_op_call *call, const struct ldnq_elementwise_kernel *cases,
                     size_t count)
{
    const struct ldnq_tensor *in[] = { call->in[0], call->in[1] };
    ldnq_elementwise_run(call, ldnq_elementwise_find(cases, count, in[0]->dtype), &call->out[0], in,
                         2);
}
