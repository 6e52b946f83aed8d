/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/matmul/contract.h"

#include "base/size.h"
#include "ops/operation_count.h"
#include "ops/shared/product.h"
#include "ops/shared/float_sums.h"

/* An ordered list of labels. */
struct label_order {
    int rank;
    uint8_t label[LDNQ_STRIDED_AXES];
};

static uint64_t collect_label_set(const struct ldnq_labelled *t)
{
    uint64_t set = 0;
    for (int i = 0; i < t->rank; i++)
        set |= UINT64_C(1) << t->label[i];
    return set;
}

/* Appends the labels of t that are in the set. */
static void append_labels_in_set(struct ldnq_contraction *work, struct label_order *order,
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

/* The number of elements of t along the labels in the set. */
static size_t count_elements(struct ldnq_contraction *work, const struct ldnq_labelled *t,
                             uint64_t set)
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

static ptrdiff_t find_stride(const struct ldnq_labelled *t, uint8_t label)
{
    for (int i = 0; i < t->rank; i++)
        if (t->label[i] == label)
            return t->stride[i];
    return 0;
}

/* Reserves memory, in multiples of 64 bytes. NULL in a dry run. */
static float *reserve_memory(struct ldnq_contraction *work, size_t floats)
{
    float *at = work->dry ? NULL : work->memory + work->used;
    size_t rounded;
    if (!ldnq_size_add(floats, 15, &rounded) ||
        !ldnq_size_add(work->used, rounded & ~(size_t)15, &work->used))
        work->too_large = true;
    return at;
}

/* Describes a row-major tensor with these labels. */
static struct ldnq_labelled make_row_major_tensor(const struct ldnq_contraction *work,
                                                  const struct label_order *order,
                                                  const float *data)
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

static void copy_labelled(const struct ldnq_contraction *work, const struct ldnq_labelled *from,
                          const struct ldnq_labelled *to, float *out)
{
    struct ldnq_strided region = { .rank = 0 };
    for (int i = 0; i < to->rank; i++)
        ldnq_strided_add_axis(&region, work->extent[to->label[i]], find_stride(from, to->label[i]),
                              to->stride[i]);
    ldnq_strided_copy(work->call, &region, sizeof(float), from->data, out);
}

/* Whether t is row-major in this order of its labels. */
static bool is_row_major(const struct ldnq_contraction *work, const struct ldnq_labelled *t,
                         const struct label_order *order)
{
    struct ldnq_labelled expected = make_row_major_tensor(work, order, NULL);
    for (int i = 0; i < order->rank; i++)
        if (work->extent[order->label[i]] != 1 &&
            find_stride(t, order->label[i]) != expected.stride[i])
            return false;
    return true;
}

/* The data of t, row-major in this order of its labels: copied if it is not so already. */
static const float *copy_to_row_major(struct ldnq_contraction *work, const struct ldnq_labelled *t,
                                      const struct label_order *order)
{
    if (work->too_large || is_row_major(work, t, order))
        return t->data;
    float *data = reserve_memory(work, count_elements(work, t, ~UINT64_C(0)));
    struct ldnq_labelled to = make_row_major_tensor(work, order, data);
    if (!work->dry)
        copy_labelled(work, t, &to, data);
    return data;
}

/* ---- sums over labels of one operand ------------------------------------------------------ */

struct label_sums {
    const float *x;
    float *y;
    size_t size;
};

static void sum_each_row(const void *ctx, size_t first, size_t last)
{
    const struct label_sums *rows = ctx;
    for (size_t i = first; i < last; i++)
        rows->y[i] = (float)ldnq_sum_floats(rows->x + i * rows->size, rows->size);
}

/* Sums t over all labels that are not in `kept`. */
static struct ldnq_labelled sum_over_labels(struct ldnq_contraction *work,
                                            const struct ldnq_labelled *t, uint64_t kept)
{
    uint64_t all = collect_label_set(t);
    if ((all & ~kept) == 0)
        return *t;
    struct label_order left = { 0 }, order = { 0 };
    append_labels_in_set(work, &left, t, kept);
    append_labels_in_set(work, &order, t, kept);
    append_labels_in_set(work, &order, t, ~kept);
    size_t count = count_elements(work, t, kept);
    struct label_sums rows = { .x = copy_to_row_major(work, t, &order),
                               .size = count_elements(work, t, ~kept) };
    rows.y = reserve_memory(work, count);
    if (!work->dry)
        ldnq_op_run_rows(work->call, count, rows.size, sum_each_row, &rows);
    return make_row_major_tensor(work, &left, rows.y);
}

/* ---- two operands ---------------------------------------------------------------------------- */

/* A batch of matrix products: a (batches, m, k), b (batches, k, n), c (batches, m, n). */
struct operand_pair {
    size_t batches, m, n, k;
    const float *a, *b;
    enum ldnq_transpose transpose_a, transpose_b;
    float *c;
};

/* The data of t as one matrix (rows, columns) per batch; as its transpose if the data is
 * already in that order. `first` determines the order of the labels. */
static const float *find_matrices(struct ldnq_contraction *work, const struct ldnq_labelled *t,
                                  const struct ldnq_labelled *first, uint64_t batch, uint64_t rows,
                                  uint64_t columns, enum ldnq_transpose *transpose)
{
    struct label_order order = { 0 }, other = { 0 };
    append_labels_in_set(work, &order, first, batch);
    append_labels_in_set(work, &other, first, batch);
    /* Both operands have the summed labels in the same order, that of the first. */
    append_labels_in_set(work, &order, rows & ~collect_label_set(first) ? t : first, rows);
    append_labels_in_set(work, &order, columns & ~collect_label_set(first) ? t : first, columns);
    append_labels_in_set(work, &other, columns & ~collect_label_set(first) ? t : first, columns);
    append_labels_in_set(work, &other, rows & ~collect_label_set(first) ? t : first, rows);
    *transpose = LDNQ_AS_IS;
    if (work->too_large || is_row_major(work, t, &order) || !is_row_major(work, t, &other))
        return copy_to_row_major(work, t, &order);
    *transpose = LDNQ_TRANSPOSED;
    return t->data;
}

/* Rows (batch, m) of an outer product (k = 1). */
static void multiply_outer(const void *ctx, size_t first, size_t last)
{
    const struct operand_pair *p = ctx;
    for (size_t row = first; row < last; row++) {
        const float a = p->a[row], *b = p->b + row / p->m * p->n;
        float *c = p->c + row * p->n;
        for (size_t i = 0; i < p->n; i++)
            c[i] = a * b[i];
    }
}

static void multiply_elements(const void *ctx, size_t first, size_t last)
{
    const struct operand_pair *p = ctx;
    for (size_t i = first; i < last; i++)
        p->c[i] = p->a[i] * p->b[i];
}

static void find_batch_offsets(const void *ctx, size_t batch, size_t offsets[2])
{
    const struct operand_pair *p = ctx;
    offsets[0] = batch * p->m * p->k;
    offsets[1] = batch * p->k * p->n;
}

static void multiply_operand_pair(const struct ldnq_contraction *work, const struct operand_pair *p)
{
    struct ldnq_product product = {
        .m = p->m,
        .n = p->n,
        .k = p->k,
        .transpose_a = p->transpose_a,
        .transpose_b = p->transpose_b,
        .alpha = 1.0f,
        .batches = p->batches,
        .offsets = find_batch_offsets,
        .ctx = p,
        .a = p->a,
        .b = p->b,
        .c = p->c,
    };
    if (p->k == 1 && p->m == 1 && p->n == 1)
        ldnq_op_run_ranges(work->call, p->batches, multiply_elements, p);
    else if (p->k == 1)
        ldnq_op_run_rows(work->call, p->batches * p->m, p->n, multiply_outer, p);
    else
        ldnq_product_run(&product, work->call->pool);
}

/* The product of two operands, summed over all labels that are not in `kept`. It is computed
 * in `out` if the result then has the layout of `to` (NULL for an intermediate product). */
static struct ldnq_labelled contract_pair(struct ldnq_contraction *work,
                                          const struct ldnq_labelled *left,
                                          const struct ldnq_labelled *right, uint64_t kept,
                                          const struct ldnq_labelled *to, float *out)
{
    uint64_t in_a = collect_label_set(left), in_b = collect_label_set(right);
    struct ldnq_labelled a = sum_over_labels(work, left, kept | in_b);
    struct ldnq_labelled b = sum_over_labels(work, right, kept | in_a);
    uint64_t batch = in_a & in_b & kept, inner = in_a & in_b & ~kept;
    uint64_t rows = in_a & ~in_b & kept, columns = in_b & ~in_a & kept;
    struct operand_pair pair = { .batches = count_elements(work, &a, batch),
                                 .m = count_elements(work, &a, rows),
                                 .n = count_elements(work, &b, columns),
                                 .k = count_elements(work, &a, inner) };
    if (pair.m > INT32_MAX || pair.n > INT32_MAX || pair.k > INT32_MAX)
        work->too_large = true;
    struct label_order order = { 0 };
    append_labels_in_set(work, &order, &a, batch);
    append_labels_in_set(work, &order, &a, rows);
    append_labels_in_set(work, &order, &b, columns);
    pair.a = find_matrices(work, &a, &a, batch, rows, inner, &pair.transpose_a);
    pair.b = find_matrices(work, &b, &a, batch, inner, columns, &pair.transpose_b);
    size_t size = 0;
    if (!ldnq_size_mul(pair.batches, pair.m, &size) || !ldnq_size_mul(size, pair.n, &size))
        work->too_large = true;
    if (work->too_large)
        return make_row_major_tensor(work, &(struct label_order){ 0 }, NULL);
    const size_t factors[] = { size, pair.k };
    if (!ldnq_size_add(work->products, ldnq_operations_multiply(factors, 2), &work->products))
        work->products = SIZE_MAX;
    bool direct = to && to->rank == order.rank && is_row_major(work, to, &order);
    pair.c = direct ? out : reserve_memory(work, size);
    if (!work->dry && size > 0)
        multiply_operand_pair(work, &pair);
    return make_row_major_tensor(work, &order, pair.c);
}

void ldnq_contract(struct ldnq_contraction *work, const struct ldnq_labelled *operands,
                   size_t count, const struct ldnq_labelled *to, float *out)
{
    uint64_t result = collect_label_set(to);
    struct ldnq_labelled sum = operands[0];
    for (size_t i = 1; i < count; i++) {
        uint64_t kept = result;
        for (size_t k = i + 1; k < count; k++)
            kept |= collect_label_set(&operands[k]);
        sum = contract_pair(work, &sum, &operands[i], kept, i + 1 == count ? to : NULL, out);
    }
    sum = sum_over_labels(work, &sum, result);
    if (!work->dry && !work->too_large && sum.data != out)
        copy_labelled(work, &sum, to, out);
}
