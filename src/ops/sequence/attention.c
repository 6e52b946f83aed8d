/* SPDX-License-Identifier: Apache-2.0 */
/* attention.c: Attention forward; attention.h has the formula and the shapes. */
#include "ops/sequence/attention.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/size.h"
#include "linalg/blas.h"
#include "ops/norm/softmax.h"
#include "ops/operation_count.h"

#define FLOATS LDNQ_DTYPE_BIT(LDNQ_FLOAT)

/* ---- attributes ---------------------------------------------------------------------- */

static enum ldnq_status attention_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                             const void **attrs, struct ldnq_error *err)
{
    int64_t mode = ldnq_attr_int(node, "qk_matmul_output_mode", 0);
    int64_t precision = ldnq_attr_int(node, "softmax_precision", LDNQ_FLOAT);
    (void)arena;
    (void)attrs;
    if (mode < LDNQ_SCORES_PLAIN || mode > LDNQ_SCORES_SOFTMAX)
        return ldnq_fail(err, LDNQ_MODEL, "qk_matmul_output_mode=%" PRId64 " is not a known value",
                         mode);
    /* The softmax is computed in float32, which covers float16 and bfloat16. */
    if (precision != LDNQ_FLOAT && precision != LDNQ_FLOAT16 && precision != LDNQ_BFLOAT16)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "softmax_precision=%" PRId64 " is not supported: "
                         "softmax is computed in float32",
                         precision);
    return LDNQ_OK;
}

/* ---- shapes -------------------------------------------------------------------------- */

/* *out: (batch, heads, length, size) of an input with three or four axes. */
static enum ldnq_status find_head_shape(struct ldnq_op_call *call, size_t input,
                                        const char *heads_name, struct ldnq_shape *out,
                                        struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &call->in[input]->shape;
    if (shape->rank == 4) {
        *out = *shape;
        return LDNQ_OK;
    }
    int64_t heads = ldnq_attr_int(call->node, heads_name, 0), hidden = shape->dim[2];
    if (heads < 1)
        return ldnq_fail(err, LDNQ_MODEL,
                         "%s=%" PRId64 " where inputs with three axes need the "
                         "number of heads",
                         heads_name, heads);
    *out = (struct ldnq_shape){ 4, { shape->dim[0], heads, shape->dim[1] } };
    if (ldnq_is_symbol(hidden))
        return ldnq_op_make_unknown_dim(call, &out->dim[3], err);
    if (hidden % heads != 0)
        return ldnq_fail(err, LDNQ_MODEL,
                         "input %zu has rows of %" PRId64 ", which %" PRId64 " heads can't share",
                         input, hidden, heads);
    out->dim[3] = hidden / heads;
    return LDNQ_OK;
}

/* Whether two dimensions can be equal; if *a is a symbol, it becomes b. */
static bool unify_dims(int64_t *a, int64_t b)
{
    if (ldnq_is_symbol(*a))
        *a = b;
    return ldnq_is_symbol(b) || *a == b;
}

static enum ldnq_status fail_input_shapes_misfit(const struct ldnq_op_call *call, size_t a,
                                                 size_t b, struct ldnq_error *err)
{
    char x[LDNQ_SHAPE_TEXT], y[LDNQ_SHAPE_TEXT];
    return ldnq_fail(err, LDNQ_MODEL, "inputs %zu and %zu of shapes %s and %s don't go together", a,
                     b, ldnq_shape_print(&call->in[a]->shape, NULL, x, sizeof x),
                     ldnq_shape_print(&call->in[b]->shape, NULL, y, sizeof y));
}

