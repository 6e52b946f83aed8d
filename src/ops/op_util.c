/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/op.h"

#include <inttypes.h>
#include <string.h>

#include "base/size.h"
#include "ops/widen.h"

/* ---- attributes ----------------------------------------------------------------- */

int64_t ldnq_attr_int(const struct ldnq_node *node, const char *name, int64_t otherwise)
{
    const struct ldnq_attr *attr = ldnq_node_find_attr(node, name);
    return attr && attr->kind == LDNQ_ATTR_INT ? attr->i : otherwise;
}

float ldnq_attr_float(const struct ldnq_node *node, const char *name, float otherwise)
{
    const struct ldnq_attr *attr = ldnq_node_find_attr(node, name);
    return attr && attr->kind == LDNQ_ATTR_FLOAT ? attr->f : otherwise;
}

const char *ldnq_attr_string(const struct ldnq_node *node, const char *name, const char *otherwise)
{
    const struct ldnq_attr *attr = ldnq_node_find_attr(node, name);
    return attr && attr->kind == LDNQ_ATTR_STRING ? attr->s : otherwise;
}

const int64_t *ldnq_attr_ints(const struct ldnq_node *node, const char *name, size_t *count)
{
    const struct ldnq_attr *attr = ldnq_node_find_attr(node, name);
    *count = attr && attr->kind == LDNQ_ATTR_INTS ? attr->count : 0;
    return attr && attr->kind == LDNQ_ATTR_INTS ? attr->ints : NULL;
}

/* ---- inputs and shapes ------------------------------------------------------------- */

enum ldnq_status ldnq_op_require_dtype(const struct ldnq_op_call *call, size_t input, unsigned mask,
                                       struct ldnq_error *err)
{
    const struct ldnq_tensor *tensor = input < call->in_count ? call->in[input] : NULL;
    if (!tensor || (mask & LDNQ_DTYPE_BIT(tensor->dtype)))
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "input %zu of type %s is not supported", input,
                     ldnq_dtype_name(tensor->dtype));
}

enum ldnq_status ldnq_op_infer_like_first_input(struct ldnq_op_call *call, unsigned mask,
                                                struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, mask, err));
    call->out[0].dtype = call->in[0]->dtype;
    call->out[0].shape = call->in[0]->shape;
    return LDNQ_OK;
}

enum ldnq_status ldnq_op_require_one_element(const struct ldnq_op_call *call, size_t input,
                                             struct ldnq_error *err)
{
    const struct ldnq_tensor *tensor = ldnq_op_input(call, input);
    size_t count;
    if (!tensor || !ldnq_shape_count(&tensor->shape, &count) || count == 1)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL, "input %zu has %zu elements where one is needed", input,
                     count);
}

enum ldnq_status ldnq_op_make_unknown_dim(struct ldnq_op_call *call, int64_t *dim,
                                          struct ldnq_error *err)
{
    if (!call->graph)
        return ldnq_fail(err, LDNQ_MODEL, "a size can't be computed from its inputs");
    return ldnq_graph_find_or_add_symbol(call->graph, NULL, dim, err);
}

enum ldnq_status ldnq_op_make_unknown_shape(struct ldnq_op_call *call, size_t output,
                                            struct ldnq_error *err)
{
    if (!call->graph)
        return ldnq_fail(err, LDNQ_MODEL, "a shape can't be computed from its inputs");
    call->out[output].shape.rank = LDNQ_RANK_UNKNOWN;
    return LDNQ_OK;
}

enum ldnq_status ldnq_op_multiply_dims(struct ldnq_op_call *call, int64_t a, int64_t b,
                                       int64_t *out, struct ldnq_error *err)
{
    if (a == 1 || b == 1) {
        *out = a == 1 ? b : a;
        return LDNQ_OK;
    }
    if (a == 0 || b == 0) {
        *out = 0;
        return LDNQ_OK;
    }
    if (ldnq_is_symbol(a) || ldnq_is_symbol(b))
        return ldnq_op_make_unknown_dim(call, out, err);
    if (!ldnq_int64_mul(a, b, out))
        return ldnq_fail(err, LDNQ_MODEL, "the size %" PRId64 " times %" PRId64 " is too large", a,
                         b);
    return LDNQ_OK;
}

