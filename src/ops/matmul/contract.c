#include "ops/matmul/contract.h"

#include "base/size.h"
#include "ops/shared/product.h"
#include "ops/shared/float_sums.h"

/* Labels in an order. */
struct order {
    int rank;
    uint8_t label[LDNQ_STRIDED_AXES];
};

static uint64_t labels_of(const struct ldnq_labelled *t)
{
    uint64_t set = 0;
    for (int i = 0; i < t->rank; i++)
        set |= UINT64_C(1) << t->label[i];
    return set;
}

/* Appends those of t's labels that are in the set. */
static void append(struct ldnq_contraction *work, struct order *order,
                   const struct ldnq_labelled *t, uint64_t set)
{
    for (int i = 0; i < t->rank; i++) {
        if (!(set >> t->label[i] & 1))
            continue;
        if (order->rank == LDNQ_STRIDED_AXES) {
            work->too_large = true;
            return;
        }
        order->label[order->rank++] = t->label[i];
    }
}

static size_t count_of(struct ldnq_contraction *work, const struct ldnq_labelled *t, uint64_t set)
{
    size_t count = 1;
    bool zero = false, fits = true;
    for (int i = 0; i < t->rank; i++)
        if (set >> t->label[i] & 1) {
            size_t extent = work->extent[t->label[i]];
            zero = zero || extent == 0;
            fits = fits && ldnq_size_mul(count, extent, &count);
        }
    work->too_large = work->too_large || (!fits && !zero);
    return zero ? 0 : count;
}

static ptrdiff_t stride_of(const struct ldnq_labelled *t, uint8_t label)
{
    for (int i = 0; i < t->rank; i++)
        if (t->label[i] == label)
            return t->stride[i];
    return 0;
}

static float *take(struct ldnq_contraction *work, size_t floats)
{
    float *at = work->dry ? NULL : work->memory + work->used;
    size_t rounded;
    if (!ldnq_size_add(floats, 15, &rounded) ||
        !ldnq_size_add(work->used, rounded & ~(size_t)15, &work->used))
        work->too_large = true;
    return at;
}

/* A row-major tensor of these labels. */
static struct ldnq_labelled row_major(const struct ldnq_contraction *work,
                                      const struct order *order, const float *data)
{
    struct ldnq_labelled t = { .data = data, .rank = order->rank };
    ptrdiff_t stride = 1;
    for (int i = order->rank - 1; i >= 0; i--) {
        t.label[i] = order->label[i];
        t.stride[i] = stride;
        stride *= (ptrdiff_t)work->extent[order->label[i]];
    }
    return t;
}

static void copy(const struct ldnq_contraction *work, const struct ldnq_labelled *from,
                 const struct ldnq_labelled *to, float *out)
{
    struct ldnq_strided region = { .rank = 0 };
    for (int i = 0; i < to->rank; i++)
        ldnq_strided_add_axis(&region, work->extent[to->label[i]], stride_of(from, to->label[i]),
                              to->stride[i]);
    ldnq_strided_copy(work->call, &region, sizeof(float), from->data, out);
}

/* Whether t lies row-major in this order. */
static bool lies_as(const struct ldnq_contraction *work, const struct ldnq_labelled *t,
                    const struct order *order)
{
    struct ldnq_labelled wanted = row_major(work, order, NULL);
    for (int i = 0; i < order->rank; i++)
        if (work->extent[order->label[i]] != 1 && stride_of(t, order->label[i]) != wanted.stride[i])
            return false;
    return true;
}

/* t's data in this order of its labels: as they lie, or copied. */
static const float *in_order(struct ldnq_contraction *work, const struct ldnq_labelled *t,
                             const struct order *order)
{
    if (work->too_large || lies_as(work, t, order))
        return t->data;
    float *data = take(work, count_of(work, t, ~UINT64_C(0)));
    struct ldnq_labelled to = row_major(work, order, data);
    if (!work->dry)
        copy(work, t, &to, data);
    return data;
}

/* ---- sums over labels of one operand ------------------------------------------------------ */

struct rows {
    const float *x;
    float *y;
    size_t size;
};

static void sum_rows(const void *ctx, size_t first, size_t last)
{
    const struct rows *rows = ctx;
    for (size_t i = first; i < last; i++)
        rows->y[i] = (float)ldnq_sum_floats(rows->x + i * rows->size, rows->size);
}

/* t summed over what is not in `kept`. */
static struct ldnq_labelled summed(struct ldnq_contraction *work, const struct ldnq_labelled *t,
                                   uint64_t kept)
{
    uint64_t all = labels_of(t);
    if ((all & ~kept) == 0)
        return *t;
    struct order left = { 0 }, order = { 0 };
    append(work, &left, t, kept);
    append(work, &order, t, kept);
    append(work, &order, t, ~kept);
    size_t count = count_of(work, t, kept);
    struct rows rows = { .x = in_order(work, t, &order), .size = count_of(work, t, ~kept) };
    rows.y = take(work, count);
    if (!work->dry)
        ldnq_op_run_rows(work->call, count, rows.size, sum_rows, &rows);
    return row_major(work, &left, rows.y);
}

/* ---- two operands ---------------------------------------------------------------------------- */

struct pair {
    size_t batches, m, n, k;
    const float *a, *b;
    enum ldnq_transpose transpose_a, transpose_b;
    float *c;
};