static enum ldnq_status check_past(const struct ldnq_op_call *call, struct ldnq_shape *k,
                                   struct ldnq_shape *v, int64_t *past, struct ldnq_error *err)
{
    const struct ldnq_tensor *past_k = ldnq_op_input(call, LDNQ_ATTENTION_PAST_K);
    const struct ldnq_tensor *past_v = ldnq_op_input(call, LDNQ_ATTENTION_PAST_V);
    *past = 0;
    if (!past_k != !past_v)
        return ldnq_fail(err, LDNQ_MODEL, "has only one of past_key and past_value");
    if (!past_k)
        return LDNQ_OK;
    const struct ldnq_shape *a = &past_k->shape, *b = &past_v->shape;
    if (a->rank != 4 || b->rank != 4)
        return ldnq_fail(err, a->rank < 0 || b->rank < 0 ? LDNQ_UNSUPPORTED : LDNQ_MODEL,
                         "past_key and past_value need four axes");
    *past = a->dim[2];
    if (!unify_dims(past, b->dim[2]))
        return fail_input_shapes_misfit(call, LDNQ_ATTENTION_PAST_K, LDNQ_ATTENTION_PAST_V, err);
    for (int i = 0; i < 4; i++)
        if (i != 2 && !(unify_dims(&k->dim[i], a->dim[i]) && unify_dims(&v->dim[i], b->dim[i])))
            return fail_input_shapes_misfit(call, LDNQ_ATTENTION_K, LDNQ_ATTENTION_PAST_K, err);
    return LDNQ_OK;
}

static enum ldnq_status check_mask(const struct ldnq_op_call *call, const struct ldnq_shape *scores,
                                   struct ldnq_error *err)
{
    const struct ldnq_tensor *mask = ldnq_op_input(call, LDNQ_ATTENTION_MASK);
    const struct ldnq_tensor *lengths = ldnq_op_input(call, LDNQ_ATTENTION_LENGTHS);
    char text[LDNQ_SHAPE_TEXT], all[LDNQ_SHAPE_TEXT];
    LDNQ_TRY(
        ldnq_op_require_dtype(call, LDNQ_ATTENTION_MASK, FLOATS | LDNQ_DTYPE_BIT(LDNQ_BOOL), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, LDNQ_ATTENTION_LENGTHS, LDNQ_DTYPE_BIT(LDNQ_INT64), err));
    if (lengths && lengths->shape.rank >= 0) {
        int64_t batch = scores->dim[0];
        if (lengths->shape.rank != 1 || !unify_dims(&batch, lengths->shape.dim[0]))
            return fail_input_shapes_misfit(call, LDNQ_ATTENTION_Q, LDNQ_ATTENTION_LENGTHS, err);
    }
    if (!mask || mask->shape.rank < 0)
        return LDNQ_OK;
    const struct ldnq_shape *shape = &mask->shape;
    bool fits = shape->rank >= 1 && shape->rank <= 4;
    for (int i = 0; fits && i < shape->rank; i++) {
        int64_t dim = shape->dim[i], want = scores->dim[4 - shape->rank + i];
        bool is_last = i == shape->rank - 1;
        fits = ldnq_is_symbol(dim) || ldnq_is_symbol(want) || dim == want ||
               (is_last ? dim < want : dim == 1);
    }
    if (fits)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL, "its mask of shape %s does not fit scores of shape %s",
                     ldnq_shape_print(shape, NULL, text, sizeof text),
                     ldnq_shape_print(scores, NULL, all, sizeof all));
}

static enum ldnq_status check_heads(const struct ldnq_op_call *call, struct ldnq_shape *q,
                                    struct ldnq_shape *k, struct ldnq_shape *v,
                                    struct ldnq_error *err)
{
    if (!unify_dims(&q->dim[0], k->dim[0]) || !unify_dims(&q->dim[3], k->dim[3]))
        return fail_input_shapes_misfit(call, LDNQ_ATTENTION_Q, LDNQ_ATTENTION_K, err);
    if (!unify_dims(&k->dim[1], v->dim[1]) || !unify_dims(&k->dim[2], v->dim[2]) ||
        !unify_dims(&q->dim[0], v->dim[0]))
        return fail_input_shapes_misfit(call, LDNQ_ATTENTION_K, LDNQ_ATTENTION_V, err);
    if (ldnq_is_symbol(q->dim[1]) || ldnq_is_symbol(k->dim[1]))
        return LDNQ_OK;
    if (k->dim[1] < 1 || q->dim[1] % k->dim[1] != 0)
        return ldnq_fail(err, LDNQ_MODEL,
                         "%" PRId64 " heads of keys can't be kv_head by %" PRId64
                         " heads of queries",
                         k->dim[1], q->dim[1]);
    for (int i = 1; i < 4; i++)
        if (q->dim[i] > INT32_MAX || k->dim[i] > INT32_MAX || v->dim[i] > INT32_MAX)
            return ldnq_fail(err, LDNQ_UNSUPPORTED, "a size of more than 2^31-1 is not supported");
    return LDNQ_OK;
}

