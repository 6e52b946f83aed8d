#include "ops/product.h"

#include "base/size.h"

#define ROWS ((size_t)128)
#define COLUMNS ((size_t)256)

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
