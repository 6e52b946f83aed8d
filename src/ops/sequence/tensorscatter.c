/* SPDX-License-Identifier: Apache-2.0 */
/* tensorscatter.c: TensorScatter: writes new keys or values into a cache.
 *
 * Shapes  cache, y (N, ..., length, ...), update (N, ..., steps, ...), where `length` and
 *         `steps` are axis `axis`; write_indices (N): the first step of each sample's update
 *         in the cache, 0 if omitted
 * Source  onnx.ai/onnx/operators/onnx__TensorScatter.html
 */
#include "ops/op.h"

#include <inttypes.h>
#include <string.h>

struct cache_update {
    size_t samples, rows; /* rows: of (length, inner) per sample */
    size_t length, steps, inner;
    const int64_t *starts; /* NULL: all 0 */
    bool circular;
};

static enum ldnq_status find_axis(const struct ldnq_op_call *call, int *axis,
                                  struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", -2), call->in[0]->shape.rank,
                                  axis, err));
    return *axis == 0 ? ldnq_fail(err, LDNQ_MODEL, "its axis is the batch axis") : LDNQ_OK;
}

static enum ldnq_status check_shapes(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *cache = &call->in[0]->shape, *update = &call->in[1]->shape;
    const struct ldnq_tensor *starts = ldnq_op_input(call, 2);
    int axis;
    LDNQ_TRY(find_axis(call, &axis, err));
    if (update->rank >= 0 && update->rank != cache->rank)
        return ldnq_fail(err, LDNQ_MODEL, "its cache has %d axes and its update %d", cache->rank,
                         update->rank);
    for (int i = 0; i < update->rank; i++) {
        int64_t have = cache->dim[i], new = update->dim[i];
        bool known = !ldnq_is_symbol(have) && !ldnq_is_symbol(new);
        if (known && (i == axis ? new > have : new != have))
            return ldnq_fail(err, LDNQ_MODEL,
                             "an update of %" PRId64 " does not fit a cache of %" PRId64
                             " in axis %d",
                             new, have, i);
    }
    if (starts && starts->shape.rank >= 0 &&
        (starts->shape.rank != 1 ||
         (!ldnq_is_symbol(starts->shape.dim[0]) && !ldnq_is_symbol(cache->dim[0]) &&
          starts->shape.dim[0] != cache->dim[0])))
        return ldnq_fail(err, LDNQ_MODEL, "does not have one write index for each sample");
    return LDNQ_OK;
}

static enum ldnq_status tensorscatter_read_attrs(const struct ldnq_node *node,
                                                 struct ldnq_arena *arena, const void **attrs,
                                                 struct ldnq_error *err)
{
    const char *mode = ldnq_attr_string(node, "mode", "linear");
    (void)arena;
    (void)attrs;
    if (strcmp(mode, "linear") == 0 || strcmp(mode, "circular") == 0)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "mode=%s is not supported", mode);
}

static enum ldnq_status tensorscatter_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, ~0u, err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 2, LDNQ_DTYPE_BIT(LDNQ_INT64), err));
    if (call->in[1]->dtype != call->in[0]->dtype)
        return ldnq_fail(err, LDNQ_MODEL, "its cache and update have the types %s and %s",
                         ldnq_dtype_name(call->in[0]->dtype), ldnq_dtype_name(call->in[1]->dtype));
    return call->in[0]->shape.rank < 0 ? LDNQ_OK : check_shapes(call, err);
}

static enum ldnq_status make_update(const struct ldnq_op_call *call, struct cache_update *u,
                                    struct ldnq_error *err)
{
    const struct ldnq_shape *cache = &call->in[0]->shape;
    const struct ldnq_tensor *starts = ldnq_op_input(call, 2);
    int axis;
    LDNQ_TRY(find_axis(call, &axis, err));
    struct ldnq_axis_split split = ldnq_op_split_at_axis(cache, axis);
    *u = (struct cache_update){
        .samples = (size_t)cache->dim[0],
        .length = split.size,
        .inner = split.inner,
        .steps = (size_t)call->in[1]->shape.dim[axis],
        .starts = starts ? starts->data : NULL,
        .circular = strcmp(ldnq_attr_string(call->node, "mode", "linear"), "circular") == 0,
    };
    u->rows = u->samples ? split.outer / u->samples : 0;
    int64_t most = (int64_t)u->length - (int64_t)u->steps;
    for (size_t n = 0; u->starts && n < u->samples; n++)
        if (u->starts[n] < 0 || (!u->circular && u->starts[n] > most))
            return ldnq_fail(err, LDNQ_MODEL, "write index %" PRId64 " is outside of its cache",
                             u->starts[n]);
    return LDNQ_OK;
}

/* The index in the cache of step `step` of row `row` of sample n. */
static size_t find_cache_index(const struct cache_update *u, size_t n, size_t row, size_t step)
{
    size_t start = u->starts ? (size_t)u->starts[n] : 0;
    size_t at = u->circular ? (start % u->length + step) % u->length : start + step;
    return ((n * u->rows + row) * u->length + at) * u->inner;
}

static enum ldnq_status tensorscatter_forward(const struct ldnq_op_call *call,
                                              struct ldnq_error *err)
{
    const struct ldnq_tensor *cache = call->in[0];
    size_t size = ldnq_dtype_size(cache->dtype);
    const char *from = call->in[1]->data;
    char *out = call->out[0].data;
    struct cache_update u;
    LDNQ_TRY(make_update(call, &u, err));
    if (out != cache->data)
        memcpy(out, cache->data, ldnq_tensor_count(cache) * size);
    for (size_t n = 0; n < u.samples; n++)
        for (size_t row = 0; row < u.rows; row++)
            for (size_t step = 0; step < u.steps; step++, from += u.inner * size)
                memcpy(out + find_cache_index(&u, n, row, step) * size, from, u.inner * size);
    return LDNQ_OK;
}

static enum ldnq_status tensorscatter_backward(const struct ldnq_op_grad *grad,
                                               struct ldnq_error *err)
{
    const float *dy = grad->out[0]->data;
    float *cache = grad->in[0].data, *update = grad->in[1].data;
    struct cache_update u;
    LDNQ_TRY(make_update(grad->call, &u, err));
    if (cache)
        memcpy(cache, dy, ldnq_tensor_count(grad->out[0]) * sizeof *dy);
    for (size_t i = 0; i < u.samples * u.rows * u.steps; i++) {
        size_t row = i / u.steps;
        size_t at = find_cache_index(&u, row / u.rows, row % u.rows, i % u.steps);
        if (update)
            memcpy(update + i * u.inner, dy + at, u.inner * sizeof *dy);
        if (cache)
            memset(cache + at, 0, u.inner * sizeof *cache);
    }
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_tensorscatter = {
    .type = "TensorScatter",
    .since = 24,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 2,
    .inputs_max = 3,
    .outputs_max = 1,
    .read_attrs = tensorscatter_read_attrs,
    .infer = tensorscatter_infer_shape,
    .forward = tensorscatter_forward,
    .differentiable = 3,
    .saved_inputs = 4,
    .backward = tensorscatter_backward,
};
