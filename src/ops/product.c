#include "ops/product.h"

#include <inttypes.h>

#include <ldnq/ir.h>

#include "base/size.h"

#define ROWS ((size_t)128)
#define COLUMNS ((size_t)256)

enum ldnq_status ldnq_product_check(int64_t m, int64_t n, int64_t k_a, int64_t k_b,
                                    struct ldnq_error *err)
{
    if (!ldnq_is_symbol(k_a) && !ldnq_is_symbol(k_b) && k_a != k_b)
        return ldnq_fail(err, LDNQ_MODEL, "its inputs share no axis: %" PRId64 " and %" PRId64,
                         k_a, k_b);
    if (m > INT32_MAX || n > INT32_MAX || k_a > INT32_MAX || k_b > INT32_MAX)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "a product of more than 2^31-1 rows or columns is not supported");
    return LDNQ_OK;
}

void ldnq_product_columns(const struct ldnq_product *product, size_t first, size_t count,
                          float *columns, size_t ld)
{
    bool transposed = product->transpose_a == LDNQ_TRANSPOSED;
    size_t row = transposed ? 1 : product->k, step = transposed ? product->m : 1;
    const float *a = product->a + first * row;
    for (size_t k = 0; k < product->k; k++)
        for (size_t p = 0; p < count; p++)
            columns[k * ld + p] = product->alpha * a[p * row + k * step];
}

static void run_block(void *argument, size_t chunk, size_t thread)
{
    (void)thread;
    const struct ldnq_product *p = argument;
    size_t across = ldnq_size_ceil_div(p->n, COLUMNS), down = ldnq_size_ceil_div(p->m, ROWS);
    size_t batch = chunk / (across * down), block = chunk % (across * down);
    size_t row = block / across * ROWS, column = block % across * COLUMNS;
    size_t rows = ldnq_size_min(ROWS, p->m - row);
    size_t columns = ldnq_size_min(COLUMNS, p->n - column);
    size_t offsets[2] = { 0, 0 };
    if (p->offsets)
        p->offsets(p->ctx, batch, offsets);
    bool ta = p->transpose_a == LDNQ_TRANSPOSED, tb = p->transpose_b == LDNQ_TRANSPOSED;
    const float *a = p->a + offsets[0] + (ta ? row : row * p->k);
    const float *b = p->b + offsets[1] + (tb ? column * p->k : column);
    float *c = p->c + batch * p->m * p->n + row * p->n + column;
    ldnq_sgemm(p->transpose_a, p->transpose_b, rows, columns, p->k, p->alpha, a, ta ? p->m : p->k,
               b, tb ? p->k : p->n, p->beta, c, p->n);
}

void ldnq_product_run(const struct ldnq_product *p, struct ldnq_pool *pool)
{
    size_t blocks = ldnq_size_ceil_div(p->n, COLUMNS) * ldnq_size_ceil_div(p->m, ROWS);
    ldnq_pool_run(pool, p->batches * blocks, run_block, (void *)p);
}