static enum ldnq_status infer_output_shapes(struct ldnq_op_call *call, const struct ldnq_shape *q,
                                            const struct ldnq_shape *k, const struct ldnq_shape *v,
                                            int64_t past, struct ldnq_error *err)
{
    struct ldnq_shape y = { 4, { q->dim[0], q->dim[1], q->dim[2], v->dim[3] } };
    struct ldnq_shape scores = { 4, { q->dim[0], q->dim[1], q->dim[2] } };
    int64_t total = past;
    if (past == 0)
        total = k->dim[2];
    else if (ldnq_is_symbol(past) || ldnq_is_symbol(k->dim[2]))
        LDNQ_TRY(ldnq_op_make_unknown_dim(call, &total, err));
    else if (!ldnq_int64_add(past, k->dim[2], &total))
        return ldnq_fail(err, LDNQ_MODEL, "its past and its keys are too long together");
    scores.dim[3] = total;
    LDNQ_TRY(check_mask(call, &scores, err));
    if (call->in[0]->shape.rank == 3) {
        y = (struct ldnq_shape){ 3, { q->dim[0], q->dim[2] } };
        LDNQ_TRY(ldnq_op_multiply_dims(call, q->dim[1], v->dim[3], &y.dim[2], err));
    }
    const struct ldnq_shape shapes[] = { y,
                                         { 4, { k->dim[0], k->dim[1], total, k->dim[3] } },
                                         { 4, { v->dim[0], v->dim[1], total, v->dim[3] } },
                                         scores };
    for (size_t i = 0; i < call->out_count; i++) {
        call->out[i].dtype = LDNQ_FLOAT;
        call->out[i].shape = shapes[i];
    }
    return LDNQ_OK;
}

static enum ldnq_status attention_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_shape q, k, v;
    int64_t past;
    bool known = true;
    for (size_t i = LDNQ_ATTENTION_Q; i <= LDNQ_ATTENTION_V; i++)
        LDNQ_TRY(ldnq_op_require_dtype(call, i, FLOATS, err));
    LDNQ_TRY(ldnq_op_require_dtype(call, LDNQ_ATTENTION_PAST_K, FLOATS, err));
    LDNQ_TRY(ldnq_op_require_dtype(call, LDNQ_ATTENTION_PAST_V, FLOATS, err));
    for (size_t i = 0; i < call->out_count; i++)
        call->out[i].dtype = LDNQ_FLOAT;
    for (size_t i = LDNQ_ATTENTION_Q; i <= LDNQ_ATTENTION_PAST_V; i++)
        known = known && (!ldnq_op_input(call, i) || call->in[i]->shape.rank >= 0);
    for (size_t i = 0; !known && i < call->out_count; i++)
        LDNQ_TRY(ldnq_op_make_unknown_shape(call, i, err));
    if (!known)
        return LDNQ_OK;
    int rank = call->in[0]->shape.rank;
    if ((rank != 3 && rank != 4) || call->in[1]->shape.rank != rank ||
        call->in[2]->shape.rank != rank)
        return ldnq_fail(err, LDNQ_MODEL,
                         "its queries, keys and values have %d, %d and %d axes "
                         "where all need three or all four",
                         rank, call->in[1]->shape.rank, call->in[2]->shape.rank);
    LDNQ_TRY(find_head_shape(call, LDNQ_ATTENTION_Q, "q_num_heads", &q, err));
    LDNQ_TRY(find_head_shape(call, LDNQ_ATTENTION_K, "kv_num_heads", &k, err));
    LDNQ_TRY(find_head_shape(call, LDNQ_ATTENTION_V, "kv_num_heads", &v, err));
    LDNQ_TRY(check_past(call, &k, &v, &past, err));
    LDNQ_TRY(check_heads(call, &q, &k, &v, err));
    return infer_output_shapes(call, &q, &k, &v, past, err);
}

