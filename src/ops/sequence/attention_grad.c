/* attention_grad.c: Attention backward. The scores are computed again.
 *
 * p = softmax(s3), s3 = s2 + mask, s2 = cap(s1), s1 = scale q k', y = p v
 * dv = p' dy,  dp = dy v',  ds3 = p (dp - sum(p dp)),  ds1 = cap'(s1) ds3,
 * dq = scale ds1 k,  dk = scale ds1' q,  dmask = ds3
 *
 * A piece of work is one head of keys with all the heads of queries that share it,
 * so that sums over them have one order. */
#include "ops/sequence/attention.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "linalg/blas.h"
#include "ops/norm/softmax.h"

struct backward {
    struct ldnq_attention a;
    struct ldnq_heads dy;                            /* data NULL: zero */
    const float *dkeys, *dvalues, *dscores;          /* of the other outputs; may be NULL */
    float *dq, *dk, *dv, *dmask, *dpast_k, *dpast_v; /* NULL: not wanted */
    float *scratch;
    size_t thread_floats;
};

/* One thread's scratch. */
struct work {
    float *k, *v, *dk, *dv; /* (total, head), (total, v_head) */
    float *p, *ds, *cap;    /* (rows, total); cap: s2 */
};

static size_t thread_floats(const struct ldnq_attention *a)
{
    size_t size, rows, sum;
    if (!ldnq_size_add(a->head, a->v_head, &size) || !ldnq_size_mul(size, 2, &size) ||
        !ldnq_size_mul(LDNQ_ATTENTION_ROWS, 3, &rows) || !ldnq_size_add(size, rows, &sum) ||
        !ldnq_size_mul(sum, a->total, &sum) || sum > SIZE_MAX / 64)
        return SIZE_MAX;
    return sum + (16 - sum % 16) % 16;
}

static struct work work_of(const struct backward *b, size_t thread)
{
    const struct ldnq_attention *a = &b->a;
    size_t keys = a->total * a->head, values = a->total * a->v_head;
    size_t scores = LDNQ_ATTENTION_ROWS * a->total;
    struct work w = { .k = b->scratch + thread * b->thread_floats };
    w.v = w.k + keys;
    w.dk = w.v + values;
    w.dv = w.dk + keys;
    w.p = w.dv + values;
    w.ds = w.p + scores;
    w.cap = w.ds + scores;
    return w;
}

/* ---- rows of keys and values ------------------------------------------------------------ */

static void gather(const struct ldnq_attention *a, const struct ldnq_heads *past,
                   const struct ldnq_heads *now, size_t batch, size_t head, size_t size, float *to)
{
    for (size_t i = 0; i < a->total; i++) {
        const struct ldnq_heads *from = i < a->past ? past : now;
        size_t row = i < a->past ? i : i - a->past;
        memcpy(to + i * size,
               from->data + batch * from->batch + head * from->head + row * from->row,
               size * sizeof *to);
    }
}

/* Back to where gather took the rows from. */
static void scatter(const struct ldnq_attention *a, const float *rows,
                    const struct ldnq_heads *past, float *dpast, const struct ldnq_heads *now,
                    float *dnow, size_t batch, size_t head, size_t size)
{
    for (size_t i = 0; i < a->total; i++) {
        const struct ldnq_heads *to = i < a->past ? past : now;
        float *data = i < a->past ? dpast : dnow;
        size_t row = i < a->past ? i : i - a->past;
        if (data)
            memcpy(data + batch * to->batch + head * to->head + row * to->row, rows + i * size,
                   size * sizeof *rows);
    }
}

/* What comes through present_key or present_value, else zeros. */
static void start_rows(const float *from, size_t joined, size_t count, float *rows)
{
    if (from)
        memcpy(rows, from + joined * count, count * sizeof *rows);
    else
        memset(rows, 0, count * sizeof *rows);
}

/* ---- one block of query rows -------------------------------------------------------------- */

static void add_stage(const struct backward *b, enum ldnq_attention_stage stage, size_t head,
                      size_t first, size_t rows, float *ds)
{
    const struct ldnq_attention *a = &b->a;
    if (!b->dscores || a->stage != stage)
        return;
    const float *from = b->dscores + (head * a->q_len + first) * a->total;
    for (size_t i = 0; i < rows * a->total; i++)
        ds[i] += from[i];
}

/* ds becomes p (ds - sum(p ds)); a score that can't be seen gets nothing. */
static void through_softmax(const float *p, float *ds, size_t rows, size_t total)
{
    for (size_t i = 0; i < rows; i++, p += total, ds += total) {
        double sum = 0.0;
        for (size_t j = 0; j < total; j++)
            sum += (double)p[j] * (double)ds[j];
        for (size_t j = 0; j < total; j++)
            ds[j] = p[j] * (ds[j] - (float)sum);
    }
}

static void add_mask(const struct backward *b, size_t batch, size_t head, size_t first, size_t rows,
                     const float *ds)
{
    const struct ldnq_attention *a = &b->a;
    for (size_t i = 0; i < rows && b->dmask; i++) {
        float *to = b->dmask + batch * a->mask_stride[0] + head * a->mask_stride[1] +
                    (first + i) * a->mask_stride[2];
        for (size_t j = 0; j < a->mask_len; j++)
            to[j] += ds[i * a->total + j];
    }
}

static void through_cap(const struct ldnq_attention *a, const float *capped, float *ds,
                        size_t count)
{
    for (size_t i = 0; i < count && a->softcap > 0.0f; i++) {
        float t = capped[i] / a->softcap;
        ds[i] *= 1.0f - t * t;
    }
}