/* A matrix a batch: rows and columns, or the other way round where it lies so. */
static const float *matrices(struct ldnq_contraction *work, const struct ldnq_labelled *t,
                             const struct ldnq_labelled *first, uint64_t batch, uint64_t rows,
                             uint64_t columns, enum ldnq_transpose *transpose)
{
    struct order order = { 0 }, other = { 0 };
    append(work, &order, first, batch);
    append(work, &other, first, batch);
    /* What is summed over comes in the order of the first operand as well. */
    append(work, &order, rows & ~labels_of(first) ? t : first, rows);
    append(work, &order, columns & ~labels_of(first) ? t : first, columns);
    append(work, &other, columns & ~labels_of(first) ? t : first, columns);
    append(work, &other, rows & ~labels_of(first) ? t : first, rows);
    *transpose = LDNQ_AS_IS;
    if (work->too_large || lies_as(work, t, &order) || !lies_as(work, t, &other))
        return in_order(work, t, &order);
    *transpose = LDNQ_TRANSPOSED;
    return t->data;
}

/* Rows (batch, m) of an outer product. */
static void outer_rows(const void *ctx, size_t first, size_t last)
{
    const struct pair *p = ctx;
    for (size_t row = first; row < last; row++) {
        const float a = p->a[row], *b = p->b + row / p->m * p->n;
        float *c = p->c + row * p->n;
        for (size_t i = 0; i < p->n; i++)
            c[i] = a * b[i];
    }
}

static void multiply_range(const void *ctx, size_t first, size_t last)
{
    const struct pair *p = ctx;
    for (size_t i = first; i < last; i++)
        p->c[i] = p->a[i] * p->b[i];
}

static void pair_offsets(const void *ctx, size_t batch, size_t offsets[2])
{
    const struct pair *p = ctx;
    offsets[0] = batch * p->m * p->k;
    offsets[1] = batch * p->k * p->n;
}

static void multiply(const struct ldnq_contraction *work, const struct pair *p)
{
    struct ldnq_product product = {
        .m = p->m,
        .n = p->n,
        .k = p->k,
        .transpose_a = p->transpose_a,
        .transpose_b = p->transpose_b,
        .alpha = 1.0f,
        .batches = p->batches,
        .offsets = pair_offsets,
        .ctx = p,
        .a = p->a,
        .b = p->b,
        .c = p->c,
    };
    if (p->k == 1 && p->m == 1 && p->n == 1)
        ldnq_op_run_ranges(work->call, p->batches, multiply_range, p);
    else if (p->k == 1)
        ldnq_op_run_rows(work->call, p->batches * p->m, p->n, outer_rows, p);
    else
        ldnq_product_run(&product, work->call->pool);
}

/* The product of two, summed over what is not in `kept`; into `out` where it then
 * lies as `to` wants it. */
static struct ldnq_labelled contract_pair(struct ldnq_contraction *work,
                                          const struct ldnq_labelled *left,
                                          const struct ldnq_labelled *right, uint64_t kept,
                                          const struct ldnq_labelled *to, float *out)
{
    uint64_t in_a = labels_of(left), in_b = labels_of(right);
    struct ldnq_labelled a = summed(work, left, kept | in_b);
    struct ldnq_labelled b = summed(work, right, kept | in_a);
    uint64_t batch = in_a & in_b & kept, inner = in_a & in_b & ~kept;
    uint64_t rows = in_a & ~in_b & kept, columns = in_b & ~in_a & kept;
    struct pair pair = { .batches = count_of(work, &a, batch),
                         .m = count_of(work, &a, rows),
                         .n = count_of(work, &b, columns),
                         .k = count_of(work, &a, inner) };
    if (pair.m > INT32_MAX || pair.n > INT32_MAX || pair.k > INT32_MAX)
        work->too_large = true;
    struct order order = { 0 };
    append(work, &order, &a, batch);
    append(work, &order, &a, rows);
    append(work, &order, &b, columns);
    pair.a = matrices(work, &a, &a, batch, rows, inner, &pair.transpose_a);
    pair.b = matrices(work, &b, &a, batch, inner, columns, &pair.transpose_b);
    size_t size = 0;
    if (!ldnq_size_mul(pair.batches, pair.m, &size) || !ldnq_size_mul(size, pair.n, &size))
        work->too_large = true;
    if (work->too_large)
        return row_major(work, &(struct order){ 0 }, NULL);
    bool direct = to && to->rank == order.rank && lies_as(work, to, &order);
    pair.c = direct ? out : take(work, size);
    if (!work->dry && size > 0)
        multiply(work, &pair);
    return row_major(work, &order, pair.c);
}

void ldnq_contract(struct ldnq_contraction *work, const struct ldnq_labelled *operands,
                   size_t count, const struct ldnq_labelled *to, float *out)
{
    uint64_t wanted = labels_of(to);
    struct ldnq_labelled sum = operands[0];
    for (size_t i = 1; i < count; i++) {
        uint64_t kept = wanted;
        for (size_t k = i + 1; k < count; k++)
            kept |= labels_of(&operands[k]);
        sum = contract_pair(work, &sum, &operands[i], kept, i + 1 == count ? to : NULL, out);
    }
    sum = summed(work, &sum, wanted);
    if (!work->dry && !work->too_large && sum.data != out)
        copy(work, &sum, to, out);
}