/* ---- sizes and strides --------------------------------------------------------------- */

struct ldnq_heads ldnq_heads_make(const struct ldnq_shape *shape, size_t heads, size_t size)
{
    bool has_four_axes = shape->rank == 4;
    size_t length = (size_t)shape->dim[has_four_axes ? 2 : 1];
    return (struct ldnq_heads){ .batch_stride = heads * length * size,
                                .head_stride = has_four_axes ? length * size : size,
                                .row_stride = has_four_axes ? size : heads * size };
}

static struct ldnq_heads find_heads(const struct ldnq_op_call *call, size_t input, size_t heads,
                                    size_t size)
{
    const struct ldnq_tensor *tensor = ldnq_op_input(call, input);
    if (!tensor)
        return (struct ldnq_heads){ 0 };
    struct ldnq_heads result = ldnq_heads_make(&tensor->shape, heads, size);
    result.data = tensor->data;
    return result;
}

static void find_mask(const struct ldnq_op_call *call, struct ldnq_attention *a)
{
    const struct ldnq_tensor *mask = ldnq_op_input(call, LDNQ_ATTENTION_MASK);
    a->mask_len = a->total;
    if (!mask)
        return;
    a->mask = mask->data;
    a->mask_is_bool = mask->dtype == LDNQ_BOOL;
    int rank = mask->shape.rank;
    a->mask_len = (size_t)mask->shape.dim[rank - 1];
    size_t stride = a->mask_len;
    for (int i = rank - 2; i >= 0; i--) {
        size_t dim = (size_t)mask->shape.dim[i];
        a->mask_stride[4 - rank + i] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
}

struct ldnq_attention ldnq_attention_make(const struct ldnq_op_call *call)
{
    const struct ldnq_shape *q = &call->in[0]->shape, *k = &call->in[1]->shape;
    const struct ldnq_shape *v = &call->in[2]->shape;
    const struct ldnq_tensor *past = ldnq_op_input(call, LDNQ_ATTENTION_PAST_K);
    const struct ldnq_tensor *lengths = ldnq_op_input(call, LDNQ_ATTENTION_LENGTHS);
    bool has_four_axes = q->rank == 4;
    struct ldnq_attention a = {
        .batch = (size_t)q->dim[0],
        .q_heads =
            has_four_axes ? (size_t)q->dim[1] : (size_t)ldnq_attr_int(call->node, "q_num_heads", 1),
        .kv_heads = has_four_axes ? (size_t)k->dim[1]
                                  : (size_t)ldnq_attr_int(call->node, "kv_num_heads", 1),
        .q_len = (size_t)q->dim[has_four_axes ? 2 : 1],
        .kv_len = (size_t)k->dim[has_four_axes ? 2 : 1],
        .past = past ? (size_t)past->shape.dim[2] : 0,
        .softcap = ldnq_attr_float(call->node, "softcap", 0.0f),
        .causal = ldnq_attr_int(call->node, "is_causal", 0) != 0,
        .stage = (enum ldnq_attention_stage)ldnq_attr_int(call->node, "qk_matmul_output_mode", 0),
        .lengths = lengths ? lengths->data : NULL,
    };
    a.total = a.past + a.kv_len;
    a.head = has_four_axes ? (size_t)q->dim[3] : (size_t)q->dim[2] / a.q_heads;
    a.v_head = has_four_axes ? (size_t)v->dim[3] : (size_t)v->dim[2] / a.kv_heads;
    /* A scale of 0 means the default, as in ONNX Runtime. */
    a.scale = ldnq_attr_float(call->node, "scale", 0.0f);
    if (a.scale == 0.0f)
        a.scale = a.head ? (float)(1.0 / sqrt((double)a.head)) : 1.0f;
    a.q = find_heads(call, LDNQ_ATTENTION_Q, a.q_heads, a.head);
    a.k = find_heads(call, LDNQ_ATTENTION_K, a.kv_heads, a.head);
    a.v = find_heads(call, LDNQ_ATTENTION_V, a.kv_heads, a.v_head);
    a.past_k = find_heads(call, LDNQ_ATTENTION_PAST_K, a.kv_heads, a.head);
    a.past_v = find_heads(call, LDNQ_ATTENTION_PAST_V, a.kv_heads, a.v_head);
    a.y = ldnq_heads_make(&call->out[0].shape, a.q_heads, a.v_head);
    find_mask(call, &a);
    return a;
}

void ldnq_attention_concat_rows(const struct ldnq_attention *a, const struct ldnq_heads *past,
                                const struct ldnq_heads *now, size_t batch, size_t head,
                                size_t size, float *to)
{
    for (size_t i = 0; i < a->total; i++) {
        const struct ldnq_heads *from = i < a->past ? past : now;
        size_t row = i < a->past ? i : i - a->past;
        memcpy(to + i * size,
               from->data + batch * from->batch_stride + head * from->head_stride +
                   row * from->row_stride,
               size * sizeof *to);
    }
}

/* ---- scores --------------------------------------------------------------------------------- */

void ldnq_attention_compute_scores(const struct ldnq_attention *a, size_t batch, size_t head,
                                   size_t first, size_t rows, const float *k, size_t k_row,
                                   float *scores)
{
    const float *q =
        a->q.data + batch * a->q.batch_stride + head * a->q.head_stride + first * a->q.row_stride;
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, rows, a->total, a->head, a->scale, q, a->q.row_stride,
               k, k_row, 0.0f, scores, a->total);
}