static void run_block(const struct backward *b, const struct work *w, size_t batch, size_t at,
                      size_t first, size_t rows)
{
    const struct ldnq_attention *a = &b->a;
    size_t head = batch * a->q_heads + at, count = rows * a->total;
    ldnq_attention_scores(a, batch, at, first, rows, w->k, a->head, w->p);
    ldnq_attention_cap(a, count, w->p);
    if (a->softcap > 0.0f && count > 0)
        memcpy(w->cap, w->p, count * sizeof *w->p);
    ldnq_attention_mask(a, batch, at, first, rows, w->p);
    for (size_t i = 0; i < rows; i++)
        ldnq_softmax_row(w->p + i * a->total, w->p + i * a->total, a->total);
    if (count > 0)
        memset(w->ds, 0, count * sizeof *w->ds);
    if (b->dy.data) {
        const float *dy = b->dy.data + batch * b->dy.batch + at * b->dy.head + first * b->dy.row;
        ldnq_sgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, a->total, a->v_head, rows, 1.0f, w->p, a->total, dy,
                   b->dy.row, 1.0f, w->dv, a->v_head);
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, rows, a->total, a->v_head, 1.0f, dy, b->dy.row,
                   w->v, a->v_head, 0.0f, w->ds, a->total);
    }
    add_stage(b, LDNQ_SCORES_SOFTMAX, head, first, rows, w->ds);
    through_softmax(w->p, w->ds, rows, a->total);
    add_stage(b, LDNQ_SCORES_MASKED, head, first, rows, w->ds);
    add_mask(b, batch, at, first, rows, w->ds);
    add_stage(b, LDNQ_SCORES_CAPPED, head, first, rows, w->ds);
    through_cap(a, w->cap, w->ds, count);
    add_stage(b, LDNQ_SCORES_PLAIN, head, first, rows, w->ds);
    const float *q = a->q.data + batch * a->q.batch + at * a->q.head + first * a->q.row;
    ldnq_sgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, a->total, a->head, rows, a->scale, w->ds, a->total, q,
               a->q.row, 1.0f, w->dk, a->head);
    if (b->dq)
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, a->head, a->total, a->scale, w->ds, a->total, w->k,
                   a->head, 0.0f, b->dq + batch * a->q.batch + at * a->q.head + first * a->q.row,
                   a->q.row);
}

static void run_head(void *ctx, size_t joined, size_t thread)
{
    const struct backward *b = ctx;
    const struct ldnq_attention *a = &b->a;
    struct work w = work_of(b, thread);
    size_t batch = joined / a->kv_heads, shared = joined % a->kv_heads;
    size_t group = a->q_heads / a->kv_heads;
    gather(a, &a->past_k, &a->k, batch, shared, a->head, w.k);
    gather(a, &a->past_v, &a->v, batch, shared, a->v_head, w.v);
    start_rows(b->dkeys, joined, a->total * a->head, w.dk);
    start_rows(b->dvalues, joined, a->total * a->v_head, w.dv);
    for (size_t at = shared * group; at < (shared + 1) * group; at++)
        for (size_t first = 0; first < a->q_len; first += LDNQ_ATTENTION_ROWS)
            run_block(b, &w, batch, at, first,
                      ldnq_size_min(LDNQ_ATTENTION_ROWS, a->q_len - first));
    scatter(a, w.dk, &a->past_k, b->dpast_k, &a->k, b->dk, batch, shared, a->head);
    scatter(a, w.dv, &a->past_v, b->dpast_v, &a->v, b->dv, batch, shared, a->v_head);
}

/* ---- all ------------------------------------------------------------------------------------ */

static float *wanted(const struct ldnq_op_grad *grad, size_t input)
{
    return ldnq_op_input(grad->call, input) ? grad->in[input].data : NULL;
}

static const float *given(const struct ldnq_op_grad *grad, size_t output)
{
    return output < grad->call->out_count && grad->out[output] ? grad->out[output]->data : NULL;
}

size_t ldnq_attention_backward_scratch(const struct ldnq_op_grad *grad)
{
    struct ldnq_attention a = ldnq_attention_of(grad->call);
    size_t floats = thread_floats(&a), bytes;
    if (floats == SIZE_MAX ||
        !ldnq_size_mul(floats * sizeof(float), ldnq_pool_threads(grad->call->pool), &bytes))
        return SIZE_MAX;
    return bytes;
}

enum ldnq_status ldnq_attention_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    struct backward b = {
        .a = ldnq_attention_of(call),
        .dkeys = given(grad, 1),
        .dvalues = given(grad, 2),
        .dscores = given(grad, 3),
        .dq = wanted(grad, LDNQ_ATTENTION_Q),
        .dk = wanted(grad, LDNQ_ATTENTION_K),
        .dv = wanted(grad, LDNQ_ATTENTION_V),
        .dmask = wanted(grad, LDNQ_ATTENTION_MASK),
        .dpast_k = wanted(grad, LDNQ_ATTENTION_PAST_K),
        .dpast_v = wanted(grad, LDNQ_ATTENTION_PAST_V),
        .scratch = call->scratch,
    };
    (void)err;
    b.thread_floats = thread_floats(&b.a);
    b.dy = b.a.y;
    b.dy.data = given(grad, 0);
    if (b.dmask && b.a.mask_is_bool)
        b.dmask = NULL;
    size_t heads = b.a.batch * b.a.kv_heads;
    if (b.dmask) {
        /* Heads may share the mask: their gradients are summed in one order. */
        memset(b.dmask, 0, ldnq_tensor_count(call->in[LDNQ_ATTENTION_MASK]) * sizeof *b.dmask);
        for (size_t i = 0; i < heads; i++)
            run_head(&b, i, 0);
    } else {
        ldnq_pool_run(call->pool, heads, run_head, &b);
    }
    return LDNQ_OK;
}
