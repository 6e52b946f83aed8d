/* SPDX-License-Identifier: Apache-2.0 */
/* attention_grad.c: Attention backward. The scores are recomputed.
 *
 * forward   s1 = scale q k', s2 = softcap(s1), s3 = s2 + mask, p = softmax(s3), y = p v
 * backward  dv = p' dy, dp = dy v', ds3 = p (dp - rowsum(p dp)), dmask = ds3,
 *           ds1 = softcap'(s1) ds3, dq = scale ds1 k, dk = scale ds1' q
 *
 * Threads  a chunk is one head of keys and values with all query heads that share it, so
 *          that the sums over query heads have one order
 */
#include "ops/sequence/attention.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "linalg/blas.h"
#include "ops/norm/softmax.h"

struct attention_backward {
    struct ldnq_attention a;
    struct ldnq_heads dy;                   /* the gradient of output 0; zero where data is NULL */
    const float *dkeys, *dvalues, *dscores; /* gradients of outputs 1, 2, 3; NULL: zero */
    float *dq, *dk, *dv, *dmask, *dpast_k, *dpast_v; /* NULL: not requested */
    float *scratch;
    size_t thread_floats;
};

/* One thread's scratch. */
struct attention_workspace {
    float *k, *v, *dk, *dv; /* (total, head) and (total, v_head) */
    float *p, *ds, *capped; /* (rows, total); capped: s2 */
};

static size_t count_thread_floats(const struct ldnq_attention *a)
{
    size_t size, rows, sum;
    if (!ldnq_size_add(a->head, a->v_head, &size) || !ldnq_size_mul(size, 2, &size) ||
        !ldnq_size_mul(LDNQ_ATTENTION_ROWS, 3, &rows) || !ldnq_size_add(size, rows, &sum) ||
        !ldnq_size_mul(sum, a->total, &sum) || sum > SIZE_MAX / 64)
        return SIZE_MAX;
    return sum + (16 - sum % 16) % 16;
}

static struct attention_workspace make_workspace(const struct attention_backward *b, size_t thread)
{
    const struct ldnq_attention *a = &b->a;
    size_t keys = a->total * a->head, values = a->total * a->v_head;
    size_t scores = LDNQ_ATTENTION_ROWS * a->total;
    struct attention_workspace w = { .k = b->scratch + thread * b->thread_floats };
    w.v = w.k + keys;
    w.dk = w.v + values;
    w.dv = w.dk + keys;
    w.p = w.dv + values;
    w.ds = w.p + scores;
    w.capped = w.ds + scores;
    return w;
}

/* ---- rows of keys and values ------------------------------------------------------------ */

/* The inverse of ldnq_attention_concat_rows: rows (total, size) to dpast and dnow; NULL: not
 * requested. */
static void split_past_and_new_rows(const struct ldnq_attention *a, const float *rows,
                                    const struct ldnq_heads *past, float *dpast,
                                    const struct ldnq_heads *now, float *dnow, size_t batch,
                                    size_t head, size_t size)
{
    for (size_t i = 0; i < a->total; i++) {
        const struct ldnq_heads *to = i < a->past ? past : now;
        float *data = i < a->past ? dpast : dnow;
        size_t row = i < a->past ? i : i - a->past;
        if (data)
            memcpy(data + batch * to->batch_stride + head * to->head_stride + row * to->row_stride,
                   rows + i * size, size * sizeof *rows);
    }
}

/* rows = the gradient of present_key or present_value, or zeros. */
static void init_gradient_rows(const float *from, size_t kv_index, size_t count, float *rows)
{
    if (from)
        memcpy(rows, from + kv_index * count, count * sizeof *rows);
    else
        memset(rows, 0, count * sizeof *rows);
}

/* ---- one block of query rows -------------------------------------------------------------- */