void ldnq_attention_apply_softcap(const struct ldnq_attention *a, size_t count, float *scores)
{
    for (size_t i = 0; i < count && a->softcap > 0.0f; i++)
        scores[i] = a->softcap * tanhf(scores[i] / a->softcap);
}

/* Masks one row of scores; keys from `end` on are masked entirely. `at` is the row's index
 * in the mask. */
static void mask_score_row(const struct ldnq_attention *a, size_t at, size_t end, float *scores)
{
    const uint8_t *flags = a->mask_is_bool && a->mask ? (const uint8_t *)a->mask + at : NULL;
    const float *bias = !a->mask_is_bool && a->mask ? (const float *)a->mask + at : NULL;
    for (size_t i = 0; i < end && flags; i++)
        scores[i] = flags[i] ? scores[i] : -INFINITY;
    for (size_t i = 0; i < end && bias; i++)
        scores[i] += bias[i];
    for (size_t i = end; i < a->total; i++)
        scores[i] = -INFINITY;
}

void ldnq_attention_apply_mask(const struct ldnq_attention *a, size_t batch, size_t head,
                               size_t first, size_t rows, float *scores)
{
    size_t seen = ldnq_size_min(a->total, a->mask_len);
    if (a->lengths)
        seen = a->lengths[batch] < 0 ? 0 : ldnq_size_min(seen, (size_t)a->lengths[batch]);
    for (size_t i = 0; i < rows; i++) {
        size_t row = first + i, end = seen;
        if (a->causal)
            end = ldnq_size_min(end, a->past + row + 1);
        mask_score_row(
            a, batch * a->mask_stride[0] + head * a->mask_stride[1] + row * a->mask_stride[2], end,
            scores + i * a->total);
    }
}