static int64_t read_int_element(const struct ldnq_tensor *tensor, size_t i)
{
    return tensor->dtype == LDNQ_INT64 ? ((const int64_t *)tensor->data)[i]
                                       : ((const int32_t *)tensor->data)[i];
}

enum ldnq_status ldnq_op_read_ints(const struct ldnq_op_call *call, size_t input, int64_t *values,
                                   size_t capacity, size_t *count, bool *known,
                                   struct ldnq_error *err)
{
    const struct ldnq_tensor *tensor = call->in[input];
    *known = false;
    *count = 0;
    LDNQ_TRY(ldnq_op_require_dtype(call, input,
                                   LDNQ_DTYPE_BIT(LDNQ_INT64) | LDNQ_DTYPE_BIT(LDNQ_INT32), err));
    if (tensor->shape.rank > 1)
        return ldnq_fail(err, LDNQ_MODEL, "input %zu has %d axes where a list is needed", input,
                         tensor->shape.rank);
    if (!ldnq_shape_count(&tensor->shape, count))
        return LDNQ_OK;
    if (*count > capacity)
        return ldnq_fail(err, LDNQ_MODEL, "input %zu has %zu elements where %zu is the most", input,
                         *count, capacity);
    if (!tensor->data)
        return LDNQ_OK;
    *known = true;
    for (size_t i = 0; i < *count; i++) {
        values[i] = read_int_element(tensor, i);
        /* Run-time data has no symbols: this is a number that would be taken for one. */
        if (!call->graph && ldnq_is_symbol(values[i]))
            return ldnq_fail(err, LDNQ_MODEL,
                             "input %zu contains %" PRId64 ", which is out of range", input,
                             values[i]);
        *known = *known && !ldnq_is_symbol(values[i]);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_op_read_dims(struct ldnq_op_call *call, size_t input, struct ldnq_shape *dims,
                                   struct ldnq_error *err)
{
    size_t count;
    bool known;
    LDNQ_TRY(ldnq_op_read_ints(call, input, dims->dim, LDNQ_MAX_RANK, &count, &known, err));
    if (call->in[input]->data) {
        dims->rank = (int)count;
        return LDNQ_OK;
    }
    if (!call->graph)
        return ldnq_fail(err, LDNQ_MODEL, "input %zu contains sizes that are not known", input);
    dims->rank = LDNQ_RANK_UNKNOWN;
    if (call->in[input]->shape.rank < 0 || !ldnq_shape_is_known(&call->in[input]->shape))
        return LDNQ_OK;
    dims->rank = (int)count;
    for (int i = 0; i < dims->rank; i++)
        LDNQ_TRY(ldnq_op_make_unknown_dim(call, &dims->dim[i], err));
    return LDNQ_OK;
}

enum ldnq_status ldnq_op_resolve_axis(int64_t axis, int rank, int *out, struct ldnq_error *err)
{
    if (axis < -rank || axis >= rank)
        return ldnq_fail(err, LDNQ_MODEL, "axis %" PRId64 " does not exist in a tensor of %d axes",
                         axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return LDNQ_OK;
}

enum ldnq_status ldnq_op_resolve_axes(const int64_t *axes, size_t count, int rank, unsigned *set,
                                      struct ldnq_error *err)
{
    *set = 0;
    for (size_t i = 0; i < count; i++) {
        int axis = 0;
        LDNQ_TRY(ldnq_op_resolve_axis(axes[i], rank, &axis, err));
        if (*set & (1u << axis))
            return ldnq_fail(err, LDNQ_MODEL, "its list of axes contains axis %d twice", axis);
        *set |= 1u << axis;
    }
    return LDNQ_OK;
}

struct ldnq_axis_split ldnq_op_split_at_axis(const struct ldnq_shape *shape, int axis)
{
    struct ldnq_axis_split split = { 1, 1, 1 };
    for (int i = 0; i < shape->rank; i++) {
        size_t *part = i < axis ? &split.outer : i > axis ? &split.inner : &split.size;
        *part *= (size_t)shape->dim[i];
    }
    return split;
}

/* ---- broadcasting ----------------------------------------------------------------- */

static int64_t read_dim_from_end(const struct ldnq_shape *shape, int from_end)
{
    return from_end < shape->rank ? shape->dim[shape->rank - 1 - from_end] : 1;
}

static enum ldnq_status infer_broadcast_dim(struct ldnq_op_call *call, int64_t a, int64_t b,
                                            int64_t *out, struct ldnq_error *err)
{
    if (a == b || b == 1) {
        *out = a;
    } else if (a == 1) {
        *out = b;
    } else if (ldnq_is_symbol(a) && ldnq_is_symbol(b)) {
        return ldnq_op_make_unknown_dim(call, out, err);
    } else if (ldnq_is_symbol(a) || ldnq_is_symbol(b)) {
        /* The symbol can only be 1 or the other size. The result is the other size in both
         * cases, as that is not 1. */
        *out = ldnq_is_symbol(a) ? b : a;
    } else {
        return ldnq_fail(err, LDNQ_MODEL, "sizes %" PRId64 " and %" PRId64 " don't broadcast", a,
                         b);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_op_broadcast(struct ldnq_op_call *call, const struct ldnq_shape *a,
                                   const struct ldnq_shape *b, struct ldnq_shape *out,
                                   struct ldnq_error *err)
{
    if (a->rank < 0 || b->rank < 0) {
        out->rank = LDNQ_RANK_UNKNOWN;
        return LDNQ_OK;
    }
    struct ldnq_shape result = { .rank = a->rank > b->rank ? a->rank : b->rank };
    for (int i = 0; i < result.rank; i++)
        LDNQ_TRY(infer_broadcast_dim(call, read_dim_from_end(a, i), read_dim_from_end(b, i),
                                     &result.dim[result.rank - 1 - i], err));
    *out = result;
    return LDNQ_OK;
}

void ldnq_op_broadcast_strides(const struct ldnq_shape *shape, const struct ldnq_shape *out,
                               size_t strides[LDNQ_MAX_RANK])
{
    size_t stride = 1;
    for (int i = 0; i < out->rank; i++) {
        int64_t dim = read_dim_from_end(shape, i);
        strides[out->rank - 1 - i] = dim == 1 ? 0 : stride;
        stride *= (size_t)dim;
    }
}

/* ---- loops on the pool -------------------------------------------------------------- */

/* Elements per chunk: some microseconds of work. */
#define CHUNK ((size_t)16384)

struct range_loop {
    ldnq_range_fn *run;
    const void *ctx;
    size_t count, chunk_size;
};

static void run_range_chunk(void *argument, size_t chunk, size_t thread)
{
    (void)thread;
    const struct range_loop *loop = argument;
    size_t first = chunk * loop->chunk_size;
    loop->run(loop->ctx, first, ldnq_size_min(first + loop->chunk_size, loop->count));
}

static void run_ranges_on_pool(const struct ldnq_op_call *call, struct range_loop *loop)
{
    size_t chunks = ldnq_size_ceil_div(loop->count, loop->chunk_size);
    if (chunks == 1)
        loop->run(loop->ctx, 0, loop->count);
    else
        ldnq_pool_run(call->pool, chunks, run_range_chunk, loop);
}

void ldnq_op_run_ranges(const struct ldnq_op_call *call, size_t count, ldnq_range_fn *run,
                        const void *ctx)
{
    struct range_loop loop = { .run = run, .ctx = ctx, .count = count, .chunk_size = CHUNK };
    run_ranges_on_pool(call, &loop);
}

void ldnq_op_run_rows(const struct ldnq_op_call *call, size_t rows, size_t cost, ldnq_range_fn *run,
                      const void *ctx)
{
    size_t chunk_size = ldnq_size_max(1, CHUNK / ldnq_size_max(1, cost));
    struct range_loop loop = { .run = run, .ctx = ctx, .count = rows, .chunk_size = chunk_size };
    run_ranges_on_pool(call, &loop);
}

/* ---- checked calls of a record ------------------------------------------------------- */

static bool is_valid_shape(const struct ldnq_shape *shape)
{
    if (shape->rank < LDNQ_RANK_UNKNOWN || shape->rank > LDNQ_MAX_RANK)
        return false;
    for (int i = 0; i < shape->rank; i++)
        if (shape->dim[i] < 0 && !ldnq_is_symbol(shape->dim[i]))
            return false;
    return true;
}

static enum ldnq_status check_output(const struct ldnq_op_call *call, size_t output,
                                     struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &call->out[output].shape;
    if (!is_valid_shape(shape))
        return ldnq_fail(err, LDNQ_MODEL,
                         "its output %zu would have a negative size or too many axes", output);
    if (!call->graph && !ldnq_shape_is_known(shape))
        return ldnq_fail(err, LDNQ_MODEL, "the shape of its output %zu can't be computed", output);
    return LDNQ_OK;
}

enum ldnq_status ldnq_ops_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    for (size_t i = 0; i < call->out_count; i++)
        call->out[i] = (struct ldnq_tensor){ .shape.rank = LDNQ_RANK_UNKNOWN };
    struct ldnq_error wide;
    call->widened = false;
    enum ldnq_status status = call->node->op->infer(call, err);
    /* err keeps the first message, which says what the operator supports. */
    if (status == LDNQ_UNSUPPORTED && ldnq_widen_applies(call))
        status = ldnq_widen_infer_shape(call, &wide) == LDNQ_OK ? LDNQ_OK : status;
    LDNQ_TRY(status);
    for (size_t i = 0; i < call->out_count; i++)
        LDNQ_TRY(check_output(call, i, err));
    return LDNQ_OK;
}

size_t ldnq_ops_scratch_bytes(const struct ldnq_op_call *call)
{
    if (call->widened)
        return ldnq_widen_scratch_bytes(call);
    return call->node->op->scratch_bytes ? call->node->op->scratch_bytes(call) : 0;
}

size_t ldnq_ops_count_operations(const struct ldnq_op_call *call)
{
    size_t operations = 0, elements;
    if (call->node->op->count_operations)
        operations = call->node->op->count_operations(call);
    for (size_t i = 0; i < call->out_count; i++)
        if (!ldnq_shape_count(&call->out[i].shape, &elements) ||
            !ldnq_size_add(operations, elements, &operations))
            return SIZE_MAX;
    return operations;
}

/* An axis may have 2^60 elements where another one has none. */
static bool has_empty_outputs(const struct ldnq_op_call *call)
{
    size_t count;
    for (size_t i = 0; i < call->out_count; i++)
        if (!ldnq_shape_count(&call->out[i].shape, &count) || count > 0)
            return false;
    return true;
}

enum ldnq_status ldnq_ops_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    if (has_empty_outputs(call))
        return LDNQ_OK;
    return call->widened ? ldnq_widen_forward(call, err) : call->node->op->forward(call, err);
}

enum ldnq_status ldnq_ops_allocate_and_forward(struct ldnq_op_call *call, struct ldnq_arena *arena,
                                               struct ldnq_error *err)
{
    for (size_t i = 0; i < call->out_count; i++) {
        size_t bytes = 0;
        ldnq_tensor_bytes(&call->out[i], &bytes);
        call->out[i].data = ldnq_arena_alloc(arena, bytes, 1, err);
        if (!call->out[i].data)
            return LDNQ_NOMEM;
    }
    call->scratch = ldnq_arena_alloc(arena, ldnq_ops_scratch_bytes(call), 1, err);
    return call->scratch ? ldnq_ops_forward(call, err) : LDNQ_NOMEM;
}

enum ldnq_status ldnq_op_fail_index(const struct ldnq_tensor *indices, size_t i, int64_t size,
                                    struct ldnq_error *err)
{
    struct ldnq_shape position = indices->shape;
    char text[LDNQ_SHAPE_TEXT];
    size_t rest = i;
    for (int axis = position.rank - 1; axis >= 0; axis--) {
        const size_t extent = (size_t)indices->shape.dim[axis];
        position.dim[axis] = (int64_t)(rest % extent);
        rest /= extent;
    }
    return ldnq_fail(err, LDNQ_MODEL,
                     "index %" PRId64 " is out of range for an axis of %" PRId64
                     " elements (at %s of its indices)",
                     ldnq_tensor_load_integer(indices, i), size,
                     ldnq_shape_print(&position, NULL, text, sizeof text));
}