/* Adds the gradient of output 3, if that holds this stage. */
static void add_scores_grad(const struct attention_backward *b, enum ldnq_attention_stage stage,
                            size_t head, size_t first, size_t rows, float *ds)
{
    const struct ldnq_attention *a = &b->a;
    if (!b->dscores || a->stage != stage)
        return;
    const float *from = b->dscores + (head * a->q_len + first) * a->total;
    for (size_t i = 0; i < rows * a->total; i++)
        ds[i] += from[i];
}

/* ds = p (ds - rowsum(p ds)); masked scores have p = 0 and so ds = 0. */
static void apply_softmax_gradient(const float *p, float *ds, size_t rows, size_t total)
{
    for (size_t i = 0; i < rows; i++, p += total, ds += total) {
        double sum = 0.0;
        for (size_t j = 0; j < total; j++)
            sum += (double)p[j] * (double)ds[j];
        for (size_t j = 0; j < total; j++)
            ds[j] = p[j] * (ds[j] - (float)sum);
    }
}

/* dmask += ds, for query rows first .. first+rows-1 of one head. */
static void add_mask_grad(const struct attention_backward *b, size_t batch, size_t head,
                          size_t first, size_t rows, const float *ds)
{
    const struct ldnq_attention *a = &b->a;
    for (size_t i = 0; i < rows && b->dmask; i++) {
        float *to = b->dmask + batch * a->mask_stride[0] + head * a->mask_stride[1] +
                    (first + i) * a->mask_stride[2];
        for (size_t j = 0; j < a->mask_len; j++)
            to[j] += ds[i * a->total + j];
    }
}

/* ds *= softcap'(s1) = 1 - (s2 / c)^2. */
static void apply_softcap_gradient(const struct ldnq_attention *a, const float *capped, float *ds,
                                   size_t count)
{
    for (size_t i = 0; i < count && a->softcap > 0.0f; i++) {
        float t = capped[i] / a->softcap;
        ds[i] *= 1.0f - t * t;
    }
}

static void compute_query_row_gradients(const struct attention_backward *b,
                                        const struct attention_workspace *w, size_t batch,
                                        size_t at, size_t first, size_t rows)
{
    const struct ldnq_attention *a = &b->a;
    size_t head = batch * a->q_heads + at, count = rows * a->total;
    ldnq_attention_compute_scores(a, batch, at, first, rows, w->k, a->head, w->p);
    ldnq_attention_apply_softcap(a, count, w->p);
    if (a->softcap > 0.0f && count > 0)
        memcpy(w->capped, w->p, count * sizeof *w->p);
    ldnq_attention_apply_mask(a, batch, at, first, rows, w->p);
    for (size_t i = 0; i < rows; i++)
        ldnq_compute_softmax_row(w->p + i * a->total, w->p + i * a->total, a->total);
    if (count > 0)
        memset(w->ds, 0, count * sizeof *w->ds);
    if (b->dy.data) {
        const float *dy = b->dy.data + batch * b->dy.batch_stride + at * b->dy.head_stride +
                          first * b->dy.row_stride;
        ldnq_sgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, a->total, a->v_head, rows, 1.0f, w->p, a->total, dy,
                   b->dy.row_stride, 1.0f, w->dv, a->v_head);
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, rows, a->total, a->v_head, 1.0f, dy,
                   b->dy.row_stride, w->v, a->v_head, 0.0f, w->ds, a->total);
    }
    add_scores_grad(b, LDNQ_SCORES_SOFTMAX, head, first, rows, w->ds);
    apply_softmax_gradient(w->p, w->ds, rows, a->total);
    add_scores_grad(b, LDNQ_SCORES_MASKED, head, first, rows, w->ds);
    add_mask_grad(b, batch, at, first, rows, w->ds);
    add_scores_grad(b, LDNQ_SCORES_CAPPED, head, first, rows, w->ds);
    apply_softcap_gradient(a, w->capped, w->ds, count);
    add_scores_grad(b, LDNQ_SCORES_PLAIN, head, first, rows, w->ds);
    const float *q =
        a->q.data + batch * a->q.batch_stride + at * a->q.head_stride + first * a->q.row_stride;
    ldnq_sgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, a->total, a->head, rows, a->scale, w->ds, a->total, q,
               a->q.row_stride, 1.0f, w->dk, a->head);
    if (b->dq)
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, a->head, a->total, a->scale, w->ds, a->total, w->k,
                   a->head, 0.0f,
                   b->dq + batch * a->q.batch_stride + at * a->q.head_stride +
                       first * a->q.row_stride,
                   a->q.row_stride);
}