/* ---- forward -------------------------------------------------------------------------------- */

struct attention_forward {
    struct ldnq_attention a;
    float *y, *scores_out;        /* scores_out: output 3, or NULL */
    float *present_k, *present_v; /* past and new rows; NULL: k and v are read in place */
    float *scores;                /* per thread: (LDNQ_ATTENTION_ROWS, total) */
};

/* present_k and present_v of heads first .. last-1, counted over (batch, kv_heads). */
static void concat_past_and_new_rows_of_heads(const void *ctx, size_t first, size_t last)
{
    const struct attention_forward *f = ctx;
    const struct ldnq_attention *a = &f->a;
    for (size_t i = first; i < last; i++) {
        size_t batch = i / a->kv_heads, head = i % a->kv_heads;
        ldnq_attention_concat_rows(a, &a->past_k, &a->k, batch, head, a->head,
                                   f->present_k + i * a->total * a->head);
        ldnq_attention_concat_rows(a, &a->past_v, &a->v, batch, head, a->v_head,
                                   f->present_v + i * a->total * a->v_head);
    }
}

/* Stores a block of scores in output 3, if that holds this stage. */
static void store_scores(const struct attention_forward *f, enum ldnq_attention_stage stage,
                         size_t head, size_t first, size_t rows, const float *scores)
{
    size_t total = f->a.total;
    if (f->scores_out && f->a.stage == stage && rows * total > 0)
        memcpy(f->scores_out + (head * f->a.q_len + first) * total, scores,
               rows * total * sizeof *scores);
}

/* One block of query rows of one head; chunks are counted over (batch, q_heads, blocks). */
static void compute_attention_rows(void *ctx, size_t chunk, size_t thread)
{
    const struct attention_forward *f = ctx;
    const struct ldnq_attention *a = &f->a;
    size_t blocks = ldnq_size_ceil_div(a->q_len, LDNQ_ATTENTION_ROWS);
    size_t head = chunk / blocks, first = chunk % blocks * LDNQ_ATTENTION_ROWS;
    size_t rows = ldnq_size_min(LDNQ_ATTENTION_ROWS, a->q_len - first);
    size_t batch = head / a->q_heads, at = head % a->q_heads;
    size_t kv_head = at / (a->q_heads / a->kv_heads), kv_index = batch * a->kv_heads + kv_head;
    bool in_place = !f->present_k;
    const float *k = in_place ? a->k.data + batch * a->k.batch_stride + kv_head * a->k.head_stride
                              : f->present_k + kv_index * a->total * a->head;
    const float *v = in_place ? a->v.data + batch * a->v.batch_stride + kv_head * a->v.head_stride
                              : f->present_v + kv_index * a->total * a->v_head;
    float *scores = f->scores + thread * LDNQ_ATTENTION_ROWS * a->total;
    ldnq_attention_compute_scores(a, batch, at, first, rows, k,
                                  in_place ? a->k.row_stride : a->head, scores);
    store_scores(f, LDNQ_SCORES_PLAIN, head, first, rows, scores);
    ldnq_attention_apply_softcap(a, rows * a->total, scores);
    store_scores(f, LDNQ_SCORES_CAPPED, head, first, rows, scores);
    ldnq_attention_apply_mask(a, batch, at, first, rows, scores);
    store_scores(f, LDNQ_SCORES_MASKED, head, first, rows, scores);
    for (size_t i = 0; i < rows; i++)
        ldnq_compute_softmax_row(scores + i * a->total, scores + i * a->total, a->total);
    store_scores(f, LDNQ_SCORES_SOFTMAX, head, first, rows, scores);
    float *y = f->y + batch * a->y.batch_stride + at * a->y.head_stride + first * a->y.row_stride;
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, a->v_head, a->total, 1.0f, scores, a->total, v,
               in_place ? a->v.row_stride : a->v_head, 0.0f, y, a->y.row_stride);
}

/* Whether past and new keys and values must be concatenated. */
static bool needs_concat(const struct ldnq_op_call *call)
{
    return call->out_count > 1 || ldnq_op_input(call, LDNQ_ATTENTION_PAST_K);
}

static size_t round_up(size_t floats)
{
    return floats + (16 - floats % 16) % 16;
}

/* Floats of scratch: for the scores, and for concatenated keys and values that are not
 * outputs. False on overflow. */
static bool count_scratch_floats(const struct ldnq_op_call *call, const struct ldnq_attention *a,
                                 size_t *scores, size_t *keys, size_t *values)
{
    size_t rows;
    if (!ldnq_size_mul(ldnq_pool_threads(call->pool), LDNQ_ATTENTION_ROWS, &rows) ||
        !ldnq_size_mul(rows, a->total, scores) || *scores > SIZE_MAX / 64)
        return false;
    *scores = round_up(*scores);
    *keys = *values = 0;
    if (!needs_concat(call))
        return true;
    size_t both = a->batch * a->kv_heads;
    return ldnq_size_mul(both, a->total, &both) &&
           (call->out_count > 1 || ldnq_size_mul(both, a->head, keys)) &&
           (call->out_count > 2 || ldnq_size_mul(both, a->v_head, values)) &&
           *keys <= SIZE_MAX / 64 && *values <= SIZE_MAX / 64;
}

static size_t attention_scratch_bytes(const struct ldnq_op_call *call)
{
    struct ldnq_attention a = ldnq_attention_make(call);
    size_t scores, keys, values;
    if (!count_scratch_floats(call, &a, &scores, &keys, &values))
        return SIZE_MAX;
    return (scores + round_up(keys) + values) * sizeof(float);
}

static enum ldnq_status attention_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct attention_forward f = { .a = ldnq_attention_make(call),
                                   .y = call->out[0].data,
                                   .scores_out = call->out_count > 3 ? call->out[3].data : NULL,
                                   .scores = call->scratch };
    size_t scores, keys, values;
    (void)err;
    count_scratch_floats(call, &f.a, &scores, &keys, &values);
    if (needs_concat(call)) {
        f.present_k = call->out_count > 1 ? call->out[1].data : f.scores + scores;
        f.present_v = call->out_count > 2 ? call->out[2].data : f.scores + scores + round_up(keys);
        ldnq_op_run_rows(call, f.a.batch * f.a.kv_heads, f.a.total * (f.a.head + f.a.v_head),
                         concat_past_and_new_rows_of_heads, &f);
    }
    size_t blocks = ldnq_size_ceil_div(f.a.q_len, LDNQ_ATTENTION_ROWS);
    ldnq_pool_run(call->pool, f.a.batch * f.a.q_heads * blocks, compute_attention_rows, &f);
    return LDNQ_OK;
}

/* Scores and weighted values: two products of `head` terms per query and key. */
static size_t attention_count_operations(const struct ldnq_op_call *call)
{
    const struct ldnq_tensor *past = ldnq_op_input(call, LDNQ_ATTENTION_PAST_K);
    const struct ldnq_shape *k = &call->in[LDNQ_ATTENTION_K]->shape;
    const size_t keys = (size_t)k->dim[k->rank - 2] + (past ? (size_t)past->shape.dim[2] : 0);
    return ldnq_operations_of_products(call, 2 * keys);
}

const struct ldnq_op ldnq_op_attention = {
    .type = "Attention",
    .since = 23,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3,
    .inputs_max = 7,
    .outputs_max = 4,
    .read_attrs = attention_read_attrs,
    .infer = attention_infer_shape,
    .scratch_bytes = attention_scratch_bytes,
    .count_operations = attention_count_operations,
    .forward = attention_forward,
    .differentiable = 0x3f,
    .saved_inputs = 0x7f,
    .backward_scratch_bytes = ldnq_attention_backward_scratch_bytes,
    .backward = ldnq_attention_backward,
};