static void compute_kv_head_gradients(void *ctx, size_t kv_index, size_t thread)
{
    const struct attention_backward *b = ctx;
    const struct ldnq_attention *a = &b->a;
    struct attention_workspace w = make_workspace(b, thread);
    size_t batch = kv_index / a->kv_heads, kv_head = kv_index % a->kv_heads;
    size_t group = a->q_heads / a->kv_heads;
    ldnq_attention_concat_rows(a, &a->past_k, &a->k, batch, kv_head, a->head, w.k);
    ldnq_attention_concat_rows(a, &a->past_v, &a->v, batch, kv_head, a->v_head, w.v);
    init_gradient_rows(b->dkeys, kv_index, a->total * a->head, w.dk);
    init_gradient_rows(b->dvalues, kv_index, a->total * a->v_head, w.dv);
    for (size_t at = kv_head * group; at < (kv_head + 1) * group; at++)
        for (size_t first = 0; first < a->q_len; first += LDNQ_ATTENTION_ROWS)
            compute_query_row_gradients(b, &w, batch, at, first,
                                        ldnq_size_min(LDNQ_ATTENTION_ROWS, a->q_len - first));
    split_past_and_new_rows(a, w.dk, &a->past_k, b->dpast_k, &a->k, b->dk, batch, kv_head, a->head);
    split_past_and_new_rows(a, w.dv, &a->past_v, b->dpast_v, &a->v, b->dv, batch, kv_head,
                            a->v_head);
}

/* ---- all ------------------------------------------------------------------------------------ */

size_t ldnq_attention_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    struct ldnq_attention a = ldnq_attention_make(grad->call);
    size_t floats = count_thread_floats(&a), bytes;
    if (floats == SIZE_MAX ||
        !ldnq_size_mul(floats * sizeof(float), ldnq_pool_threads(grad->call->pool), &bytes))
        return SIZE_MAX;
    return bytes;
}

enum ldnq_status ldnq_attention_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    struct attention_backward b = {
        .a = ldnq_attention_make(call),
        .dkeys = ldnq_op_output_grad(grad, 1),
        .dvalues = ldnq_op_output_grad(grad, 2),
        .dscores = ldnq_op_output_grad(grad, 3),
        .dq = ldnq_op_input_grad(grad, LDNQ_ATTENTION_Q),
        .dk = ldnq_op_input_grad(grad, LDNQ_ATTENTION_K),
        .dv = ldnq_op_input_grad(grad, LDNQ_ATTENTION_V),
        .dmask = ldnq_op_input_grad(grad, LDNQ_ATTENTION_MASK),
        .dpast_k = ldnq_op_input_grad(grad, LDNQ_ATTENTION_PAST_K),
        .dpast_v = ldnq_op_input_grad(grad, LDNQ_ATTENTION_PAST_V),
        .scratch = call->scratch,
    };
    (void)err;
    b.thread_floats = count_thread_floats(&b.a);
    b.dy = b.a.y;
    b.dy.data = ldnq_op_output_grad(grad, 0);
    if (b.dmask && b.a.mask_is_bool)
        b.dmask = NULL;
    size_t heads = b.a.batch * b.a.kv_heads;
    if (b.dmask) {
        /* Heads may share the mask: one thread sums its gradient, in the order of the heads. */
        memset(b.dmask, 0, ldnq_tensor_count(call->in[LDNQ_ATTENTION_MASK]) * sizeof *b.dmask);
        for (size_t i = 0; i < heads; i++)
            compute_kv_head_gradients(&b, i, 0);
    } else {
        ldnq_pool_run(call->pool, heads, compute_kv_head_gradients, &b);
    }
    return LDNQ_OK;
}
